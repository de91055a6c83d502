"""Whether a value beside a label like `password` or `token` is a secret, or code, a word, a placeholder."""
# ruff: noqa: E501  # a regex is read in one piece

import math
import re
from collections import Counter

_REFERENCE = re.compile(
    r"[$%@]?[{(<\[]|\$[A-Za-z_]|%[(sd]|(?:os|self|cls|process|config|settings|env|environ|request|req|args|this|secrets|"
    r"app|ctx|options|opts|data|params|user|vault|conf|cfg|obj|kwargs|props|state|ENV)[.\[]|//|https?:|file:|/[a-z]|\./|~/|\.\."
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_]*(?:\.[A-Za-z_]\w*)*[:,;]?")
_CALL_OR_TYPE = re.compile(r"[A-Za-z_][\w.]*[(\[<].*")
_FILLERS = re.compile(
    r"(?i)(?:x{3,}|\*{3,}|\.{3,}|-{3,}|_{3,}|•{2,}|#{3,}|0{4,}|your[-_ ]?.*|my[-_ ]?(?:secret|token|key|password).*|<.*>|"
    r"(?:.*[-_ ])?(?:example|placeholder|redacted|changeme|change[-_]me|dummy|foobar|insert)(?:[-_ ].*)?|none|null|true|false|undefined|"
    r"string|str|bytes|int|optional|required|hidden|text|password|passwd|secret|token|varchar.*|char\(.*|nil|yes|no|test)"
)
_SHORTEST_PASSWORD = 5
_LEAST_KINDS = 2  # one kind of characters is a word
_MIN_TOKEN = 12
_LONGEST_WORD = 15
_MIN_ENTROPY_BITS = 2.8


def is_password(value: str, *, is_quoted: bool = False) -> bool:
    """Say whether a value behind `password` is one: letters mixed with digits or signs, no code, no filler."""
    if _is_no_secret(value, is_quoted=is_quoted):
        return False
    kinds = (
        any(c.islower() for c in value) + any(c.isupper() for c in value) + any(c.isdigit() for c in value)
        + any(not c.isalnum() and c not in "_-." for c in value)
    )  # fmt: skip
    has_sign = any(c.isdigit() or not c.isalnum() for c in value.strip("_-."))
    return kinds >= _LEAST_KINDS and has_sign and len(value) >= _SHORTEST_PASSWORD


def is_random(value: str, *, is_quoted: bool = True) -> bool:
    """Say whether a value behind `token` or `secret` looks random: long, with digits, of high entropy."""
    if len(value) < _MIN_TOKEN or _is_no_secret(value, is_quoted=is_quoted):
        return False
    has_digit = any(c.isdigit() for c in value)
    has_letter = any(c.isalpha() for c in value)
    if not (has_letter and has_digit):
        return False
    return entropy_bits(value) >= _MIN_ENTROPY_BITS and not _reads_as_words(value)


def entropy_bits(value: str) -> float:
    """Return Shannon's entropy per character in bits."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())


def _is_no_secret(value: str, *, is_quoted: bool) -> bool:
    if _REFERENCE.match(value) or _FILLERS.fullmatch(value):
        return True
    if is_quoted:
        return _IDENTIFIER.fullmatch(value) is not None and value.islower()
    return _IDENTIFIER.fullmatch(value) is not None or _CALL_OR_TYPE.fullmatch(value) is not None


def _reads_as_words(value: str) -> bool:
    """Say whether it is words joined by signs, such as `token-classification-v2` or `max_tokens_per_minute_2`."""
    parts = [part for part in re.split(r"[-_.:/ ]", value) if part]
    words = sum(_is_word(part) for part in parts)
    return len(parts) > 1 and words >= len(parts) - 1


def _is_word(part: str) -> bool:
    return part.isalpha() and len(part) <= _LONGEST_WORD and (part.islower() or part.istitle() or part.isupper())
