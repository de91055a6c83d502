"""Judge how a key is written, before anybody asks whether it is known."""

from llmguard.catalog.diagnosis.answer import YOU, Answer
from llmguard.catalog.diagnosis.pasted import KeyFlaw, PastedKey
from llmguard.identity.key_text import PREFIX

_AGAIN = "Copy the whole key again, from where it was first shown; or have a new one issued."
_FLAWS: dict[KeyFlaw, tuple[str, str]] = {
    "spaces": (
        "The key has spaces or line breaks in it.",
        "Delete them in the tool's box: the key is one word without spaces.",
    ),
    "no_prefix": (f"The beginning of the key, {PREFIX}, is missing.", f"Put {PREFIX} before it in the tool's box."),
    "case": ("The key was changed to other capitals, and those count.", _AGAIN),
    "shortened": ("This is the short form of a key, with dots in the place of its secret part.", _AGAIN),
    "mistyped": ("The key was mistyped: it has the right length, and a letter in it is wrong.", _AGAIN),
    "no_key": (
        f"This is no key of llmguard: those begin with {PREFIX}.",
        "Use the key that you were given for llmguard, not another password or token.",
    ),
}


def form_problem(key: PastedKey) -> Answer | None:
    """Return what is wrong with the form of a key; None if it is well formed."""
    if key.flaw == "none":
        return None
    if key.flaw in ("cut", "too_long"):
        what = "was cut" if key.flaw == "cut" else "has something behind it"
        problem = f"The key {what}: it has {key.length} characters, and a whole one has 57."
        return Answer("invalid_api_key", problem, _AGAIN, YOU)
    problem, fix = _FLAWS[key.flaw]
    return Answer("invalid_api_key", problem, fix, YOU)


def foreign_key(vendor: str) -> Answer:
    """Return the answer to a model provider's own key."""
    problem = f"This looks like a key of {vendor}, not of llmguard."
    fix = (
        f"Put the key of llmguard (it begins with {PREFIX}) into the tool. Keys of providers belong to whoever runs "
        f"llmguard; if this one was shared, have it replaced at {vendor}."
    )
    return Answer("foreign_key", problem, fix, YOU)


def wrapped_note(key: PastedKey | None) -> tuple[str, ...]:
    """Return a note when something stood around the key; the tool may have it in its box, too."""
    if key is None or not key.was_wrapped:
        return ()
    return ("Spaces, quotes or the word Bearer were around the key: see that the tool's box holds the key alone.",)
