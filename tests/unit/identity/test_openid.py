"""Documents and keys of identity providers: fetched when needed, kept for a while, and only from safe places."""

import time
from datetime import UTC, datetime

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from llmguard.identity.openid import Expected, OpenIdProviders, TokenRefusedError, is_safe
from tests.support.builders import FrozenClock
from tests.support.identity_provider import Issuer


@pytest.fixture
def issuer():
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def clock():
    return FrozenClock(datetime.now(UTC))


@pytest.fixture
def providers(clock):
    return OpenIdProviders(clock)


def expected(issuer, *algorithms):
    return Expected(issuer.issuer, "llmguard", algorithms or ("RS256",))


def lasting(issuer, **options):
    """A token that is valid however the test moves the clock."""
    return issuer.token(exp=int(time.time()) + 10 * 86_400, **options)


async def flaw_of(providers, issuer, token, *algorithms):
    with pytest.raises(TokenRefusedError) as caught:
        await providers.claims(token, expected(issuer, *algorithms))
    return caught.value.flaw


async def test_keys_are_fetched_once_an_hour(providers, issuer, clock):
    for minutes in (0, 30, 29, 1, 30):
        clock.advance(minutes=minutes)
        assert (await providers.claims(lasting(issuer), expected(issuer)))["sub"] == "expense"

    assert issuer.fetched == 2


async def test_new_key_of_a_provider_counts_once_a_minute_has_passed(providers, issuer, clock):
    await providers.claims(lasting(issuer), expected(issuer))
    new = RSAKey.generate_key(2048, parameters={"kid": "second"})
    issuer.published = [issuer.key, new]
    token = lasting(issuer, key=new, header={"kid": "second"})

    assert await flaw_of(providers, issuer, token) == "unknown_key_id"
    clock.advance(seconds=60)
    assert await providers.claims(token, expected(issuer))
    assert issuer.fetched == 2


async def test_key_that_a_provider_takes_away_stops_counting_within_an_hour(providers, issuer, clock):
    await providers.claims(lasting(issuer), expected(issuer))
    issuer.published = [RSAKey.generate_key(2048, parameters={"kid": "second"})]
    clock.advance(hours=1)

    assert await flaw_of(providers, issuer, lasting(issuer)) == "unknown_key_id"


async def test_provider_may_be_away_for_a_day(providers, issuer, clock, monkeypatch):
    await providers.claims(lasting(issuer), expected(issuer))
    monkeypatch.setattr(issuer, "answer", lambda _: None)
    clock.advance(hours=23)
    assert await providers.claims(lasting(issuer), expected(issuer))
    clock.advance(hours=1)

    assert await flaw_of(providers, issuer, lasting(issuer)) == "provider_unreachable"


async def test_provider_that_never_answered_is_asked_again_after_five_seconds(providers, issuer, clock, monkeypatch):
    usual = issuer.answer
    monkeypatch.setattr(issuer, "answer", lambda _: None)
    assert await flaw_of(providers, issuer, lasting(issuer)) == "provider_unreachable"
    monkeypatch.setattr(issuer, "answer", usual)

    assert await flaw_of(providers, issuer, lasting(issuer)) == "provider_unreachable"
    clock.advance(seconds=5)
    assert await providers.claims(lasting(issuer), expected(issuer))


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://login.example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        [1],
        {"padding": "x" * 600_000},
    ],
    ids=["other issuer", "plain http", "no web address", "no keys", "no object", "too long"],
)
async def test_documents_that_cannot_be_trusted_are_not_used(providers, issuer, monkeypatch, document):
    usual = issuer.answer

    def answer(path):
        if path.endswith("openid-configuration") and isinstance(document, dict):
            return usual(path) | document
        return document if path.endswith("openid-configuration") else usual(path)

    monkeypatch.setattr(issuer, "answer", answer)

    assert await flaw_of(providers, issuer, lasting(issuer)) == "provider_unreachable"


async def test_keys_that_are_no_signing_keys_are_stepped_over(providers, issuer, monkeypatch):
    usual = issuer.answer
    own = issuer.key.as_dict(private=False)
    published = [
        {"kty": "RSA", "kid": "first"},
        own | {"use": "enc"},
        OctKey.import_key("a shared secret of 32 characters").as_dict() | {"kid": "first"},
        ECKey.generate_key("P-256").as_dict(private=False) | {"kid": "first"},
        {"kty": "ML-DSA", "kid": "first"},
        own,
    ]
    monkeypatch.setattr(issuer, "answer", lambda path: {"keys": published} if path == "/keys" else usual(path))

    assert await providers.claims(lasting(issuer), expected(issuer))


async def test_token_without_a_key_id_is_not_believed_where_two_keys_fit(providers, issuer):
    issuer.published = [issuer.key, RSAKey.generate_key(2048, parameters={"kid": "second"})]

    assert await flaw_of(providers, issuer, lasting(issuer, header={"kid": None})) == "unknown_key_id"


async def test_elliptic_curves_are_believed_where_they_are_listed(providers, issuer):
    key = ECKey.generate_key("P-256", parameters={"kid": "curve"})
    issuer.published = [issuer.key, key]
    token = lasting(issuer, key=key, header={"alg": "ES256", "kid": "curve"})

    assert await providers.claims(token, expected(issuer, "ES256"))
    assert await flaw_of(providers, issuer, token) == "algorithm_not_allowed"


@pytest.mark.parametrize("token", ["", "a.b.c", "eyJ" + "x" * 20_000], ids=["nothing", "no token", "too long"])
async def test_what_is_no_token_asks_nobody(providers, issuer, token):
    assert await flaw_of(providers, issuer, token) == "malformed"
    assert issuer.fetched == 0


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://login.example.com/x", True),
        ("http://127.0.0.1:9400", True),
        ("http://localhost:9400", True),
        ("http://[::1]:9400", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1@evil.example", False),
        ("ftp://127.0.0.1", False),
        ("", False),
    ],
)
def test_documents_come_over_https_or_from_this_machine(url, safe):
    assert is_safe(url) == safe
