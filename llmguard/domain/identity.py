"""What the CoE decides about identity providers: whose tokens stand for which app, and who of the company is what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Role = Literal["builder", "owner", "coe", "finance", "responder", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)
# Asymmetric ones alone: with a shared secret, or none, whoever reads this file could sign.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """A provider whose tokens an app may exchange for one of ours.

    Attributes:
        name: in the catalog.
        issuer: as it stands in its tokens; its discovery document is below it.
        audience: whom the tokens must be for.
        algorithms: by which they may be signed.
        app_claim: the claim that says which app it is.
        apps: app by the value of that claim.
    """

    name: str
    issuer: str
    audience: str
    algorithms: tuple[Algorithm, ...]
    app_claim: str
    apps: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RoleHolders:
    """Who has a role: by a group of the identity provider, or by address."""

    groups: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()  # in small letters


@dataclass(frozen=True, slots=True)
class OperatorPolicy:
    """How operators of the company sign in, and what they are.

    Attributes:
        client_secret_env: the variable with the client's secret; None for a public client.
        unverified_email: whether an address counts that the provider does not call verified.
        console_url: where browsers reach llmguard; None: as they say.
    """

    issuer: str
    client_id: str
    client_secret_env: str | None = None
    algorithms: tuple[Algorithm, ...] = ("RS256",)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    email_claim: str = "email"
    unverified_email: bool = False
    console_url: str | None = None
    roles: Mapping[Role, RoleHolders] = field(default_factory=dict)

    def roles_of(self, email: str | None, groups: Iterable[str]) -> frozenset[Role]:
        """Return the roles of somebody with this address and these groups."""
        address, members = (email or "").strip().casefold(), frozenset(groups)
        return frozenset(
            role
            for role, holders in self.roles.items()
            if (address and address in holders.emails) or members & holders.groups
        )
