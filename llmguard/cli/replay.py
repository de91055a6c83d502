"""`llmguard replay`: what traces answered, given again from the store, asked again of a model, or kept as cases."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click

from llmguard.cli.check import CASES_FOLDER
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json
from llmguard.cli.trace_options import filters_from, search_options
from llmguard.cli.traces import find_trace
from llmguard.domain.chat import JsonObject
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.replay.cases import case_of, write_case
from llmguard.replay.errors import CannotReplay
from llmguard.replay.offline import Replayed, replay_offline
from llmguard.replay.plan import Choice
from llmguard.replay.stored import read_stored
from llmguard.settings import Settings
from llmguard.traces.reader import TraceReader

_DIFFERENT = 1
_CANNOT = 3


@click.command()
@click.argument("traces", nargs=-1, metavar="[TRACE]...")
@click.option("--where", is_flag=True, help="Replay what the filters find, instead of named traces.")
@click.option("--offline", is_flag=True, help="From the store, without a provider; the default.")
@click.option("--live", is_flag=True, help="Send the redacted request to the model again, on the budget of --as.")
@click.option("--as", "who", metavar="WHO", help="Who replays live: an e-mail address under replay in registry.yaml.")
@click.option("-n", "--times", type=click.IntRange(1, 1000), default=1, show_default=True, help="Ask so many times.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="In place of what was sent; 0 leaves least to chance.")
@click.option("--seed", type=int, help="In place of what was sent, if anything was.")
@click.option("--of-preset", metavar="NAME[@VERSION]", help="With --where: only traces of this preset.")
@click.option("--of-model", help="With --where: only answered by this model.")
@click.option("--save-case", is_flag=True, help="Keep each as a regression case, for `llmguard check --cases`.")
@click.option(
    "--cases",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where cases are kept [cases/ beside the registry].",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="At most so many.")
@search_options
@as_json_option
@place_options
def command(*, traces: tuple[str, ...], limit: int, as_json: bool, **given: Any) -> None:
    """Give the answers of traces again, and say what differs.

    From the store, byte for byte and proven by digest; with --live from the model, under the preset as it was then, or
    under another (--preset name@version, drafts too) or with another model (--model). Without --live these two narrow
    --where, as they do for `traces search`.

    Exits 1 if one differs, 3 if one cannot be replayed.
    """
    where, offline, live, save = (given.pop(name) for name in ("where", "offline", "live", "save_case"))
    if live + offline + save > 1:
        raise click.UsageError("Choose one of --offline, --live and --save-case.")
    choice, who, times, cases = (
        _live_options(given, live=live),
        given.pop("who"),
        given.pop("times"),
        given.pop("cases"),
    )
    if live and not who:
        raise click.UsageError("A live replay costs: --as WHO says on whose budget.")
    for name, other in (("preset", given.pop("of_preset")), ("model", given.pop("of_model"))):
        given[name] = other or given[name]
    filters = filters_from(given)
    if bool(traces) == where or (filters and not where):
        raise click.UsageError("Name traces, or give --where with filters such as --app A --since 2h.")
    settings = settings_from("needed", **given)
    reader = TraceReader(settings.data, settings.at_rest)
    rows: Iterator[JsonObject]
    if where:
        total = min(limit, reader.count(**filters))
        rows = reader.export(limit=total, **filters)
    else:
        rows, total = _named(reader, traces), len(traces)
    if live:
        from llmguard.cli.replay_live import LiveOptions, replay_rows  # noqa: PLC0415 - imports every part of the gateway: seconds

        if where and "replay_of" not in filters:  # replays are traces, too
            rows = (row for row in rows if row["replay_of"] is None)
        code = replay_rows(settings, rows, total, LiveOptions(choice, who, times, as_json))
        reader.count(replay_of="")  # brings the new traces in, if no ingester runs
    elif save:
        code = _save(settings, rows, total, cases or settings.registry.parent / CASES_FOLDER, as_json=as_json)
    else:
        code = _give_again(rows, total, as_json=as_json)
    sys.exit(code)


def _bar(rows: Iterable[JsonObject], total: int, label: str) -> AbstractContextManager[Iterable[JsonObject]]:
    return click.progressbar(rows, length=total, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def _live_options(given: dict[str, Any], *, live: bool) -> Choice:
    """Return what is asked differently, and take it out of what is given; without --live these are filters."""
    temperature, seed = given.pop("temperature"), given.pop("seed")
    if not live:
        if given["who"] or given["times"] > 1 or temperature is not None or seed is not None:
            raise click.UsageError("--as, -n, --temperature and --seed are for --live.")
        return Choice()
    choice = Choice(given["preset"], given["model"], temperature, seed)
    given["preset"] = given["model"] = None
    return choice


def _named(reader: TraceReader, traces: tuple[str, ...]) -> Iterator[JsonObject]:
    for trace_id in traces:
        seq = find_trace(reader, trace_id)["seq"]
        yield next(reader.export(limit=1, after_seq=seq - 1))


def _give_again(rows: Iterable[JsonObject], total: int, *, as_json: bool) -> int:
    """Print the stored answers, and return the exit code."""
    counts = {"equal": 0, "changed": 0, "erased": 0}
    shown: list[JsonObject] = []
    with _bar(rows, total, "Replaying") as progress:
        for row in progress:
            replayed = replay_offline(row)
            counts[replayed.state] += 1
            if as_json:
                shown.append(_facts(replayed))
            else:
                _print(replayed)
    if as_json:
        print_json({"counts": counts, "traces": shown})
    else:
        click.echo(", ".join(f"{count} {state}" for state, count in counts.items()), err=True)
    return _DIFFERENT if counts["changed"] else 0


def _save(settings: Settings, rows: Iterable[JsonObject], total: int, folder: Path, *, as_json: bool) -> int:
    """Keep each trace as a case, and return the exit code."""
    from llmguard.cli.registry_file import current_registry  # noqa: PLC0415 - pydantic; offline replay needs none

    registry, accepted = current_registry(settings), AcceptedRegistries(settings.data / "registry")
    saved: list[JsonObject] = []
    failed = False
    with _bar(rows, total, "Saving") as progress:
        for row in progress:
            try:
                path = write_case(folder, case_of(read_stored(row), registry, accepted))
                saved.append({"trace_id": row["trace_id"], "case": str(path)})
            except CannotReplay as reason:
                failed = True
                saved.append({"trace_id": row["trace_id"], "case": None, "reason": str(reason)})
    if as_json:
        print_json(saved)
        return _CANNOT if failed else 0
    for one in saved:
        if one["case"] is not None:
            click.echo(one["case"])
        else:
            click.echo(f"{one['trace_id']}: {one['reason']}", err=True)
    return _CANNOT if failed else 0


def _facts(replayed: Replayed) -> JsonObject:
    return {
        "trace_id": replayed.trace_id,
        "state": replayed.state,
        "status": replayed.status,
        "code": replayed.code,
        "stream": replayed.stream,
        "answer": [part.decode() for part in replayed.parts],
    }


def _print(replayed: Replayed) -> None:
    """Print the answer alone, a part a line; what is not an answer goes to standard error."""
    for part in replayed.parts:
        click.echo(part)
    if replayed.state != "equal":
        click.echo(f"{replayed.trace_id}: {replayed.state} since it was written; no answer is given.", err=True)
    elif not replayed.parts:
        click.echo(f"{replayed.trace_id}: {replayed.status} {replayed.code or ''}, without an answer.", err=True)
