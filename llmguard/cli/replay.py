"""`llmguard replay`: what traces answered, given again from the store and proven by their digests."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json
from llmguard.cli.trace_options import filters_from, search_options
from llmguard.cli.traces import find_trace
from llmguard.domain.chat import JsonObject
from llmguard.replay.offline import Replayed, replay_offline
from llmguard.traces.reader import TraceReader

_DIFFERENT = 1


@click.command()
@click.argument("traces", nargs=-1, metavar="[TRACE]...")
@click.option("--where", is_flag=True, help="Replay what the filters find, instead of named traces.")
@click.option("--offline", is_flag=True, help="From the store, without a provider; the only way there is so far.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="At most so many.")
@search_options
@as_json_option
@place_options
def command(*, traces: tuple[str, ...], where: bool, offline: bool, limit: int, as_json: bool, **given: Any) -> None:
    """Give the answers of traces again, byte for byte and chunk for chunk, without calling a provider.

    Exits 1 if one differs from what its trace was sealed with.
    """
    del offline  # the default
    filters = filters_from(given)
    if bool(traces) == where or (filters and not where):
        raise click.UsageError("Name traces, or give --where with filters such as --app A --since 2h.")
    reader = TraceReader(settings_from("needed", **given).data)
    if where:
        rows, total = reader.export(limit=limit, **filters), min(limit, reader.count(**filters))
    else:
        rows, total = _named(reader, traces), len(traces)
    counts = {"equal": 0, "changed": 0, "erased": 0}
    shown: list[JsonObject] = []
    hidden = not sys.stderr.isatty()
    with click.progressbar(rows, length=total, label="Replaying", file=sys.stderr, hidden=hidden) as progress:
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
    sys.exit(_DIFFERENT if counts["changed"] else 0)


def _named(reader: TraceReader, traces: tuple[str, ...]) -> Iterator[JsonObject]:
    for trace_id in traces:
        seq = find_trace(reader, trace_id)["seq"]
        yield next(reader.export(limit=1, after_seq=seq - 1))


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
