"""What a search of traces asks for, read from the address of the page: every filter is in it, so it can be sent on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, cast
from urllib.parse import urlencode

from pydantic import BaseModel, StringConstraints

from llmguard.traces.errors import TraceQueryError
from llmguard.traces.filters import TraceFilters, preset_asked, w3c_asked

Text = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
SPANS: Final = {
    "hour": ("last hour", timedelta(hours=1)),
    "day": ("last 24 hours", timedelta(days=1)),
    "week": ("last 7 days", timedelta(days=7)),
    "month": ("last 30 days", timedelta(days=30)),
}
_USUAL: Final = "day"
_AS_THEY_ARE: Final = (
    "app",
    "owner",
    "cost_center",
    "model",
    "provider",
    "endpoint",
    "code",
    "entity",
    "request_id",
    "replay_of",
)
_FIGURES: Final = {"status": int, "min_latency": float, "max_latency": float, "min_cost": float, "max_cost": float}
_NAMES: Final = {
    "min_latency": "min_latency_ms",
    "max_latency": "max_latency_ms",
    "min_cost": "min_cost_usd",
    "max_cost": "max_cost_usd",
}
_MOST: Final = 1e9


class Asked(BaseModel):
    """The parameters of the address; an empty one is as none."""

    text: Text = ""
    app: Text = ""
    owner: Text = ""
    cost_center: Text = ""
    preset: Text = ""
    model: Text = ""
    provider: Text = ""
    endpoint: Text = ""
    status: Text = ""
    code: Text = ""
    entity: Text = ""
    min_latency: Text = ""
    max_latency: Text = ""
    min_cost: Text = ""
    max_cost: Text = ""
    request_id: Text = ""
    trace_parent: Text = ""
    replay_of: Text = ""
    last: Text = ""
    since: Text = ""
    until: Text = ""

    @property
    def given(self) -> dict[str, str]:
        """What was asked for, by name."""
        return {name: value for name, value in self.model_dump().items() if value}


@dataclass(frozen=True, slots=True)
class Search:
    """A search that can be made, unless there are problems.

    Attributes:
        given: what was asked for, for the form and for links.
        filters: as the reader takes them.
        problems: what cannot be, in words.
        words: the time that is looked at.
        before: where it ends; None: now.
    """

    given: Mapping[str, str]
    filters: TraceFilters
    problems: tuple[str, ...]
    words: str
    before: datetime | None

    def address(self, **changes: str) -> str:
        """Return the query of this search with changes."""
        return urlencode({name: value for name, value in {**self.given, **changes}.items() if value})


def read_search(asked: Asked, now: datetime, apps: tuple[str, ...] | None) -> Search:
    """Return a search.

    Args:
        asked: the parameters.
        now: the present.
        apps: only of these; None: of all.
    """
    given = asked.given
    problems: list[str] = []
    filters = _what(given, problems)
    if apps is not None:
        filters["apps"] = list(apps)
    since, until, words = _span(given, now, problems)
    filters |= {"since": since.isoformat()} | ({} if until is None else {"until": until.isoformat()})
    if "text" in given:
        filters["text"] = given["text"]
    return Search(given, cast("TraceFilters", filters), tuple(problems), words, until)


def _what(given: Mapping[str, str], problems: list[str]) -> dict[str, Any]:  # Any: a value of each kind
    """Return the filters but for the time, and add what cannot be to the problems."""
    filters: dict[str, Any] = {name: given[name] for name in _AS_THEY_ARE if name in given}  # Any: as above
    for name, kind in _FIGURES.items():
        if name in given:
            try:
                filters[_NAMES.get(name, name)] = _figure(given[name], kind)
            except ValueError:
                problems.append(f"{given[name]!r} is no figure for {name.replace('_', ' ')}.")
    if "preset" in given:
        try:
            filters |= preset_asked(given["preset"])
        except TraceQueryError as error:
            problems.append(str(error))
    if "trace_parent" in given:
        filters["w3c_trace_id"] = w3c_asked(given["trace_parent"])
    return filters


def _span(given: Mapping[str, str], now: datetime, problems: list[str]) -> tuple[datetime, datetime | None, str]:
    since, until = (_moment(given.get(name), name, problems) for name in ("since", "until"))
    words, span = SPANS.get(given.get("last", _USUAL), SPANS[_USUAL])
    if until is not None and since is None:
        since = until - span
    if since is not None:
        if until is not None and since >= until:
            problems.append("The time ends before it begins.")
        end = "now" if until is None else f"{until:%-d %b %Y, %H:%M}"
        return since, until, f"{since:%-d %b %Y, %H:%M} to {end} UTC"
    return now - span, None, words


def _moment(text: str | None, name: str, problems: list[str]) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        problems.append(f"{text!r} is no time for {name}; write 2026-11-23T12:00, in UTC.")
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _figure(text: str, kind: type[int] | type[float]) -> int | float:
    figure = kind(text)
    if not 0 <= figure <= _MOST:
        raise ValueError
    return figure
