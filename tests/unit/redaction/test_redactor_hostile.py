"""What somebody who wants to stop the service writes: time must grow with the length of a text, not faster.

No time is measured: each size is one at which what is quadratic or worse would take minutes, beyond any limit.
"""

import asyncio
import functools
import json
import string
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.redaction import propagation, redactor
from llmguard.redaction.bent import bracketed_types
from llmguard.redaction.placeholders import PlaceholderCodes, mask
from llmguard.redaction.redactor import Redactor
from llmguard.redaction.vault import Vault
from tests.support.builders import a_chat_request
from tests.support.finder import PatternFinder
from tests.support.thorough import tries

SIZE = 20_000  # characters
OPENINGS = ("<", "&lt;", "&#60;", "%3C", "\uff1c", "\\u003c", "\\<", "\\\\<")
GAPS = (" ", "_", "*", "`", "~", "-", "\\", "%5F", "%5f", "%20", "&#95;", "&nbsp;", "\\u005f", "\\u005F", "\\\\u005f")
PIECES = (*OPENINGS, *GAPS, ">", "&gt;", "%3E", "\\u003e", "a", "PERSON", "u005f", "u003e", "&", "%", "\\u", "5F", "a_")


def a_vault():
    vault = Vault("claims-bot", "standard", PlaceholderCodes(b"k" * 32, "claims-bot"))
    vault.hide("PERSON", "Anna Schmidt")
    vault.hide("EMAIL_ADDRESS", "anna@example.com")
    return vault


def streamed(vault, text):
    restorer = vault.stream()
    chunks = [
        *(
            chunk
            for character in text
            for chunk in restorer.feed([{"choices": [{"index": 0, "delta": {"content": character}}]}])
        ),
        *restorer.close(),
    ]
    return "".join(choice["delta"]["content"] for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("piece", [*PIECES, "\\u005fa", "a\\u005f", "a\\", "\\u003ea", "-a\\u005f*", "<a", "<\\u005f"])
def test_repeated_piece_after_a_bracket_is_read_once(opening, piece):
    text = opening + piece * (SIZE // len(piece)) + "!"

    assert bracketed_types(text) == set()
    assert a_vault().restore_text(text) == text


@pytest.mark.parametrize("piece", ["\\u005f", "\\", "\\u005fa", "a_", "&#95;", "%5F", "<", "<PERSON_"])
def test_repeated_piece_that_arrives_character_by_character_is_passed_on_as_it_is(piece):
    text = "<" + piece * 500 + "!"

    assert streamed(a_vault(), text) == text


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.sampled_from([*OPENINGS, ""]))
@settings(max_examples=tries(80, 200), deadline=None)
def test_any_repetition_is_read_once_and_streams_as_it_reads(pieces, opening):
    unit = "".join(pieces)
    vault = a_vault()
    long, short = (opening + unit * max(1, size // len(unit)) + "!" for size in (SIZE // 4, 300))

    bracketed_types(long)
    vault.restore_text(long)
    assert streamed(vault, short) == vault.restore_text(short)


@pytest.mark.parametrize("text", ["<PERSON\\u003e", "\\u003cPERSON\\>", "<\\u005fPERSON\\u005f\\u003E", "<PERSON\\\\>"])
def test_escaped_bracket_closes_also_where_a_backslash_may_be_a_gap(text):
    assert bracketed_types(text) >= {"PERSON"} or bracketed_types(text) == {"_PERSON_"}
    assert "Anna Schmidt" in a_vault().restore_text(text)


async def test_tens_of_thousands_of_distinct_values_are_hidden_and_come_back():
    content = " ".join(f"u{number}@example.com" for number in range(40_000))

    result = await Redactor(PatternFinder(), b"s" * 32).redact(a_chat_request(content), app="a", profile="standard")

    assert result.entities == {"EMAIL_ADDRESS": 40_000}
    body = result.vault.restore({"choices": [{"message": result.request.messages[0]}]})
    assert body["choices"][0]["message"]["content"] == content


async def test_thousands_of_values_in_one_json_string_with_an_escape_are_hidden_and_come_back():
    content = json.dumps({"text": "\n" + " ".join(f"u{number}@example.com" for number in range(20_000))})

    result = await Redactor(PatternFinder(), b"s" * 32).redact(a_chat_request(content), app="a", profile="standard")

    assert result.entities == {"EMAIL_ADDRESS": 20_000}
    body = result.vault.restore({"choices": [{"message": result.request.messages[0]}]})
    assert body["choices"][0]["message"]["content"] == content


async def test_answer_that_holds_nothing_of_tens_of_thousands_of_known_values_is_read_once():
    vault = a_vault()
    for number in range(40_000):
        vault.hide("EMAIL_ADDRESS", f"u{number}@example.com")
    answer = {"choices": [{"message": {"content": "u - " * 100_000}}]}

    assert await Redactor(PatternFinder(), b"s" * 32).redact_answer(answer, vault) is answer


class CountingDict(dict):
    """Counts how often it is asked."""

    asked = 0

    def get(self, *arguments):
        self.asked += 1
        return super().get(*arguments)


@pytest.mark.parametrize(
    ("phrases", "text"),
    [
        ([f"Anna X{number}" for number in range(3_000)], "Anna " * 10_000),
        (["a." * length + "!" for length in range(1, 150)], "a." * 10_000),
        (["a." * 5_000 + "b"], "a." * 10_000),
        (["." * length + "x" for length in range(1, 150)], "." * 20_000),
    ],
)
def test_phrases_that_begin_alike_are_looked_for_in_one_pass(phrases, text):
    words = propagation.words_of(text)
    automaton = propagation.Phrases({tuple(propagation.words_of(phrase)): "X" for phrase in phrases})
    automaton._next = CountingDict(automaton._next)

    assert list(automaton.find(words)) == []
    assert automaton._next.asked <= 2 * len(words)


WORDS = st.lists(st.sampled_from(["a", "b", ".", " ", "ab"]), min_size=1, max_size=5).map(tuple)


@given(st.sets(WORDS, max_size=12), st.lists(st.sampled_from(["a", "b", ".", " ", "ab", "z"]), max_size=40))
def test_every_occurrence_of_every_phrase_is_found(phrases, words):
    expected = {
        (first, first + len(phrase), "".join(phrase))
        for phrase in phrases
        for first in range(len(words) - len(phrase) + 1)
        if tuple(words[first : first + len(phrase)]) == phrase
    }

    found = list(propagation.Phrases({phrase: "".join(phrase) for phrase in phrases}).find(words))

    assert sorted(found) == sorted(expected)


@given(st.text(alphabet="aZ_0 .\n\u00a0é\u0301İ", max_size=30))
def test_words_of_a_text_are_the_text(text):
    words = propagation.words_of(text)

    assert "".join(words) == text
    assert len(propagation.folded(words)) == len(words)


async def test_many_typed_placeholders_around_many_values_are_left_alone():
    typed = "<PERSON_KOFADELIMORU>"
    content = f"{typed} a@example.com " * 50_000

    result = await Redactor(PatternFinder(), b"s" * 32).redact(a_chat_request(content), app="a", profile="standard")

    assert result.entities == {"EMAIL_ADDRESS": 50_000}
    assert result.request.messages[0]["content"].count(typed) == 50_000
    assert result.vault.size == 1


def test_masking_many_places_keeps_the_length():
    text = "<PERSON> x " * 3

    assert mask(text, [(0, 8), (11, 19), (22, 30)]) == "<______> x " * 3


def test_stem_of_a_look_alike_among_very_many_letters_is_never_given_out():
    expected = a_vault().matcher.matches(a_vault().hide("PERSON", "Anna Schmidt"))[0].entry.code
    filler = "ba" * 100_000
    vault = Vault("claims-bot", "standard", PlaceholderCodes(b"k" * 32, "claims-bot"))
    vault.expect([filler + expected[:5] + "_", expected.lower() + filler, *string.ascii_letters], [])

    assert expected not in vault.hide("PERSON", "Anna Schmidt")


def test_look_alike_that_gaps_cut_anywhere_is_never_given_out():
    code = a_vault().matcher.matches(a_vault().hide("PERSON", "Anna Schmidt"))[0].entry.code
    for place in range(1, len(code)):
        vault = Vault("claims-bot", "standard", PlaceholderCodes(b"k" * 32, "claims-bot"))
        vault.expect([f"x {code[:place]}_-{code[place:].lower()}a"], [])

        assert code not in vault.hide("PERSON", "Anna Schmidt")


def test_thousands_of_spellings_of_one_value_need_few_attempts_each():
    class Counting(PlaceholderCodes):
        """Counts the keyed codes that it makes."""

        made = 0

        def tail(self, entity_type, spelling, attempt=0):
            Counting.made += 1
            return super().tail(entity_type, spelling, attempt)

    vault = Vault("claims-bot", "standard", Counting(b"k" * 32, "claims-bot"))
    letters = "abcdefghijklm"
    spellings = [
        "".join(letter.upper() if number >> place & 1 else letter for place, letter in enumerate(letters)) + "@x.de"
        for number in range(6_000)
    ]

    given = [vault.hide("EMAIL_ADDRESS", spelling) for spelling in spellings]

    assert len(set(given)) == 6_000
    assert Counting.made < 3 * 6_000
    assert vault.restore_text(" ".join(given)) == " ".join(spellings)


def test_thousands_of_ways_to_escape_one_value_all_come_back():
    vault = a_vault()
    raws = [
        "".join(
            f"\\u{ord(letter):04x}" if number >> place & 1 else letter for place, letter in enumerate("annaschmidtxyzu")
        )
        for number in range(30_000)
    ]

    given = [vault.hide("PERSON", "annaschmidtxyzu", raw=raw) for raw in raws]

    assert vault.matcher.replace(" ".join(given), json=True) == " ".join(raws)
    assert vault.hide("PERSON", "annaschmidtxyzu", raw=raws[-1]) == given[-1]


@pytest.mark.parametrize("content", ["hello " * 20_000, "u@example.com " * 300])
async def test_much_work_leaves_the_event_loop_free(content, monkeypatch):
    threads = []

    async def to_thread(work, *given):
        threads.append(work)
        return await original(work, *given)

    original = asyncio.to_thread
    monkeypatch.setattr(asyncio, "to_thread", to_thread)

    await Redactor(PatternFinder(), b"s" * 32).redact(a_chat_request(content), app="a", profile="standard")
    assert threads


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=6),
    max_leaves=40,
)


def weight(node):
    """Return how many characters a document takes to read, a node as many as 16."""
    members = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    characters = len(node) if isinstance(node, str) else sum(map(len, node)) if isinstance(node, dict) else 0
    return 16 + characters + sum(map(weight, members))


@given(document=st.lists(JSON_VALUES), most=st.integers(16, 400))
def test_document_that_takes_long_to_read_is_never_taken_for_a_small_one(document, most):
    usual, redactor._INLINE_CHARACTERS = redactor._INLINE_CHARACTERS, most
    try:
        assert redactor._is_large(document) or weight(document) - 16 <= most
    finally:
        redactor._INLINE_CHARACTERS = usual


@pytest.mark.parametrize(
    "odd", ["\ud800", functools.reduce(lambda inner, _: [inner], range(5_000), [])], ids=["half", "deep"]
)
def test_document_of_which_nobody_knows_is_taken_for_a_large_one(odd):
    assert redactor._is_large([odd])


async def test_little_work_stays_on_the_event_loop():
    seen = []

    class Seen(PatternFinder):
        """Notes how many threads there are."""

        async def find_all(self, texts, profile):
            seen.append(threading.active_count())
            return await super().find_all(texts, profile)

    before = threading.active_count()
    await Redactor(Seen(), b"s" * 32).redact(a_chat_request("a@example.com"), app="a", profile="standard")

    assert seen == [before]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "value",
    [
        "anna\uff20example.com",
        "\uff41nna@example\uff0ecom",
        "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000",
        "4111\u20131111\u20131111\u20131111",
        "4111\u22121111\u22121111\u22121111",
        "4111\u20091111\u20091111\u20091111",
        "+49\u2011170\u20111234567",
    ],
)
async def test_value_in_characters_that_look_like_those_of_ascii_is_hidden_and_comes_back_exactly(value):
    content = f"é: {value} ok"

    result = await Redactor(PatternFinder(), b"s" * 32).redact(a_chat_request(content), app="a", profile="standard")

    assert value not in result.request.messages[0]["content"]
    body = result.vault.restore({"choices": [{"message": result.request.messages[0]}]})
    assert body["choices"][0]["message"]["content"] == content


async def test_full_width_brackets_are_not_read_as_a_placeholder():
    finder = PatternFinder()

    await Redactor(finder, b"s" * 32).redact(a_chat_request("\uff1cPERSON\uff1e \uff21"), app="a", profile="standard")

    assert finder.read == ["\uff1cPERSON\uff1e A"]
