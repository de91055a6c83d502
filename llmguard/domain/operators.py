"""Operators: the people who govern, own, watch and pay, what they may be, and why one of them is turned away."""

from dataclasses import dataclass
from typing import Literal

from llmguard.domain.catalog import App
from llmguard.domain.identity import Role

SignInMethod = Literal["token", "oidc", "machine"]
OperatorRefusalCode = Literal[
    "not_signed_in", "role_missing", "form_refused", "body_refused", "not_found", "conflict", "provider_away"
]
_STATUS: dict[OperatorRefusalCode, int] = {
    "not_signed_in": 401,
    "role_missing": 403,
    "form_refused": 403,
    "body_refused": 400,
    "not_found": 404,
    "conflict": 409,
    "provider_away": 503,
}


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who is signed in.

    Attributes:
        subject: who it is for good, as `token:ID` or `oidc:SUBJECT`.
        name: what people call them.
        email: by which registry.yaml knows them, where their sign-in says so.
        roles: what they are now.
        method: how they signed in; `machine` is whoever runs a command on the data folder.
    """

    subject: str
    name: str
    email: str | None
    roles: frozenset[Role]
    method: SignInMethod

    @property
    def who(self) -> str:
        """What is recorded of them: the address where there is one; never a name that they could choose themselves."""
        return self.email or (self.subject if self.method == "oidc" else self.name)

    def owns(self, app: App) -> bool:
        """Whether the catalog names them as the owner or the backup owner of an app."""
        owners = {person.strip().casefold() for person in (app.owner, app.backup_owner or "") if person}
        return self.who.strip().casefold() in owners


class OperatorRefused(Exception):
    """An operator, or somebody who is none, may not do this; has a status of HTTP and words for people."""

    def __init__(self, code: OperatorRefusalCode, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self.code]
