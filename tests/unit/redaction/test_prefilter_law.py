"""The law of the prefilter: what runs after it finds exactly what would have been found without it."""

import re
from functools import cache
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.redaction.deadline import Deadline
from llmguard.redaction.patterns import PatternPass
from llmguard.redaction.prefilter import Prefilter, Trigger
from llmguard.redaction.profiles import read_files
from llmguard.redaction.projection import project
from llmguard.redaction.recognizer_list import load_recognizers
from llmguard.redaction.regex_translation import UntranslatableError, translate
from tests.support.analyzers import presidio_default_recognizers
from tests.support.corpus import texts
from tests.support.thorough import tries

FLAGS = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL
OUR_RULES = Path(__file__).parents[3] / "redaction"


def spans(candidates):
    return sorted((one.start, one.end, one.entity_type, one.score, one.recognizer) for one in candidates)


@pytest.mark.parametrize("rules", ["presidio", "ours"])
def test_prefiltered_recognizers_find_exactly_what_they_find_without_it(rules):
    files = {"recognizers.yaml": presidio_default_recognizers()} if rules == "presidio" else read_files(OUR_RULES)
    recognizers = load_recognizers(files)
    prefiltered, plain = PatternPass(recognizers), PatternPass(recognizers, prefiltered=False)
    found = 0
    for text in texts(tries(250, 600), seed=1):
        with_it = prefiltered.propose(text, prefiltered.entities, Deadline(60))
        without = plain.propose(text, plain.entities, Deadline(60))
        assert spans(with_it) == spans(without), text
        found += len(with_it)
    assert found > tries(200, 500)


PATTERNS = [
    r"\b\d{3}-\d{2}\b",
    r"(?<![\w.])[A-Z]{2}\d+(?!\w)",
    r"(?<=id )\w+(?=;)",
    r"(?<=id|x )a+(?= ?;b|$)",
    r"(?:a(?=b|\d)|k(?=ss))",
    r"^\s*\d+$",
    r"[^\W\d_]{3,}@[a-z]+",
    r"(a|b)\1c",
    r"[à-ÿ]+x",
    r"[^0-9]5[^a-z]",
    r"\Ak+\Z",
    r"(?-i:K)s",
    "(?:x|(?:\u017f|é))\\D\\S",
    r"№\s?\d{1,200}",
    r"(?P<q>['\"])\w*(?P=q)",
    r"a{2,3}?b*+",
    r"(a)?(?(1)b|z)",
    r"(?>a+)b",
    r"a={0}b*",
    r"[\[({<] ?i ?[\])}>]|[ _.\-']d+",
]
LETTERS = st.text(alphabet="\u0301aAbBkKsSiIxXzé№\u017f\u212aİ\u01310159٣_-. ;'\"@\n\u00a0\u2003\x1c🙂id", max_size=30)


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=tries(60, 150), deadline=None)
@given(text=LETTERS)
def test_a_regex_that_matches_always_fires(pattern, text):
    if any(match.group() for match in regex.finditer(pattern, text, FLAGS)):
        assert _prefilter(pattern, "regex").fired(text) == {0}


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=tries(60, 150), deadline=None)
@given(text=LETTERS)
def test_a_regex_that_matches_by_re_always_fires(pattern, text):
    if any(match.group() for match in re.finditer(pattern, text, FLAGS)):
        assert _prefilter(pattern, "re").fired(text) == {0}


@cache
def _prefilter(pattern, dialect):
    return Prefilter([Trigger(pattern, FLAGS)], dialect=dialect)


def test_an_accent_of_its_own_is_a_letter_to_regex_but_not_to_re():
    text, trigger = "e\u030132.34.128.168", Trigger(r"(?<!\w)32", 0)
    assert Prefilter([trigger], dialect="regex").fired(text) == set()
    assert Prefilter([trigger], dialect="re").fired(text) == {0}


def test_a_text_without_the_pattern_does_not_fire():
    prefilter = Prefilter([Trigger(r"\b\d{3}-\d{2}-\d{4}\b", FLAGS), Trigger("needle", FLAGS)])
    assert prefilter.fired("nothing here 123") == set()
    assert prefilter.fired("a NEEDLE and 123-45-6789") == {0, 1}


def test_a_non_latin_word_is_a_word_to_the_prefilter():
    assert Prefilter([Trigger(r"\bX\d", FLAGS)]).fired("жX1") == set()


@pytest.mark.parametrize("pattern", [r"(?:foo){e<=1}", r"[[:alpha:]]+", r"\p{Lu}x", r"(?a:\w)"])
def test_a_regex_of_another_syntax_is_taken_to_match_everything(pattern):
    with pytest.raises(UntranslatableError):
        translate(pattern, FLAGS)
    prefilter = Prefilter([Trigger(pattern, FLAGS), Trigger("x", FLAGS)])
    assert prefilter.always == {0}
    assert prefilter.fired("nothing") == {0}


def test_a_regex_too_large_for_hyperscan_does_not_take_the_others_with_it():
    large = "|".join(f"(?:[a-z]{{3}}{number}\\d{{2}}x{number * 7919})" for number in range(900))
    prefilter = Prefilter([Trigger(large, FLAGS), Trigger("needle", FLAGS)])
    assert prefilter.always == {0}
    assert 1 in prefilter.fired("a needle")
    assert 1 not in prefilter.fired("hay")


def test_projection_keeps_one_byte_a_character():
    text = "a\ud800é🙂\u00a0٣K\x00"
    assert len(project(text)) == len(text)
    assert project("é٣\u00a0🙂\u212a\u017f") == b"_9\x80\x81ks"
