"""Secrets that somebody typed into the registry: found by shape, reported by place, never shown."""

import re
from collections.abc import Iterator

# One pass over the whole text, comments included: what is in git is known, wherever it stands. Only shapes that no
# name, address or sentence has; the large catalogue of vendors is redaction's.
# Source: the vendors' pages on their key formats and GitHub's secret-scanning patterns, read in 2026.
_SECRET = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
        sk-[A-Za-z0-9_-]{16,}                                  # OpenAI, Anthropic, OpenRouter, llmguard
      | sk-(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{8,}                  # shortened ones, too
      | (?:AKIA|ASIA)[A-Z2-7]{16}
      | AIza[A-Za-z0-9_-]{30,}
      | (?:gh[pousr]|github_pat|glpat|hf|gsk|npm|r8|pcsk|dckr_pat)[_-][A-Za-z0-9_]{20,}
      | xox[abposre]-[A-Za-z0-9-]{10,}
      | (?:xai|pplx|nvapi)-[A-Za-z0-9_-]{20,}
      | (?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}
      | eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}
      | -----BEGIN\ (?:[A-Z]+\ )?PRIVATE\ KEY-----
      | (?<=://)[^\s/:@'"]*:[^\s/@'"]+@                        # name:password@ in a URL
    )""",
    re.VERBOSE,
)
_SECRETIVE_NAME = re.compile(
    r"(?:^|[_-])(?:api[_-]?key|apikey|key|secret|token|password|passwd|pwd|credentials?|authorization|bearer)$",
    re.IGNORECASE,
)
_HIDDEN = "[secret]"


def find_secrets(text: str) -> Iterator[int]:
    """Yield the offset of each secret in the text of a file."""
    return (match.start() for match in _SECRET.finditer(text))


def without_secrets(text: str) -> str:
    """Return a text for a message, with whatever looks like a secret taken out."""
    return _SECRET.sub(_HIDDEN, text)


def is_secretive(name: str) -> bool:
    """Say whether a setting of this name would hold a secret, so that its value is not shown."""
    return _SECRETIVE_NAME.search(name) is not None
