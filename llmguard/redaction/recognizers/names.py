"""The shape of a person's name, and whether a capitalised span can be one."""
# ruff: noqa: E501, RUF001  # a regex is read in one piece; people type curly apostrophes and dashes

import re
from functools import lru_cache

from llmguard.redaction.recognizers.gazetteers import is_given_name, is_surname
from llmguard.redaction.recognizers.vocabulary import NOT_NAMES, PARTICLES

# Capital letters of Latin, Greek and Cyrillic script; small ones are what remains of the letters.
UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽƠƯȘȚΑ-ΩΆΈ-ΏА-ЯЁЄІЇҐḀẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸ"
LETTER = r"[^\W\d_]"
WORD = rf"(?:[{UPPER}](?:['’]?{LETTER})+(?:-[{UPPER}]?(?:['’]?{LETTER})+)?)"
INITIAL = rf"(?:[{UPPER}]\.?(?:-[{UPPER}]\.)?)"
PARTICLE = r"(?:(?:van|von|der|den|de|del|della|di|da|dos|das|du|la|le|el|al|bin|ibn|ben|ten|ter|zu|af|av|e|y)|[dDlL]['’]|al-|el-)"
SUFFIX = r"(?:,? (?:Jr|Sr|II|III|IV|PhD|Ph\.D|MD|M\.D|Esq|DDS|DVM|CPA|RN|MBA)\.?(?![A-Za-z]))"
# `Anna`, `Anna M. van der Berg Jr.`: one to five parts on one line
NAME = rf"{WORD}(?:[ ](?:{PARTICLE} ?){{0,2}}(?:{WORD}|{INITIAL}(?![\w'])))" + r"{0,3}" + rf"{SUFFIX}?"
TWO_NAMES = (
    rf"(?:{WORD}|{INITIAL})(?:[ ](?:{PARTICLE} ?){{0,2}}(?:{WORD}|{INITIAL}(?![\w'])))" + r"{1,4}" + rf"{SUFFIX}?"
)
LAST_FIRST = rf"{WORD}(?:[ -]{WORD})?, {WORD}(?:[ ](?:{WORD}|{INITIAL}(?![\w'])))?"

# months and products that are people before a known name: `April Durr`, `Travis Kowalski`
AMBIGUOUS_NAMES = frozenset({"April", "May", "June", "August", "Jan", "Travis", "Claude", "Alexa", "Rich", "Iris"})
_PARTS = re.compile(r"[ \-,]+")
_CODE = re.compile(r"[\d_/\\@#$%^*+=<>{}()\[\]|~:;`\"!?&]")
_CAMEL = re.compile(rf"[a-zà-ÿ][{UPPER}]")
_ACRONYM_CAMEL = re.compile(r"[A-Z]{2,}[a-z]{3,}$")  # `OSError`, `CCompiler`
_CAMEL_OK = re.compile(r"(?:Mc|Mac|De|Di|La|Le|Van|Von|O['’]|D['’]|Fitz|Du|Del)[A-Z][a-z]+$")
_FIRST_LETTER = re.compile(r"(?<![\w'’])[^\W\d_]")
_MAX_NAME = 60
_NAMES_KEPT = 4_096  # several rules judge the same words of a text
_MAX_WORDS = 6


def titled(text: str) -> str:
    """Return the text with a capital at the start of each word; unlike `str.title` not behind an apostrophe."""
    return _FIRST_LETTER.sub(lambda match: match.group().upper(), text)


def is_name(value: str, *, words: int = 1) -> bool:
    """Say whether a capitalised span reads as a person's name of at least `words` parts.

    Every part has to be able to stand in a name; code, digits, camelCase and words of forms and products are not.
    """
    return len(value) <= _MAX_NAME and _is_name(value, words)


@lru_cache(_NAMES_KEPT)
def _is_name(value: str, words: int) -> bool:
    parts = [part for part in _PARTS.split(value.strip()) if part]
    if not words <= len(parts) <= _MAX_WORDS or _CODE.search(value):
        return False
    carrying = [part.strip(".'’,") for part in parts if part.lower() not in PARTICLES]
    if len(carrying) < words or not carrying:
        return False
    if _is_ambiguous_name(carrying):
        return True
    if any(part.lower() in NOT_NAMES for part in carrying if len(part) > 1):  # `A.` and `I.` are initials here
        return False
    if any(_is_camel(part) for part in carrying):
        return False
    return any(len(part) > 1 for part in carrying)


def _is_camel(part: str) -> bool:
    """Say whether a word has capitals inside as identifiers have, not as in `McDonald`."""
    return bool((_CAMEL.search(part) and not _CAMEL_OK.match(part)) or _ACRONYM_CAMEL.match(part))


def _is_ambiguous_name(parts: list[str]) -> bool:
    """Say whether it is `April Martin` or `Jan Kowalski`: a name that is something else as well, and one that is not."""
    return len(parts) > 1 and parts[0] in AMBIGUOUS_NAMES and all(is_surname(p) or is_given_name(p) for p in parts[1:])
