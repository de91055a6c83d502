"""Every route of the admin API and the console: its action, each role, no role, other sites, and what it does."""

import http.client
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from fastapi.routing import APIRoute

from llmguard.domain.catalog import OveragePolicy
from llmguard.domain.identity import ROLES
from llmguard.identity.roles import MATRIX, reach_of
from llmguard.quota.overage import Ask
from llmguard.web.operators import Require
from tests.support.builders import a_quota
from tests.support.served import Served, a_small_registry

FORM = "application/x-www-form-urlencoded"
OPEN = {
    ("GET", "/console/sign-in"),
    ("POST", "/console/sign-in"),
    ("GET", "/console/sign-in/openid"),
    ("GET", "/console/sign-in/callback"),
}
OWN, OTHER = "expense-triage", "nobody@example.com"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    registry = replace(
        a_small_registry(backup_owner="lee@example.com", quota=a_quota(tokens_per_day=10_000)),
        overage=OveragePolicy({"finance": ("fin@example.com",)}),
    )
    with Served(tmp_path_factory.mktemp("data"), registry=registry) as served:
        yield served


@pytest.fixture(scope="module")
def tokens(served):
    """A token of each role whose holder owns no app, by role."""
    return {role: served.operators.issue(OTHER, (role,), who="test").secret_text for role in ROLES}


def ask(served, method, path, body=None, token=None, cookie=None, **headers):
    host = served.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        form = given.get("content-type") == FORM
        body = urlencode(body).encode() if form else json.dumps(body).encode()
    if token is not None:
        given["authorization"] = f"Bearer {token}"
    if cookie is not None:
        given["cookie"] = f"llmguard_session={cookie}"
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    is_json = answer.headers["content-type"] == "application/json"
    return SimpleNamespace(
        status=answer.status, headers=answer.headers, text=text, json=json.loads(text) if is_json else None
    )


def routes_of(served):
    """Yield method, path and action of every route for operators; None where it names none."""
    for route in served.app._app.routes:
        if not route.path.startswith(("/admin", "/console")):
            continue
        calls = [one.call for one in route.dependant.dependencies] if isinstance(route, APIRoute) else []
        actions = [call.action for call in calls if isinstance(call, Require)]
        for method in sorted(route.methods or {"ANY"}):
            yield method, route.path, actions[0] if len(actions) == 1 else None


def filled(path):
    return (
        path.replace("{app}", OWN)
        .replace("{key_id}", "AAAABBBBCCCC")
        .replace("{overage_id}", "x")
        .replace("{access_id}", "x")
    )


def test_every_route_for_operators_names_its_action(served):
    routes = list(routes_of(served))

    assert len(routes) >= 12
    assert {(method, path) for method, path, action in routes if action is None} == OPEN
    assert {action for _, _, action in routes if action is not None} <= set(MATRIX)


def test_every_route_refuses_each_role_that_lacks_its_action(served, tokens):
    for method, path, action in routes_of(served):
        if action is None:
            continue
        for role, token in tokens.items():
            answer = ask(served, method, filled(path), token=token)
            reach = reach_of((role,), action)
            on_other_app = reach == "own" and "{app}" in path
            refused = answer.status == 403 and "role_missing" in answer.text
            assert refused == (reach is None or on_other_app), (method, path, role, answer.status, answer.text)
            assert answer.status != 500


def test_every_route_refuses_strangers(served):
    for method, path, action in routes_of(served):
        if action is None:
            continue
        for token in (None, "op-lg_wrong", served.key, "x" * 5000):
            answer = ask(served, method, filled(path), token=token)
            is_page = path.startswith("/console") and method == "GET"  # which leads to the sign-in
            assert answer.status == (303 if is_page else 401), (method, path, answer.text)
            assert OWN not in answer.text


def test_only_bearers_are_read(served, tokens):
    answer = ask(served, "GET", "/admin/api/me", authorization=f"Basic {tokens['coe']}")

    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert tokens["coe"] not in answer.text


def test_me_says_who_one_is_and_what_one_may(served):
    token = served.operators.issue("lee@example.com", ("owner", "finance"), who="test").secret_text

    me = ask(served, "GET", "/admin/api/me", token=token).json

    assert (me["email"], me["roles"], me["signed_in_by"]) == ("lee@example.com", ["finance", "owner"], "token")
    assert (me["may"]["keys.issue"], me["may"]["costs.read"], "audit.read" in me["may"]) == ("own", "all", False)


def test_owner_sees_own_apps_and_nobody_elses(served, tokens):
    own = served.operators.issue("lee@example.com", ("owner",), who="test").secret_text

    assert [app["name"] for app in ask(served, "GET", "/admin/api/apps", token=own).json["data"]] == [OWN]
    assert ask(served, "GET", "/admin/api/apps", token=tokens["owner"]).json["data"] == []
    assert [app["name"] for app in ask(served, "GET", "/admin/api/apps", token=tokens["coe"]).json["data"]] == [OWN]


def test_unknown_app_and_app_of_others_are_told_apart_only_by_those_who_see_all(served, tokens):
    unknown, other = (f"/admin/api/apps/{name}/keys" for name in ("no-such-app", OWN))

    assert ask(served, "GET", unknown, token=tokens["coe"]).status == 404
    assert (
        ask(served, "GET", unknown, token=tokens["owner"]).text == ask(served, "GET", other, token=tokens["owner"]).text
    )


def test_key_is_issued_rotated_listed_and_revoked(served, tokens):
    keys = f"/admin/api/apps/{OWN}/keys"
    own = served.operators.issue("lee@example.com", ("owner",), who="test").secret_text

    issued = ask(served, "POST", keys, {"ttl_days": 30}, token=own)
    assert (issued.status, issued.headers["cache-control"]) == (201, "no-store")
    key = issued.json
    rotated = ask(served, "POST", f"{keys}/{key['key_id']}/rotate", token=own).json
    [listed] = [one for one in ask(served, "GET", keys, token=own).json["data"] if one["key_id"] == key["key_id"]]
    revoked = ask(served, "POST", f"{keys}/{key['key_id']}/revoke", token=tokens["responder"]).json
    again = ask(served, "POST", f"{keys}/{key['key_id']}/rotate", token=own)

    assert rotated["key_id"] == key["key_id"] != rotated["key"] != key["key"]
    assert (listed["state"], listed["issued_by"], listed["rotated_by"]) == ("rotating", *["lee@example.com"] * 2)
    assert not {"key", "secret_text"} & set(listed)
    assert (revoked["state"], revoked["revoked_by"]) == ("revoked", OTHER)
    assert (again.status, again.json["error"]["code"]) == (409, "conflict")


def test_key_of_another_app_is_unknown(served, tokens):
    other = served.keys.issue("another-app")

    answer = ask(served, "POST", f"/admin/api/apps/{OWN}/keys/{other.key_id}/revoke", token=tokens["coe"])

    assert answer.status == 404
    assert served.keys.find(other.key_id).revoked_at is None


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ttl_days": 0}', b'{"secret": 1}', b"\xff", b"[" * 100_000])
def test_body_that_makes_no_sense_is_not_repeated(served, tokens, body):
    answer = ask(served, "POST", f"/admin/api/apps/{OWN}/keys", body, token=tokens["coe"])

    assert (answer.status, answer.json["error"]["code"]) == (400, "body_refused")
    assert "secret" not in answer.text


def signed_in(served, token):
    answer = ask(served, "POST", "/console/sign-in", {"token": token}, content_type=FORM)
    assert answer.status == 303
    assert (answer.headers["location"], answer.headers["cache-control"]) == ("/console/", "no-store")
    [(cookie, flags)] = re.findall(r"llmguard_session=([\w-]+); (.*)", answer.headers["set-cookie"])
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(flags.split("; "))
    page = ask(served, "GET", "/console/", cookie=cookie)
    assert page.status == 200
    assert "unsafe-inline" not in page.headers["content-security-policy"]
    return cookie, re.search(r'name="csrf" value="(\w+)"', page.text)[1]


def test_signed_in_session_is_used_and_ended(served, tokens):
    cookie, csrf = signed_in(served, tokens["coe"])
    issued = ask(served, "POST", f"/admin/api/apps/{OWN}/keys", {}, cookie=cookie, x_csrf_token=csrf)
    out = ask(served, "POST", "/console/sign-out", {"csrf": csrf}, cookie=cookie, content_type=FORM)

    assert issued.status == 201
    assert (out.status, out.headers["location"]) == (303, "/console/sign-in")
    assert 'llmguard_session=""' in out.headers["set-cookie"]
    assert ask(served, "GET", "/admin/api/me", cookie=cookie).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_csrf_token": "0" * 64},
        {"x_csrf_token": "CSRF", "origin": "https://evil.example"},
        {"x_csrf_token": "CSRF", "sec_fetch_site": "same-site"},
        {"x_csrf_token": "É"},
    ],
    ids=["none", "wrong", "other origin", "other site", "no ascii"],
)
def test_change_without_the_form_token_of_the_session_is_refused(served, tokens, headers):
    cookie, csrf = signed_in(served, tokens["coe"])
    given = {name: csrf if value == "CSRF" else value for name, value in headers.items()}

    answer = ask(served, "POST", f"/admin/api/apps/{OWN}/keys", {}, cookie=cookie, **given)

    assert (answer.status, answer.json["error"]["code"]) == (403, "form_refused")


def test_form_token_of_another_session_does_not_count(served, tokens):
    cookie, _ = signed_in(served, tokens["coe"])
    _, foreign = signed_in(served, tokens["coe"])

    answer = ask(served, "POST", "/console/sign-out", {"csrf": foreign}, cookie=cookie, content_type=FORM)

    assert answer.status == 403
    assert "too old" in answer.text
    assert ask(served, "GET", "/admin/api/me", cookie=cookie).status == 200


def test_session_ends_when_its_token_is_revoked(served):
    issued = served.operators.issue("sam@example.com", ("coe",), who="test")
    cookie, _ = signed_in(served, issued.secret_text)

    served.operators.revoke(issued.token.token_id, who="test")

    assert ask(served, "GET", "/admin/api/me", cookie=cookie).status == 401


@pytest.mark.parametrize(
    ("token", "headers", "status"),
    [("op-lg_wrong", {}, 401), ("", {}, 401), ("COE", {"origin": "https://evil.example"}, 403)],
    ids=["wrong", "empty", "from another site"],
)
def test_sign_in_that_fails_says_why_and_gives_no_cookie(served, tokens, token, headers, status):
    token = tokens["coe"] if token == "COE" else token
    answer = ask(served, "POST", "/console/sign-in", {"token": token}, content_type=FORM, **headers)

    assert (answer.status, answer.headers["set-cookie"]) == (status, None)
    assert tokens["coe"] not in answer.text


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ("/console/apps/x", "/console/apps/x"),
        ("https://evil.example/console/", "/console/"),
        ("//evil.example", "/console/"),
        ("/console/../v1", "/console/"),
        ("/console//evil.example", "/console/"),
        ("/console/\r\nset-cookie: x=y", "/console/"),
    ],
)
def test_after_the_sign_in_comes_a_page_of_ours(served, tokens, wanted, shown):
    body = {"token": tokens["auditor"], "next": wanted}

    assert ask(served, "POST", "/console/sign-in", body, content_type=FORM).headers["location"] == shown


def test_page_behind_the_sign_in_leads_to_it_and_back(served):
    answer = ask(served, "GET", "/console/")

    assert (answer.status, answer.headers["location"]) == (303, "/console/sign-in?next=%2Fconsole%2F")
    form = ask(served, "GET", answer.headers["location"])
    assert (form.status, 'value="/console/"' in form.text) == (200, True)


def test_state_that_cannot_be_read_lets_nobody_in(served, tokens, monkeypatch, tmp_path):
    monkeypatch.setattr(served.operators, "_path", tmp_path / "missing.db")

    answer = ask(served, "GET", "/admin/api/me", token=tokens["coe"])

    assert (answer.status, answer.json["error"]["code"]) == (503, "ledger_unavailable")


def test_a_form_where_json_is_taken_is_refused_at_once(served, tokens):
    body = {"role": "responder", "reason": "The travel app answers nonsense."}
    begun = time.monotonic()
    answer = ask(served, "POST", "/admin/api/access", body, token=tokens["auditor"], content_type=FORM)

    assert (answer.status, answer.json["error"]["code"]) == (400, "body_refused")
    assert time.monotonic() - begun < 5


def ask_for_more(served, who="dana@example.com", limit="tokens_per_day"):
    app = served.services.registry.apps[OWN]
    return served.services.overage.request(Ask(app, "app", limit, 500, "The month is long.", who)).id


def test_overage_is_decided_by_somebody_else_who_may(served, tokens):
    asked = ask_for_more(served)
    decide = f"/admin/api/overage/{asked}/approve"
    until = {"until": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    people = ("dana@example.com", "owner"), ("x@example.com", "finance"), ("fin@example.com", "finance")
    own, stranger, finance = (served.operators.issue(who, (role,), who="test").secret_text for who, role in people)

    themselves = ask(served, "POST", decide, until, token=own)
    not_named = ask(served, "POST", decide, until, token=stranger)
    without_end = ask(served, "POST", decide, {}, token=finance)
    approved = ask(served, "POST", decide, until, token=finance)
    [listed] = ask(served, "GET", "/admin/api/overage", token=own).json["data"]

    assert "Nobody approves their own request." in themselves.text
    assert (not_named.status, not_named.json["error"]["code"]) == (403, "policy_denied")
    assert (without_end.status, without_end.json["error"]["code"]) == (400, "invalid_request")
    assert (approved.status, approved.json["state"], approved.json["decided_by"]) == (
        200,
        "approved",
        "fin@example.com",
    )
    assert (listed["id"], listed["reason"]) == (asked, "The month is long.")
    assert ask(served, "GET", "/admin/api/overage", token=tokens["owner"]).json["data"] == []
    grants = ask(served, "GET", f"/admin/api/apps/{OWN}/quota", token=own).json["grants"]
    assert [grant["amount"] for grant in grants] == ["500"]


def test_overage_is_denied_with_a_reason_and_hidden_from_owners_of_other_apps(served, tokens):
    asked = ask_for_more(served)
    finance = served.operators.issue("fin@example.com", ("finance",), who="test").secret_text
    deny = f"/admin/api/overage/{asked}/deny"

    hidden = ask(served, "POST", deny, {"reason": "Because."}, token=tokens["owner"])
    denied = ask(served, "POST", deny, {"reason": "Wait for December."}, token=finance)

    assert (hidden.status, hidden.json["error"]["code"]) == (404, "not_found")
    assert (denied.json["state"], denied.json["denial"]) == ("denied", "Wait for December.")


def test_audit_log_is_read_in_pages(served, tokens):
    key = ask(served, "POST", f"/admin/api/apps/{OWN}/keys", {}, token=tokens["coe"]).json

    first = ask(served, "GET", "/admin/api/audit?limit=1", token=tokens["auditor"]).json
    rest = ask(served, "GET", "/admin/api/audit?after=1&limit=1000", token=tokens["auditor"]).json
    wrong = ask(served, "GET", "/admin/api/audit?after=secret", token=tokens["auditor"])
    beyond = ask(served, "GET", f"/admin/api/audit?after={2**63}", token=tokens["auditor"])

    assert (first["data"][0]["seq"], first["next_after"], rest["data"][0]["seq"]) == (1, 1, 2)
    issued = [entry for entry in rest["data"] if entry["subject"] == key["key_id"]]
    assert [(entry["who"], entry["what"], entry["app"]) for entry in issued] == [(OTHER, "key.issued", OWN)]
    assert (wrong.status, "after" in wrong.text, "secret" in wrong.text) == (400, True, False)
    assert beyond.status == 400


def test_role_for_some_hours_counts_with_the_next_request_and_was_given_by_another(served, tokens):
    who = "rae@example.com"
    rae = served.operators.issue(who, ("builder",), who="test").secret_text
    path = f"/admin/api/apps/{OWN}/keys"
    before = ask(served, "GET", path, token=rae)
    asked = ask(served, "POST", "/admin/api/access", {"role": "responder", "reason": "Odd answers."}, token=rae).json
    own = served.operators.issue(who, ("coe",), who="test").secret_text
    themselves = ask(served, "POST", f"/admin/api/access/{asked['id']}/approve", token=own)
    approved = ask(served, "POST", f"/admin/api/access/{asked['id']}/approve", token=tokens["coe"]).json
    during = ask(served, "GET", path, token=rae)
    ended = ask(served, "POST", f"/admin/api/access/{asked['id']}/end", token=tokens["coe"]).json
    listed = ask(served, "GET", "/admin/api/access", token=tokens["auditor"]).json["data"]

    assert (before.status, during.status, ask(served, "GET", path, token=rae).status) == (403, 200, 403)
    assert (asked["state"], approved["state"], ended["state"]) == ("open", "active", "ended")
    assert (themselves.status, "Nobody approves their own" in themselves.text) == (403, True)
    assert [one["reason"] for one in listed if one["id"] == asked["id"]] == ["Odd answers."]
    assert ask(served, "POST", "/admin/api/access", {"role": "king", "reason": "x"}, token=rae).status == 400
