"""What the life of an app asks of its entry: who answers for it, and what it needs in which state.

What is missing is a *gap*: a finding of `llmguard check`, where changes are reviewed. A file with gaps is served
all the same: one app without a runbook must not keep every other app's change from coming into force.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from llmguard.registry.document import Document
from llmguard.registry.finding import Loc, Problem

UNASSIGNED: Final = "unassigned"  # the owner of a draft that nobody answers for yet
_IN_USE: Final = ("sandbox", "approved", "deprecated", "suspended")
# What an app needs before people rely on it, and what to write.
_APPROVED_NEEDS: Final[dict[str, str]] = {
    "backup_owner": "who answers when the owner is away",
    "ticket": "where it was approved, as in GOV-118",
    "connectors": "the systems that it reads or writes; [] if there are none",
    "expires": "the last day of its approval, as in 2027-03-31",
    "support": "when somebody helps, as in business-hours",
    "runbook": "the page that says what to do when it does not work",
}
_STATE_NEEDS: Final[dict[str, dict[str, str]]] = {
    "approved": _APPROVED_NEEDS,
    "deprecated": _APPROVED_NEEDS | {"sunset": "its last day, as in 2027-03-31"},
    "retired": {"instead": "what its users use instead, in a few words"},
}
_ONLY_IN: Final[dict[str, tuple[str, ...]]] = {
    "sunset": ("deprecated", "retired"),
    "instead": ("deprecated", "retired"),
}


def has_owner(owner: str, backup_owner: str | None, departed: Collection[str]) -> bool:
    """Whether anybody answers for an app.

    Args:
        owner: as the catalog has it.
        backup_owner: as the catalog has it.
        departed: addresses of people who have left, in small letters.
    """
    named = (person.strip().casefold() for person in (owner, backup_owner or ""))
    return any(person not in departed for person in named if person and person != UNASSIGNED)


def app_gaps(document: Document) -> Iterator[Problem]:
    """Yield what apps lack, or have too much, in the state that they are in."""
    for name, app in document.section("apps").items():
        status, loc = str(app.get("status", "sandbox")), ("apps", name)
        yield from _missing(loc, app, status)
        yield from _owner_problems(loc, app, status)
        yield from _misplaced(loc, app, status)


def _missing(loc: Loc, app: Mapping[str, Any], status: str) -> Iterator[Problem]:
    for field, what in _STATE_NEEDS.get(status, {}).items():
        if field not in app:
            message = f"an app that is {status} says {field}"
            other = "; or write status: sandbox" if status == "approved" else ""
            yield Problem((*loc, field), message, fix=f"add {field}: {what}{other}", on_key=True)


def _owner_problems(loc: Loc, app: Mapping[str, Any], status: str) -> Iterator[Problem]:
    owner, backup = (str(app.get(field) or "").strip().casefold() for field in ("owner", "backup_owner"))
    if status in _IN_USE and owner in {"", UNASSIGNED}:
        message = f"an app that is {status} has an owner"
        fix = "write who answers for it: an e-mail address; or status: draft"
        yield Problem((*loc, "owner"), message, value=owner or None, fix=fix, on_key=True)
    if backup and backup == owner:
        message = "the backup owner is the owner"
        yield Problem((*loc, "backup_owner"), message, value=str(app["backup_owner"]), fix="name somebody else")


def _misplaced(loc: Loc, app: Mapping[str, Any], status: str) -> Iterator[Problem]:
    for field, states in _ONLY_IN.items():
        if field in app and status not in states:
            message = f"'{field}' is for apps that are {' or '.join(states)}, and this one is {status}"
            yield Problem((*loc, field), message, fix="remove it, or change `status`", on_key=True)
