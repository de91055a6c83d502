"""`/console/traces/{trace_id}`: one trace: its nine steps, what was said (redacted), why, and what decided it."""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llmguard.catalog.steps import Step, steps_of
from llmguard.domain.chat import JsonObject
from llmguard.evidence.pinned import pinned_facts
from llmguard.identity.roles import Action
from llmguard.web.console.desk import Desk
from llmguard.web.console.layout import TRACES, Console, is_part, may
from llmguard.web.console.trace_access import may_on, read_trace
from llmguard.web.console.trace_text import Teller, answered_in, asked_in, colour_of
from llmguard.web.downloads import stream_lines
from llmguard.web.operators import Visit

_CONTENT: Final = ("request", "response", "chunks")
_APART: Final = frozenset(
    {
        *("decision", "steps", *_CONTENT, "entities", "trace_id", "started_at", "status", "code", "seq", "erased_at"),
        *("erased_by", "endpoint", "latency_ms", "cost_usd", "app", "preset", "preset_version", "stream"),
    }
)
_MOST_JSON: Final = 6_000
_OFFERED: Final[tuple[Action, ...]] = ("replay.run", "rules.read", "evidence.pack", "apps.contain")
_LEAST_WIDTH: Final = 0.6  # percent: a step is seen however short it was


@dataclass(frozen=True, slots=True)
class Bar:
    """One step as it is drawn, in percent of the whole time; `width` 0: not drawn."""

    step: Step
    left: float
    width: float


def trace_router(console: Console, desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    require = console.guard.require("traces.read")

    @router.get(f"{TRACES}/{{trace_id}}")
    async def show(trace_id: str, visit: Annotated[Visit, Depends(require)]) -> Response:
        trace = await read_trace(console, visit.permit, trace_id)
        facts = await asyncio.to_thread(_facts, console, visit, trace)
        return console.page(visit, "trace.html", f"Trace {trace_id[:13]}", TRACES, **facts)

    @router.get(f"{TRACES}/{{trace_id}}/content")
    async def download(
        trace_id: str, visit: Annotated[Visit, Depends(console.guard.require("traces.content"))]
    ) -> Response:
        trace = await read_trace(console, visit.permit, trace_id)
        answer = await stream_lines(lambda: [json.dumps(trace, indent=2, ensure_ascii=False)], f"trace-{trace_id}.json")
        await desk.record(visit, "trace.exported", trace_id, trace["app"])
        return answer

    @router.get(f"{TRACES}/{{trace_id}}/pinned")
    async def pinned(
        trace_id: str, request: Request, visit: Annotated[Visit, Depends(console.guard.require("rules.read"))]
    ) -> Response:
        trace = await read_trace(console, visit.permit, trace_id)
        found = await asyncio.to_thread(pinned_facts, trace, desk.settings)
        parts = [(name, found[name]) for name in ("preset", "model", "app", "redaction_profile")]
        facts: JsonObject = {
            "trace": trace,
            "parts": [(name, None if part is None else shown_json(part)) for name, part in parts],
            "policies": found["policies"],
            "digests": [(name, found[name]) for name in found if name.endswith(("_digest", "_version"))],
        }
        if is_part(request):
            return console.part(visit, "trace_pinned.html", **facts)
        return console.page(visit, "trace_pinned_page.html", "What decided it", TRACES, **facts)

    return router


def shown_json(value: Any) -> str:  # Any: JSON
    """Return JSON as people read it; what is too long for a page ends with a word that it does."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_JSON else f"{text[:_MOST_JSON]}\n... ({len(text):,} characters)"


def _facts(console: Console, visit: Visit, trace: JsonObject) -> JsonObject:
    sees_content = may_on(console, visit, "traces.content", trace)
    entities = trace["entities"] or {}
    teller = Teller(tuple(entities))
    decision = trace["decision"] or {}
    started_at = datetime.fromisoformat(trace["started_at"])
    services = console.guard.services
    app = services.registry.apps.get(str(trace["app"]))
    return {
        "trace": trace,
        "started_at": started_at,
        "bars": bars_of(trace),
        "reasons": decision.get("reasons") or (),
        "notes": (decision.get("policy") or {}).get("reasons") or (),
        "adjusted": decision.get("adjusted") or (),
        "decision": shown_json(decision),
        "hidden": [(name, number, colour_of(name)) for name, number in entities.items()],
        "facts": [(name, _fact(value)) for name, value in trace.items() if name not in _APART and value is not None],
        "sees_content": sees_content,
        "asked": asked_in(trace["request"], teller) if sees_content else (),
        "answered": answered_in(trace["response"], teller) if sees_content else (),
        "chunks": len(trace["chunks"] or ()),
        "may": {name: may_on(console, visit, name, trace) for name in _OFFERED},
        "budget": services.registry.replay.account(visit.operator.who) is not None,
        "models": list(services.registry.models),
        "presets": [preset.id for versions in services.registry.presets.values() for preset in versions],
        "app": app,
        "sees_app": app is not None and may(visit.operator, "apps.read", app),
        "around": {
            "since": f"{started_at - timedelta(minutes=5):%Y-%m-%dT%H:%M}",
            "until": f"{started_at + timedelta(minutes=6):%Y-%m-%dT%H:%M}",
        },
    }


def _fact(value: Any) -> str:  # Any: a column
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def bars_of(trace: JsonObject) -> list[Bar]:
    """Return the nine steps as they are drawn."""
    steps = steps_of(trace)
    whole = max((step.ended_ms for step in steps if step.ended_ms is not None), default=0.0) or 1.0
    call = next((step for step in steps if step.name == "call"), None)
    return [_bar(step, call if step.is_within_call and call is not None else step, whole) for step in steps]


def _bar(step: Step, timed: Step, whole: float) -> Bar:
    if timed.began_ms is None or timed.took_ms is None:
        return Bar(step, 0, 0)
    width = max(_LEAST_WIDTH, round(100 * timed.took_ms / whole, 2))
    return Bar(step, round(min(100 * timed.began_ms / whole, 100 - width), 2), width)
