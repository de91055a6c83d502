"""Replays and evidence on the page of a trace: proven from the store, asked again of the model, or packed and signed.

A live replay goes through this worker's own parts, so that it waits as a request does and holds nobody up.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import GuardError
from llmguard.domain.operators import OperatorRefused
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.replay.difference import Answer, lines_of, side_by_side
from llmguard.replay.errors import CannotReplay
from llmguard.replay.live import LiveReplay, Parts, Run, account_of, replay_live
from llmguard.replay.offline import replay_offline
from llmguard.replay.plan import Choice
from llmguard.replay.stored import read_stored
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.console.desk import Desk
from llmguard.web.console.layout import TRACES, Console, is_part
from llmguard.web.console.trace_access import may_on, read_trace
from llmguard.web.console.trace_text import Piece, Teller
from llmguard.web.operators import Visit

_SECONDS: Final = 60.0
_WIDTH: Final = 46  # characters of a side
_MOST_LINES: Final = 400  # of a side: longer ones are compared by their figures alone
_MOST_TEMPERATURE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of two answers beside each other."""

    then: tuple[Piece, ...]
    mark: str
    now: tuple[Piece, ...]


def replay_router(console: Console, desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    may_replay = console.guard.require("replay.run")
    accepted = AcceptedRegistries(desk.settings.data / "registry")

    @router.post(f"{TRACES}/{{trace_id}}/replay/stored")
    async def stored(trace_id: str, request: Request, visit: Annotated[Visit, Depends(may_replay)]) -> Response:
        trace = await read_trace(console, visit.permit, trace_id)
        row = await _exact_row(console, trace)
        await desk.record(visit, "trace.replayed", trace_id, trace["app"], live=False)
        return _answer(console, request, visit, trace, proof=replay_offline(row), digest=row["payload_digest"])

    @router.post(f"{TRACES}/{{trace_id}}/replay/live")
    async def live(trace_id: str, request: Request, visit: Annotated[Visit, Depends(may_replay)]) -> Response:
        trace = await read_trace(console, visit.permit, trace_id)
        choice = _choice(visit.form)
        row = await _exact_row(console, trace)
        parts = _parts(console, desk, accepted)
        await desk.record(
            visit, "trace.replayed", trace_id, trace["app"], live=True, preset=choice.preset, model=choice.model
        )
        try:
            account_of(parts.registry, visit.operator.who)
            async with asyncio.timeout(_SECONDS):
                result = await replay_live(parts, read_stored(row), choice, visit.operator.who)
        except CannotReplay as reason:
            return _answer(console, request, visit, trace, refused=str(reason))
        except TimeoutError:
            words = f"The model has not answered within {_SECONDS:g} seconds; it was not waited for any longer."
            return _answer(console, request, visit, trace, refused=words)
        except GuardError as error:
            return _answer(console, request, visit, trace, refused=f"{error.message} {error.hint or ''}")
        sees_content = may_on(console, visit, "traces.content", trace)
        facts = await asyncio.to_thread(_compared, result, trace, sees_content=sees_content)
        return _answer(console, request, visit, trace, **facts)

    return router


def _parts(console: Console, desk: Desk, accepted: AcceptedRegistries) -> Parts:
    services = console.guard.services
    return Parts(
        clock=services.clock,
        registry=services.registry,
        accepted=accepted,
        redactor=services.redactor,
        policies=services.policies,
        tokens=services.tokens,
        ledger=services.ledger,
        providers=services.providers,
        recorder=services.recorder,
        environ=desk.environ,
    )


def _answer(console: Console, request: Request, visit: Visit, trace: JsonObject, **facts: object) -> Response:
    given = {"trace": trace, "proof": None, "refused": None, "result": None} | facts
    if is_part(request):
        return console.part(visit, "trace_replayed.html", **given)
    return console.page(visit, "trace_replayed_page.html", "Replay", TRACES, **given)


async def _exact_row(console: Console, trace: JsonObject) -> JsonObject:
    """Return a trace with its JSON as the exact texts that its digest covers."""

    def read() -> JsonObject:
        return next(console.open_traces().export(limit=1, after_seq=trace["seq"] - 1))

    try:
        return await asyncio.to_thread(read)
    except (TraceStoreError, TraceQueryError):
        raise OperatorRefused("conflict", "The traces cannot be read now.", "Try again in a minute.") from None


def _choice(form: Mapping[str, str]) -> Choice:
    """Return what is asked differently.

    Raises:
        OperatorRefused: body_refused; the temperature is none.
    """
    text = form.get("temperature", "").strip()
    try:
        temperature = float(text) if text else None
    except ValueError:
        temperature = -1.0
    if temperature is not None and not 0 <= temperature <= _MOST_TEMPERATURE:
        raise OperatorRefused("body_refused", "This is no temperature.", "Give a figure from 0 to 2, or leave it out.")
    return Choice(form.get("preset") or None, form.get("model") or None, temperature)


def _compared(result: LiveReplay, trace: JsonObject, *, sees_content: bool) -> JsonObject:
    [run], [difference] = result.runs, result.differences
    then, now = result.stored.answer, run.answer
    return {
        "result": result,
        "run": run,
        "difference": difference,
        "rows": [(name, show(then), show(now)) for name, show in _COMPARED],
        "pairs": _pairs(then, run, Teller(tuple(trace["entities"] or ()))) if sees_content else None,
        "sees_content": sees_content,
    }


def _pairs(then: Answer, run: Run, teller: Teller) -> list[Pair] | None:
    left, right = lines_of(then), lines_of(run.answer)
    if max(sum(map(len, left)), sum(map(len, right))) > _MOST_LINES * _WIDTH:
        return None
    return [
        Pair(tuple(teller.pieces(one)), mark, tuple(teller.pieces(other)))
        for one, mark, other in side_by_side(left, right, _WIDTH)
    ]


_COMPARED: Final[tuple[tuple[str, Callable[[Answer], str]], ...]] = (
    ("outcome", lambda answer: f"{answer.status} {answer.code or ''}".strip()),
    ("model", lambda answer: answer.model or "-"),
    ("calls of tools", lambda answer: str(len(answer.tool_calls))),
    ("tokens read", lambda answer: "-" if answer.input_tokens is None else f"{answer.input_tokens:,}"),
    ("tokens written", lambda answer: "-" if answer.output_tokens is None else f"{answer.output_tokens:,}"),
    ("cost, USD", lambda answer: "-" if answer.cost_usd is None else f"{answer.cost_usd:f}"),
    ("took", lambda answer: "-" if answer.latency_ms is None else f"{answer.latency_ms:,.0f} ms"),
)
