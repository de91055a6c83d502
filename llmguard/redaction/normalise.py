"""When two spellings are one value: the form of a value that decides its placeholder.

It knows entity types and nothing about requests. The exact spelling is kept by the vault; this is only its identity.
"""

import re

PERSON = "PERSON"
SHORTEST_PART = 3  # letters of a part of a name that is looked for by itself

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_NOT_DIGIT = re.compile(r"\D+")
# Presidio names the ids of a country by its two letters (US_SSN, IT_FISCAL_CODE): spaces and dashes mean nothing there.
_COMPACT = re.compile(r"CREDIT_CARD|IBAN.*|(?!IP_)[A-Z]{2}_.+")
# Two secrets that differ in case only are two secrets.
_EXACT = re.compile(r".*(?:KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CRYPTO|JWT|URL).*")

_EDGES = ".,;:'\"()[]"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES = _words(
    """
    mr mrs ms mx mister miss dr prof professor sir dame herr frau señor señora von van der den del the
    """
)
# Names that are everyday words: alone they say nothing about a person, and hiding each of them would ruin the text.
_EVERYDAY_WORDS = _words(
    """
    amber april art august autumn baker banks bell best bill bishop black bond bright brook brown bush
    carter case cash chance chase chip church close cook cross crystal daisy dawn day dean drew east eve
    faith field fields flowers ford fox frank ginger good grace grant gray green grey guy hall hand hart
    heather hill holly hope house hunter iris ivy jack jean joy june key king lane law lily little long
    love major march mark mason may miles moon newman nice noble north olive page park parks pearl pool
    post power powers price rare ray read reed rice rich rivers rob robin root rose ruby rush rusty
    sandy self sharp short singer small smart south speed spring star steel stone strong sue summer
    summers swift temple town turner victor violet walker wall ward ware waters way weeks west white
    will wise wolf wood woods word work young
    """
)


def normalise(entity_type: str, text: str) -> str:
    """Return the form that all spellings of one value share.

    Phone numbers are their digits (a leading 00 is a plus), cards, IBANs and national ids their letters and digits,
    secrets and URLs themselves, all else (people, places, e-mails) the text in lower case with single spaces.
    """
    if entity_type.startswith("PHONE"):
        digits = _NOT_DIGIT.sub("", text).removeprefix("00")
        return digits or text
    if _EXACT.fullmatch(entity_type):
        return text
    if _COMPACT.fullmatch(entity_type):
        return _NOT_ALPHANUMERIC.sub("", text).casefold() or text
    return " ".join(text.casefold().split())


def name_parts(text: str) -> tuple[str, ...]:
    """Return the words of a full name that identify the person when they stand alone, as they are spelled there.

    At least SHORTEST_PART letters, no title or particle, no everyday word; nothing for a name of one word.
    """
    words = text.split()
    if len(words) == 1:
        return ()
    parts = (word.strip(_EDGES) for word in words)
    return tuple(part for part in parts if _tells_a_person(part))


def is_title(text: str) -> bool:
    """Return whether a text is a title and nobody's name."""
    return text.strip(_EDGES).casefold() in _TITLES


def _tells_a_person(part: str) -> bool:
    folded = part.casefold()
    letters = sum(map(str.isalpha, part))
    return letters >= SHORTEST_PART and folded not in _TITLES and folded not in _EVERYDAY_WORDS
