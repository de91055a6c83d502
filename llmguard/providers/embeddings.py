"""Answers of embedding models, brought into one shape: vectors as base64 of little-endian 32-bit floats, checked.

Refuses to know which wire an answer came by: it takes what OpenAI's wire, or LiteLLM, gives.
"""

import base64
import binascii
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.providers import failures
from llmguard.providers.tokens import TokenCounter
from llmguard.providers.usage import read_usage

MOST_DIMENSIONS: Final = 65_536  # the largest of today's models have 8,192; beyond is garbage
_FLOAT: Final = np.dtype("<f4")


def plain_embeddings(model: Model, body: JsonObject, answer: JsonObject, tokens: TokenCounter) -> JsonObject:
    """Return OpenAI's embeddings list with the vectors of all inputs, in their order, as base64.

    Args:
        model: who answered.
        body: what was asked; its `input` says how many vectors there have to be.
        answer: the provider's JSON object, with vectors as lists of numbers or as base64; not checked yet.
        tokens: counts the input where the provider reports no usage.

    Raises:
        AttemptFailed: a vector is missing, is there twice, differs in length from the others or is none.
    """
    vectors = _vectors(answer.get("data"), len(body["input"]))
    if vectors is None:
        raise failures.not_understood(model)
    usage = read_usage(answer)
    input_tokens = tokens.count_request(body, model.target) if usage is None else usage.input_tokens
    name = answer.get("model")
    return embeddings_list(name if isinstance(name, str) and name else model.target, vectors, input_tokens)


def embeddings_list(name: str, vectors: list[str], input_tokens: int) -> JsonObject:
    """Return vectors, in base64, as OpenAI lists them. Source: OpenAI API reference, "Create embeddings"."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": input_tokens, "total_tokens": input_tokens}
    return {"object": "list", "data": data, "model": name, "usage": usage}


def encode_vector(vector: npt.ArrayLike) -> str:
    """Return numbers as base64 of little-endian 32-bit floats."""
    return base64.b64encode(np.asarray(vector, dtype=_FLOAT).tobytes()).decode("ascii")


def _vectors(data: Any, expected: int) -> list[str] | None:  # Any: not checked yet, as everywhere below
    """Return the vectors in the order of their inputs; None if anything about them is wrong."""
    if not isinstance(data, list) or len(data) != expected:
        return None
    found: dict[int, str] = {}
    sizes: set[int] = set()
    for position, item in enumerate(data):
        if not isinstance(item, dict):
            return None
        index = item.get("index", position)
        vector = _read_vector(item.get("embedding"))
        if vector is None or isinstance(index, bool) or not isinstance(index, int) or index in found:
            return None
        found[index] = encode_vector(vector)
        sizes.add(len(vector))
    is_complete = found.keys() == set(range(expected)) and len(sizes) == 1
    return [found[index] for index in range(expected)] if is_complete else None


def _read_vector(given: Any) -> npt.NDArray[np.float32] | None:
    """Return a vector of finite numbers; None for anything else."""
    try:
        if isinstance(given, str):
            if len(given) > MOST_DIMENSIONS * 6:  # 4 bytes are 16/3 characters
                return None
            vector = np.frombuffer(base64.b64decode(given, validate=True), dtype=_FLOAT)
        elif isinstance(given, list) and len(given) <= MOST_DIMENSIONS and all(map(_is_number, given)):
            vector = np.array(given, dtype=np.float64).astype(_FLOAT)
        else:
            return None
    except (binascii.Error, ValueError, OverflowError):
        return None
    is_vector = 0 < len(vector) <= MOST_DIMENSIONS and bool(np.isfinite(vector).all())
    return vector if is_vector else None


def _is_number(value: Any) -> bool:
    """Tell whether a value fits into 32 bits; numpy would also take text and truths."""
    kind = type(value)
    return kind in (float, int) and math.fabs(value) <= _LARGEST


_LARGEST: Final = float(np.finfo(np.float32).max)
