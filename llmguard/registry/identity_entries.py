"""The sections `identity_providers` and `operators` of registry.yaml: whose tokens count, and who is what."""

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from llmguard.domain.identity import Algorithm, OperatorPolicy, Role
from llmguard.registry.entry import Entry
from llmguard.registry.fields import BaseUrl, EnvironmentName, Name, Text, refuse

_USUAL = OperatorPolicy("", "")


def _trusted(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        refuse("keys that are fetched over plain http could be anybody's", "write https://")
    return url


def is_this_machine(host: str) -> bool:
    """Whether an address cannot leave this machine, so that plain http is safe."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Issuer = Annotated[BaseUrl, AfterValidator(_trusted), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
Algorithms = Annotated[list[Algorithm], Field(min_length=1)]


class IdentityProviderEntry(Entry):
    """A provider of the company whose tokens apps may exchange for one of ours (POST /auth/token)."""

    issuer: Issuer = Field(description="As in its tokens (`iss`); its discovery document is below it.")
    audience: Text = Field(description="Whom its tokens must be for (`aud`).")
    algorithms: Algorithms = Field(["RS256"], description="By which its tokens may be signed.")
    app_claim: Text = Field(description="The claim that says which app it is, as in azp, client_id or sub.")
    apps: dict[Text, Name] = Field(min_length=1, description="App by the value of that claim.")


class RoleEntry(Entry):
    """Who has a role."""

    groups: list[Text] = Field([], description="Groups of the identity provider, as in the groups claim.")
    emails: list[Text] = Field([], description="E-mail addresses.")


class OperatorsEntry(Entry):
    """How people of the company sign in to the console and the admin API, and what they may be."""

    issuer: Issuer = Field(description="The identity provider, as in its tokens (`iss`).")
    client_id: Text = Field(description="What llmguard is called there.")
    client_secret_env: EnvironmentName | None = Field(
        None, description="Name of the environment variable with the client's secret; without: a public client."
    )
    algorithms: Algorithms = Field([*_USUAL.algorithms], description="By which its tokens may be signed.")
    scopes: list[Text] = Field([*_USUAL.scopes], min_length=1, description="What is asked for; openid among it.")
    groups_claim: Text = Field(_USUAL.groups_claim, description="The claim with somebody's groups.")
    email_claim: Text = Field(_USUAL.email_claim, description="The claim with somebody's address.")
    unverified_email: Literal["refused", "allowed"] = Field(
        "refused", description="allowed: addresses count that the provider does not call verified (email_verified)."
    )
    console_url: Issuer | None = Field(
        None, description="Where browsers reach llmguard, as in https://llmguard.example.com; default: as they say."
    )
    roles: dict[Role, RoleEntry] = Field(min_length=1, description="Who is what: by groups, by addresses, or both.")


IDENTITY_ENTRIES: dict[tuple[str, ...], type[Entry]] = {
    ("identity_providers", "*"): IdentityProviderEntry,
    ("operators",): OperatorsEntry,
    ("operators", "roles", "*"): RoleEntry,
}
