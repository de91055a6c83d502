"""From the sections on identity to what they decide, and what is wrong with them beyond their form."""

from collections.abc import Iterator

from llmguard.domain.identity import IdentityProvider, OperatorPolicy, RoleHolders
from llmguard.registry.document import Document, as_mapping
from llmguard.registry.finding import Problem, suggestion
from llmguard.registry.identity_entries import IdentityProviderEntry, OperatorsEntry


def identity_provider(name: str, entry: IdentityProviderEntry) -> IdentityProvider:
    """Return the provider of an entry without problems."""
    return IdentityProvider(
        name, entry.issuer, entry.audience, tuple(entry.algorithms), entry.app_claim, dict(entry.apps)
    )


def operator_policy(entry: OperatorsEntry | None) -> OperatorPolicy | None:
    """Return the policy of a section without problems; None where there is no section."""
    if entry is None:
        return None
    return OperatorPolicy(
        issuer=entry.issuer,
        client_id=entry.client_id,
        client_secret_env=entry.client_secret_env,
        algorithms=tuple(entry.algorithms),
        scopes=tuple(dict.fromkeys(("openid", *entry.scopes))),
        groups_claim=entry.groups_claim,
        email_claim=entry.email_claim,
        unverified_email=entry.unverified_email == "allowed",
        console_url=entry.console_url,
        roles={
            role: RoleHolders(frozenset(one.groups), frozenset(email.strip().casefold() for email in one.emails))
            for role, one in entry.roles.items()
        },
    )


def identity_problems(document: Document) -> Iterator[Problem]:
    """Yield apps that there are not, and providers that cannot be told apart by their tokens."""
    apps = document.section("apps").keys()
    issuers: dict[tuple[object, object], str] = {}
    for name, entry in document.section("identity_providers").items():
        for value, app in as_mapping(entry.get("apps")).items():
            if isinstance(app, str) and app not in apps:
                loc = ("identity_providers", name, "apps", str(value))
                yield Problem(loc, f"there is no app '{app[:100]}'", value=app, fix=suggestion(app, apps))
        known = (entry.get("issuer"), entry.get("audience"))
        if known in issuers and isinstance(known[0], str):
            message = f"{issuers[known]} has this issuer and this audience already"
            yield Problem(("identity_providers", name, "issuer"), message, fix="put the apps of both into one")
        issuers.setdefault(known, name)
