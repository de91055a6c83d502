"""A search that looks at the newest traces first, in slices of time, until it has enough or its time is over.

Texts have no index, so a search that finds nothing reads every text: a page tells how far it came, and goes on from
there. Slices grow while they are quick. Within a slice rows are as `TraceQueries.list` gives them, so what all slices
find together is what one list finds.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypedDict

from llmguard.traces.errors import TraceQueryError
from llmguard.traces.filters import TraceFilters, moment_of
from llmguard.traces.rows import Rows

FIRST_HOURS: Final = 1.0
_SLICE_SECONDS: Final = 0.012  # of the processor, for one slice: so much later a search ends at worst, about
_GROWTH: Final = 4.0
_LEAST_HOURS: Final = 1 / 60
_MOST_HOURS: Final = 24.0 * 3660


class Found(TypedDict):
    """What a search has found: rows, newest first.

    `reached` is the instant that it came back to, where older traces were not looked at for want of time; None: it has
    looked at all of them, or has as many rows as were wanted. `hours` is how long the next slice should be.
    """

    rows: Rows
    reached: str | None
    hours: float


def search_newest(
    look: Callable[[TraceFilters, int], Rows],
    filters: TraceFilters,
    *,
    limit: int,
    before: str,
    seconds: float,
    hours: float = FIRST_HOURS,
) -> Found:
    """Return the newest rows, of as many slices as fit into some seconds; at least of one.

    Args:
        look: gives the newest rows that pass filters, at most so many.
        filters: `since` among them.
        limit: how many rows are enough.
        before: an instant of about the newest trace; the first slice also has what is newer, up to `until`.
        seconds: how long it may go on.
        hours: how long the first slice is.

    Raises:
        TraceQueryError: there is no `since`, or a time is none.
    """
    if "since" not in filters:
        raise TraceQueryError("a search needs a time from which on it looks")
    since = datetime.fromisoformat(moment_of(filters["since"]))
    end = max(since, datetime.fromisoformat(moment_of(before)))
    slice_of, rows, began = dict(filters), Rows(), time.perf_counter()
    while True:
        hours = min(max(_LEAST_HOURS, hours), _MOST_HOURS)
        length = timedelta(hours=hours)
        start = end - length if end - since > length else since  # no calendar has what is long before its first day
        slice_of["since"] = start.isoformat()
        # Time of this thread, which does the work: on a busy machine slices would shrink, and cost no less.
        at = time.thread_time()
        rows += look(TraceFilters(**slice_of), limit - len(rows))  # type: ignore[typeddict-item]  # as `filters` was
        hours *= min(_GROWTH, _SLICE_SECONDS / max(time.thread_time() - at, 1e-6))
        is_whole = len(rows) >= limit or start == since
        if is_whole or time.perf_counter() - began >= seconds:
            return {"rows": rows, "reached": None if is_whole else start.isoformat(), "hours": hours}
        slice_of["until"], end = start.isoformat(), start
