"""How much a test tries: enough for each change by default, and much more with LLMGUARD_TESTS=thorough."""

import os

from hypothesis import settings

THOROUGH = os.environ.get("LLMGUARD_TESTS") == "thorough"


def tries(usual: int, thorough: int) -> int:
    """Return how many examples, texts or prompts a test goes through."""
    return thorough if THOROUGH else usual


def unhurried() -> None:
    """Let hypothesis try examples for as long as they take."""
    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")
