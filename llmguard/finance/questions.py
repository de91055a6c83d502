"""What finance asks the trace store. Sums leave it as text or whole numbers, so that nothing is lost on the way.

Days and months are those of UTC. A request belongs to the moment at which it came in, and to the owner, team and cost
centre that its app had then.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, get_args

from llmguard.domain.chat import JsonObject
from llmguard.finance.errors import FinanceError
from llmguard.traces.rows import MAX_ROWS, Rows

if TYPE_CHECKING:  # it loads DuckDB
    from llmguard.traces.reader import TraceReader

Dimension = Literal["app", "owner", "team", "cost_center", "model", "preset", "day"]
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)

_EXPRESSIONS: Final[dict[Dimension, str]] = {
    "app": "app",
    "owner": "owner",
    "team": "team",
    "cost_center": "cost_center",
    "model": "model",
    "preset": "preset || '@' || preset_version",
    "day": "make_timestamp(epoch_us(started_at))::DATE",
}
_PERIOD: Final = """
started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ
AND ($apps::VARCHAR[] IS NULL OR list_contains($apps::VARCHAR[], app))
"""
_ROWS_AT_ONCE: Final = 10_000
_TOKENS: Final = """
    coalesce(sum(input_tokens), 0)::BIGINT AS input_tokens,
    coalesce(sum(cached_tokens), 0)::BIGINT AS cached_tokens,
    coalesce(sum(cache_write_tokens), 0)::BIGINT AS cache_write_tokens,
    coalesce(sum(cache_write_1h_tokens), 0)::BIGINT AS cache_write_1h_tokens,
    coalesce(sum(audio_input_tokens), 0)::BIGINT AS audio_input_tokens,
    coalesce(sum(output_tokens), 0)::BIGINT AS output_tokens,
    coalesce(sum(reasoning_tokens), 0)::BIGINT AS reasoning_tokens,
    coalesce(sum(audio_output_tokens), 0)::BIGINT AS audio_output_tokens
"""
USAGE: Final = f"""
SELECT
    {{dimensions}}
    count(*) AS requests,
    count(*) FILTER (status BETWEEN 400 AND 498) AS refusals,
    count(*) FILTER (status >= 500) AS faults,
    count(*) FILTER (price_version = 'unknown' AND input_tokens IS NOT NULL) AS unpriced_requests,
    {_TOKENS},
    coalesce(sum(cost_usd), 0)::VARCHAR AS cost_usd,
    coalesce(sum(cost_usd) FILTER (cost_basis IN ('counted', 'held')), 0)::VARCHAR AS estimated_cost_usd
FROM traces WHERE {_PERIOD} GROUP BY ALL
"""  # noqa: S608 - built from constants of this module
COSTS: Final = f"""
SELECT {{dimensions}} sum(cost_usd)::VARCHAR AS cost_usd
FROM traces WHERE {_PERIOD} AND cost_usd IS NOT NULL GROUP BY ALL
"""  # noqa: S608 - built from constants of this module
FIRST_DAY: Final = f"SELECT min(make_timestamp(epoch_us(started_at)))::DATE AS day FROM traces WHERE {_PERIOD}"  # noqa: S608
# Everything that was sent to a provider, by what decides its price.
CHARGES: Final = f"""
SELECT
    make_timestamp(epoch_us(started_at))::DATE AS day, app, owner, team, cost_center, provider, model, price_version,
    price_rate, coalesce(service_tier, 'standard') AS service_tier, cost_basis,
    count(*) AS requests, {_TOKENS}, sum(cost_usd)::VARCHAR AS cost_usd
FROM traces WHERE {_PERIOD} AND (input_tokens IS NOT NULL OR cost_usd IS NOT NULL) GROUP BY ALL ORDER BY ALL
"""  # noqa: S608 - built from constants of this module


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time; `until` is not in it. `apps`: only of these; None: of all."""

    since: datetime
    until: datetime
    apps: tuple[str, ...] | None = None


def month_of(text: str, apps: tuple[str, ...] | None = None) -> Period:
    """Return a month such as 2026-11, of these apps or of all.

    Raises:
        FinanceError: it is none.
    """
    try:
        since = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        return Period(since, following_month(since), apps)
    except ValueError:
        raise FinanceError(f"{text!r} is no month; write it as in 2026-11.") from None


def following_month(since: datetime) -> datetime:
    """Return the first instant of the month after."""
    return since.replace(year=since.year + since.month // 12, month=since.month % 12 + 1)


def dimensions_of(by: tuple[Dimension, ...]) -> str:
    """Return the SELECT list of these dimensions, each under its own name, with a comma behind each."""
    return "".join(f"{_EXPRESSIONS[name]} AS {name}, " for name in by)


def ask(reader: "TraceReader", sql: str, period: Period, **parameters: str) -> Rows:
    """Return all rows of one question about a period.

    Raises:
        FinanceError: there are more than one answer may have.
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    rows = _asked(reader, sql, period, MAX_ROWS, **parameters)
    if len(rows) >= MAX_ROWS:
        raise FinanceError(f"The answer has {MAX_ROWS:,} rows or more. Ask for a shorter time, or by fewer things.")
    return rows


def ask_charges(reader: "TraceReader", period: Period) -> Iterator[JsonObject]:
    """Yield the charges of a period of whole days, in order, asked for in pieces that are short.

    Raises:
        FinanceError: a single day has more than one answer may have.
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    days = (period.until - period.since).days
    if days <= 1:
        yield from ask(reader, CHARGES, period)
        return
    rows = _asked(reader, CHARGES, period, _ROWS_AT_ONCE)
    if len(rows) < _ROWS_AT_ONCE:
        yield from rows
        return
    del rows
    middle = period.since + timedelta(days=days // 2)
    yield from ask_charges(reader, replace(period, until=middle))
    yield from ask_charges(reader, replace(period, since=middle))


def _asked(reader: "TraceReader", sql: str, period: Period, limit: int, **parameters: str) -> Rows:
    given = {"since": period.since.isoformat(), "until": period.until.isoformat(), **parameters}
    if "$apps" in sql:
        return reader.query(sql, given | {"apps": None if period.apps is None else list(period.apps)}, limit=limit)
    if period.apps is not None:
        raise FinanceError("This is known of all apps together only.")
    return reader.query(sql, given, limit=limit)
