import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.domain.errors import Fault, Refusal
from llmguard.redaction.jsontext import lex
from llmguard.redaction.redactor import Redactor
from llmguard.redaction.restore import looks_like_json
from tests.support.builders import a_chat_request
from tests.support.finder import PEOPLE, PatternFinder, a_profile

SECRET = b"s" * 32
VALUES = [*PEOPLE, "anna@example.com", "+49 170 1234567", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"]
PLANTED = ("Anna", "Schmidt", "Miller", "Zo", "Stone", "Klein", "anna@", "1234567", "4111", "DE89")


def a_redactor(finder=None):
    return Redactor(finder or PatternFinder(), SECRET)


async def redacted(request, finder=None, app="claims-bot"):
    return await a_redactor(finder).redact(request, app=app, profile="standard")


def restored(result):
    """Return the messages of a redacted request as its vault restores them."""
    return [
        result.vault.restore({"choices": [{"message": message}]})["choices"][0]["message"]
        for message in messages(result)
    ]


def messages(result):
    return result.request.messages


def contents(result):
    return [message["content"] for message in messages(result)]


def placeholders(text):
    return re.findall(r"<[A-Z_]+>", text)


WORDS = st.sampled_from(
    [*VALUES, "Anna", "Bob", "hello", "the", ",", "\n", "<PERSON>", "<b>", '"', "{", "ANNA", "schmidt", "Ünal"]
)
TEXTS = st.lists(WORDS, max_size=10).map(" ".join)
KEYS = st.sampled_from(
    ["name", "Anna Schmidt", "anna@example.com", "Total Amount", 'a "b"', "4111 1111 1111 1111", "é"]
)
LEAVES = TEXTS | st.integers(-10, 10**16) | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def is_whole(text):
    """Whether a text is not JSON that breaks off: into that, values come back as JSON writes them."""
    return lex(text) is not None or not looks_like_json(text, json_mode=False)


JSON_TEXTS = st.builds(json.dumps, JSON_VALUES, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1]))


@settings(max_examples=200)
@given(st.lists(TEXTS.filter(is_whole) | JSON_TEXTS, min_size=1, max_size=4))
async def test_what_is_redacted_comes_back_exactly(texts):
    request = a_chat_request(*texts)

    assert restored(await redacted(request)) == request.messages


async def test_a_value_comes_back_into_json_that_breaks_off_as_json_writes_it():
    result = await redacted(a_chat_request('{ "name": "Eve "Ivy" Stone'))

    assert restored(result)[0]["content"] == r'{ "name": "Eve \"Ivy\" Stone'


@settings(max_examples=200)
@given(st.lists(JSON_TEXTS.filter(lambda text: text[0] in "{["), min_size=1, max_size=3))
async def test_tool_arguments_come_back_byte_for_byte_and_stay_valid_json(texts):
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": text}} for text in texts]
    request = a_chat_request(messages=[{"role": "assistant", "content": None, "tool_calls": calls}])

    result = await redacted(request)

    for call in messages(result)[0]["tool_calls"]:
        json.loads(call["function"]["arguments"])
    assert restored(result) == request.messages


@settings(max_examples=200)
@given(st.lists(TEXTS | JSON_TEXTS, min_size=1, max_size=4))
async def test_redacting_twice_is_redacting_once(texts):
    once = await redacted(a_chat_request(*texts))
    twice = await redacted(once.request)

    assert twice.request is once.request
    assert twice.vault.size == 0


@settings(max_examples=100)
@given(st.lists(TEXTS | JSON_TEXTS, min_size=1, max_size=4))
async def test_no_planted_value_is_left(texts):
    finder = PatternFinder()
    result = await redacted(a_chat_request(*texts), finder)

    for value in VALUES:
        for content in contents(result):
            assert value not in content


async def test_same_value_has_the_same_placeholder_in_every_turn_worker_and_request():
    first = await redacted(a_chat_request("I am Bob Miller", "Bob Miller wrote"))
    second = await redacted(a_chat_request("Call Bob Miller"))

    assert len({placeholder for text in contents(first) + contents(second) for placeholder in placeholders(text)}) == 1


async def test_two_people_in_two_messages_never_swap():
    result = await redacted(a_chat_request("I am Bob Miller", "I am Anna Schmidt"))
    bob, anna = (placeholders(text)[0] for text in contents(result))

    assert result.vault.restore_text(f"{anna} met {bob}") == "Anna Schmidt met Bob Miller"


async def test_two_apps_cannot_join_their_placeholders():
    request = a_chat_request("I am Bob Miller")

    assert contents(await redacted(request)) != contents(await redacted(request, app="other-app"))


async def test_request_without_findings_passes_as_the_same_object():
    request = a_chat_request("Hello", parameters={"temperature": 0.2, "user": "u1"})

    result = await redacted(request)

    assert result.request is request
    assert result.entities == {}


async def test_request_given_is_not_changed():
    request = a_chat_request("I am Bob Miller", parameters={"metadata": {"who": "Bob Miller"}})

    await redacted(request)

    assert request == a_chat_request("I am Bob Miller", parameters={"metadata": {"who": "Bob Miller"}})


async def test_spellings_of_one_person_share_a_stem():
    result = await redacted(a_chat_request("Anna Schmidt, ANNA  SCHMIDT, anna schmidt, Schmidt and Anna"))
    codes = [placeholder.strip("<>").removeprefix("PERSON_") for placeholder in placeholders(contents(result)[0])]

    assert len(codes) == len(set(codes)) == 5
    assert len({code[:12] for code in codes}) == 1
    assert codes[0] == codes[0][:12]


async def test_hidden_value_is_hidden_wherever_it_stands():
    finder = PatternFinder(people=("Clara Osterwald",))
    request = a_chat_request(
        "My name is Clara Osterwald.",
        "clara   OSTERWALD; OSTERWALD; Clara-Marie; osterwald_id; Claras",
        '{"label": "Osterwald"}',
    )

    texts = contents(await redacted(request, finder))

    masked = [re.sub(r"<[A-Z_]+>", "#", text) for text in texts]
    assert masked == ["My name is #.", "#; #; #-Marie; osterwald_id; Claras", '{"label": "#"}']


async def test_number_that_is_hidden_elsewhere_is_hidden_in_json_too():
    request = a_chat_request('{"employee_id": 48213}', '{"by": 48213, "sum": 148213, "text": "by 48213"}', "No. 48213")

    result = await redacted(request)

    assert [re.sub(r"<[A-Z_]+>", "#", text) for text in contents(result)] == [
        '{"employee_id": "#"}',
        '{"by": "#", "sum": 148213, "text": "by #"}',
        "No. #",
    ]
    assert restored(result) == request.messages


async def test_everyday_words_in_a_name_are_not_hidden_elsewhere():
    request = a_chat_request("I am Will Osterwald", "Will you come? Mr Osterwald will.")

    texts = contents(await redacted(request, PatternFinder(people=("Will Osterwald",))))

    assert re.sub(r"<[A-Z_]+>", "#", texts[1]) == "Will you come? Mr # will."


async def test_allowed_text_is_not_hidden_because_it_is_part_of_a_name():
    profile = a_profile()
    profile = type(profile)(
        profile.name, profile.ner, profile.threshold, profile.actions, allow=frozenset({"osterwald"})
    )

    result = await redacted(
        a_chat_request("Clara Osterwald", "Osterwald"), PatternFinder(profile, people=("Clara Osterwald",))
    )

    assert contents(result)[1] == "Osterwald"


async def test_longer_known_value_takes_the_place_of_a_shorter_finding():
    request = a_chat_request("Anna Schmidt is here", "ANNA SCHMIDT left, Anna stays")

    result = await redacted(request)

    assert len(placeholders(contents(result)[1])) == 2
    assert restored(result) == request.messages


async def test_turkish_capitals_do_not_shift_what_is_hidden():
    request = a_chat_request("İİİ Bob Miller", "İİ BOB MILLER İ")

    result = await redacted(request)

    assert re.sub(r"<[A-Z_]+>", "#", contents(result)[1]) == "İİ # İ"


async def test_typed_look_alike_stays_and_is_nobodys_data():
    real = placeholders(contents(await redacted(a_chat_request("Bob Miller")))[0])[0]
    request = a_chat_request(f"What does {real} mean? I am Bob Miller.")

    result = await redacted(request)

    assert contents(result)[0].startswith(f"What does {real} mean? I am <PERSON_")
    assert placeholders(contents(result)[0])[1] != real
    assert result.vault.restore_text(f"{real}, {real.lower()}") == f"{real}, {real.lower()}"


async def test_finding_that_touches_a_typed_placeholder_leaves_it_whole():
    finder = PatternFinder(people=(f"Anna <{'_' * 19}> Schmidt", "<______>"))
    result = await redacted(a_chat_request("Anna <PERSON_KOFADELIMORU> Schmidt, <PERSON>"), finder)

    assert re.fullmatch(r"<PERSON_[A-Z]+> <PERSON_KOFADELIMORU> <PERSON_[A-Z]+>, <PERSON>", contents(result)[0])


async def test_known_value_inside_a_typed_placeholder_or_a_label_is_left_alone():
    request = a_chat_request("PERSON and <PERSON>", '{"PERSON": "x", "of": "PERSON"}')

    result = await redacted(request, PatternFinder(people=("PERSON",)))

    hidden = result.vault.entries()[0].placeholder
    assert contents(result) == [f"{hidden} and <PERSON>", f'{{"PERSON": "x", "of": "{hidden}"}}']


async def test_known_value_that_crosses_a_finding_leaves_it():
    finder = PatternFinder(people=("Clara Osterwald", "Osterwald Road"))

    result = await redacted(a_chat_request("Clara Osterwald", "in Osterwald Road"), finder)

    assert result.vault.restore_text(contents(result)[1]) == "in Osterwald Road"
    assert len(placeholders(contents(result)[1])) == 1


async def test_two_findings_in_one_number_hide_it_once():
    finder = PatternFinder(people=("4917",))

    result = await redacted(a_chat_request('{"n": 4917, "m": 4917}'), finder)

    assert re.fullmatch(r'\{"n": ("<PERSON_[A-Z]+>"), "m": \1\}', contents(result)[0])


def test_redactor_is_known_by_the_rules_of_its_engine():
    assert a_redactor().digest == "0" * 64


async def test_title_alone_is_nobody():
    request = a_chat_request("Mr. Bob Miller")

    result = await redacted(request, PatternFinder(people=("Mr.", "--")))

    assert result.request is request


async def test_dropped_values_never_come_back():
    finder = PatternFinder(a_profile(PERSON="drop", PHONE_NUMBER="drop"))
    result = await redacted(a_chat_request("I am Bob Miller", '{"phone": 491701234567}'), finder)

    assert contents(result) == ["I am <PERSON>", '{"phone": "<PHONE_NUMBER>"}']
    assert result.vault.size == 0
    assert result.entities == {"PERSON": 1, "PHONE_NUMBER": 1}
    assert (await redacted(result.request, finder)).request is result.request


async def test_reported_values_are_counted_and_stay():
    request = a_chat_request("I am Bob Miller, bob@example.com")

    result = await redacted(request, PatternFinder(a_profile(PERSON="report", EMAIL_ADDRESS="report")))

    assert result.request is request
    assert result.entities == {"PERSON": 1, "EMAIL_ADDRESS": 1}


async def test_kept_values_are_neither_counted_nor_hidden():
    result = await redacted(a_chat_request("I am Bob Miller"), PatternFinder(a_profile(PERSON="keep")))

    assert (contents(result), result.entities) == (["I am Bob Miller"], {})


async def test_entities_count_the_replaced_spans_of_each_type():
    result = await redacted(a_chat_request("Bob Miller, bob@example.com", "Bob Miller"))

    assert result.entities == {"PERSON": 2, "EMAIL_ADDRESS": 1}


async def test_blocked_content_is_refused_with_types_and_places_and_no_value():
    finder = PatternFinder(a_profile(CREDIT_CARD="block", IBAN_CODE="block"))
    request = a_chat_request(
        "Hello", "My card is 4111 1111 1111 1111", parameters={"metadata": {"Bob": "DE89 3704 0044 0532 0130 00"}}
    )

    with pytest.raises(Refusal) as refusal:
        await redacted(request, finder)

    assert (refusal.value.code, refusal.value.param) == ("content_blocked", "messages[1].content")
    assert "CREDIT_CARD, IBAN_CODE in messages[1].content, metadata" in refusal.value.message
    told = f"{refusal.value} {refusal.value.hint}"
    assert "4111" not in told
    assert "DE89" not in told
    assert "Bob" not in told


async def test_engine_that_fails_lets_nothing_through():
    with pytest.raises(Fault) as fault:
        await redacted(a_chat_request("Hello"), PatternFinder(broken=True))

    assert fault.value.code == "redaction_unavailable"


async def test_unknown_profile_lets_nothing_through():
    with pytest.raises(Fault, match="'nightly' is not loaded"):
        await a_redactor().redact(a_chat_request("Hello"), app="claims-bot", profile="nightly")


async def test_answer_in_json_mode_is_escaped_when_it_begins_with_a_bracket():
    request = a_chat_request('I am Eve "Ivy" Stone', parameters={"response_format": {"type": "json_object"}})
    result = await redacted(request)
    placeholder = placeholders(contents(result)[0])[0]

    body = result.vault.restore({"choices": [{"message": {"content": f'[1.0, "{placeholder}"]'}}]})

    assert json.loads(body["choices"][0]["message"]["content"]) == [1.0, 'Eve "Ivy" Stone']


async def test_odd_text_is_redacted_for_good():
    redactor = a_redactor()
    told = await redactor.redact_text("cannot mail bob@example.com", app="claims-bot", profile="standard")

    assert re.fullmatch(r"cannot mail <EMAIL_ADDRESS_[A-Z]{12}>", told)
    assert await redactor.redact_text("cannot mail", app="claims-bot", profile="standard") == "cannot mail"


async def test_replacement_is_what_presidios_anonymizer_would_write():
    from presidio_anonymizer import AnonymizerEngine  # noqa: PLC0415 - the other tests do without it
    from presidio_anonymizer.entities import OperatorConfig, RecognizerResult  # noqa: PLC0415 - see above

    text = "Bob Miller <bob@example.com>, +49 170 1234567; Bob Miller"
    finder = PatternFinder()
    findings = finder.find(text, finder.profiles["standard"])
    result = await redacted(a_chat_request(text))
    by_value = {entry.text: entry.placeholder for entry in result.vault.entries()}

    oracle = AnonymizerEngine().anonymize(
        text,
        [RecognizerResult(one.entity_type, one.start, one.end, one.score) for one in findings],
        {"DEFAULT": OperatorConfig("custom", {"lambda": by_value.__getitem__})},
    )

    assert contents(result) == [oracle.text]
