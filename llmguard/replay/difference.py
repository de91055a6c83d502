"""What differs between two answers: texts, tool calls, vectors and outcome are judged; tokens, cost and time are told.

Two answers are the same if they have the same outcome, texts and tool calls. Arguments of tools are compared as JSON,
so that spaces and the order of keys do not count; the ids of calls, which are drawn anew each time, neither.
"""

import base64
import difflib
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from llmguard.domain.chat import JsonObject
from llmguard.domain.money import to_usd
from llmguard.domain.trace import Trace
from llmguard.providers.usage import choices_of

# Providers compute vectors on different machines, so that the last bits differ; beyond this they mean something else.
SAME_VECTORS: Final = 0.999


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool; `arguments` is JSON in one spelling, or the text if it is none."""

    choice: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, and what it took.

    Attributes:
        texts: of each choice, in their order.
        tool_calls: of all choices.
        vectors: of embeddings, as base64 of 32-bit floats.
    """

    trace_id: str
    status: int | None
    code: str | None
    texts: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    vectors: tuple[str, ...] = ()
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How an answer compares with another one.

    Attributes:
        is_same: outcome, texts, tool calls and vectors are the same.
        similarity: of the texts, word by word, from 0 to 1; of vectors, the least cosine.
        parts: which of `outcome`, `text`, `tool_calls` and `vectors` differ.
    """

    is_same: bool
    similarity: float
    parts: tuple[str, ...]


def answer_of(row: JsonObject, response: JsonObject | None) -> Answer:
    """Return the answer of a stored trace; `response` is its redacted body."""
    cost = row["cost_usd"]
    return Answer(
        row["trace_id"],
        row["status"],
        row["code"],
        *_content(response),
        model=row["model"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cost_usd=None if cost is None else Decimal(str(cost)),
        latency_ms=row["latency_ms"],
    )


def answer_now(trace: Trace) -> Answer:
    """Return the answer of a trace that was just written."""
    return Answer(
        trace.trace_id,
        trace.status,
        trace.code,
        *_content(trace.response),
        model=trace.model,
        input_tokens=trace.input_tokens,
        output_tokens=trace.output_tokens,
        cost_usd=None if trace.cost_nano_usd is None else to_usd(trace.cost_nano_usd),
        latency_ms=trace.latency_ms,
    )


def compare(then: Answer, now: Answer) -> Difference:
    """Return what differs between two answers."""
    cosine = _least_cosine(then.vectors, now.vectors)
    unequal = {
        "outcome": (then.status, then.code) != (now.status, now.code),
        "text": then.texts != now.texts,
        "tool_calls": then.tool_calls != now.tool_calls,
        "vectors": cosine < SAME_VECTORS,
    }
    similarity = min(cosine, _similarity("\n".join(then.texts), "\n".join(now.texts)))
    parts = tuple(name for name, differs in unequal.items() if differs)
    return Difference(not parts, similarity, parts)


def agreement(then: Answer, runs: Sequence[Answer]) -> float:
    """Return the share of runs that are the same as the stored answer."""
    return sum(compare(then, run).is_same for run in runs) / len(runs)


def stability(runs: Sequence[Answer]) -> float:
    """Return the share of runs that are the same as the most frequent of them, whatever was stored."""
    kinds = Counter((run.status, run.code, run.texts, run.tool_calls, run.vectors) for run in runs)
    return max(kinds.values()) / len(runs)


def side_by_side(then: Sequence[str], now: Sequence[str], width: int) -> Iterator[tuple[str, str, str]]:
    """Yield two texts beside each other, in lines of a width: left, mark, right.

    The mark is `|` between lines that differ, `<` or `>` where one stands alone, and a blank where both are the same.
    """
    left, right = _wrapped(then, width), _wrapped(now, width)
    for tag, start, end, other_start, other_end in difflib.SequenceMatcher(None, left, right).get_opcodes():
        for index in range(max(end - start, other_end - other_start)):
            one = left[start + index] if start + index < end else ""
            other = right[other_start + index] if other_start + index < other_end else ""
            alone = "<" if start + index < end else ">"
            both = start + index < end and other_start + index < other_end
            yield one, " " if tag == "equal" else "|" if both else alone, other


def lines_of(answer: Answer) -> list[str]:
    """Return the lines of an answer: its texts, and a line for each call of a tool."""
    calls = [f"calls {call.name}({call.arguments})" for call in answer.tool_calls]
    return [line for text in answer.texts for line in text.splitlines()] + calls


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]


def _similarity(then: str, now: str) -> float:
    if then == now:
        return 1.0
    return difflib.SequenceMatcher(None, then.split(), now.split()).ratio()


def _least_cosine(then: Sequence[str], now: Sequence[str]) -> float:
    if then == now:
        return 1.0
    if len(then) != len(now):
        return 0.0
    return min(
        _cosine(*(np.frombuffer(base64.b64decode(one), "<f4") for one in pair)) for pair in zip(then, now, strict=True)
    )


def _cosine(one: "np.ndarray[Any, Any]", other: "np.ndarray[Any, Any]") -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if one.shape == other.shape and lengths else 0.0


def _content(response: JsonObject | None) -> tuple[tuple[str, ...], tuple[ToolCall, ...], tuple[str, ...]]:
    """Return texts, tool calls and vectors of a redacted answer."""
    if response is None:
        return (), (), ()
    messages = [(index, choice.get("message")) for index, choice in choices_of(response)]
    said = [(index, message) for index, message in messages if isinstance(message, dict)]
    texts = tuple(_text(message) for _, message in said)
    calls = tuple(call for index, message in said for call in _calls(index, message))
    data = response.get("data")
    vectors = tuple(str(item.get("embedding")) for item in data if isinstance(item, dict)) if data else ()
    return texts, calls, vectors


def _text(message: JsonObject) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return "".join(str(part) for part in (content, message.get("refusal")) if part)


def _calls(choice: int, message: JsonObject) -> Iterator[ToolCall]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        body = call.get("function") or call.get("custom") if isinstance(call, dict) else None
        if isinstance(body, dict):
            yield ToolCall(choice, str(body.get("name")), _plain(body.get("arguments", body.get("input"))))
    called = message.get("function_call")
    if isinstance(called, dict):
        yield ToolCall(choice, str(called.get("name")), _plain(called.get("arguments")))


def _plain(arguments: Any) -> str:  # Any: not checked yet
    """Return arguments in one spelling: sorted keys, no spaces; what is no JSON as it is."""
    try:
        decoded = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except msgspec.DecodeError:
        return str(arguments)
    return msgspec.json.encode(decoded, order="sorted").decode()
