"""What the doctor says: the one thing that is wrong, what mends it, and who can."""

from dataclasses import dataclass
from typing import Final

YOU: Final = "You"
OPERATOR: Final = "Whoever runs llmguard"
COE: Final = "The CoE"


@dataclass(frozen=True, slots=True)
class Answer:
    """One diagnosis. It holds no key, and facts of an app only where its whole key was given.

    Attributes:
        code: for programs; a code of the HTTP contract where there is one.
        problem: what is wrong, in one or two sentences.
        fix: what to do, in one or two sentences.
        who: who can do it.
        fine: nothing is wrong.
        facts: what else is known, by name.
        notes: what was noticed besides.
    """

    code: str
    problem: str
    fix: str
    who: str
    fine: bool = False
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
