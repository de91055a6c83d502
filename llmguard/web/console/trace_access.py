"""Who may see which trace, and do what with it: by the app that it is of."""

import asyncio
import re
from typing import Final

from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import OperatorRefused
from llmguard.identity.roles import Action, Permit, reach_of
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.console.layout import Console
from llmguard.web.operators import Visit

_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


async def read_trace(console: Console, permit: Permit, trace_id: str) -> JsonObject:
    """Return a trace that an operator may see.

    Raises:
        OperatorRefused: not_found; there is none, or not for them. conflict; it cannot be read now.
    """
    trace = None
    if _TRACE_ID.fullmatch(trace_id):
        try:
            trace = await asyncio.to_thread(lambda: console.open_traces().show(trace_id))
        except (TraceStoreError, TraceQueryError):
            raise OperatorRefused("conflict", "The traces cannot be read now.", "Try again in a minute.") from None
    if trace is None or not covers(console, permit, trace):
        raise OperatorRefused(
            "not_found",
            "There is no such trace among those that you may see.",
            "Check the id. A trace is there within a second of its answer, and you see those of your apps.",
        )
    return trace


def covers(console: Console, permit: Permit, trace: JsonObject) -> bool:
    """Whether what an operator may do counts for the app of a trace."""
    app = console.guard.services.registry.apps.get(str(trace["app"]))
    return permit.reach == "all" or (app is not None and permit.covers(app))


def may_on(console: Console, visit: Visit, action: Action, trace: JsonObject) -> bool:
    """Whether an operator may do something with this trace."""
    reach = reach_of(visit.operator.roles, action)
    return reach is not None and covers(console, Permit(visit.operator, action, reach), trace)
