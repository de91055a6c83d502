import json
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.domain.pieces import Pieces
from llmguard.domain.pieces import cut as cut_again
from llmguard.redaction.bent import LONGEST_MATCH
from llmguard.redaction.placeholders import PlaceholderCodes
from llmguard.redaction.vault import Vault
from tests.support.thorough import tries

KEY = b"k" * 32
PEOPLE = ("Anna Schmidt", "ANNA  SCHMIDT", 'Eve "Ivy"\nStone', "Zoë")
MAIL = "anna@example.com"
PHONE = "491701234567"


def a_vault(*, with_number=True, json_mode=False):
    vault = Vault("claims-bot", "standard", PlaceholderCodes(KEY, "claims-bot"), json_mode=json_mode)
    for name in PEOPLE:
        vault.hide("PERSON", name)
    vault.hide("EMAIL_ADDRESS", MAIL)
    vault.hide("CUSTOMER_NUMBER_OF_THE_OLDEST_OF_OUR_SYSTEMS", "K-17")
    if with_number:
        vault.hide("PHONE_NUMBER", PHONE, number=True)
    return vault


def a_chunk(finish_reason=None, index=0, **delta):
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "echo-1", "choices": [choice]}


LIKE = a_chunk(content="")


def arguments(text, index=0, **call):
    return {"tool_calls": [{"index": index, "function": {"arguments": text}} | call]}


def cut(text, places):
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def play(restorer, chunks):
    """Return everything that comes out of a stream."""
    out = [out for chunk in chunks for out in restorer.feed([chunk])]
    return out + restorer.close()


def text_of(chunks, field="content", index=0):
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(delta.get(field) or "" for delta in deltas)


def arguments_of(chunks, index=0):
    calls = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", ())]
    return "".join(call["function"].get("arguments", "") for call in calls if call["index"] == index)


def bent_forms():
    full = [entry.placeholder for entry in a_vault().entries()]
    inner = [placeholder[1:-1] for placeholder in full]
    return [
        *full,
        *inner,
        *(placeholder.lower() for placeholder in full),
        *(f"&lt;{text}&gt;" for text in inner),
        *(f"\\u003c{text}\\u003e" for text in inner),
        *(f'"{placeholder}"' for placeholder in full),
        *(f"< **{text.replace('_', ' ')}** >" for text in inner),
        *(text.rsplit("_", 1)[1] for text in inner),
        *(placeholder[: len(placeholder) // 2] for placeholder in full),
        *(placeholder[:-3] + ">" for placeholder in full),
        "<EMAIL_ADDRESS>",
        "<EMAIL_ADDRESS ",
        '"<PHONE_NUMBER>"',
        "<PERSON>",
        " " * (LONGEST_MATCH + 2),
    ]


PIECES = st.sampled_from(bent_forms()) | st.text(alphabet='<>&lt;%3C\\u0"{}[] *_`personemail\nKOFA,😀', max_size=12)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=40)


@settings(max_examples=tries(150, 400))
@given(TEXTS, CUTS)
def test_content_cut_anywhere_is_restored_as_the_whole_text_is(text, places):
    vault = a_vault()
    whole = vault.restore({"choices": [{"message": {"content": text}}]})["choices"][0]["message"]["content"]

    chunks = play(vault.stream(), [a_chunk(content=piece) for piece in cut(text, places)])

    assert text_of(chunks) == whole


@settings(max_examples=tries(150, 400))
@given(TEXTS, CUTS, CUTS, st.booleans())
def test_pieces_that_come_at_once_are_restored_as_the_whole_text_is(text, places, arrivals, json_mode):
    vault = a_vault(json_mode=json_mode)
    whole = vault.restore({"choices": [{"message": {"content": text}}]})["choices"][0]["message"]["content"]
    pieces = cut(text, places)

    came = [Pieces(LIKE, part) for part in cut(pieces, arrivals) if part]
    chunks = play(vault.stream(), came)

    assert text_of(chunks) == text_of(cut_again(chunks)) == whole


def test_pieces_leave_as_they_were_cut_but_for_what_may_be_growing():
    restorer = a_vault().stream()

    (first,) = restorer.feed([Pieces(LIKE, ["You ", "", "may ", "ask <PER", "S"])])
    (second,) = restorer.feed([Pieces(LIKE, ["ISH", " 123"])])

    assert first.texts == ["You ", "", "may ", "ask "]
    assert second.texts == ["<PERSISH", " 123"]
    assert restorer.feed([Pieces(LIKE, ["<", "PERSON"])]) == []
    assert text_of(restorer.close()) == "<PERSON"


@settings(max_examples=tries(150, 400))
@given(TEXTS, CUTS)
def test_tool_arguments_cut_anywhere_are_restored_as_the_whole_text_is(text, places):
    vault = a_vault()
    whole = vault.matcher.replace(text, json=True)

    chunks = play(vault.stream(), [a_chunk(**arguments(piece)) for piece in cut(text, places)])

    assert arguments_of(chunks) == whole


@settings(max_examples=tries(80, 200))
@given(st.sampled_from(["[", "{", '{"', "[ 1, ", "[tr", "\n {\n"]), TEXTS, CUTS, st.booleans())
def test_content_that_may_be_json_is_decided_alike_whole_and_in_pieces(head, text, places, json_mode):
    vault = a_vault(json_mode=json_mode)
    text = head + text
    whole = vault.restore({"choices": [{"message": {"content": text}}]})["choices"][0]["message"]["content"]

    assert text_of(play(vault.stream(), [a_chunk(content=piece) for piece in cut(text, places)])) == whole


@given(st.lists(st.text(), max_size=5), CUTS)
def test_every_value_comes_back_from_arguments_cut_anywhere(names, places):
    vault = Vault("claims-bot", "standard", PlaceholderCodes(KEY, "claims-bot"))
    text = json.dumps({"names": [vault.hide("PERSON", name) for name in names]})

    chunks = play(vault.stream(), [a_chunk(**arguments(piece)) for piece in cut(text, places)])

    assert json.loads(arguments_of(chunks) or "{}") == {"names": names}


def test_one_character_per_chunk_gives_the_whole_text():
    vault = a_vault()
    text = " and ".join(["Dear", *bent_forms()])

    chunks = play(vault.stream(), [a_chunk(content=character) for character in text])

    assert text_of(chunks) == vault.restore_text(text)
    assert MAIL in text_of(chunks)


def test_text_leaves_at_once_when_no_placeholder_can_be_growing():
    restorer = a_vault(with_number=False).stream()

    leaves = [
        text_of(restorer.feed([a_chunk(content=piece)])) for piece in ["Dear ", "you, ", "5 < 6", " or so. ", "<b>"]
    ]

    assert leaves == ["Dear ", "you, ", "5 < 6", " or so. ", "<b>"]


def test_tail_is_held_only_while_it_can_become_a_placeholder_of_this_vault():
    restorer = a_vault().stream()

    leaves = [
        text_of(restorer.feed([a_chunk(content=piece)])) for piece in ["Hi <PERS", "ONA", " <EMAIL", "_ADDRESS_X"]
    ]

    assert leaves == ["Hi ", "<PERSONA", " ", "<EMAIL_ADDRESS_X"]


@given(TEXTS)
def test_never_more_is_held_than_the_longest_match(text):
    restorer = a_vault().matcher
    held = ""
    for character in text:
        _, held = restorer.replace_settled(held + character, json=True)
        assert len(held) <= LONGEST_MATCH


def test_chunk_passes_as_it_is_when_nothing_was_hidden():
    restorer = Vault("claims-bot", "standard", PlaceholderCodes(KEY, "claims-bot")).stream()
    chunk = a_chunk(content="<PERSON")

    assert restorer.feed([chunk])[0] is chunk
    assert restorer.close() == []


def test_chunk_without_placeholders_passes_as_it_is():
    restorer = a_vault().stream()
    chunks = [a_chunk(role="assistant", content=""), a_chunk(content="Yes. "), {"id": "c1", "choices": [], "usage": {}}]

    assert [restorer.feed([chunk])[0] is chunk for chunk in chunks] == [True, True, True]


def test_held_text_leaves_in_a_chunk_before_the_finish_reason():
    restorer = a_vault().stream()
    chunks = play(restorer, [a_chunk(role="assistant", content="Dear <PERSON"), a_chunk("stop")])

    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["Dear ", "<PERSON", None]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert {(chunk["id"], chunk["model"], chunk["object"]) for chunk in chunks} == {
        ("c1", "echo-1", "chat.completion.chunk")
    }
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


def test_last_delta_with_text_takes_its_own_tail_along():
    placeholder = a_vault().entries()[0].placeholder
    chunks = play(a_vault().stream(), [a_chunk(content=placeholder[:5]), a_chunk("stop", content=placeholder[5:-1])])

    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["Anna Schmidt"]
    assert chunks[0]["choices"][0]["finish_reason"] == "stop"


def test_stream_that_breaks_off_gives_what_is_held():
    restorer = a_vault().stream()
    restorer.feed([a_chunk(content="Dear <PERS")])
    restorer.feed([a_chunk(index=1, **arguments('{"a": "<EMAIL'))])
    restorer.feed([a_chunk(index=1, function_call={"arguments": "<PERSON"}, audio={"transcript": "<PER"})])

    chunks = restorer.close()

    assert [choice["index"] for choice in chunks[0]["choices"]] == [0, 1]
    assert chunks[0]["choices"][0]["delta"] == {"content": "<PERS"}
    assert chunks[0]["choices"][1]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": '"<EMAIL'}}]
    assert chunks[0]["choices"][1]["delta"]["function_call"] == {"arguments": "<PERSON"}
    assert restorer.close() == []


def test_chunk_whose_text_is_all_held_is_left_out_but_not_its_other_facts():
    restorer = a_vault().stream()

    assert restorer.feed([a_chunk(content="<PERS")]) == []
    assert restorer.feed([a_chunk(**arguments("<PERS"))]) == []
    assert len(restorer.feed([a_chunk(**arguments("<PERS", index=1, id="call_1"))])) == 1
    assert len(restorer.feed([a_chunk(content="ON") | {"usage": {"total_tokens": 3}}])) == 1


def test_choices_and_fields_grow_apart():
    first, second = (entry.placeholder for entry in a_vault().entries()[:2])
    chunks = []
    for one, other in zip(first.ljust(30), second.ljust(30), strict=True):
        both = a_chunk(content=one, reasoning_content=other, refusal=one)
        both["choices"].append({"index": 1, "delta": {"content": other} | arguments(one), "finish_reason": None})
        both["choices"][1]["delta"]["tool_calls"].append({"index": 1, "function": {"arguments": other}})
        chunks.append(both)

    out = play(a_vault().stream(), chunks)

    assert text_of(out).strip() == text_of(out, "refusal").strip() == "Anna Schmidt"
    assert text_of(out, "reasoning_content").strip() == text_of(out, index=1).strip() == "ANNA  SCHMIDT"
    assert arguments_of(out).strip() == "Anna Schmidt"
    assert arguments_of(out, 1).strip() == "ANNA  SCHMIDT"


def test_number_comes_back_as_a_number_when_cut_at_every_character():
    text = json.dumps({"call": a_vault().entries()[-1].placeholder, "to": MAIL})

    chunks = play(a_vault().stream(), [a_chunk(**arguments(character)) for character in text])

    assert arguments_of(chunks) == '{"call": 491701234567, "to": "anna@example.com"}'


def test_annotations_and_whole_logprob_tokens_are_restored():
    placeholder = a_vault().entries()[0].placeholder
    chunk = a_chunk(content="x", annotations=[{"title": placeholder}])
    chunk["choices"][0]["logprobs"] = {"content": [{"token": placeholder}], "refusal": None}

    (out,) = a_vault().stream().feed([chunk])

    assert out["choices"][0]["delta"]["annotations"] == [{"title": "Anna Schmidt"}]
    assert out["choices"][0]["logprobs"]["content"][0]["token"] == "Anna Schmidt"


def test_sound_and_unknown_shapes_pass_as_they_are():
    restorer = a_vault().stream()
    chunk = a_chunk(
        audio={"data": "PERSON", "transcript": "Hi. "}, tool_calls=[{"index": 0, "function": {"arguments": None}}]
    )

    assert restorer.feed([chunk])[0] is chunk
    assert restorer.feed([a_chunk(logprobs=None, novelty=7)])[0]["choices"][0]["delta"] == {
        "logprobs": None,
        "novelty": 7,
    }


def test_chunks_given_are_not_changed():
    placeholder = a_vault().entries()[0].placeholder
    chunks = [a_chunk(content=placeholder, **arguments(placeholder)), a_chunk("stop", content=placeholder)]
    before = json.dumps(chunks)

    play(a_vault().stream(), chunks)

    assert json.dumps(chunks) == before


@pytest.mark.parametrize("seed", range(5))
def test_five_hundred_values_in_one_stream_all_come_back(seed):
    vault = Vault("claims-bot", "standard", PlaceholderCodes(KEY, "claims-bot"))
    names = [f"Person {number}" for number in range(500)]
    text = "; ".join(vault.hide("PERSON", name) for name in names)
    places = random.Random(seed).sample(range(len(text)), 2000)

    chunks = play(vault.stream(), [a_chunk(content=piece) for piece in cut(text, places)])

    assert text_of(chunks) == "; ".join(names)
