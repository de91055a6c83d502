"""How a live replay is shown: then and now, side by side."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from llmguard.cli.output import print_rows
from llmguard.domain.chat import JsonObject
from llmguard.replay import difference
from llmguard.replay.difference import Answer
from llmguard.replay.live import LiveReplay, Run

_NARROWEST = 60
_MIDDLE = 3  # columns between the two sides
_MOST_RUNS = 3  # beside each other


def answer_json(answer: Answer) -> JsonObject:
    """Return an answer with all that is compared."""
    facts = asdict(answer)
    facts["texts"], facts["tool_calls"] = list(answer.texts), [asdict(call) for call in answer.tool_calls]
    facts["vectors"] = len(answer.vectors)
    return facts


def print_live(result: LiveReplay) -> None:
    """Print one trace that was asked again."""
    state = click.style("same", fg="green") if result.is_same else click.style("different", fg="red")
    runs = len(result.runs)
    times = "" if runs == 1 else f", {runs} times: agreement {result.agreement:.0%}, stability {result.stability:.0%}"
    click.echo(f"{result.stored.trace_id} on {result.model} under {result.preset_id}{times}: {state}")
    then, shown = result.stored.answer, result.runs[:_MOST_RUNS]
    names = ("now",) if runs == 1 else tuple(f"now {number}" for number in range(1, len(shown) + 1))
    print_rows(list(_rows(then, names, shown)), ("", "then", *names), as_json=False, none="")
    if len(shown) < runs:
        click.echo(f"The first {len(shown)} of {runs} are shown; --json has all.", err=True)
    for name, run, differs in zip(names, shown, result.differences, strict=False):
        if run.message is not None:
            click.echo(f"{name}: {run.message}")
        if run.hidden:
            hidden = ", ".join(f"{kind}={count}" for kind, count in run.hidden.items())
            click.echo(f"{name}: today's redaction rules hid more of the stored request: {hidden}")
        if "text" in differs.parts or "tool_calls" in differs.parts:
            click.echo(f"then, and {name} (similarity {differs.similarity:.0%}):")
            width = max(_NARROWEST, shutil.get_terminal_size().columns)
            for line in side_by_side(_lines(then), _lines(run.answer), width):
                click.echo(line)
    click.echo()


def side_by_side(then: Sequence[str], now: Sequence[str], width: int) -> Iterator[str]:
    """Yield two texts beside each other, with the marks of `difference.side_by_side` between them."""
    side = (width - _MIDDLE) // 2
    for one, mark, other in difference.side_by_side(then, now, side):
        yield f"{one.ljust(side)} {mark} {other}".rstrip()


def _rows(then: Answer, names: Sequence[str], runs: Sequence[Run]) -> Iterator[dict[str, Any]]:  # Any: cells of a table
    for name, cell in (
        ("outcome", lambda answer: f"{answer.status} {answer.code or ''}".strip()),
        ("model", lambda answer: answer.model),
        ("tool calls", lambda answer: len(answer.tool_calls)),
        ("tokens in", lambda answer: answer.input_tokens),
        ("tokens out", lambda answer: answer.output_tokens),
        ("cost USD", lambda answer: answer.cost_usd),
        ("latency ms", lambda answer: None if answer.latency_ms is None else round(answer.latency_ms)),
        ("trace", lambda answer: answer.trace_id),
    ):
        yield {"": name, "then": cell(then)} | {
            column: cell(run.answer) for column, run in zip(names, runs, strict=True)
        }


def _lines(answer: Answer) -> list[str]:
    return [_printable(line) for line in difference.lines_of(answer)]


def _printable(line: str) -> str:
    """Return a line without what would steer a terminal: models write what they like."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line.expandtabs())
