"""Read what people paste: a key, an error, a line of a log, a trace id, an address; or several of them in one text."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from llmguard.domain.chat import JsonObject
from llmguard.identity.key_text import KEY_PATTERN, PREFIX, is_well_formed

LONGEST_TEXT: Final = 20_000
_KEY_LENGTH: Final = 57
_MASKED: Final = re.compile(r"(?i)\b(?:sk|pk|xai|gsk|hf|ghp|key)[-_][A-Za-z0-9_-]{6,}|\bAIza[A-Za-z0-9_-]{10,}")
_INVISIBLE: Final = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD))
_WRAPPING: Final = " \t\r\n\"'`<>(),;.\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"  # all kinds of quotes
_HEADER: Final = re.compile(r"(?i)^(?:authorization\s*:\s*)?bearer\s+|^(?:api[-_ ]?key|openai_api_key)\s*[:=]\s*")
_OURS: Final = re.compile(r"(?i)\bsk-lg_[0-9A-Za-z_]*")
_TRACE_ID: Final = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b", re.IGNORECASE)
_URL: Final = re.compile(r"https?://[^\s\"'<>\\,)}\]]{1,500}")
_FOREIGN: Final = (
    (re.compile(r"\bsk-ant-[\w-]{8,}"), "Anthropic"),
    (re.compile(r"\bsk-(?:proj|svcacct|admin)-[\w-]{8,}|\bsk-[A-Za-z0-9]{32,}"), "OpenAI"),
    (re.compile(r"\bAIza[\w-]{20,}"), "Google"),
    (re.compile(r"\bxai-[\w-]{20,}"), "xAI"),
    (re.compile(r"\bgsk_\w{20,}"), "Groq"),
    (re.compile(r"\bhf_\w{20,}"), "Hugging Face"),
)
_PRINTED: Final = re.compile(r"\{\s*'")
_MOST_BRACES: Final = 50  # places at which an error body may begin
_MOST_PRINTED: Final = 3  # likewise for printed objects, which Python's own parser reads slowly
_LONGEST_PRINTED: Final = 4_000

KeyFlaw = Literal["none", "spaces", "cut", "too_long", "mistyped", "no_prefix", "case", "shortened", "no_key"]


@dataclass(frozen=True, slots=True)
class PastedKey:
    """A key as it was pasted. `text` is the whole key where it could be recognised, and empty elsewhere.

    Attributes:
        flaw: what is wrong with its form.
        length: of what was pasted, without what was around it.
        was_wrapped: spaces, quotes or `Bearer` were around it.
    """

    text: str
    flaw: KeyFlaw
    length: int
    was_wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Pasted:
    """What was found in a text; None is nothing of that kind."""

    key: PastedKey | None
    vendor: str | None  # whose key it is, where it is not ours
    error: JsonObject | None
    trace_id: str | None
    url: SplitResult | None


def read_pasted(text: str) -> Pasted:
    """Return what a text holds."""
    text = text[:LONGEST_TEXT].translate(_INVISIBLE)
    error = next(_errors(text), None)
    named = str((error or {}).get("trace_id") or "")
    trace = _TRACE_ID.search(named) or _TRACE_ID.search(text)
    return Pasted(
        key=_key_within(text),
        vendor=None if _OURS.search(text) else vendor_of(text),
        error=error,
        trace_id=trace[0].lower() if trace else None,
        url=_api_address(text),
    )


def read_key(raw: str) -> PastedKey:
    """Return what was put into a box for a key."""
    inner = raw.translate(_INVISIBLE).strip(_WRAPPING)
    inner = _HEADER.sub("", inner).strip(_WRAPPING)
    wrapped = inner != raw.strip()
    compact = "".join(inner.split())
    if is_well_formed(inner):
        return PastedKey(inner, "none", len(inner), wrapped)
    if is_well_formed(compact):
        return PastedKey(compact, "spaces", len(inner), wrapped)
    if is_well_formed(PREFIX + compact):
        return PastedKey(PREFIX + compact, "no_prefix", len(inner), wrapped)
    return PastedKey("", _flaw(compact), len(compact), wrapped)


def vendor_of(text: str) -> str | None:
    """Return whose key a text holds, where it is one of a model provider."""
    return next((vendor for pattern, vendor in _FOREIGN if pattern.search(text)), None)


def mask(text: str) -> str:
    """Return the text without anything that looks like a key."""
    return _MASKED.sub("[key]", text)


def _flaw(compact: str) -> KeyFlaw:
    if "…" in compact or "..." in compact or "***" in compact:
        return "shortened"
    if not compact.startswith(PREFIX):
        return "case" if compact.lower().startswith(PREFIX) else "no_key"
    if len(compact) == _KEY_LENGTH:
        return "mistyped"
    return "cut" if len(compact) < _KEY_LENGTH else "too_long"


def _key_within(text: str) -> PastedKey | None:
    whole = re.search(rf"(?<![0-9A-Za-z]){KEY_PATTERN}(?![0-9A-Za-z_])", text)
    if whole is not None and is_well_formed(whole[0]):
        return PastedKey(whole[0], "none", _KEY_LENGTH, was_wrapped=False)
    found = _OURS.search(text)
    if found is None:
        return None
    rest = text[found.start() :]
    # broken over lines by a mail program, or with what stands around it in a log
    for candidate in (found[0], "".join(rest[: _KEY_LENGTH * 2].split())[:_KEY_LENGTH]):
        key = read_key(candidate)
        if key.text:
            return PastedKey(key.text, "spaces", key.length)
    after = rest[len(found[0]) : len(found[0]) + 3]
    if after.startswith(("…", "...", "***")):
        return PastedKey("", "shortened", len(found[0]))
    return read_key(found[0])


def _errors(text: str) -> Iterator[JsonObject]:
    """Yield the error objects in a text: JSON bodies, and Python's way to print them in exceptions."""
    printed = 0
    for place in islice(re.finditer(r"\{", text), _MOST_BRACES):
        found = _json_object_at(text, place.start())
        if found is None and printed < _MOST_PRINTED and _PRINTED.match(text, place.start()):
            printed += 1
            found = _python_object_at(text, place.start())
        if found is None:
            continue
        error = found.get("error", found)
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            yield error


def _json_object_at(text: str, start: int) -> JsonObject | None:
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _python_object_at(text: str, start: int) -> JsonObject | None:
    """Return a printed Python object such as `{'error': {...}}`, which the OpenAI SDK puts into its exceptions."""
    end = text.rfind("}", start, start + _LONGEST_PRINTED)
    try:
        value = ast.literal_eval(text[start : end + 1])
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return value if isinstance(value, dict) else None


def _api_address(text: str) -> SplitResult | None:
    """Return the first address in a text that could be one of an API."""
    for found in _URL.finditer(text):
        try:
            parts = urlsplit(found[0].rstrip(".:;"))
        except ValueError:
            continue
        if re.search(r"/(?:v1|chat|completions|models|me|responses|embeddings|why)(?:/|$)", parts.path):
            return parts
    return None
