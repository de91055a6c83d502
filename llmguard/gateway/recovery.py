"""After a crash: settle what dead workers held, by what their traces say.

A hold's id is its request's trace id. A trace that tells usage settles the hold by it; one without usage proves that no
provider was reached and releases it. A hold without any trace was in flight when its worker died: whether the provider
worked for it cannot be known, so the whole hold is charged, and a trace with the code `interrupted` says so.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.domain.quota import Amount, Orphan
from llmguard.domain.trace import Trace
from llmguard.quota.ledger import Ledger
from llmguard.traces.spool import Spool

INTERRUPTED = "interrupted"
_STATUS = 500
FindTraces = Callable[[Collection[str]], Mapping[str, JsonObject]]


async def settle_orphans(ledger: Ledger, spool: Spool, find_traces: FindTraces) -> int:
    """Settle every orphaned hold and return how many there were.

    Killed in the middle, it can simply run again: the trace is written first, and settling twice does nothing.

    Raises:
        Fault: the ledger or the spool cannot answer now.
        TraceStoreError: whether there are traces cannot be seen now.
    """
    orphans = await ledger.orphans()
    if not orphans:
        return 0
    traces = await asyncio.to_thread(find_traces, [orphan.id for orphan in orphans])
    for orphan in orphans:
        trace = traces.get(orphan.id)
        if trace is None:
            spool.append(_interrupted(orphan))
            ledger.settle_orphan(orphan, None)
        elif trace["input_tokens"] is None:
            ledger.release_orphan(orphan)
        else:
            ledger.settle_orphan(orphan, _used(trace))
    return len(orphans)


def _used(trace: Mapping[str, Any]) -> Amount:
    tokens = trace["input_tokens"] + (trace["output_tokens"] or 0)
    return Amount(1, tokens, trace["cost_nano_usd"] or 0)


def _interrupted(orphan: Orphan) -> Trace:
    reason = {
        "code": INTERRUPTED,
        "message": "The server was killed while this request was in flight. What it held is charged in full.",
        "hint": "Compare with the provider's own usage for this request id.",
        "param": None,
    }
    return Trace(
        trace_id=orphan.id,
        started_at=orphan.reserved_at,
        endpoint="/v1/chat/completions",
        app=orphan.app,
        status=_STATUS,
        code=INTERRUPTED,
        decision={"allowed": True, "reasons": [reason]},
        input_tokens=orphan.amount.tokens,  # input and output as they were held: which of them was used is not known
        output_tokens=0,
        cost_nano_usd=orphan.amount.nano_usd,
        cost_basis="held",
    )
