"""Who may do what: one table of actions and roles. Its documentation is made from it; every route names a line of it.

A role reaches either every app or only the apps that its holder owns (owner or backup owner in registry.yaml). Whoever
has several roles has the most that any of them gives.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from llmguard.domain.catalog import App
from llmguard.domain.identity import ROLES, Role
from llmguard.domain.operators import Operator, OperatorRefused

Action = Literal[
    "console.open",
    "apps.read",
    "apps.renew",
    "apps.contain",
    "apps.lift",
    "presets.read",
    "rules.read",
    "rules.try",
    "keys.read",
    "keys.issue",
    "keys.rotate",
    "keys.revoke",
    "quota.read",
    "overage.read",
    "overage.request",
    "overage.decide",
    "costs.read",
    "traces.read",
    "traces.content",
    "replay.run",
    "evidence.pack",
    "alerts.read",
    "access.request",
    "access.read",
    "access.decide",
    "audit.read",
]
Reach = Literal["own", "all"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Permission:
    """One line of the table: what is done, and which roles may do it to which apps."""

    words: str
    everywhere: tuple[Role, ...] = ()
    own: tuple[Role, ...] = ()  # only where they own the app


_ALL: Final = ROLES
_OWNERS: Final[tuple[Role, ...]] = ("builder", "owner")
MATRIX: Final[dict[Action, Permission]] = {
    "console.open": Permission("sign in, and see who one is", _ALL),
    "apps.read": Permission("see apps of the catalog", ("coe", "finance", "responder", "auditor"), _OWNERS),
    "apps.renew": Permission(
        "extend the approval of an app, as far as registry.yaml lets owners", ("coe",), ("owner",)
    ),
    "apps.contain": Permission("stop an app at once, and end its keys", ("coe", "responder"), ("owner",)),
    "apps.lift": Permission("end a containment", ("coe",)),
    "presets.read": Permission("see presets and models", _ALL),
    "rules.read": Permission("see redaction rules and policies", ("coe", "responder", "auditor")),
    "rules.try": Permission("try redaction rules and policies on a text", ("coe", "responder")),
    "keys.read": Permission("list keys (never the keys themselves)", ("coe", "responder", "auditor"), _OWNERS),
    "keys.issue": Permission("issue a key", ("coe",), ("owner",)),
    "keys.rotate": Permission("give a key a new secret", ("coe",), _OWNERS),
    "keys.revoke": Permission("end a key for good", ("coe", "responder"), ("owner",)),
    "quota.read": Permission("see what is left of each limit", ("coe", "finance", "responder", "auditor"), _OWNERS),
    "overage.read": Permission("see requests for more quota", ("coe", "finance", "auditor"), _OWNERS),
    "overage.request": Permission("ask for more quota", own=_OWNERS),
    "overage.decide": Permission(
        "approve or deny more quota; registry.yaml names who, and never one's own request",
        ("coe", "finance"),
        ("owner",),
    ),
    "costs.read": Permission("see what was spent", ("coe", "finance", "auditor"), _OWNERS),
    "traces.read": Permission("find traces: outcome, times, figures", ("coe", "responder", "auditor"), _OWNERS),
    "traces.content": Permission("read what was asked and answered, redacted", ("responder", "auditor"), ("owner",)),
    "replay.run": Permission("replay traces", ("coe", "responder")),
    "evidence.pack": Permission("make evidence packs", ("responder", "auditor")),
    "alerts.read": Permission("see alerts", ("coe", "finance", "responder", "auditor"), _OWNERS),
    "access.request": Permission("ask for a role for some hours", _ALL),
    "access.read": Permission("see who was given a role for some hours", ("coe", "auditor")),
    "access.decide": Permission("give a role for some hours; never to oneself", ("coe",)),
    "audit.read": Permission("read the audit log", ("coe", "auditor")),
}


def reach_of(roles: Iterable[Role], action: Action) -> Reach | None:
    """Return how far roles reach in an action: all apps, one's own, or None of any."""
    held, permission = frozenset(roles), MATRIX[action]
    if held.intersection(permission.everywhere):
        return "all"
    return "own" if held.intersection(permission.own) else None


@dataclass(frozen=True, slots=True)
class Permit:
    """What an operator may do in one action."""

    operator: Operator
    action: Action
    reach: Reach

    def covers(self, app: App) -> bool:
        """Whether it counts for this app."""
        return self.reach == "all" or self.operator.owns(app)

    def check(self, app: App) -> None:
        """Do nothing where it counts for this app.

        Raises:
            OperatorRefused: role_missing.
        """
        if not self.covers(app):
            raise OperatorRefused(
                "role_missing",
                f"You may {MATRIX[self.action].words} only for apps that you own, and {app.name} is not one of them.",
                f"Ask its owner, or the CoE: a role that may is {_shown(MATRIX[self.action].everywhere)}.",
            )


def permit(operator: Operator, action: Action) -> Permit:
    """Return what an operator may do in an action.

    Raises:
        OperatorRefused: role_missing; none of the roles has it.
    """
    reach = reach_of(operator.roles, action)
    if reach is None:
        permission = MATRIX[action]
        roles = dict.fromkeys((*permission.everywhere, *permission.own))
        raise OperatorRefused(
            "role_missing",
            f"Your roles ({_shown(sorted(operator.roles))}) do not let you {permission.words}.",
            f"A role that may is {_shown(roles)}. Ask the CoE, or for some hours: `llmguard access request`.",
        )
    return Permit(operator, action, reach)


def roles_document() -> str:
    """Return the table as docs/reference/roles.md shows it."""
    lines = [
        "# Roles and actions",
        "",
        "Made from the table in `llmguard/identity/roles.py`; a test keeps the two equal. **all**: every app. **own**:",
        "apps whose owner or backup owner one is. Empty: refused with 403 `role_missing`. Who has which role is",
        "decided in registry.yaml ([guide](../guides/operators.md)).",
        "",
        f"| action | what | {' | '.join(ROLES)} |",
        f"|---|---|{'---|' * len(ROLES)}",
    ]
    for action, permission in MATRIX.items():
        cells = (reach_of((role,), action) or "" for role in ROLES)
        lines.append(f"| `{action}` | {permission.words} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _shown(roles: Iterable[str]) -> str:
    return ", ".join(roles) or "none"
