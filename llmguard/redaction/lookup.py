"""Which placeholders stand for a value that somebody knows: to find what was said about a person in traces.

Nothing stores which placeholder stands for what; but whoever has the value and the installation's secrets can work it
out. That is the owner's right to know, and to have erased, what is kept about them.
"""

from collections.abc import Iterable, Iterator, Sequence

from llmguard.domain.secrets import derive_key
from llmguard.redaction.placeholders import PLACEHOLDERS_PURPOSE, PlaceholderCodes, normalise, spell_placeholder


def placeholders_of(value: str, *, app: str, secrets: Sequence[bytes], entity_types: Iterable[str]) -> tuple[str, ...]:
    """Return how each placeholder of a value begins, such as `<PERSON_KOFADELIMORU`, without duplicates.

    The value's first spelling in a request has exactly that and `>`; each further one has two letters or more before
    the `>`. So a text is about the value if it holds one of these. Two things are not found: a value whose placeholder
    collided with another one's in the same request (one in 10^12), and a part of a name that stood in for the full
    name there, which has the full name's placeholder: look for the full name, too.

    Args:
        value: in any spelling that normalises to the same, such as `ANNA SCHMIDT`.
        app: whose requests; another app's placeholders differ.
        secrets: of the installation: the present one, and the previous ones under which older placeholders were made.
        entity_types: what the value may have been taken for, such as all of a profile.
    """
    kinds = sorted(set(entity_types))
    return tuple(dict.fromkeys(_beginnings(value, app, secrets, kinds)))


def _beginnings(value: str, app: str, secrets: Sequence[bytes], entity_types: Sequence[str]) -> Iterator[str]:
    for secret in secrets:
        codes = PlaceholderCodes(derive_key(secret, PLACEHOLDERS_PURPOSE), app)
        for entity_type in entity_types:
            stem = codes.stem(entity_type, normalise(entity_type, value))
            yield spell_placeholder(entity_type, stem).removesuffix(">")
