"""What narrows a search of traces on the command line: options, times that people type, and what is said of them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import click

from llmguard.cli.options import Command
from llmguard.traces.errors import TraceQueryError
from llmguard.traces.filters import TraceFilters, preset_asked, w3c_asked

TEXT_DAYS = 7  # how far back a text is looked for unless a time is given: texts have no index
_AGO = re.compile(r"(\d{1,5})\s*(m|h|d)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[datetime]):
    """An instant: ISO 8601, in UTC unless it says otherwise, or how long ago, such as 30m, 2h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the instant in UTC."""
        text = str(value).strip()
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time. Write 2h, 30m or 7d ago, or 2026-11-23T12:00:00Z.", param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_OPTIONS: tuple[Callable[[Command], Command], ...] = (
    click.option("--app", help="Only of this app."),
    click.option("--owner", help="Only of apps of this owner."),
    click.option("--cost-center", "cost_center", help="Only of this cost center."),
    click.option("--preset", metavar="NAME[@VERSION]", help="Only of this preset, or this version of it."),
    click.option("--provider", help="Only answered by this provider."),
    click.option("--model", help="Only answered by this model of the registry."),
    click.option("--endpoint", help="Only of this path, such as /v1/embeddings."),
    click.option("--status", type=click.IntRange(100, 599), help="Only with this HTTP status."),
    click.option("--code", help="Only with this code, such as parameter_not_allowed."),
    click.option("--entity", metavar="TYPE", help="Only where such data was hidden, such as PERSON."),
    click.option("--text", help=f"Only with this text in the redacted prompt or answer; the last {TEXT_DAYS} days."),
    click.option("--since", type=Moment(), help="From this instant on: 2h, 7d, or 2026-11-23T12:00 (UTC)."),
    click.option("--until", type=Moment(), help="Only before this instant."),
    click.option("--min-cost", "min_cost_usd", metavar="USD", help="Only where the answer cost so much or more."),
    click.option("--max-cost", "max_cost_usd", metavar="USD", help="Only where it cost so much or less."),
    click.option("--min-latency", "min_latency_ms", type=float, metavar="MS", help="Only as slow as this or slower."),
    click.option("--max-latency", "max_latency_ms", type=float, metavar="MS", help="Only as fast as this or faster."),
    click.option("--request-id", "request_id", help="Only with this x-request-id of the caller."),
    click.option("--trace-parent", "w3c_trace_id", help="Only with this W3C trace id, or the whole traceparent."),
    click.option("--replay-of", "replay_of", metavar="TRACE", help="Only replays of this trace."),
)


def search_options(command: Command) -> Command:
    """Add all filters; `filters_from` makes them what the reader takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def filters_from(given: dict[str, Any]) -> TraceFilters:
    """Return the filters that were given on the command line, and take them out of `given`.

    A search for text without a time looks at the last days only, and says so.
    """
    names = TraceFilters.__annotations__
    filters = {name: given.pop(name) for name in list(given) if name in names}
    filters = {name: value for name, value in filters.items() if value is not None}
    if "preset" in filters:
        try:
            filters |= preset_asked(filters.pop("preset"))
        except TraceQueryError as error:
            raise click.UsageError(str(error)) from None
    if "w3c_trace_id" in filters:
        filters["w3c_trace_id"] = w3c_asked(filters["w3c_trace_id"])
    for name in ("min_cost_usd", "max_cost_usd"):
        if name in filters and not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", filters[name]):
            raise click.UsageError(f"{filters[name]!r} is no amount of dollars, such as 0.05.")
    if "text" in filters and "since" not in filters:
        start = filters.get("until", datetime.now(UTC)) - timedelta(days=TEXT_DAYS)
        filters["since"] = start
        click.echo(
            f"Texts are looked for from {start:%d %B %Y %H:%M} UTC on ({TEXT_DAYS} days); --since goes further back.",
            err=True,
        )
    for name in ("since", "until"):
        if name in filters:
            filters[name] = filters[name].isoformat()
    return cast("TraceFilters", filters)  # built by name
