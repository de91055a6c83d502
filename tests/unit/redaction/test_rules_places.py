"""Places and addresses."""

import pytest

from llmguard.redaction.recognizers.addresses import StreetAddressRecognizer
from llmguard.redaction.recognizers.places import CountryRecognizer, TownRecognizer


def found(recognizer, text):
    return sorted({text[hit.start : hit.end] for hit in recognizer().find(text)})


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("our office in Halifax is closed", ["Halifax"]),
        ("Rotterdam was fine", ["Rotterdam"]),
        ("a flight to Florence", ["Florence"]),
        ("i live in rotterdam and like it", ["rotterdam"]),
        ("rotterdam likes it", []),
        ("in NAIROBI today", ["NAIROBI"]),
        ("NAIROBI today", []),
        ("Boston University and Cairo Framework", []),
        ("he grew up in Cook County", ["Cook County"]),
        ("The Divar Island is small", ["Divar Island"]),
        ("the City of Brampton and Lake Superior", ["City of Brampton", "Lake Superior"]),
        ("New Feature and Port Forwarding", []),
        ("the Data Lake", []),
        ("Paris, France", ["Paris"]),
        ("paris_region = Rotterdam(1)", []),
        ("İ" * 3 + " in Halifax", ["Halifax"]),
    ],
)
def test_towns_and_what_its_noun_calls_a_place(text, places):
    assert found(TownRecognizer, text) == places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("I am from Kenya.", ["Kenya"]),
        ("i am from kenya", ["kenya"]),
        ("he bought turkey and china", []),
        ("from kenya import x()", []),
        ("Kenya(1)", []),
    ],
)
def test_countries(text, places):
    assert found(CountryRecognizer, text) == places


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Meet me at Oak and 12 Elm Street", "Oak and 12 Elm Street"),
        ("I live at Hauptstraße 12, 10115 Berlin.", "Hauptstraße 12, 10115 Berlin"),
        ("We met at 12 Elm Rd.", "12 Elm Rd"),
        ("Ship it: Am Markt 3, 99423 Weimar", "Am Markt 3, 99423 Weimar"),
        ("on a flight to Liivaküla", "Liivaküla"),
        ("12 Elm Street\nApt. 4\nSpringfield\n\nIL 62704", "12 Elm Street\nApt. 4\nSpringfield"),
        ("call me at 12 elm street please", "12 elm street"),
        ("at the corner of Oak Street and Main Street", "the corner of Oak Street and Main Street"),
    ],
)
def test_addresses_are_found_with_what_belongs_to_them(text, address):
    assert any(one.startswith(address) for one in found(StreetAddressRecognizer, text))


@pytest.mark.parametrize("text", ["STRICT LIABILITY, OR", "3 Open Issues", "12 March 2024"])
def test_what_only_looks_like_an_address_is_none(text):
    assert found(StreetAddressRecognizer, text) == []
