"""What is wrong with a registry file, and where: first by its path in the document, then by line and column."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass

Loc = tuple[str | int, ...]  # keys and list indexes from the top of the document
_SHOWN_CHARACTERS = 60
_SHOWN_CHOICES = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to correct in a registry file, with its place; `line` and `column` start at 1.

    Attributes:
        path: where in the document, such as `presets[0].parameters.top_p`; empty for the file as a whole.
        value: the offending value, cut when long; None where there is none, or where it may be a secret.
        fix: what to write instead; None where nothing sensible can be said.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    value: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        """Return one line that editors and terminals make clickable."""
        path = f"{self.path}: " if self.path else ""
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.file}:{self.line}:{self.column}: {path}{self.message}{fix}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding before it has a line: lines are looked up only when something is wrong.

    Attributes:
        loc: where in the document; its last part may be missing there.
        on_key: whether the key is at fault and not its value.
        position: line and column where they are known already; `loc` then only names the path.
    """

    loc: Loc
    message: str
    value: str | None = None
    fix: str | None = None
    on_key: bool = False
    position: tuple[int, int] | None = None


class RegistryInvalid(Exception):
    """The registry cannot be used, and there is no accepted one to go on with; `findings` say why."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        """Keep all findings; the text lists them, one a line."""
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


def path_of(loc: Loc) -> str:
    """Return a loc as people write it: `apps.hr-helpdesk.origins[0]`."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def plain(value: object) -> str | None:
    """Return a scalar of the document as text, cut when long; None for structures and nothing."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def shown(value: object) -> str:
    """Return a value of the document as a message shows it: texts in quotes, structures by their kind."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return repr(plain(value)) if isinstance(value, str) else plain(value) or "nothing"


def suggestion(word: str, choices: Collection[str]) -> str:
    """Return the fix for a word that is not among the choices: the nearest one, or all of them."""
    nearest = difflib.get_close_matches(word.lower(), choices, n=1)
    if nearest:
        return f"did you mean '{nearest[0]}'?"
    if not choices:
        return "there is none to choose from yet"
    listed = ", ".join(sorted(choices)[:_SHOWN_CHOICES])
    return f"use one of: {listed}{', …' if len(choices) > _SHOWN_CHOICES else ''}"
