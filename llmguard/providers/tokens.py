"""How many tokens a text, a request or an answer has, without a network; the figures the ledger reserves by.

Counting uses tiktoken with the two encodings that come inside LiteLLM's wheel, so nothing is ever downloaded. Other
vendors' tokenizers are not public: for them `input_allowance` adds a margin, and settling corrects it.
"""

import asyncio
import importlib.util
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Final

import tiktoken
import tiktoken.model
from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS  # type: ignore[import-untyped]  # a part without stubs

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject

# Sent as messages of a chat: OpenAI's published way to count them. `name` costs one more, the answer's start three.
# Source: OpenAI cookbook, "How to count tokens with tiktoken", section 6 (read 2026-11).
TOKENS_PER_MESSAGE: Final = 3
TOKENS_PER_NAME: Final = 1
TOKENS_OF_ROLE: Final = 1  # each of these is one token, in both encodings
_ROLES: Final = frozenset({"user", "assistant", "system", "tool", "developer", "function"})
TOKENS_OF_REPLY: Final = 3

# One part that is not text. A 1024x1024 image at high detail is 765 tokens for gpt-4o; larger ones are scaled to at
# most 768x2048, which is 1,105. Source: OpenAI, "Images and vision, calculating costs" (read 2026-11).
TOKENS_PER_MEDIA_PART: Final = 1_105

# What other vendors' tokenizers may need on top of o200k_base, and what their hidden tool prompts cost.
# Source: Anthropic, "Tool use, pricing": 159 to 530 tokens of system prompt when tools are given (read 2026-11).
FOREIGN_MARGIN: Final = 1.25
FOREIGN_FLAT_TOKENS: Final = 32
FOREIGN_TOOLS_TOKENS: Final = 530
FOREIGN_TOKENS_PER_INPUT: Final = 2  # BERT and its descendants put [CLS] and [SEP] around each text that they embed

_DEFAULT_ENCODING: Final = "o200k_base"
_TOKENS_FROM_CLIENTS: Final = "text-embedding-3-small"  # its encoding is what clients cut their texts with
# File name (SHA-1 of the address that tiktoken would download) and SHA-256 of the content, from tiktoken 0.14.0.
_ENCODING_FILES: Final = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}

# A run of one kind (blank or not) longer than this is counted in pieces: 1,000,000 blanks overflow the stack of
# tiktoken 0.14.0's regex engine (measured: PanicException), and time grows faster than length.
_LONGEST_RUN: Final = 4_096
_RUNS: Final = re.compile(r"\S+|\s+")
_MEDIA_PARTS: Final = frozenset({"image_url", "input_image", "image", "input_audio", "file", "video_url"})
_NOT_GENERATED: Final = frozenset({"role", "type", "id", "index"})
_MEDIA_FIELDS: Final = frozenset({"data", "b64_json"})  # base64: of `audio`, and of pictures
_DATA_URL: Final = re.compile(r"data:[\w.+/-]{1,100};base64,")
_LONG_CHARACTERS: Final = 100_000
_PART_CHARACTERS: Final = 40  # a message or part costs as much as so many characters
_COUNTED_OVER_JSON: Final = ("tools", "functions", "response_format", "prediction")


class TokenCounter:
    """Counts tokens offline. Loads an encoding on its first use (0.3 s, 43 MB); `load` does it ahead of time."""

    def __init__(self, folder: Path | None = None, *, cached_texts: int = 8_192) -> None:
        """Use the encoding files in this folder.

        Args:
            folder: where tiktoken's cache files lie; None takes those in LiteLLM's wheel, without importing LiteLLM.
            cached_texts: of how many texts counts are remembered, by digest: a chat resends its whole history.
        """
        self._folder = folder or bundled_encodings()
        self._encodings: dict[str, tiktoken.Encoding] = {}
        self._encoding_names: dict[str, str] = {}
        # Two generations instead of an ordered map: no lock, and each get and put is one step under any threading.
        self._generation = max(1, cached_texts // 2)
        self._young: dict[tuple[str, bytes], int] = {}
        self._old: dict[tuple[str, bytes], int] = {}

    def load(self, targets: tuple[str, ...] = ("gpt-4o",)) -> None:
        """Load the encodings of these targets now.

        Raises:
            RuntimeError: a file is missing or is not what tiktoken expects.
        """
        for target in targets:
            self._encoding(target)

    def count_tokens(self, text: str, target: str) -> int:
        """Return the tokens of one text; special tokens in it are counted as plain text."""
        return self._count(text, self._encoding(target))

    def _count(self, text: str, encoding: tiktoken.Encoding) -> int:
        if not text:
            return 0
        key = (encoding.name, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        known = self._young.get(key)
        if known is None:
            known = self._old.get(key)
            if known is None:
                known = sum(len(encoding.encode_ordinary(piece)) for piece in _pieces(text))
            self._remember(key, known)
        return known

    def count_request(self, body: JsonObject, target: str) -> int:
        """Return the input tokens of a chat completion body by OpenAI's published counting, or of texts to embed.

        Tools and response schemas count over their JSON, which is more than OpenAI's own rendering of them; an image,
        audio or file part counts as `TOKENS_PER_MEDIA_PART`.
        """
        return self._count_body(body, self._encoding(target))

    def count_answer(self, message: JsonObject, target: str) -> int:
        """Return the output tokens of one choice's message, or of its deltas put together.

        Every text counts, also in fields that we have never seen. Sound and pictures count as in a request.
        """
        return sum(
            TOKENS_PER_MEDIA_PART if is_media else self.count_tokens(text, target)
            for text, is_media in generated_texts(message)
        )

    def input_allowance(self, body: JsonObject, model: Model) -> int:
        """Return the input tokens to reserve for a body at a model.

        Exact for echo; OpenAI's counting where tiktoken knows the target; else that plus a margin of 25 % and
        32 tokens, 530 more where there are tools, and 2 for each text to embed.
        """
        return self._allowance(self.count_request(body, model.target), body, model)

    def _allowance(self, counted: int, body: JsonObject, model: Model) -> int:
        if model.provider.kind == "echo":
            return counted
        if model.provider.kind == "openai" and _known_encoding(model.target) is not None:
            return counted
        more = FOREIGN_TOOLS_TOKENS if body.get("tools") else 0
        more += FOREIGN_TOKENS_PER_INPUT * len(body.get("input") or ())
        return math.ceil(counted * FOREIGN_MARGIN) + FOREIGN_FLAT_TOKENS + more

    async def most_input(self, body: JsonObject, models: Sequence[Model]) -> int:
        """Return the input tokens to reserve for a body, by the model that counts most.

        Much text is counted beside the event loop (9 MB take three seconds), which others need meanwhile.
        """

        def count() -> int:
            counted: dict[tiktoken.Encoding, int] = {}
            most = 0
            for model in models:
                encoding = self._encoding(model.target)
                if encoding not in counted:
                    counted[encoding] = self._count_body(body, encoding)
                most = max(most, self._allowance(counted[encoding], body, model))
            return most

        return await asyncio.to_thread(count) if _is_long(body) else count()

    def truncate(self, text: str, target: str, *, max_tokens: int) -> str:
        """Return the longest start of a text, in whole characters, that counts at most `max_tokens`."""
        if self.count_tokens(text, target) <= max_tokens:
            return text
        encoding = self._encoding(target)
        tokens: list[int] = []
        for piece in _pieces(text):
            tokens += encoding.encode_ordinary(piece)
            if len(tokens) > max_tokens:
                break
        # A start of the tokens may count more than it has once it is text again: merges differ at the cut.
        for kept in range(max_tokens, 0, -1):
            start = encoding.decode_bytes(tokens[:kept]).decode("utf-8", "ignore")
            if self.count_tokens(start, target) <= max_tokens:
                return start
        return ""

    def decode(self, tokens: object) -> str | None:
        """Return the text of tokens of cl100k_base; None for what are no such tokens."""
        if not isinstance(tokens, list) or not all(isinstance(one, int) and one >= 0 for one in tokens):
            return None
        try:
            return self._encoding(_TOKENS_FROM_CLIENTS).decode_bytes(tokens).decode("utf-8", "replace")
        except (KeyError, OverflowError):  # numbers of no token
            return None

    def _count_body(self, body: JsonObject, encoding: tiktoken.Encoding) -> int:
        if "messages" not in body and isinstance(body.get("input"), list):
            return sum(self._count_part(text, encoding) for text in body["input"])
        total = TOKENS_OF_REPLY
        for message in body.get("messages") or ():
            total += TOKENS_PER_MESSAGE
            for name, value in message.items():
                if isinstance(value, str):
                    total += TOKENS_OF_ROLE if name == "role" and value in _ROLES else self._count(value, encoding)
                elif value:
                    total += self._count_other(name, value, encoding)
            if message.get("name"):
                total += TOKENS_PER_NAME
        for name in _COUNTED_OVER_JSON:
            if body.get(name):
                total += self._count(_as_json(body[name]), encoding)
        return total

    def _count_other(self, name: str, value: Any, encoding: tiktoken.Encoding) -> int:  # Any: not checked yet
        """Return the tokens of a field of a message that is no text."""
        if name == "content" and isinstance(value, list):
            return sum(self._count_part(part, encoding) for part in value)
        return self._count(_as_json(value), encoding)

    def _count_part(self, part: Any, encoding: tiktoken.Encoding) -> int:  # Any: one part of a message, not checked yet
        if isinstance(part, dict):
            if part.get("type") in _MEDIA_PARTS:
                return TOKENS_PER_MEDIA_PART
            if isinstance(part.get("text"), str):
                return self._count(part["text"], encoding)
        return self._count(part if isinstance(part, str) else _as_json(part), encoding)

    def _encoding(self, target: str) -> tiktoken.Encoding:
        name = self._encoding_names.get(target)
        if name is None:
            # Targets come from the registry, so this map stays small.
            name = self._encoding_names[target] = _known_encoding(target) or _DEFAULT_ENCODING
        encoding = self._encodings.get(name)
        if encoding is None:
            encoding = self._encodings[name] = _load(name, self._folder)
        return encoding

    def _remember(self, key: tuple[str, bytes], count: int) -> None:
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[key] = count


def generated_texts(message: JsonObject) -> Iterator[tuple[str, bool]]:
    """Yield every text that a model wrote into a message or a delta, and whether it is encoded sound or a picture.

    Roles, types, ids and indexes are not the model's; keys and empty texts are left out. Takes any JSON, of any depth.
    """
    waiting: list[tuple[str, Any]] = list(message.items())  # Any: not checked yet
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, item) for item in value]
        elif isinstance(value, str) and value and name not in _NOT_GENERATED:
            yield value, name in _MEDIA_FIELDS or _DATA_URL.match(value) is not None


def bundled_encodings() -> Path:
    """Return the folder of LiteLLM's wheel that holds tiktoken's encodings; does not import LiteLLM (4 s).

    Raises:
        RuntimeError: LiteLLM is not installed.
    """
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        message = "tokens cannot be counted: litellm, whose wheel carries the encodings, is not installed"
        raise RuntimeError(message)
    return Path(spec.submodule_search_locations[0]) / "litellm_core_utils" / "tokenizers"


@cache
def _load(name: str, folder: Path) -> tiktoken.Encoding:
    """Return an encoding, sure that tiktoken finds it on disk: it would fetch a missing or broken file itself."""
    file_name, expected = _ENCODING_FILES[name]
    path = folder / file_name
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"tokens cannot be counted: {path} ({name}) cannot be read; reinstall litellm"
        raise RuntimeError(message) from error
    if sha256(content).hexdigest() != expected:
        message = f"tokens cannot be counted: {path} is not the {name} that tiktoken expects; reinstall litellm"
        raise RuntimeError(message)
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)  # tiktoken's only way to be told
    definition = ENCODING_CONSTRUCTORS[name]()
    encoding = tiktoken.Encoding(**definition)
    definition["mergeable_ranks"].clear()  # tiktoken keeps it for pickling alone: 30 MB
    return encoding


@lru_cache(maxsize=1_024)
def _known_encoding(target: str) -> str | None:
    """Return the bundled encoding that tiktoken names for an OpenAI target; None for targets it does not know."""
    try:
        name = tiktoken.model.encoding_name_for_model(target.rpartition("/")[2])
    except KeyError:
        return None
    if name == "o200k_harmony":  # gpt-oss: o200k_base with other special tokens, which never occur as text here
        return "o200k_base"
    return name if name in _ENCODING_FILES else None


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in order, whole where it is harmless, and runs that would hurt tiktoken in pieces."""
    if len(text) <= _LONGEST_RUN:
        yield text
        return
    start = 0
    for run in _RUNS.finditer(text):
        if run.end() - run.start() <= _LONGEST_RUN:
            continue
        if run.start() > start:
            yield text[start : run.start()]
        for cut in range(run.start(), run.end(), _LONGEST_RUN):
            yield text[cut : min(cut + _LONGEST_RUN, run.end())]
        start = run.end()
    if start < len(text):
        yield text[start:]


def _is_long(body: JsonObject) -> bool:
    """Tell whether counting the texts of a body takes longer than others should wait, without reading them."""
    left = _LONG_CHARACTERS
    for text in body.get("input") or ():
        left -= len(text)
    for message in body.get("messages") or ():
        content = message.get("content") or ""
        if isinstance(content, str):
            left -= len(content) + _PART_CHARACTERS
            continue
        for part in content:
            left -= len(part if isinstance(part, str) else part.get("text") or "") + _PART_CHARACTERS
    return left < 0


def _as_json(value: Any) -> str:  # Any: JSON of any shape
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
