"""Values written with characters that nobody sees, or in another of the ways of Unicode: hidden all the same."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.redaction.placeholders import STEM_LENGTH, fold, normalise, readable
from llmguard.redaction.redactor import Redactor
from tests.support.builders import a_chat_request
from tests.support.finder import PatternFinder

SECRET = b"s" * 32
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u202a\u202e\u2060\u2066\u2069\ufeff\ufe0f\U000e0041"
WRITTEN = {
    "zero-width space": "An\u200bna Schmidt",
    "soft hyphens": "An\u00adna Sch\u00admidt",
    "marks of direction": "\u202aAnna\u202c \u2066Schmidt\u2069",
    "byte order mark": "Anna\ufeff Schmidt",
    "joiners in each place": "\u200d".join("Anna Schmidt"),
    "mathematical letters": "\U0001d400\U0001d427\U0001d427\U0001d41a Schmidt",
    "a stroke through each letter": "\u0336".join("Anna Schmidt") + "\u0336",
}


async def redacted(*texts):
    result = await Redactor(PatternFinder(), SECRET).redact(a_chat_request(*texts), app="a", profile="standard")
    return result, [message["content"] for message in result.request.messages]


def stem(text):
    return text[text.index("<PERSON_") :][: len("<PERSON_") + STEM_LENGTH]


@pytest.mark.parametrize("name", WRITTEN.values(), ids=WRITTEN)
async def test_a_name_with_odd_characters_is_hidden_as_the_same_person_and_comes_back_exactly(name):
    text = f"Ask {name}, please."
    result, (plain, odd) = await redacted("Ask Anna Schmidt, please.", text)

    assert stem(odd) == stem(plain)
    assert "nna" not in readable(odd)
    assert "chmidt" not in readable(odd)
    assert result.vault.restore_text(odd) == text


async def test_composed_and_decomposed_accents_are_one_name():
    name = "Zo\u00eb Gr\u00fcn"
    texts = [f"{name} asks", f"{unicodedata.normalize('NFD', name)} asks"]
    result, hidden = await redacted(*texts)

    assert stem(hidden[0]) == stem(hidden[1])
    assert [result.vault.restore_text(one) for one in hidden] == texts


async def test_a_known_value_is_hidden_where_it_stands_with_odd_characters():
    result, hidden = await redacted("Anna Schmidt asks", "Sch\u200bmidt and SCH\u00adMIDT ask")

    assert "midt" not in hidden[1].lower()
    assert result.vault.restore_text(hidden[1]) == "Sch\u200bmidt and SCH\u00adMIDT ask"


async def test_what_the_engine_reads_has_no_odd_characters():
    finder = PatternFinder()
    await Redactor(finder, SECRET).redact(a_chat_request("a\u200b\u0308 \u202eb"), app="a", profile="standard")

    assert finder.read == ["\u00e4 b"]


def test_letters_that_look_alike_stay_what_they_are():
    assert fold("\u0410nna") is None  # a Cyrillic A
    assert normalise("PERSON", "\u0410nna") != normalise("PERSON", "Anna")


def test_a_secret_is_itself_alone():
    assert normalise("PASSWORD", "se\u200bcret") != normalise("PASSWORD", "secret")


VALUES = st.sampled_from(["Anna Schmidt", "Bob Miller", "ada@example.com", "4111 1111 1111 1111", "Zo\u00eb Gr\u00fcn"])
ODD = st.text(INVISIBLE + "\u0336", max_size=2)


@settings(max_examples=60, deadline=None)
@given(st.data(), VALUES, st.booleans())
async def test_whatever_odd_characters_stand_in_a_value_it_is_hidden_and_restored(data, value, is_decomposed):
    written = "".join(character + data.draw(ODD) for character in value)
    written = unicodedata.normalize("NFD", written) if is_decomposed else written
    text = f"x {written} y"
    result, (hidden,) = await redacted(text)

    assert result.vault.restore_text(hidden) == text
    assert value not in readable(hidden)
    assert sum(result.entities.values()) == 1


@given(st.text(st.sampled_from("aA\u00eb \n" + INVISIBLE + "\u0301\u0308\u0336\u0915\u094d"), max_size=12))
def test_each_folded_character_knows_where_it_stood(text):
    folded = fold(text)
    if folded is None:
        return
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    places = list(zip(folded.starts, folded.ends, strict=True))
    assert all(start < end for start, end in places)
    assert all(one[1] <= other[0] for one, other in pairwise(places))
    assert all(
        readable(text[start:end]) == character for character, (start, end) in zip(folded.text, places, strict=True)
    )
