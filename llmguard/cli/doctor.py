"""`llmguard doctor`: what is wrong with this installation, or with a key, an error, a trace id or a base URL."""

import asyncio
import os
import sqlite3
import sys
from dataclasses import asdict

import click

from llmguard.catalog.diagnosis.answer import Answer
from llmguard.catalog.diagnosis.doctor import Question, Sources, diagnose
from llmguard.cli.installation import Check, check_installation
from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json
from llmguard.cli.quota import read_standings
from llmguard.cli.registry_file import check_files, current_registry
from llmguard.domain.catalog import App, Registry
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import SystemClock
from llmguard.domain.quota import Standing
from llmguard.identity.key_store import KeyStore, Secret
from llmguard.identity.keyring import Keyring
from llmguard.policy.rego_files import check_policies
from llmguard.settings import Settings
from llmguard.traces.reader import TraceReader

_FINDINGS = 1
_ASK = "-"  # what an option without a value means: ask, or read standard input
_WARNING = (
    "Warning: a key that is typed as an argument stays in the shell's history and shows in the list of processes. "
    "Give --key without a value and paste it when asked."
)


@click.command()
@click.option("--key", is_flag=False, flag_value=_ASK, help="Diagnose a key: asks for it, or reads standard input.")
@click.option(
    "--error", is_flag=False, flag_value=_ASK, help="Explain an error, a log or a trace id: reads standard input."
)
@click.option("--tool-url", help="What stands in the tool's box for the base URL.")
@click.option("--preset", help="What the tool puts into `model`.")
@click.option("--origin", help="The web page that calls.")
@click.option("--host", help="Where the server is looked for [LLMGUARD_HOST; 127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65_535), help="Its port [LLMGUARD_PORT; 8080].")
@as_json_option
@place_options
def command(  # noqa: PLR0913 - click passes one argument an option
    *,
    key: str | None,
    error: str | None,
    tool_url: str | None,
    preset: str | None,
    origin: str | None,
    host: str | None,
    port: int | None,
    as_json: bool,
    **places: str | None,
) -> None:
    """Say what is wrong, and who can mend it.

    Without --key, --error and --tool-url it checks this installation. Exits 1 when something is wrong.
    """
    settings = settings_from("optional", host=host, port=port, **places)
    if key is None and error is None and tool_url is None:
        _check(settings, as_json=as_json)
        return
    if key not in (None, _ASK):
        click.echo(_WARNING, err=True)
    text = _given(error, "Paste the error, then press Ctrl-D on a line of its own.")
    question = Question(
        text=text, key=_given_key(key), base_url=tool_url or "", preset=preset or "", origin=origin or ""
    )
    _show(asyncio.run(_diagnose(settings, question)), as_json=as_json)


def _check(settings: Settings, *, as_json: bool) -> None:
    checks: list[Check] = []
    for check in check_installation(settings, os.environ, _files):
        checks.append(check)
        if not as_json:
            mark = {"ok": "ok      ", "finding": "FINDING ", "skipped": "-       "}[check.state]
            click.echo(f"{mark}{check.name}: {check.message}")
            if check.fix is not None:
                click.echo(f"        {check.fix} ({check.who})")
    ok = all(check.state != "finding" for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    sys.exit(0 if ok else _FINDINGS)


def _files(settings: Settings) -> tuple[Registry | None, list[str]]:
    registry, rules = check_files(settings)
    findings = [str(finding) for finding in registry.findings]
    findings += [f"{settings.redaction.name}/{finding}" for finding in rules.findings]
    findings += [f"policies/{finding}" for finding in check_policies(settings.policies).findings]
    return registry.registry, findings


async def _diagnose(settings: Settings, question: Question) -> Answer:
    registry = current_registry(settings)
    keyring = _keyring(settings) if question.key or "sk-lg_" in question.text else None

    def look_up(text: str) -> Secret | None:
        return keyring.look_up(text) if keyring is not None else None

    async def standings(app: App) -> tuple[Standing, ...]:
        return await read_standings(settings, app)

    async def explain(trace_id: str) -> JsonObject | None:
        trace = await asyncio.to_thread(TraceReader(settings.data, settings.at_rest).show, trace_id)
        return None if trace is None else {**trace, "reasons": (trace.get("decision") or {}).get("reasons") or []}

    def is_set(variable: str) -> bool:
        return bool(os.environ.get(variable, "").strip())

    now = SystemClock().now()
    return await diagnose(question, Sources(registry, look_up, standings, explain, is_set, now))


def _keyring(settings: Settings) -> Keyring:
    clock = SystemClock()
    try:
        store = KeyStore(
            settings.data / "state.db", settings.secret, clock, create=False, previous_secrets=settings.previous_secrets
        )
        return Keyring(store, clock)
    except (sqlite3.Error, OSError):
        fail(f"there are no keys in {settings.data}. Name the data folder of the gateway with --data.")


def _given(value: str | None, ask: str) -> str:
    if value != _ASK:
        return value or ""
    if sys.stdin.isatty():
        click.echo(ask, err=True)
    return sys.stdin.read()


def _given_key(value: str | None) -> str:
    if value != _ASK:
        return value or ""
    if sys.stdin.isatty():
        return str(click.prompt("Key (it is not shown)", hide_input=True, default="", show_default=False, err=True))
    return sys.stdin.read()


def _show(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(answer) | {"facts": dict(answer.facts), "notes": list(answer.notes)})
    else:
        click.echo(answer.problem)
        click.echo(f"What to do: {answer.fix}")
        if not answer.fine:
            click.echo(f"Who can: {answer.who}")
        for name, value in answer.facts:
            click.echo(f"{name}: {value}")
        for note in answer.notes:
            click.echo(f"Also: {note}")
    sys.exit(0 if answer.fine else _FINDINGS)
