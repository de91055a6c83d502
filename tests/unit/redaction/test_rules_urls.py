"""URLs, escaped text, network addresses and telephone numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction.recognizers.escapes import unescaped
from llmguard.redaction.recognizers.networks import belongs_to_somebody
from llmguard.redaction.recognizers.phones import TelephoneRecognizer
from llmguard.redaction.recognizers.urls import UrlInContextRecognizer

COUNTS_IN_STANDARD = 0.4


def found(text):
    hits = UrlInContextRecognizer().find(text)
    return [(text[hit.start : hit.end], hit.entity) for hit in hits if hit.score >= COUNTS_IN_STANDARD]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("My website is https://stone.example.", "https://stone.example"),
        ("his new blog: http://b.example/x", "http://b.example/x"),
        ("Just posted a photo https://pics.example/1", "https://pics.example/1"),
        ("I've shared files with you https://files.example/s/1", "https://files.example/s/1"),
        ("Phone: 030 1234567\n\nWebsite:\nhttps://stone.example/", "https://stone.example/"),
        ("see https://www.linkedin.com/in/anna-kowalska", "https://www.linkedin.com/in/anna-kowalska"),
        ("https://uni.example/~mueller", "https://uni.example/~mueller"),
        ("https://x.com/anna_k", "https://x.com/anna_k"),
    ],
)
def test_urls_that_lead_to_a_person_are_found(text, url):
    assert found(text) == [(url, "URL")]


@pytest.mark.parametrize(
    "text",
    [
        "See https://docs.python.org/3/library/re.html.",
        "https://twitter.com/intent/tweet?text=hi",
        "https://github.com/psf/requests",
        "https://api.example.com/search?name=foo&phone=1&dob=x&email=none",
    ],
)
def test_other_urls_are_left_to_strict(text):
    assert found(text) == []
    assert [hit.entity for hit in UrlInContextRecognizer().find(text)] == ["URL"]


def test_of_a_query_only_the_personal_values_are_found():
    text = "https://x.example/?name=Anna+Lee&phone=2125550187&dob=1980-02-01&e-mail=a%40b.example&page=2"

    assert found(text) == [
        ("Anna+Lee", "PERSON"),
        ("2125550187", "PHONE_NUMBER"),
        ("1980-02-01", "DATE_OF_BIRTH"),
        ("a%40b.example", "EMAIL_ADDRESS"),
    ]


@given(st.text())
def test_unescaped_text_keeps_every_place(text):
    read = unescaped(text)

    assert len(read) == len(text)
    assert unescaped(r"Regards,\nAnna") == "Regards, \nAnna"
    assert unescaped(r"C:\new and \nabla") == r"C:\new and \nabla"


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("93.44.12.7", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.0", False),
        ("999.1.1.1", False),
        ("2001:db8:85a3::8a2e:370:7334", True),
        ("1::2", False),
        ("::1", False),
    ],
)
def test_addresses_of_nobody_are_left(address, verdict):
    assert belongs_to_somebody(address) is verdict


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("+44 20 7946 0958", ["+44 20 7946 0958"]),
        ("555-0142 / (217) 555-0142", ["(217) 555-0142"]),
        ("call 555 0142 99", ["555 0142 99"]),
        ("73 448 266 office", ["73 448 266"]),
        ("(030) 1234567", ["(030) 1234567"]),
        ("030 1234567", ["030 1234567"]),
        ("+999 1", []),
        ("00499999999999999999", []),
        ("1 234 567", []),
        ("2024-03-04 10:11", []),
        ("0 0 24 24 99", []),
        ("(12345", []),
        ("12345", []),
    ],
)
def test_telephone_numbers_by_their_form(text, numbers):
    assert [text[hit.start : hit.end] for hit in TelephoneRecognizer().find(text)] == numbers
