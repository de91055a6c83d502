import json

import pytest

from llmguard.redaction.placeholders import PlaceholderCodes
from llmguard.redaction.vault import Vault

KEY = b"k" * 32


def a_vault(*values, typed=(), json_mode=False):
    vault = Vault("claims-bot", "standard", PlaceholderCodes(KEY, "claims-bot"), json_mode=json_mode)
    vault.expect(typed, ())
    for entity_type, text in values:
        vault.hide(entity_type, text)
    return vault


def an_answer(**message):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "echo-1",
        "choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}],
    }


def content_of(body):
    return body["choices"][0]["message"]["content"]


ANNA = ("PERSON", "Anna Schmidt")
MAIL = ("EMAIL_ADDRESS", "anna@example.com")

BENT = {
    "as it was": "{full}",
    "lower case": "{lower}",
    "bold around": "**{full}**",
    "bold inside": "<**{inner}**>",
    "bold code": "<EMAIL_ADDRESS_**{code}**>",
    "no brackets": "{inner}",
    "no closing bracket": "<{inner}",
    "spaces for underscores": "<EMAIL ADDRESS {code}>",
    "dashes for underscores": "<email-address-{code}>",
    "escaped underscores": "<EMAIL\\_ADDRESS\\_{code}>",
    "escaped brackets": "\\<{inner}\\>",
    "html": "&lt;{inner}&gt;",
    "numeric html": "&#60;{inner}&#62;",
    "url": "%3C{inner}%3E",
    "url with underscores": "%3CEMAIL%5FADDRESS%5F{code}%3e",
    "full width": "\uff1c{inner}\uff1e",
    "spaces inside": "< {inner} >",
    "json escapes": "\\u003c{inner}\\u003e",
    "lost type": "<{code}>",
    "code alone": "{code}",
    "lost code": "<EMAIL_ADDRESS>",
    "lost code, bent": "&lt;email address&gt;",
}


@pytest.mark.parametrize("form", BENT.values(), ids=BENT.keys())
def test_bent_placeholder_is_restored(form):
    vault = a_vault(MAIL)
    full = vault.entries()[0].placeholder
    bent = form.format(full=full, inner=full[1:-1], lower=full.lower(), code=vault.entries()[0].code)

    restored = vault.restore_text(f"Dear {bent}, hello")

    bold = "**" if form == BENT["bold around"] else ""
    assert restored == f"Dear {bold}anna@example.com{bold}, hello"


def test_placeholder_of_another_app_stays_as_it_is():
    stranger = Vault("other-app", "standard", PlaceholderCodes(KEY, "other-app"))
    foreign = stranger.hide(*ANNA)
    vault = a_vault(ANNA)

    assert vault.restore_text(foreign) == foreign


def test_changed_type_keeps_its_word_and_gets_the_value():
    vault = a_vault(ANNA)

    assert vault.restore_text(f"<NAME_{vault.entries()[0].code}>") == "<NAME_Anna Schmidt>"


def test_lost_code_is_left_alone_when_two_values_could_be_meant():
    vault = a_vault(ANNA, ("PERSON", "Bob Miller"))

    assert vault.restore_text("Dear <PERSON>") == "Dear <PERSON>"


def test_lost_code_counts_spellings_of_one_value_as_one():
    vault = a_vault(ANNA, ("PERSON", "ANNA SCHMIDT"))

    assert vault.restore_text("Dear <PERSON>") == "Dear Anna Schmidt"


@pytest.mark.parametrize("typed", ["<PERSON>", "<person>", "&lt;PERSON&gt;", "%3Cperson%3E", "\uff1cPERSON\uff1e"])
def test_lost_code_is_left_alone_when_the_caller_typed_the_type(typed):
    vault = a_vault(ANNA, typed=[f"What does {typed} mean?"])

    assert vault.restore_text("Dear <PERSON>") == "Dear <PERSON>"


def test_bracketed_text_longer_than_a_stream_may_hold_back_is_not_taken_for_a_placeholder():
    vault = a_vault(ANNA)
    code = vault.entries()[0].code
    gap = " " * 60

    assert vault.restore_text(f"<PERSON{gap}>") == f"<PERSON{gap}>"
    assert vault.restore_text(f"<PERSON_{code}{gap}>") == f"Anna Schmidt{gap}>"


def test_two_placeholders_side_by_side_are_both_restored():
    vault = a_vault(ANNA, MAIL)
    person, mail = (entry.placeholder for entry in vault.entries())

    assert vault.restore_text(person + mail) == "Anna Schmidtanna@example.com"
    assert vault.restore_text((person + mail).replace("<", "").replace(">", "")) == "Anna Schmidtanna@example.com"


def test_long_run_of_letters_without_a_code_is_left_alone():
    vault = a_vault(ANNA)

    assert vault.restore_text("A" * 1000) == "A" * 1000


def test_answer_without_placeholders_is_the_same_object():
    body = an_answer(content="Nothing personal", tool_calls=None)

    assert a_vault(ANNA).restore(body) is body
    assert a_vault().restore(body) is body


def test_answer_given_is_not_changed():
    vault = a_vault(ANNA)
    body = an_answer(content=vault.entries()[0].placeholder)
    before = json.dumps(body)

    vault.restore(body)

    assert json.dumps(body) == before


def test_every_text_of_an_answer_is_restored():
    vault = a_vault(ANNA)
    text = f"Dear {vault.entries()[0].placeholder}"
    body = an_answer(
        content=text,
        refusal=text,
        reasoning_content=text,
        audio={"id": "a", "transcript": text},
        annotations=[{"type": "url_citation", "url_citation": {"title": text}}],
    )

    message = vault.restore(body)["choices"][0]["message"]

    expected = "Dear Anna Schmidt"
    assert [message["content"], message["refusal"], message["reasoning_content"]] == [expected] * 3
    assert message["audio"]["transcript"] == expected
    assert message["annotations"][0]["url_citation"]["title"] == expected


def test_values_are_escaped_in_tool_arguments_and_the_function_keeps_its_name():
    vault = a_vault(("PERSON", 'Eve "Ivy"\nStone \\ Ünal'))
    placeholder = vault.entries()[0].placeholder
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"to": placeholder})}}

    function = vault.restore(an_answer(tool_calls=[call]))["choices"][0]["message"]["tool_calls"][0]["function"]

    assert json.loads(function["arguments"]) == {"to": 'Eve "Ivy"\nStone \\ Ünal'}
    assert function["name"] == "mail"


def test_number_comes_back_as_a_number_where_it_stands_alone_and_as_text_elsewhere():
    vault = a_vault()
    placeholder = vault.hide("PHONE_NUMBER", "491701234567", number=True)
    arguments = json.dumps({"call": placeholder, "note": f"call {placeholder} now"})

    restored = vault.restore(an_answer(function_call={"name": "f", "arguments": arguments}))

    assert restored["choices"][0]["message"]["function_call"]["arguments"] == (
        '{"call": 491701234567, "note": "call 491701234567 now"}'
    )


def test_quote_between_two_numbers_is_used_once():
    vault = a_vault()
    placeholder = vault.hide("PHONE_NUMBER", "491701234567", number=True)

    assert vault.matcher.replace(f'"{placeholder}"{placeholder}"', json=True) == '491701234567491701234567"'


def test_text_that_was_no_number_stays_a_text_in_json():
    vault = a_vault(("PHONE_NUMBER", "491701234567"))
    arguments = json.dumps({"call": vault.entries()[0].placeholder})

    restored = vault.restore(an_answer(tool_calls=[{"function": {"name": "f", "arguments": arguments}}]))

    assert json.loads(restored["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]) == {
        "call": "491701234567"
    }


QUOTED = ("PERSON", 'Eve "Ivy" Stone')


@pytest.mark.parametrize(
    "template", ['{{"name": "{0}"}}', '[\n"{0}"]', '[1, "{0}"]', '[true, "{0}"]', '[{{"a": "{0}"}}]']
)
def test_content_that_is_json_stays_valid_json(template):
    vault = a_vault(QUOTED)

    restored = content_of(vault.restore(an_answer(content=template.format(vault.entries()[0].placeholder))))

    assert 'Eve "Ivy" Stone' in str(json.loads(restored))


@pytest.mark.parametrize("template", ["[{0}] said", "{{{0}}}", "[see]({0})", "Dear {0}"])
def test_prose_that_only_begins_with_a_bracket_is_not_escaped(template):
    vault = a_vault(QUOTED)

    restored = content_of(vault.restore(an_answer(content=template.format(vault.entries()[0].placeholder))))

    assert restored == template.format('Eve "Ivy" Stone')


def test_bracket_is_enough_when_the_request_asked_for_json():
    vault = a_vault(QUOTED, json_mode=True)
    placeholder = vault.entries()[0].placeholder

    restored = content_of(vault.restore(an_answer(content=f'[ 12345678901234567890, "{placeholder}"]')))

    assert json.loads(restored)[1] == 'Eve "Ivy" Stone'


def test_tokens_of_logprobs_are_restored_in_the_first_token_of_the_placeholder():
    vault = a_vault(ANNA)
    placeholder = vault.entries()[0].placeholder
    texts = ["Dear ", placeholder[:4], placeholder[4:9], placeholder[9:] + ",", " hi"]
    tokens = [{"token": text, "logprob": -0.1, "bytes": list(text.encode()), "top_logprobs": [{}]} for text in texts]
    body = an_answer(content="x")
    body["choices"][0]["logprobs"] = {"content": tokens, "refusal": None}

    restored = vault.restore(body)["choices"][0]["logprobs"]["content"]

    assert [token["token"] for token in restored] == ["Dear ", "Anna Schmidt", "", ",", " hi"]
    assert restored[1]["bytes"] == list(b"Anna Schmidt")
    assert [len(token["top_logprobs"]) for token in restored] == [1, 0, 0, 0, 1]


def test_tokens_without_placeholders_are_left_alone():
    body = an_answer(content="x")
    body["choices"][0]["logprobs"] = {"content": [{"token": "hi", "top_logprobs": [{}]}], "refusal": None}

    assert a_vault(ANNA).restore(body) == body


def test_repr_of_a_vault_tells_no_value():
    vault = a_vault(ANNA)

    assert "Anna" not in f"{vault!r} {vault.entries()!r} {vault.matcher!r}"
    assert "values=1" in repr(vault)
