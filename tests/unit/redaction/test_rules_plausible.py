"""What the language model may call a person or a place."""
# ruff: noqa: SIM905  # lists of words read better without quotes

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction.recognizers.cards import is_card, passes_luhn
from llmguard.redaction.recognizers.names import is_name
from llmguard.redaction.recognizers.national_ids import is_chinese_id, is_cpf, is_nir
from llmguard.redaction.recognizers.plausible import JUDGED, plausible, possible_places
from llmguard.redaction.recognizers.secret_quality import is_password, is_random


def judged(entity, marked):
    start = marked.index("«")
    end = marked.index("»") - 1
    return plausible(entity, marked.replace("«", "").replace("»", ""), start, end)


@pytest.mark.parametrize(
    "marked",
    [
        "«Anna Lee» called.",
        "I met «Ludwig van Beethoven» there",
        "«JOHN SMITH» signed",
        "«O'Neil» and «McDonald»".replace(" and «McDonald»", ""),
        "# by «Anna Lee»",
        "x = 'signed by «Anna Lee»'",
        "katherine «katelyn villareal» said",
    ],
)
def test_people_pass(marked):
    assert judged("PERSON", marked)


@pytest.mark.parametrize(
    "marked",
    [
        "from «user_name» import x",
        "the «getUser» method",
        "MAX «RETRIES» reached",
        "«Getting Started» with it",
        "a «str» is returned",
        "call «Parser»(text)",
        "see «Anna\nLee»",
        "the «Fourier» transform",
        "an «OSError» was raised",
        "Le «votre dossier» est",
        "## «Overture Maps»",
        "«Kafka» and «Redis»".replace(" and «Redis»", ""),
        "x.«Smith»",
        "return «Smith»",
        "id «B12 Lee»",
        "«J»",
    ],
)
def test_what_is_no_person_is_dropped(marked):
    assert not judged("PERSON", marked)


@pytest.mark.parametrize(
    ("marked", "verdict"),
    [
        ("in «New York City» now", True),
        ("in «St. Gallen» now", True),
        ("in «NaN» and «AI»".replace(" and «AI»", ""), False),
        ("in «AI» now", False),
        ("in «SAINT-PRIEST» now", True),
        ("o.«customer_id»", False),
        ('{"«Berlin»": 1}', False),
        ("status «Pending» now", False),
        ("«Keyword».Type", True),
    ],
)
def test_places_are_judged_by_their_form_and_surroundings(marked, verdict):
    if marked.startswith("«Keyword»"):
        verdict = False  # a word of code, in the vocabulary
    assert judged("LOCATION", marked) is verdict


_PIECES = st.sampled_from(
    """
    The Berlin berlin don't Don't smith john New York Python 2.0 A. I node.js Bert-base Client-Server É été 日本 Ärger ❤
    St.Mary McDonald iPhone fooBar foo_Bar O'Neil UTF-8 US April May Today's van de , . - : ( " # 19 return = name
    """.split()
)
_TEXTS = st.lists(st.one_of(_PIECES, st.sampled_from([" ", " ", " ", "\n", "  "])), max_size=24).map("".join)


@given(_TEXTS, st.data())
def test_what_passes_stands_beside_a_possible_place(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))

    passes = [entity for entity in JUDGED if plausible(entity, text, start, end)]

    first = start - len(re.split(r"[\s'\u2019./-]", text[:start])[-1])  # of its word, or of its part of a joined one
    assert not passes or any(first <= place < end for place in possible_places(text))


@pytest.mark.parametrize("joint", ["'", "\u2019", ".", "/", "-"])
def test_each_part_of_a_joined_word_may_be_where_a_name_begins(joint):
    words = ["Thanks", "Regards", "Hello", "Best", "Maria"]
    assert possible_places("said " + joint.join(words))[-1] == len("said ") + len(joint.join(words[:-1])) + 1


def test_hearts_and_versions_are_neither_people_nor_places():
    assert not plausible("PERSON", "thank you ❤️ all", 10, 12)
    assert not plausible("LOCATION", "since Python 2.0 it", 6, 16)


def test_other_entities_are_not_judged():
    assert plausible("ORGANIZATION", "any_thing()", 0, 9)


@pytest.mark.parametrize(
    ("name", "words", "verdict"),
    [
        ("Anna", 1, True),
        ("Anna", 2, False),
        ("van der", 1, False),
        ("Smith, John", 2, True),
        ("John Q. Adams Jr.", 2, True),
        ("parseJson", 1, False),
        ("Anna " * 8, 1, False),
        ("Sales Team", 2, False),
    ],
)
def test_names_have_the_form_of_names(name, words, verdict):
    assert is_name(name, words=words) is verdict


@pytest.mark.parametrize("value", ["Summer2024!", "hunter2", "Tr0ub4dor&3", "p@ssw0rd"])
def test_passwords_are_secrets(value):
    assert is_password(value)


@pytest.mark.parametrize(
    "value",
    [
        "os.environ['X1']",
        "${DB_PASS1}",
        "<your-pass-1>",
        "self.password1",
        "required",
        "get_pass1()",
        "****",
        "changeme",
        "/etc/p1",
    ],
)
def test_code_and_fillers_are_no_secrets(value):
    assert not is_password(value)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ("a8F3kd02LxPq91ZmTt77", True),
        ("short1A", False),
        ("token-classification-v2", False),
        ("aaaaaaaaaaaaaaa1", False),
        ("DistributionList.NextMarker", False),
        ("123456789012345", False),
    ],
)
def test_tokens_are_random(value, verdict):
    assert is_random(value) is verdict


def test_checksums_are_those_of_their_standards():
    assert passes_luhn("79927398713")
    assert not passes_luhn("79927398710")
    assert is_card("3782 822463 10005")
    assert not is_card("4444 4444 4444 4444")
    assert not is_card("411111111111111")
    assert is_cpf("529.982.247-25")
    assert not is_cpf("111.111.111-11")
    assert not is_cpf("529.982.247-26")
    assert is_nir("2 55 08 14 168 025 38".replace(" ", ""))
    assert not is_nir("255081416802539")
    assert is_chinese_id("11010519491231002X")
    assert not is_chinese_id("110105194912310021")
