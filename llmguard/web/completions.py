"""`POST /v1/completions`: the older endpoint for one text, said as a chat with one message of the user.

Source: OpenAI API reference, "Completions (legacy)" (read 2026-11).
"""

import time
from typing import Any, Final

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.pieces import cut
from llmguard.web.exchange import Arrival
from llmguard.web.wire import (
    DONE,
    check_count,
    check_parameters,
    invalid,
    read_flag,
    read_include_usage,
    read_model,
    read_object,
    read_texts,
    sse,
)

COMPLETIONS: Final = "/v1/completions"
_TRANSLATED: Final = frozenset({"model", "prompt", "stream", "stream_options", "echo", "logprobs"})
_ONE: Final = ("best_of",)
_MOST_LOGPROBS: Final = 20  # of a chat; this endpoint itself had 5


class CompletionExchange:
    """Translates one legacy completion and its answer."""

    def __init__(self, arrival: Arrival) -> None:
        """Take what came in."""
        self._body = arrival.body
        self._id = f"cmpl-{arrival.trace_id}"
        self._created = int(time.time())
        self._tokens = arrival.tokens
        self._echoed = ""
        self._begun: set[int] = set()

    def parse(self) -> ChatRequest:
        """Return the chat of the body.

        Raises:
            Refusal: invalid_request.
        """
        fields = read_object(self._body)
        prompt = read_texts(fields, "prompt", self._tokens, most=1)[0]
        if fields.get("suffix"):
            raise invalid("suffix", "`suffix` is not served", "Put what follows into the prompt, and ask for the gap.")
        for name in _ONE:
            if fields.get(name) not in (None, 1):
                raise invalid(name, f"`{name}` must be 1", f"Leave {name} out, or ask for several answers with n.")
        check_parameters(fields)
        check_count(fields, "logprobs", _MOST_LOGPROBS)
        if read_flag(fields, "echo"):
            self._echoed = prompt
        left_out = _TRANSLATED | {"suffix", *_ONE}
        parameters = {name: value for name, value in fields.items() if name not in left_out and value is not None}
        if fields.get("logprobs") is not None:
            parameters |= {"logprobs": True, "top_logprobs": fields["logprobs"]}
        return ChatRequest(
            endpoint=COMPLETIONS,
            model=read_model(fields),
            messages=[{"role": "user", "content": prompt}],
            stream=read_flag(fields, "stream"),
            include_usage=read_include_usage(fields.get("stream_options")),
            parameters=parameters,
        )

    def whole(self, answer: JsonObject) -> JsonObject:
        """Return the text completion of a chat completion."""
        return self._said(answer, "message") | ({"usage": answer["usage"]} if answer.get("usage") else {})

    def events(self, chunks: list[JsonObject]) -> bytes:
        """Return each chunk as one event."""
        return b"".join(map(self._event, cut(chunks)))

    def _event(self, chunk: JsonObject) -> bytes:
        said = self._said(chunk, "delta")
        if chunk.get("usage"):
            said["usage"] = chunk["usage"]
        elif not any(choice["text"] or choice["finish_reason"] for choice in said["choices"]):
            return b""
        return sse(said)

    def end(self) -> bytes:
        """Return OpenAI's end mark."""
        return DONE

    def broken(self, body: JsonObject) -> bytes:
        """Return one `error` event."""
        return b"event: error\n" + sse(body)

    def _said(self, answer: JsonObject, part: str) -> JsonObject:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": answer.get("created") or self._created,
            "model": answer.get("model") or "",
            "choices": [self._choice(choice, part) for choice in answer.get("choices") or ()],
        }

    def _choice(self, choice: JsonObject, part: str) -> JsonObject:
        index = choice.get("index", 0)
        spoken = choice.get(part) or {}
        text = spoken.get("content") or spoken.get("refusal") or ""
        echoed = "" if index in self._begun else self._echoed
        self._begun.add(index)
        return {
            "text": echoed + (text if isinstance(text, str) else ""),
            "index": index,
            "logprobs": _logprobs(choice.get("logprobs"), len(echoed)),
            "finish_reason": choice.get("finish_reason"),
        }


def _logprobs(logprobs: Any, offset: int) -> JsonObject | None:  # Any: as the provider sent it
    """Return a chat's logprobs in columns; offsets are counted from `offset`, the start of this text."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list):
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.get("token", ""))
    return {
        "tokens": [token.get("token", "") for token in tokens],
        "token_logprobs": [token.get("logprob") for token in tokens],
        "top_logprobs": [
            {other.get("token", ""): other.get("logprob") for other in token.get("top_logprobs") or ()}
            for token in tokens
        ],
        "text_offset": offsets,
    }
