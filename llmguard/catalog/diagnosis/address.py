"""Judge the address that a tool calls: most first attempts fail since the base URL is not what the tool means by it."""

import re
from urllib.parse import SplitResult, urlsplit

from llmguard.catalog.diagnosis.answer import OPERATOR, YOU, Answer

_PATHS = "chat/completions|completions|responses|embeddings|models|me"
_VENDORS = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "openai.azure.com")
_BASE = (
    "The base URL is the address of llmguard, ends in /v1 and has nothing behind it: https://llmguard.example.com/v1"
)


def base_url_problem(text: str) -> Answer | None:
    """Return what is wrong with what stands in a tool's box for the base URL; None if nothing is."""
    cleaned = text.strip().strip("\"'")
    parts = _split(cleaned)
    if parts is None:
        problem = "The base URL is no web address: it must begin with http:// or https://."
        return Answer("wrong_base_url", problem, f"{_BASE}.", YOU)
    path = parts.path.rstrip("/")
    if (found := _wrong_place(parts)) is not None:
        return found
    if re.search(rf"/(?:{_PATHS})$", path):
        problem = f"The base URL goes on behind /v1 ({path}), and the tool adds that part itself, so it is there twice."
        return Answer("wrong_base_url", problem, f"Delete what is behind /v1. {_BASE}.", YOU)
    if path != "/v1":
        problem = f"The base URL ends in {path or 'the name of the machine'} and not in /v1."
        return Answer("wrong_base_url", problem, f"Let it end in /v1. {_BASE}.", YOU)
    return None


def called_url_problem(parts: SplitResult) -> Answer | None:
    """Return what is wrong with an address that a tool called, as its log shows it; None if nothing is."""
    if (found := _wrong_place(parts)) is not None:
        return found
    path = parts.path.rstrip("/")
    if re.fullmatch(rf"/v1(?:/(?:{_PATHS})(?:/.*)?)?|/why/[^/]+", path):
        return None
    if re.search(rf"/(?:{_PATHS})$", path) and "/v1" not in path:
        problem = f"The tool called {path}, without /v1 before it: the base URL lacks its end."
        return Answer("wrong_base_url", problem, f"Add /v1 to the base URL. {_BASE}.", YOU)
    problem = f"The tool called {path[:80]}, which llmguard does not have."
    return Answer("wrong_base_url", problem, f"Correct the base URL. {_BASE}.", YOU)


def elsewhere(words: str) -> Answer | None:
    """Return an answer when an error was written by a model provider, so that llmguard was never asked."""
    if not re.search(r"platform\.openai\.com|help\.openai\.com|api\.openai\.com|console\.anthropic\.com", words):
        return None
    problem = "This error comes from the model provider itself: your tool did not ask llmguard at all."
    fix = f"Set the base URL in your tool; without it, the tool goes to the provider. {_BASE}."
    return Answer("wrong_base_url", problem, fix, YOU)


def _wrong_place(parts: SplitResult) -> Answer | None:
    host, path = parts.hostname or "", parts.path
    if any(host == vendor or host.endswith(f".{vendor}") for vendor in _VENDORS):
        problem = f"The address is that of a model provider ({host}), not of llmguard."
        return Answer(
            "wrong_base_url", problem, f"Put the address of llmguard there; {OPERATOR.lower()} knows it. {_BASE}.", YOU
        )
    if re.search(r"/v1/(?:.*/)?v1(?:/|$)", path):
        problem = "The address has /v1 twice: once from the base URL, and once more from the tool."
        return Answer("wrong_base_url", problem, "This tool adds /v1 itself: leave /v1 out of its base URL.", YOU)
    if re.search(rf"/({_PATHS})/\1(?:/|$)", path):
        problem = "The address has its last part twice: the base URL already held what the tool adds."
        return Answer("wrong_base_url", problem, f"Delete what is behind /v1 in the base URL. {_BASE}.", YOU)
    return None


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None
