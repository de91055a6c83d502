"""`llmguard access` on real files: asked for, approved by somebody else, listed, ended."""

import pytest


@pytest.fixture
def request_id(ask):
    ask("keys", "issue", "expense-triage")  # makes the data folder
    asked = ask(
        *("access", "request", "--role", "responder", "--for", "2h"),
        *("--reason", "Answers are odd.", "--as", "rae@example.com"),
    )
    assert (asked["state"], asked["seconds"]) == ("open", 7200)
    return asked["id"]


def test_role_is_given_by_somebody_else_and_ended(llmguard, ask, request_id):
    own = llmguard("access", "approve", request_id, "--as", "rae@example.com")
    approved = ask("access", "approve", request_id, "--as", "coe@example.com")
    again = llmguard("access", "approve", request_id, "--as", "lee@example.com")
    ended = ask("access", "end", request_id)
    [listed] = ask("access", "list")

    assert (own[0], "Nobody approves their own" in own[2]) == (1, True)
    assert (approved["state"], approved["decided_by"]) == ("active", "coe@example.com")
    assert (again[0], "is active" in again[2]) == (1, True)
    assert (ended["state"], listed["state"], listed["reason"]) == ("ended", "ended", "Answers are odd.")


def test_what_cannot_be_is_said(llmguard, request_id):
    assert llmguard("access", "approve", "no-such-id")[0] == 2
    assert llmguard("access", "request", "--role", "responder", "--for", "3d", "--reason", "x")[0] == 2
    assert llmguard("access", "request", "--role", "king", "--reason", "x")[0] == 2
