"""`POST /v1/embeddings`: texts to vectors, through the same steps; the vectors are those of the redacted texts.

Source: OpenAI API reference, "Create embeddings" (read 2026-11).
"""

import array
import base64
import sys
from typing import Final

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.web.exchange import Arrival
from llmguard.web.wire import check_count, check_parameters, invalid, read_model, read_object, read_texts

EMBEDDINGS: Final = "/v1/embeddings"
_TRANSLATED: Final = frozenset({"model", "input", "encoding_format"})
_MOST_INPUTS: Final = 2048  # Source: OpenAI API reference, embeddings, `input`
_MOST_DIMENSIONS: Final = 65_536


class EmbeddingExchange:
    """Translates one request for embeddings and its answer."""

    def __init__(self, arrival: Arrival) -> None:
        """Take what came in."""
        self._body = arrival.body
        self._tokens = arrival.tokens
        self._as_base64 = False

    def parse(self) -> ChatRequest:
        """Return the texts of the body.

        Raises:
            Refusal: invalid_request.
        """
        fields = read_object(self._body)
        form = fields.get("encoding_format", "float")
        if form not in ("float", "base64", None):
            raise invalid("encoding_format", "`encoding_format` must be float or base64", "Correct it.")
        self._as_base64 = form == "base64"
        check_count(fields, "dimensions", _MOST_DIMENSIONS)
        check_parameters(fields)
        texts = read_texts(fields, "input", self._tokens, most=_MOST_INPUTS)
        parameters = {name: value for name, value in fields.items() if name not in _TRANSLATED and value is not None}
        return ChatRequest(EMBEDDINGS, read_model(fields), [], parameters=parameters, inputs=texts)

    def whole(self, answer: JsonObject) -> JsonObject:
        """Return the vectors as they were asked for: lists of numbers, or base64 of little-endian float32."""
        if self._as_base64:
            return answer
        vectors = [one | {"embedding": _numbers(one["embedding"])} for one in answer["data"]]
        return answer | {"data": vectors}

    def events(self, chunks: list[JsonObject]) -> bytes:
        """Embeddings have no stream."""
        raise AssertionError(len(chunks))

    def end(self) -> bytes:
        """Embeddings have no stream."""
        raise AssertionError

    def broken(self, body: JsonObject) -> bytes:
        """Embeddings have no stream."""
        raise AssertionError(body.keys())


def _numbers(encoded: str) -> list[float]:
    numbers = array.array("f", base64.b64decode(encoded))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
