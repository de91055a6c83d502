"""Sign-in at a real OpenID provider: code with PKCE, state and nonce; and what must not let anybody in."""

import http.client
import re
import time
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from llmguard.domain.identity import OperatorPolicy, RoleHolders
from tests.support.identity_provider import Issuer, OpenIdProvider, User, s256
from tests.support.served import Served, a_small_registry

FORM = "application/x-www-form-urlencoded"
COE = User(sub="coe-1", claims={"name": "Cora", "email": "coe@example.com", "email_verified": True})
UNVERIFIED = User(sub="coe-2", claims={"name": "coe@example.com", "email": "coe@example.com"})
GROUPED = User(sub="aud-1", claims={"name": "Ada", "groups": ["auditors", 7]})
NOBODY = User(sub="no-1", claims={"email": "nobody@example.com", "email_verified": True})


@pytest.fixture(scope="module")
def provider():
    with OpenIdProvider(COE, UNVERIFIED, GROUPED, NOBODY) as provider:
        yield provider


@pytest.fixture(scope="module")
def policy(provider):
    roles = {
        "coe": RoleHolders(emails=frozenset({"coe@example.com"})),
        "auditor": RoleHolders(groups=frozenset({"auditors"})),
    }
    return OperatorPolicy(provider.issuer, "llmguard", client_secret_env="OIDC_SECRET", roles=roles)


@pytest.fixture(scope="module")
def served(tmp_path_factory, policy):
    registry = replace(a_small_registry(), operators=policy)
    with Served(tmp_path_factory.mktemp("data"), registry=registry) as served:
        yield served


def send(url, method="GET", body=None, cookie=None, **headers):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if cookie is not None:
        given["cookie"] = cookie
    connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return SimpleNamespace(status=answer.status, headers=answer.headers, text=text)


def at(served, path):
    return served.base_url.removesuffix("/v1") + path


def begun(served, path="/console/sign-in/openid"):
    """Begin a sign-in; return where the browser is sent, and its cookie."""
    answer = send(at(served, path))
    assert answer.status == 303, answer.text
    return answer.headers["location"], answer.headers["set-cookie"].partition(";")[0]


def consented(address, user):
    """Let somebody consent at the provider, and return where the browser is sent back to."""
    answer = send(address, "POST", urlencode({"sub": user.sub}), content_type=FORM)
    assert answer.status in (302, 303), answer.text
    return answer.headers["location"]


def signed_in(served, user, **options):
    """Return the session's cookie and the answer of a whole sign-in."""
    address, cookie = begun(served, **options)
    answer = send(consented(address, user), cookie=cookie)
    found = re.search(r"llmguard_session=[\w-]+", ",".join(answer.headers.get_all("set-cookie") or []))
    return (found[0] if found else None), answer


def test_sign_in_asks_with_pkce_state_and_nonce_and_proves_it(served, provider):
    address, cookie = begun(served)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    back = send(consented(address, COE), cookie=cookie)

    assert back.status == 303
    assert (asked["response_type"], asked["client_id"], asked["scope"]) == ("code", "llmguard", "openid profile email")
    assert asked["code_challenge_method"] == "S256"
    assert cookie == f"llmguard_sign_in={asked['state']}"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    form = provider.tokens_asked[-1]
    assert s256(form["code_verifier"]) == asked["code_challenge"]
    assert form["redirect_uri"] == asked["redirect_uri"] == at(served, "/console/sign-in/callback")
    assert provider.authorizations[-1].startswith("Basic ")
    assert "s3cret" not in str(form)


def test_verified_address_gives_the_role_of_the_registry_and_the_page_that_was_asked_for(served):
    cookie, answer = signed_in(served, COE, path="/console/sign-in/openid?next=/console/apps/x")

    me = send(at(served, "/admin/api/me"), cookie=cookie)

    assert answer.headers["location"] == "/console/apps/x"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert (me.status, '"roles":["coe"]' in me.text, '"email":"coe@example.com"' in me.text) == (200, True, True)
    assert '"signed_in_by":"oidc"' in me.text


def test_group_gives_a_role_to_somebody_without_an_address(served, provider):
    cookie, _ = signed_in(served, GROUPED)

    me = send(at(served, "/admin/api/me"), cookie=cookie)

    assert ('"roles":["auditor"]' in me.text, '"email":null' in me.text) == (True, True)
    assert f'"subject":"oidc:{provider.issuer}|aud-1"' in me.text


def test_address_that_is_not_verified_and_a_name_that_looks_like_one_give_nothing(served):
    cookie, answer = signed_in(served, UNVERIFIED)

    assert (cookie, answer.status) == (None, 403)
    assert "have no role here" in answer.text


def test_address_that_is_not_verified_counts_where_the_registry_says_so(served, policy):
    before = served.services.registry
    served.services.registry = replace(before, operators=replace(policy, unverified_email=True))
    try:
        cookie, _ = signed_in(served, UNVERIFIED)
    finally:
        served.services.registry = before

    assert cookie is not None


def test_somebody_without_a_role_is_not_let_in(served):
    cookie, answer = signed_in(served, NOBODY)

    assert (cookie, answer.status) == (None, 403)
    assert "coe@example.com" not in answer.text


def test_role_that_the_registry_takes_away_is_gone_with_the_next_click(served, policy):
    cookie, _ = signed_in(served, COE)
    before = served.services.registry
    roles = {"finance": policy.roles["coe"]}
    served.services.registry = replace(before, operators=replace(policy, roles=roles))
    changed = send(at(served, "/admin/api/me"), cookie=cookie)
    served.services.registry = replace(before, operators=replace(policy, issuer="https://login.example.com"))
    moved = send(at(served, "/admin/api/me"), cookie=cookie)
    served.services.registry = before

    assert '"roles":["finance"]' in changed.text
    assert moved.status == 401


def test_answer_that_comes_twice_lets_nobody_in_again(served):
    address, cookie = begun(served)
    back = consented(address, COE)
    first, second = send(back, cookie=cookie), send(back, cookie=cookie)

    assert (first.status, second.status) == (303, 401)
    assert "finished before" in second.text
    assert second.headers["set-cookie"] is None


def test_code_that_was_used_lets_nobody_in_with_another_state(served):
    address, cookie = begun(served)
    back = consented(address, COE)
    assert send(back, cookie=cookie).status == 303
    code = parse_qs(urlsplit(back).query)["code"][0]
    other, other_cookie = begun(served)
    state = parse_qs(urlsplit(other).query)["state"][0]

    replayed = send(
        at(served, f"/console/sign-in/callback?{urlencode({'code': code, 'state': state})}"), cookie=other_cookie
    )

    assert replayed.status == 401
    assert "did not take the code" in replayed.text
    assert code not in replayed.text


def test_code_of_another_sign_in_is_refused_by_its_nonce(served):
    victim, _ = begun(served)
    stolen = parse_qs(urlsplit(consented(victim, COE)).query)["code"][0]
    own, cookie = begun(served)
    state = parse_qs(urlsplit(own).query)["state"][0]

    answer = send(at(served, f"/console/sign-in/callback?{urlencode({'code': stolen, 'state': state})}"), cookie=cookie)

    assert answer.status == 401
    assert "not of this sign-in" in answer.text


@pytest.mark.parametrize("cookie", [None, "llmguard_sign_in=another", "llmguard_sign_in="])
def test_answer_in_another_browser_lets_nobody_in(served, cookie):
    address, _ = begun(served)

    answer = send(consented(address, COE), cookie=cookie)

    assert answer.status == 401
    assert "not begun in this browser" in answer.text


def test_refusal_of_the_provider_is_said_and_nothing_else_of_it(served):
    for error, shown in (("access_denied", True), ("<script>alert(1)</script>", False)):
        address, cookie = begun(served)
        state = parse_qs(urlsplit(address).query)["state"][0]
        query = urlencode({"error": error, "error_description": "secret words", "state": state})
        answer = send(at(served, f"/console/sign-in/callback?{query}"), cookie=cookie)
        assert (answer.status, error in answer.text, "secret words" in answer.text) == (401, shown, False)


def test_answer_of_another_issuer_is_refused(served):
    address, cookie = begun(served)

    answer = send(consented(address, COE) + "&iss=https%3A%2F%2Fevil.example", cookie=cookie)

    assert (answer.status, "another identity provider" in answer.text) == (401, True)


def test_sign_in_page_offers_it_only_where_the_registry_has_it(served, policy):
    offered = send(at(served, "/console/sign-in?next=/console/x"))
    before = served.services.registry
    served.services.registry = replace(before, operators=None)
    without = send(at(served, "/console/sign-in"))
    begin = send(at(served, "/console/sign-in/openid"))
    served.services.registry = before

    assert 'href="/console/sign-in/openid?next=/console/x"' in offered.text
    assert "/console/sign-in/openid" not in without.text
    assert begin.status == 404


@pytest.mark.parametrize("place", [None, "javascript:alert(1)", "http://login.example.com/authorize"])
def test_browser_is_sent_only_where_nobody_can_listen(tmp_path, policy, monkeypatch, place):
    with Issuer() as issuer, Served(tmp_path) as served:
        served.services.registry = replace(a_small_registry(), operators=replace(policy, issuer=issuer.issuer))
        document = issuer.answer("/.well-known/openid-configuration") | {"authorization_endpoint": place}
        keys = issuer.answer("/keys")
        monkeypatch.setattr(issuer, "answer", lambda path: keys if path == "/keys" else document)
        answer = send(at(served, "/console/sign-in/openid"))

    assert (answer.status, answer.headers["location"]) == (503, None)


def test_provider_that_is_away_is_said(served, policy):
    before = served.services.registry
    served.services.registry = replace(before, operators=replace(policy, issuer="http://127.0.0.1:9"))
    try:
        answer = send(at(served, "/console/sign-in/openid"))
    finally:
        served.services.registry = before

    assert (answer.status, "does not answer" in answer.text) == (503, True)


def test_token_of_the_provider_for_another_client_or_person_lets_nobody_in(tmp_path, policy, monkeypatch):
    """A provider of our own, which answers every code with the token that the test wants."""
    with Issuer() as issuer, Served(tmp_path) as served:
        metadata = {
            "issuer": issuer.issuer,
            "jwks_uri": f"{issuer.issuer}/keys",
            "authorization_endpoint": f"{issuer.issuer}/authorize",
            "token_endpoint": f"{issuer.issuer}/token",
            "userinfo_endpoint": f"{issuer.issuer}/userinfo",
        }
        answers = {"/.well-known/openid-configuration": metadata, "/userinfo": {"sub": "somebody else"}}
        usual = issuer.answer
        monkeypatch.setattr(issuer, "answer", lambda path: answers.get(path) or usual(path))
        served.services.registry = replace(a_small_registry(), operators=replace(policy, issuer=issuer.issuer))
        said = {
            "another client": ({"aud": "other"}, "wrong_audience"),
            "another client too": ({"azp": "other"}, "another client"),
            "expired": ({"exp": int(time.time()) - 100}, "expired"),
            "nobody": ({"sub": None}, "who it is about"),
            "another person": ({}, "somebody else"),
            "none": ({"alg": "none"}, "algorithm_not_allowed"),
        }
        for claims, words in said.values():
            address, cookie = begun(served)
            asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
            header = {"alg": claims["alg"]} if "alg" in claims else {}
            given = {"nonce": asked["nonce"], "aud": "llmguard"} | {k: v for k, v in claims.items() if k != "alg"}
            answers["/token"] = {"id_token": issuer.token(header=header, **given), "access_token": "x"}
            back = at(served, f"/console/sign-in/callback?{urlencode({'code': 'x', 'state': asked['state']})}")
            answer = send(back, cookie=cookie)
            assert (answer.status, words in answer.text) == (401, True), (words, answer.text)


def test_client_that_begins_too_often_has_to_wait(tmp_path, policy):
    with Served(tmp_path, registry=replace(a_small_registry(), operators=policy)) as served:
        for _ in range(20):
            begun(served)
        answer = send(at(served, "/console/sign-in/openid"))

    assert (answer.status, "Wait a minute" in answer.text) == (403, True)


def test_public_client_proves_itself_by_its_verifier_alone(tmp_path, policy, monkeypatch):
    with Issuer() as issuer, Served(tmp_path) as served:
        public = replace(policy, issuer=issuer.issuer, client_secret_env=None, console_url="http://localhost:1/")
        served.services.registry = replace(a_small_registry(), operators=public)
        metadata = {"issuer": issuer.issuer, "jwks_uri": f"{issuer.issuer}/keys"}
        metadata |= {name: f"{issuer.issuer}/{name}?x=1" for name in ("authorization_endpoint", "token_endpoint")}
        answers = {"/.well-known/openid-configuration": metadata}
        usual = issuer.answer
        monkeypatch.setattr(issuer, "answer", lambda path: answers.get(path) or usual(path))
        address, cookie = begun(served)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        said = {"nonce": asked["nonce"], "email": "COE@example.com", "email_verified": True}
        answers["/token_endpoint?x=1"] = {"id_token": issuer.token(**said)}
        back = at(served, f"/console/sign-in/callback?{urlencode({'code': 'x', 'state': asked['state']})}")
        answer = send(back, cookie=cookie)

    headers, form = issuer.posted[-1]
    assert (answer.status, asked["x"], asked["redirect_uri"]) == (
        303,
        "1",
        "http://localhost:1/console/sign-in/callback",
    )
    assert "authorization" not in headers
    assert (form["client_id"], s256(form["code_verifier"])) == ("llmguard", asked["code_challenge"])
