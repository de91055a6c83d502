import json
import random
import re
from itertools import pairwise

import pytest

from llmguard.domain.errors import Fault
from llmguard.domain.pieces import Pieces, cut
from llmguard.redaction.placeholders import PlaceholderCodes
from llmguard.redaction.redactor import Redactor
from llmguard.redaction.spans import Edit, apply, recut
from llmguard.redaction.vault import Vault
from tests.support.builders import a_chat_request
from tests.support.finder import PatternFinder, a_profile

SECRET = b"s" * 32
MASK = re.compile(r"<[A-Z]+(?:_[A-Z]+)+>")


async def a_vault(text="I am Bob Miller", finder=None):
    redacted = await Redactor(finder or PatternFinder(), SECRET).redact(
        a_chat_request(text), app="claims-bot", profile="standard"
    )
    return redacted.vault


def a_redactor(finder=None):
    return Redactor(finder or PatternFinder(), SECRET)


def an_answer(**message):
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant"} | message}]}


def a_chunk(finish_reason=None, **delta):
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


async def test_placeholders_of_the_answer_stay_and_what_the_model_made_up_is_hidden():
    vault = await a_vault()
    known = vault.entries()[0].placeholder

    answer = await a_redactor().redact_answer(an_answer(content=f"{known} and Zoë Grün, zoe@example.com"), vault)

    content = answer["choices"][0]["message"]["content"]
    assert content.startswith(f"{known} and <PERSON_")
    assert MASK.sub("#", content) == "# and #, #"
    assert vault.size == 1


async def test_value_of_the_request_that_the_model_guessed_has_the_placeholder_of_the_request():
    vault = await a_vault(finder=PatternFinder(people=("Bob Miller",)))
    stranger = PatternFinder(people=("nobody",))

    answer = await a_redactor(stranger).redact_answer(an_answer(content="Bob Miller, or Mr Miller"), vault)

    content = answer["choices"][0]["message"]["content"]
    assert content.startswith(vault.entries()[0].placeholder)
    assert "Miller" not in content


async def test_everything_an_answer_says_is_read():
    body = an_answer(
        content="Zoë Grün",
        refusal="Zoë Grün",
        reasoning_content="Zoë Grün",
        tool_calls=[
            {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": "Zo\\u00eb Gr\\u00fcn"}'}}
        ],
    )
    body["citations"] = ["by Zoë Grün"]
    body["choices"][0]["content_filter"] = {"found": "Zoë Grün"}

    answer = await a_redactor().redact_answer(body, await a_vault())

    assert "Gr" not in json.dumps(answer, ensure_ascii=False)
    assert json.loads(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])["a"].startswith(
        "<PERSON_"
    )
    assert (answer["id"], answer["model"]) == ("c1", "m")


async def test_answer_with_nothing_personal_is_the_same_object():
    body = an_answer(content="Fine", tool_calls=None) | {"usage": {"total_tokens": 1}}

    assert await a_redactor().redact_answer(body, await a_vault()) is body


async def test_what_the_profile_blocks_is_hidden_in_an_answer():
    finder = PatternFinder(a_profile(EMAIL_ADDRESS="block"))

    answer = await a_redactor(finder).redact_answer(
        an_answer(content="mail zoe@example.com"), await a_vault(finder=finder)
    )

    assert MASK.sub("#", answer["choices"][0]["message"]["content"]) == "mail #"


async def test_tokens_of_an_answer_say_nothing_that_its_text_does_not():
    texts = ["Hi ", "Zo", "ë Gr", "ün", "!"]
    body = an_answer(content="".join(texts))
    tokens = [
        {"token": text, "logprob": -1, "bytes": list(text.encode()), "top_logprobs": [{"token": text}]}
        for text in texts
    ]
    body["choices"][0]["logprobs"] = {"content": tokens, "refusal": None}

    answer = await a_redactor().redact_answer(body, await a_vault())

    told = answer["choices"][0]["logprobs"]["content"]
    assert MASK.sub("#", "|".join(token["token"] for token in told)) == "Hi |#|||!"
    assert [bytes(token["bytes"]).decode() for token in told] == [token["token"] for token in told]
    assert [token["top_logprobs"] for token in told[1:4]] == [[], [], []]
    assert [token["token"] for token in tokens] == texts


@pytest.mark.parametrize("around", [{}, {"id": "0151 2345 6789"}, {"made_by": "Zoë Grün"}], ids=["plain", "id", "new"])
@pytest.mark.parametrize("choice", [{}, {"seen_by": "Zoë Grün"}], ids=["choice", "choice with more"])
@pytest.mark.parametrize("text", ["Dear Zoë Grün, zoe@example.com!", "Nothing here", '{"to": "Zoë Grün", "n": 1}'])
async def test_pieces_are_redacted_as_their_chunks_are(text, around, choice):
    like = a_chunk(content="") | around
    like["choices"] = [like["choices"][0] | choice]
    pieces = [Pieces(like, [*text[:9]]), Pieces(like, [*text[9:12]]), a_chunk("stop"), Pieces(like, [text[12:], "x"])]
    vault = await a_vault()

    at_once = await a_redactor().redact_chunks(pieces, vault)
    one_by_one = await a_redactor().redact_chunks(cut(pieces), vault)

    assert cut(at_once) == one_by_one
    assert "Zoë" not in json.dumps(cut(at_once), ensure_ascii=False)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_stream_is_redacted_as_its_whole_text_and_cut_at_the_same_places(size):
    text = 'Dear Zoë Grün, zoe@example.com or {"x": 1}'
    arguments = '{"to": "Zo\\u00eb Gr\\u00fcn", "phone": 491701234567}'
    chunks = [a_chunk(content=text[at : at + size]) for at in range(0, len(text), size)]
    chunks += [
        a_chunk(tool_calls=[{"index": 0, "function": {"arguments": arguments[at : at + size]}}])
        for at in range(0, len(arguments), size)
    ]
    chunks.append(a_chunk("stop", annotations=[{"title": "Zoë Grün"}]))
    before = json.dumps(chunks)

    redacted = await a_redactor().redact_chunks(chunks, await a_vault())

    assert json.dumps(chunks) == before
    assert len(redacted) == len(chunks)
    deltas = [chunk["choices"][0]["delta"] for chunk in redacted]
    assert MASK.sub("#", "".join(delta.get("content", "") for delta in deltas)) == 'Dear #, # or {"x": 1}'
    calls = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls", ())]
    assert MASK.sub("#", "".join(calls)) == '{"to": "#", "phone": "#"}'
    assert MASK.sub("#", deltas[-1]["annotations"][0]["title"]) == "#"
    unchanged = [new is old for new, old in zip(redacted, chunks, strict=True)]
    assert unchanged[0] or size > 5


async def test_tokens_of_a_stream_are_read_over_its_chunks():
    chunks = [a_chunk(content=piece) for piece in ("Zoë", " Grün")]
    for chunk, piece in zip(chunks, ("Zoë", " Grün"), strict=True):
        chunk["choices"][0]["logprobs"] = {"content": [{"token": piece, "bytes": None}]}

    redacted = await a_redactor().redact_chunks(chunks, await a_vault())

    tokens = [chunk["choices"][0]["logprobs"]["content"][0]["token"] for chunk in redacted]
    assert [MASK.sub("#", token) for token in tokens] == ["#", ""]


async def test_stream_with_nothing_personal_is_the_same_object():
    chunks = [
        a_chunk(role="assistant", content=""),
        a_chunk(content="Fine"),
        a_chunk("stop"),
        {"choices": [], "usage": {}},
    ]

    assert await a_redactor().redact_chunks(chunks, await a_vault()) is chunks


async def test_answer_of_an_engine_that_fails_is_not_handed_out():
    broken = a_redactor(PatternFinder(broken=True))
    vault = Vault("claims-bot", "standard", PlaceholderCodes(b"k", "claims-bot"))

    with pytest.raises(Fault):
        await broken.redact_answer(an_answer(content="Zoë Grün"), vault)
    with pytest.raises(Fault):
        await broken.redact_chunks([a_chunk(content="Zoë Grün")], vault)
    with pytest.raises(Fault):
        await broken.redact_text("Zoë Grün", app="claims-bot", profile="standard")


def test_recut_pieces_join_to_the_edited_whole():
    dice = random.Random(7)
    for _ in range(300):
        text = "".join(dice.choice("abc") for _ in range(20))
        bounds = [0, *sorted(dice.choices(range(21), k=6)), 20]
        pieces = [text[start:end] for start, end in pairwise(bounds)]
        places = sorted(dice.sample(range(21), 4))
        edits = [Edit(places[0], places[1], "<X>"), Edit(places[2], places[3], "")]

        after = recut(pieces, edits)

        assert "".join(after) == apply(text, edits)
        assert len(after) == len(pieces)


LEAK = "Zoë Grün zoe@example.com"


@pytest.mark.parametrize(
    "body",
    [
        {"id": LEAK},
        {"id": "chatcmpl-491701234567"},
        {"object": LEAK},
        {"created": 491701234567},
        {"model": LEAK},
        {"system_fingerprint": LEAK},
        {"service_tier": LEAK},
        {"usage": {"prompt_tokens": 5, "note": LEAK, LEAK: 1}},
        {"usage": LEAK},
        {LEAK: 1},
    ],
    ids=json.dumps,
)
async def test_no_place_around_the_messages_is_unread(body):
    redactor, vault = a_redactor(), await a_vault()

    answer = await redactor.redact_answer(an_answer(content="x") | body, vault)
    chunks = await redactor.redact_chunks([a_chunk(content="x") | body, a_chunk(content="y") | body], vault)

    for text in (json.dumps(answer, ensure_ascii=False), json.dumps(chunks, ensure_ascii=False)):
        assert "Gr" not in text
        assert "zoe" not in text
        assert "491701234567" not in text


CALL = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "said",
    [
        {"role": LEAK},
        {LEAK: 1},
        {"note": {"deep": [{"x": LEAK}]}},
        {"tool_calls": [CALL | {"id": LEAK}]},
        {"tool_calls": [CALL | {"type": LEAK}]},
        {"tool_calls": [CALL | {"note": LEAK}]},
        {"tool_calls": [CALL | {"function": {"name": LEAK, "arguments": "{}", "x": [LEAK]}}]},
        {"audio": {"id": LEAK, "data": LEAK}},
        {"content": [{"type": "image_url", "image_url": {"url": LEAK}}]},
        {"content": [{"type": "image_url", "image_url": LEAK}]},
    ],
    ids=json.dumps,
)
async def test_no_place_of_an_answer_or_delta_is_unread(said):
    redactor, vault = a_redactor(), await a_vault()

    answer = await redactor.redact_answer(an_answer(**said), vault)
    chunks = await redactor.redact_chunks([a_chunk(**said)], vault)

    for text in (json.dumps(answer, ensure_ascii=False), json.dumps(chunks, ensure_ascii=False)):
        assert "Gr" not in text
        assert "zoe" not in text


@pytest.mark.parametrize(
    "choice",
    [
        {"finish_reason": LEAK},
        {"index": LEAK},
        {LEAK: None},
        {LEAK: 1},
        {"logprobs": LEAK},
        {"logprobs": {"content": LEAK}},
        {"logprobs": {"content": [LEAK]}},
        {"logprobs": {"content": [{"token": "a", "note": LEAK}]}},
        {"logprobs": {"content": [{"token": "a", "top_logprobs": [{"token": LEAK, "bytes": list(LEAK.encode())}]}]}},
        {"logprobs": {"content": [{"token": "a", "top_logprobs": [LEAK]}]}},
    ],
    ids=json.dumps,
)
async def test_no_place_of_a_choice_is_unread(choice):
    body, chunk = an_answer(content="x"), a_chunk(content="x")
    body["choices"][0] |= choice
    chunk["choices"][0] |= choice
    redactor, vault = a_redactor(), await a_vault()

    texts = json.dumps(
        [await redactor.redact_answer(body, vault), await redactor.redact_chunks([chunk], vault)], ensure_ascii=False
    )

    assert "Gr" not in texts
    assert "zoe" not in texts
    assert str(list(LEAK.encode())) not in texts


async def test_ordinary_answer_is_read_only_where_it_speaks():
    finder = PatternFinder()
    vault = await a_vault(finder=finder)
    finder.read.clear()
    body = an_answer(content="Fine") | {
        "id": "chatcmpl-9f8e7d6c5b4a11",
        "object": "chat.completion",
        "created": 1_732_400_000,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_44709d6fcb",
        "service_tier": "default",
        "usage": {"prompt_tokens": 120_000, "prompt_tokens_details": {"cached_tokens": 4096}, "cost": 0.1},
    }
    body["choices"][0]["logprobs"] = {"content": [{"token": "Fine", "top_logprobs": [{"token": " Good"}]}]}

    await a_redactor(finder).redact_answer(body, vault)

    assert finder.read == ["Fine", "Fine"]


async def test_id_that_every_chunk_repeats_is_read_once_and_hidden_in_each():
    finder = PatternFinder()
    vault = await a_vault(finder=finder)
    finder.read.clear()
    chunks = [a_chunk(content="x") | {"id": "zoe@example.com"} for _ in range(3)]

    redacted = await a_redactor(finder).redact_chunks(chunks, vault)

    assert finder.read.count("id: zoe@example.com\n") == 1
    assert [MASK.sub("#", chunk["id"]) for chunk in redacted] == ["#", "#", "#"]


async def test_picture_in_an_answer_stays():
    url = "data:image/png;base64," + "iVBORw0KGgo" * 9 + "=="
    body = an_answer(content=[{"type": "image_url", "image_url": {"url": url}}])

    assert await a_redactor().redact_answer(body, await a_vault()) is body
