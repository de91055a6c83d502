"""Keys of vendors, made up when the test runs: with the vendor's prefix, or random behind the vendor's name."""

import random
import string

import pytest

from llmguard.redaction.recognizers.secrets import SecretRecognizer

rng = random.Random(7)
LETTERS = string.ascii_letters + string.digits


def made_up(size, alphabet=LETTERS):
    return "".join(rng.choices(alphabet, k=size - 2)) + "a7"


PREFIXED = [
    "apify" + "_api_" + made_up(36),
    "CCI" + "PAT_" + made_up(22) + "_" + made_up(40, "abcdef0123456789"),
    "AQ" + ".Ab8RN6" + made_up(44),
    "SWM" + "TKN-1-" + made_up(50, "abc123") + "-" + made_up(25, "abc123"),
    "glff" + "ct-" + made_up(20),
    "xkey" + "sib-" + made_up(64, "abcdef0123456789") + "-" + made_up(16),
    "dt0" + "c01." + made_up(24) + "." + made_up(64),
]
NAMED = [
    ("datadog_api_key: ", made_up(32, "abcdef0123456789")),
    ('"deepgram" : "', made_up(40, "abcdef0123456789")),
    ("TWITTER_BEARER=", made_up(60)),
    ("discord.client => '", made_up(32)),
]
HARMLESS = [
    "sentry==2.14.0",
    "twitter: https://example.com/pages/1",
    "discord = discord-py-version-2-3-4",
    "zendesk: see ticket 4711",
    "npm install heroku@10.2.1-beta.12",
    "the plaid, as agreed",
]


def found(text):
    return [text[hit.start : hit.end] for hit in SecretRecognizer().find(text)]


@pytest.mark.parametrize("key", PREFIXED, ids=lambda key: key[:5])
def test_a_key_with_its_prefix_is_found_whole(key):
    assert key in found(f"I set {key} and it fails")


@pytest.mark.parametrize(("before", "key"), NAMED, ids=lambda part: part[:7])
def test_what_is_random_behind_a_vendor_and_a_sign_is_a_key(before, key):
    assert key in found(f"{before}{key}' more")


@pytest.mark.parametrize("text", HARMLESS)
def test_versions_links_and_words_behind_a_vendor_are_none(text):
    assert found(text) == []
