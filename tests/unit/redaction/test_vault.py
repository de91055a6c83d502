import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction.placeholders import PlaceholderCodes, name_parts, normalise, protected_spans, spell_placeholder
from llmguard.redaction.vault import Vault

KEY = b"k" * 32


def a_vault(app="claims-bot", key=KEY, *, typed=(), names=()):
    vault = Vault(app, "standard", PlaceholderCodes(key, app))
    vault.expect(typed, names)
    return vault


def test_placeholder_is_the_type_and_six_pairs_of_letters():
    placeholder = a_vault().hide("PERSON", "Anna Schmidt")

    assert re.fullmatch(r"<PERSON_(?:[BCDFGHJKLMNPQRSTVWXZ][AEIOU]){6}>", placeholder)


def test_placeholder_is_the_same_in_every_process_and_year():
    assert a_vault().hide("PERSON", "Anna Schmidt") == "<PERSON_WULAKUKOCURA>"


def test_placeholders_of_two_apps_secrets_types_and_values_differ():
    placeholders = {
        a_vault().hide("PERSON", "Anna"),
        a_vault(app="other-app").hide("PERSON", "Anna"),
        a_vault(key=b"x" * 32).hide("PERSON", "Anna"),
        a_vault().hide("PERSON", "Bob"),
    }

    assert len({placeholder[-13:] for placeholder in placeholders}) == 4
    assert a_vault().hide("LOCATION", "Anna")[-13:] not in {placeholder[-13:] for placeholder in placeholders}


@pytest.mark.parametrize(
    ("entity_type", "one", "other"),
    [
        ("PERSON", "Anna Schmidt", "ANNA  SCHMIDT"),
        ("EMAIL_ADDRESS", "Anna@Example.com", "anna@example.com"),
        ("PHONE_NUMBER", "+49 170 1234567", "0049-170-1234567"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("US_SSN", "078-05-1120", "078 05 1120"),
    ],
)
def test_spellings_of_one_value_are_one_value(entity_type, one, other):
    assert a_vault().hide(entity_type, one) == a_vault().hide(entity_type, other)


@pytest.mark.parametrize(
    ("entity_type", "one", "other"),
    [
        ("PERSON", "Anna Schmidt", "Anna Schmitt"),
        ("API_KEY", "sk-abc", "sk-ABC"),
        ("URL", "https://x.de/A", "https://x.de/a"),
        ("IP_ADDRESS", "1.11.1.1", "11.1.1.1"),
    ],
)
def test_two_values_stay_two_values(entity_type, one, other):
    assert a_vault().hide(entity_type, one) != a_vault().hide(entity_type, other)


def test_value_without_letters_and_digits_is_itself():
    assert normalise("US_SSN", "--") == "--"
    assert normalise("PHONE_NUMBER", "call") == "call"


def test_second_spelling_in_a_request_shares_the_stem_and_each_is_restored_exactly():
    vault = a_vault()
    first = vault.hide("PERSON", "Anna Schmidt")
    second = vault.hide("PERSON", "ANNA  SCHMIDT")

    assert second.startswith(first[:-1])
    assert len(second) == len(first) + 2
    assert vault.restore_text(f"{second}/{first}/{second}") == "ANNA  SCHMIDT/Anna Schmidt/ANNA  SCHMIDT"


def test_many_spellings_of_one_value_all_differ():
    vault = a_vault()
    spellings = [f"anna{' ' * count}schmidt" for count in range(1, 131)]

    placeholders = [vault.hide("PERSON", spelling) for spelling in spellings]

    assert len(set(placeholders)) == 130
    assert len({placeholder[:-1][:20] for placeholder in placeholders}) == 1
    assert [vault.restore_text(placeholder) for placeholder in placeholders] == spellings


def test_part_of_a_full_name_is_the_same_person():
    vault = a_vault(names=["Anna Schmidt", "Bob Miller"])
    part = vault.hide("PERSON", "Anna")
    full = vault.hide("PERSON", "Anna Schmidt")

    assert part.startswith(full[:-1])
    assert part != full


def test_part_that_two_people_share_is_neither_of_them():
    vault = a_vault(names=["Anna Schmidt", "Anna Bauer"])
    part = vault.hide("PERSON", "Anna")

    assert not part.startswith(vault.hide("PERSON", "Anna Schmidt")[:-1])
    assert not part.startswith(vault.hide("PERSON", "Anna Bauer")[:-1])


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Anna Schmidt", ("Anna", "Schmidt")),
        ("Dr. Anna von Schmidt", ("Anna", "Schmidt")),
        ("Will Smith", ("Smith",)),
        ("Jo Ng", ()),
        ("Anna", ()),
    ],
)
def test_parts_of_a_name_are_what_tells_the_person(name, parts):
    assert name_parts(name) == parts


@pytest.mark.parametrize(
    "bend", [str, str.lower, lambda text: text.replace("_", " "), lambda text: f"**{text[1:-1]}**"]
)
def test_look_alike_that_the_caller_typed_is_never_given_to_a_value(bend):
    expected = a_vault().hide("PERSON", "Anna Schmidt")
    typed = bend(expected)
    vault = a_vault(typed=["What is", f"this {typed}?"])

    given = vault.hide("PERSON", "Anna Schmidt")

    assert given != expected
    assert vault.restore_text(f"{typed} {given}") == f"{typed} Anna Schmidt"


def test_collision_gives_the_next_code_and_both_values_come_back():
    class Narrow(PlaceholderCodes):
        """Codes of which half collide."""

        def stem(self, entity_type, value, attempt=0):
            return super().stem(entity_type, "same" if attempt == 0 else value, attempt)

    vault = Vault("claims-bot", "standard", Narrow(KEY, "claims-bot"))
    placeholders = [vault.hide("PERSON", name) for name in ("Anna", "Bob", "Carl")]

    assert len(set(placeholders)) == 3
    assert [vault.restore_text(placeholder) for placeholder in placeholders] == ["Anna", "Bob", "Carl"]


def test_value_written_with_other_escapes_in_json_is_another_spelling():
    vault = a_vault()
    plain = vault.hide("PERSON", "Zoë")
    escaped = vault.hide("PERSON", "Zoë", raw="Zo\\u00eb")
    literal = vault.hide("PERSON", "Zoë", raw="Zoë")

    assert plain == escaped != literal
    assert vault.matcher.replace(f"{escaped} {literal}", json=True) == "Zo\\u00eb Zoë"
    assert vault.restore_text(f"{escaped} {literal}") == "Zoë Zoë"


def test_number_and_text_of_the_same_digits_are_two_spellings():
    vault = a_vault()

    assert vault.hide("PHONE_NUMBER", "4917012345", number=True) != vault.hide("PHONE_NUMBER", "4917012345")


def test_fork_takes_values_without_changing_the_vault():
    vault = a_vault()
    known = vault.hide("PERSON", "Anna")
    fork = vault.fork()

    assert fork.hide("PERSON", "Anna") == known
    fork.hide("PERSON", "Bob")
    assert (vault.size, fork.size) == (1, 2)


def test_long_type_is_cut_in_the_placeholder():
    placeholder = spell_placeholder("A" * 50, "KOFADELIMORU")
    vault = a_vault()

    assert len(placeholder) == 51
    assert vault.restore_text(vault.hide("B" * 60, "x")) == "x"


def test_only_placeholders_and_known_types_are_protected():
    text = "<PERSON_KOFADELIMORU> <ANNA_SCHMIDT> <PERSON> <div> <PERSON_KOFA>"

    assert [text[start:end] for start, end in protected_spans(text, {"PERSON"})] == [
        "<PERSON_KOFADELIMORU>",
        "<PERSON>",
    ]


@given(st.lists(st.tuples(st.sampled_from(["PERSON", "EMAIL_ADDRESS", "API_KEY"]), st.text(min_size=1)), max_size=20))
def test_every_value_comes_back_exactly_whatever_it_is(values):
    vault = a_vault()
    placeholders = [vault.hide(entity_type, text) for entity_type, text in values]

    assert vault.restore_text("\n".join(placeholders)) == "\n".join(text for _, text in values)


def test_what_looks_for_the_same_values_is_made_once():
    vault = a_vault()
    values = {("PERSON", "Anna Schmidt")}

    first = vault.known_values(values, frozenset())

    assert vault.known_values(set(values), frozenset()) is first
    assert vault.known_values({*values, ("PERSON", "Bob Miller")}, frozenset()) is not first
