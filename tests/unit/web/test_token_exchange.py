"""`POST /auth/token` and its tokens on /v1: what passes, each way in which it must not, and no hint at others."""

import http.client
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from llmguard.domain.catalog import KeyScope
from llmguard.domain.identity import IdentityProvider
from llmguard.identity.app_tokens import TokenMint
from tests.support.builders import FrozenClock, an_app
from tests.support.identity_provider import Issuer, encoded, hs256
from tests.support.served import SECRET, Served, a_small_registry

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
APP_KEY = "urn:llmguard:params:oauth:token-type:app-key"
HELLO = {"model": "summarise", "messages": [{"role": "user", "content": "Hello"}]}
ABYSS = ".".join([urlsafe_b64encode(part).rstrip(b"=").decode() for part in (b'{"alg":"RS256"}', b"[" * 9000)]) + ".x"


@pytest.fixture(scope="module")
def issuer():
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def registry(issuer):
    small = a_small_registry()
    other, stopped = an_app(name="other"), an_app(name="stopped", status="suspended")
    apps = {"expense": "expense-triage", "stopped": "stopped"}
    provider = IdentityProvider("company", issuer.issuer, "llmguard", ("RS256",), "sub", apps)
    return replace(
        small,
        apps=small.apps | {"other": other, "stopped": stopped},
        identity_providers={"company": provider},
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory, registry):
    with Served(tmp_path_factory.mktemp("data"), registry=registry) as served:
        yield served


def send(served, method, path, body=None, **headers):
    host = served.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, json.loads(text)


def exchange(served, token, kind=APP_KEY, **form):
    given = {"grant_type": GRANT, "subject_token": token, "subject_token_type": kind} | form
    given = {name: value for name, value in given.items() if value is not None}
    return send(served, "POST", "/auth/token", urlencode(given), content_type="application/x-www-form-urlencoded")


def token_of(served, token, kind=APP_KEY, **form):
    status, _, body = exchange(served, token, kind, **form)
    assert status == 200, body
    return body["access_token"]


def use(served, token, path="/v1/me"):
    status, _, body = send(served, "GET", path, authorization=f"Bearer {token}")
    return status, body


def refused(served, token):
    status, body = use(served, token)
    return status, body["error"]["code"], body["error"]["message"]


def issued(served, **options):
    """Return a new key, once the keyring knows it."""
    key = served.keys.issue(options.pop("app", "expense-triage"), **options)
    served.services.keyring.refresh()
    return key


def test_key_becomes_a_token_of_its_app_for_a_quarter_of_an_hour(served):
    status, headers, body = exchange(served, served.key)
    me = use(served, body["access_token"])
    chat = send(
        served, "POST", "/v1/chat/completions", json.dumps(HELLO), authorization=f"Bearer {body['access_token']}"
    )

    assert (status, body["token_type"], headers["cache-control"]) == (200, "Bearer", "no-store")
    assert body["issued_token_type"] == f"{TYPE}access_token"
    assert 895 <= body["expires_in"] <= 900
    assert (me[0], me[1]["app"]["name"], me[1]["scope"]) == (200, "expense-triage", None)
    assert chat[0] == 200
    assert served.key[20:] not in body["access_token"]


def test_published_keys_check_our_tokens(served):
    _, _, published = send(served, "GET", "/.well-known/jwks.json")
    keys = KeySet.import_key_set(published)

    token = jwt.decode(token_of(served, served.key), keys, algorithms=["ES256"])

    assert (token.claims["iss"], token.claims["sub"]) == ("urn:llmguard", "expense-triage")
    assert not {"d", "k", "p"} & set(published["keys"][0])


def test_token_may_do_less_and_never_more_than_its_key(served):
    key = issued(served, scope=KeyScope(presets=("summarise",))).secret_text
    token = token_of(served, key, scope="preset:summarise@1 endpoint:responses environment:sandbox")

    status, body = use(served, token)
    _, _, chat = send(served, "POST", "/v1/chat/completions", json.dumps(HELLO), authorization=f"Bearer {token}")
    more = exchange(served, key, scope="preset:other")
    odd = exchange(served, key, scope="everything")

    scope = {"endpoints": ["responses"], "presets": ["summarise@1"], "environment": "sandbox"}
    assert (status, body["scope"]) == (200, scope)
    assert chat["error"]["code"] == "scope_missing"
    assert (more[0], more[2]["error"], more[2]["code"]) == (400, "invalid_scope", "scope_missing")
    assert odd[2]["error"] == "invalid_scope"


def test_scope_of_a_key_is_that_of_its_tokens(served):
    key = issued(served, scope=KeyScope(endpoints=("embeddings",))).secret_text

    _, _, body = exchange(served, key)

    assert body["scope"] == "endpoint:embeddings"
    assert use(served, body["access_token"])[1]["scope"]["endpoints"] == ["embeddings"]


def test_revoked_key_takes_its_tokens_along(served):
    key = issued(served)
    token = token_of(served, key.secret_text)
    assert use(served, token)[0] == 200
    served.keys.revoke(key.key_id)
    served.services.keyring.refresh()

    assert refused(served, token)[:2] == (401, "key_revoked")
    assert exchange(served, key.secret_text)[2]["code"] == "key_revoked"


def test_key_out_of_overlap_gives_no_token_and_the_new_secret_does(served):
    key = issued(served)
    rotated = served.keys.rotate(key.key_id, overlap=timedelta(0))
    served.services.keyring.refresh()

    status, _, body = exchange(served, key.secret_text)

    assert (status, body["error"], body["code"]) == (400, "invalid_request", "key_expired")
    assert "replaced by rotation" in body["error_description"]
    assert use(served, token_of(served, rotated.secret_text))[0] == 200


def test_token_does_not_outlive_the_secret_that_it_came_from(served):
    key = issued(served, ttl=timedelta(seconds=100))

    _, _, body = exchange(served, key.secret_text)

    assert 95 <= body["expires_in"] <= 100


def test_suspended_app_takes_its_tokens_along(served):
    key = issued(served, app="other")
    token = token_of(served, key.secret_text)
    before = served.services.registry
    served.services.registry = replace(before, apps=before.apps | {"other": an_app(name="other", status="suspended")})
    try:
        later = refused(served, token)
        again = exchange(served, key.secret_text)
    finally:
        served.services.registry = before

    assert later[:2] == (403, "app_suspended")
    assert again[2]["code"] == "app_suspended"


def test_token_of_the_company_becomes_one_of_the_app_that_the_registry_names(served, issuer):
    for kind in ("jwt", "id_token", "access_token"):
        token = token_of(served, issuer.token(), f"{TYPE}{kind}")
        status, body = use(served, token)
        assert (status, body["app"]["name"], body["key_id"]) == (200, "expense-triage", "idp:company")


def test_token_without_a_key_id_is_believed_while_there_is_one_key(served, issuer):
    assert token_of(served, issuer.token(header={"kid": None}), f"{TYPE}jwt")


def test_provider_that_no_longer_speaks_for_the_app_takes_its_tokens_along(served, issuer):
    token = token_of(served, issuer.token(), f"{TYPE}jwt")
    before = served.services.registry
    served.services.registry = replace(before, identity_providers={})
    try:
        assert refused(served, token)[:2] == (401, "key_revoked")
    finally:
        served.services.registry = before


STRANGER = RSAKey.generate_key(2048, parameters={"kid": "first"})
FOREIGN = {
    "alg none": (lambda i: i.token(header={"alg": "none"}), "algorithm_not_allowed"),
    "shared secret": (
        lambda i: hs256(i.key, "first", {"iss": i.issuer, "aud": "llmguard", "sub": "expense", "exp": 4e9}),
        "algorithm_not_allowed",
    ),
    "algorithm that is not listed": (lambda i: i.token(header={"alg": "RS512"}), "algorithm_not_allowed"),
    "wrong audience": (lambda i: i.token(aud="another"), "wrong_audience"),
    "no audience": (lambda i: i.token(aud=None), "claim_missing"),
    "expired": (lambda i: i.token(exp=int(time.time()) - 61), "expired"),
    "no end": (lambda i: i.token(exp=None), "claim_missing"),
    "an end that is no number": (lambda i: i.token(exp="soon"), "malformed"),
    "not yet": (lambda i: i.token(nbf=int(time.time()) + 600), "not_yet_valid"),
    "unknown key id": (lambda i: i.token(header={"kid": "second"}), "unknown_key_id"),
    "key of somebody else": (lambda i: i.token(key=STRANGER), "bad_signature"),
    "wrong issuer": (lambda i: i.token(iss="https://evil.example"), "wrong_issuer"),
    "app that is not named": (lambda i: i.token(sub="another"), "app_unknown"),
    "no app": (lambda i: i.token(sub=None), "app_unknown"),
    "suspended app": (lambda i: i.token(sub="stopped"), "app_suspended"),
    "no token": (lambda _: "eyJx", "malformed"),
    "claims that are none": (lambda i: f"{i.token().split('.')[0]}.{encoded([1])}.x", "malformed"),
    "another app written in": (
        lambda i: ".".join(
            [*(parts := i.token().split("."))[:1], encoded({"iss": i.issuer, "sub": "other"}), *parts[2:]]
        ),
        "bad_signature",
    ),
}


@pytest.mark.parametrize(("make", "code"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_token_that_is_not_to_be_believed_is_refused_for_its_own_reason(served, issuer, make, code):
    status, _, body = exchange(served, make(issuer), f"{TYPE}jwt")

    assert (status, body["code"], body["error"]) == (400, code, "invalid_request")
    assert not {"access_token", "expense-triage"} & set(json.dumps(body).split('"'))


def test_keys_are_fetched_again_at_most_once_a_minute(served, issuer):
    exchange(served, issuer.token(), f"{TYPE}jwt")
    before = issuer.fetched
    codes = {exchange(served, issuer.token(header={"kid": f"k{n}"}), f"{TYPE}jwt")[2]["code"] for n in range(5)}

    assert codes == {"unknown_key_id"}
    assert issuer.fetched - before <= 1


@pytest.mark.parametrize(
    ("form", "error", "code"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type", "grant_type"),
        ({"subject_token_type": None}, "invalid_request", "subject_token_type"),
        ({"subject_token": ""}, "invalid_request", "subject_token_type"),
        ({"subject_token": "sk-lg_wrong"}, "invalid_request", "invalid_api_key"),
        ({"subject_token": "password", "subject_token_type": f"{TYPE}jwt"}, "invalid_request", "malformed"),
        ({"subject_token": ABYSS, "subject_token_type": f"{TYPE}jwt"}, "invalid_request", "malformed"),
    ],
    ids=["grant", "no type", "nothing", "key", "word", "abyss"],
)
def test_exchange_that_makes_no_sense_is_refused_in_oauths_words(served, form, error, code):
    status, headers, body = exchange(served, served.key, **form)

    assert (status, body["error"], body["code"]) == (400, error, code)
    assert headers["cache-control"] == "no-store"
    assert "error_description" in body


def test_json_is_no_form(served):
    status, _, body = send(served, "POST", "/auth/token", "{}", content_type="application/json")

    assert (status, body["code"]) == (400, "no_form")


def mint_key(served):
    return served.mint._key


OURS = {
    "alg none": lambda s, c: f"{encoded({'alg': 'none'})}.{encoded(c)}.",
    "shared secret": lambda s, c: hs256(mint_key(s), mint_key(s).thumbprint(), c),
    "unknown key id": lambda s, c: jwt.encode({"alg": "ES256", "kid": "x"}, c, mint_key(s), algorithms=["ES256"]),
    "key of somebody else": lambda s, c: jwt.encode(
        {"alg": "ES256", "kid": mint_key(s).thumbprint(), "typ": "at+jwt"},
        c,
        ECKey.generate_key("P-256"),
        algorithms=["ES256"],
    ),
    "wrong audience": lambda s, c: sign(s, c | {"aud": "other"}),
    "wrong issuer": lambda s, c: sign(s, c | {"iss": "https://evil.example"}),
    "other type": lambda s, c: sign(s, c, typ="JWT"),
    "no token": lambda s, c: "eyJhbGciOiJFUzI1NiJ9",
    "too long": lambda s, c: "eyJ" + "x" * 9000,
    "key that is not known": lambda s, c: sign(s, c | {"origin": "AAAABBBBCCCC"}),
}


def sign(served, claims, typ="at+jwt"):
    key = mint_key(served)
    return jwt.encode({"alg": "ES256", "kid": key.thumbprint(), "typ": typ}, claims, key, algorithms=["ES256"])


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
def test_token_that_we_did_not_give_is_refused_at_the_door(served, make):
    token = make(served, claims_of(token_of(served, served.key)))

    status, code, message = refused(served, token)

    assert (status, code) == (401, "invalid_api_key")
    assert "expense-triage" not in message


def test_refusals_at_the_door_differ(served):
    claims = claims_of(token_of(served, served.key))

    messages = [refused(served, make(served, claims))[2] for make in OURS.values()]

    assert len(set(messages)) >= 7


def test_token_that_has_ended_says_so_also_when_it_was_seen_before(tmp_path):
    clock = FrozenClock()
    mint = TokenMint((SECRET,), clock)
    text, token = mint.issue("expense-triage", "key-1", None)
    assert mint.read(text) == mint.read(text) == token
    clock.advance(minutes=15)

    for reader in (mint, TokenMint((SECRET,), clock)):
        with pytest.raises(Exception, match="This token ended at") as caught:
            reader.read(text)
        assert caught.value.code == "key_expired"


def test_token_signed_under_the_secret_before_is_still_read():
    clock = FrozenClock()
    text, token = TokenMint((b"the secret before this one",), clock).issue("expense-triage", "key-1", None)

    assert TokenMint((SECRET, b"the secret before this one"), clock).read(text) == token
    with pytest.raises(Exception, match="a key that is not llmguard's"):
        TokenMint((SECRET,), clock).read(text)


def test_state_that_cannot_be_read_gives_no_token(served, monkeypatch):
    keyring = served.services.keyring
    monkeypatch.setattr(keyring, "_snapshot", replace(keyring._snapshot, confirmed_ticks=0))
    monkeypatch.setattr(keyring, "refresh", lambda: None)

    status, _, body = exchange(served, served.key)

    assert (status, body["error"]) == (503, "temporarily_unavailable")
