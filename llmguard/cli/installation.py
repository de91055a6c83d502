"""What `llmguard doctor` looks at on its own machine: one function a matter, each finding with its mending."""

import email.utils
import http.client
import importlib.metadata
import json
import os
import shutil
import socket
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from llmguard.catalog.diagnosis.answer import COE, OPERATOR
from llmguard.domain.catalog import Registry
from llmguard.domain.state_file import open_state
from llmguard.registry.prices import PriceMap
from llmguard.settings import Settings

_LEAST_FREE_BYTES: Final = 1024**3
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_PYTHONS: Final = ((3, 11), (3, 14))
_MOST_SKEW_SECONDS: Final = 90
_PATIENCE_SECONDS: Final = 5
_OK: Final = 200
_SHOWN_FINDINGS: Final = 5
_PACKAGES: Final = ("llmguard", "litellm", "presidio-analyzer", "spacy", "duckdb", "fastapi", "uvicorn")
_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)  # older than this code: a clock that was never set


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `state` is skipped where there was nothing to look at."""

    name: str
    state: Literal["ok", "finding", "skipped"]
    message: str
    fix: str | None = None
    who: str | None = None


def check_installation(
    settings: Settings, environ: Mapping[str, str], files: Callable[[Settings], tuple[Registry | None, list[str]]]
) -> Iterator[Check]:
    """Yield every check, in the order in which one would mend what they find.

    Args:
        settings: where things are.
        environ: where provider keys are.
        files: returns the registry with the findings of all files of the CoE.
    """
    yield _python()
    yield _versions()
    yield _clock()
    yield from _data_folder(settings.data)
    registry, findings = files(settings)
    yield _coe_files(findings)
    yield _prices()
    yield from _provider_keys(registry, environ)
    yield from _server(settings)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]:
        return Check("python", "ok", f"Python {version}")
    fix = "Run llmguard with Python 3.11, 3.12 or 3.13; scripts/start finds one."
    return Check("python", "finding", f"Python {version} is not one that llmguard is tested with.", fix, OPERATOR)


def _versions() -> Check:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check(
            "versions", "finding", f"Not installed: {', '.join(missing)}.", "Run scripts/start once.", OPERATOR
        )
    return Check("versions", "ok", ", ".join(found))


def _clock() -> Check:
    now = datetime.now(UTC)
    if now > _EARLIEST:
        return Check("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")
    fix = "Let the machine set its clock by the network (NTP); quotas and expiry dates depend on it."
    return Check("clock", "finding", f"The clock says {now:%Y-%m-%d}, which cannot be.", fix, OPERATOR)


def _data_folder(data: Path) -> Iterator[Check]:
    if not data.is_dir():
        yield Check("data folder", "skipped", f"{data} does not exist yet; `llmguard serve` makes it.")
        return
    yield _rights(data)
    free = shutil.disk_usage(data).free
    shown = f"{free / 1024**3:.1f} GiB free"
    if free < _LEAST_FREE_BYTES:
        fix = "Make room on the disk of the data folder: when it is full, every request is refused."
        yield Check("disk", "finding", f"Only {shown} in {data}.", fix, OPERATOR)
    else:
        yield Check("disk", "ok", shown)
    yield _state_file(data / "state.db")


def _rights(data: Path) -> Check:
    readable = os.access(data, os.R_OK | os.W_OK | os.X_OK)
    problems = [] if readable else [f"{data} cannot be written by this user"]
    own = (data, data / "secret", data / "state.db")
    problems += [f"others may read {path}" for path in own if path.exists() and path.stat().st_mode & _OTHERS]
    if problems:
        fix = f"Run `chmod -R go-rwx {data}`, as the user that runs llmguard, who should own it."
        return Check("data folder", "finding", f"{'; '.join(problems)}.", fix, OPERATOR)
    return Check("data folder", "ok", str(data))


def _state_file(path: Path) -> Check:
    if not path.exists():
        return Check("state.db", "skipped", "There are no keys and no quotas yet.")
    try:
        with closing(open_state(path, create=False)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except (sqlite3.Error, OSError) as error:
        verdict = type(error).__name__
    if verdict == "ok":
        return Check("state.db", "ok", "keys and quotas can be read")
    fix = "Stop llmguard and restore state.db from a backup (docs/guides/operations.md)."
    return Check("state.db", "finding", f"{path} is damaged or locked ({verdict}).", fix, OPERATOR)


def _coe_files(findings: list[str]) -> Check:
    if not findings:
        return Check("registry and redaction", "ok", "valid")
    shown = findings[:_SHOWN_FINDINGS]
    more = f" (and {len(findings) - len(shown)} more)" if len(findings) > len(shown) else ""
    fix = "Correct them; `llmguard check` lists all. A running llmguard goes on with the last good files."
    return Check("registry and redaction", "finding", f"{len(findings)} findings: {' | '.join(shown)}{more}", fix, COE)


def _prices() -> Check:
    prices = PriceMap()
    if prices.find("gpt-4o-mini", "openai") is not None:
        return Check("price map", "ok", prices.version)
    fix = "Install llmguard again; until then each model needs a `price` in registry.yaml."
    return Check("price map", "finding", "The price map of litellm cannot be read.", fix, OPERATOR)


def _provider_keys(registry: Registry | None, environ: Mapping[str, str]) -> Iterator[Check]:
    if registry is None:
        yield Check("provider keys", "skipped", "The registry cannot be read.")
        return
    named = {provider.api_key_env for provider in registry.providers.values() if provider.api_key_env}
    missing = sorted(name for name in named if not environ.get(name, "").strip())
    if missing:
        fix = (
            f"Set {', '.join(missing)} where llmguard runs, and restart it. This looks at the variables of this shell."
        )
        yield Check("provider keys", "finding", f"Empty or not set: {', '.join(missing)}.", fix, OPERATOR)
    else:
        yield Check("provider keys", "ok", f"{len(named)} of {len(named)} set")


def _server(settings: Settings) -> Iterator[Check]:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared
    place = f"{host}:{settings.port}"
    try:
        with socket.create_connection((host, settings.port), _PATIENCE_SECONDS):
            pass
    except OSError:
        yield Check(
            "server", "skipped", f"Nothing listens on {place}: llmguard does not run there, and the port is free."
        )
        return
    try:
        status, date, body = _ask(host, settings.port, "/readyz")
        problems = json.loads(body)["problems"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        fix = "Stop what listens there, or name another port with --port (LLMGUARD_PORT)."
        yield Check("server", "finding", f"Something else than llmguard listens on {place}.", fix, OPERATOR)
        return
    if status == _OK:
        yield Check("server", "ok", f"llmguard is ready on {place}")
    else:
        fix = "Look at the log of llmguard; if the disk is full, make room."
        yield Check("server", "finding", f"llmguard on {place} refuses requests: {' '.join(problems)}", fix, OPERATOR)
    yield _server_clock(date)


def _server_clock(date: str | None) -> Check:
    try:
        there = email.utils.parsedate_to_datetime(date or "")
    except ValueError:
        return Check("server clock", "skipped", "The server does not say what time it is.")
    skew = (datetime.now(UTC) - there).total_seconds()
    if abs(skew) <= _MOST_SKEW_SECONDS:
        return Check("server clock", "ok", "the same as here")
    fix = "Let both machines set their clocks by the network (NTP)."
    return Check("server clock", "finding", f"The server's clock differs by {abs(skew):.0f} seconds.", fix, OPERATOR)


def _ask(host: str, port: int, path: str) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("date"), answer.read()
    finally:
        connection.close()
