"""The table of roles and actions: its documentation is it, and own apps are those of the catalog."""

from pathlib import Path

import pytest

from llmguard.domain.identity import ROLES
from llmguard.domain.operators import Operator, OperatorRefused
from llmguard.identity.roles import ACTIONS, MATRIX, permit, reach_of, roles_document
from tests.support.builders import an_app

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "roles.md"


def an_operator(*roles, email="dana@example.com"):
    return Operator("oidc:1", "Dana", email, frozenset(roles), "oidc")


def test_documentation_is_the_table():
    assert DOCUMENT.read_text() == roles_document(), "run scripts/docs"


def test_every_action_has_a_line_and_somebody_who_may():
    assert tuple(MATRIX) == ACTIONS
    assert all(permission.everywhere or permission.own for permission in MATRIX.values())


@pytest.mark.parametrize("role", ROLES)
def test_no_role_but_coe_decides_about_roles(role):
    assert (reach_of((role,), "access.decide") == "all") == (role == "coe")


def test_auditor_changes_nothing():
    changes = {"keys.issue", "keys.rotate", "keys.revoke", "overage.decide", "access.decide", "replay.run", "rules.try"}

    assert {action for action in changes if reach_of(("auditor",), action)} == set()


def test_several_roles_give_the_most_of_each():
    assert reach_of(("owner", "finance"), "costs.read") == "all"
    assert reach_of(("owner",), "costs.read") == "own"
    assert reach_of((), "console.open") is None


def test_owner_reaches_own_apps_also_as_the_backup():
    granted = permit(an_operator("owner", email="Lee@Example.com"), "keys.issue")

    assert granted.covers(an_app(owner="lee@example.com"))
    assert granted.covers(an_app(backup_owner="lee@example.com"))
    assert not granted.covers(an_app())
    with pytest.raises(OperatorRefused, match="only for apps that you own"):
        granted.check(an_app())


def test_nobody_owns_an_app_without_an_address():
    assert not permit(an_operator("owner", email=""), "keys.issue").covers(an_app(owner="Dan", backup_owner=None))


def test_refusal_names_the_roles_that_may():
    with pytest.raises(OperatorRefused, match=r"Your roles \(builder\) do not let you issue a key") as caught:
        permit(an_operator("builder"), "keys.issue")

    assert "coe, owner" in caught.value.hint
    assert caught.value.status == 403
