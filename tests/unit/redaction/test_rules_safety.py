"""Laws of every recognizer of llmguard: bounded time, honest gates, spans inside the text, complete profiles."""

import re
import signal
import sys
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction.profiles import load_profiles, read_files
from llmguard.redaction.recognizers.catalog import RECOGNIZERS
from llmguard.redaction.recognizers.labelled import LabelledValueRecognizer
from tests.support.redaction_rules import RULES, example_analyzer

INSTANCES = [recognizer() for recognizer in RECOGNIZERS]
NAMES = [type(one).__name__ for one in INSTANCES]
LONG = 20_000
ADVERSARIAL = {
    "digits": "1" * LONG,
    "digits and spaces": "1 2 " * (LONG // 4),
    "digits and hyphens": "12-34-" * (LONG // 6),
    "capitals": "Aa " * (LONG // 3),
    "one word": "a" * LONG,
    "names and numbers": "12 Elm Park 34, " * (LONG // 16),
    "house numbers": "1 A " * (LONG // 4),
    "labels": "account number " * (LONG // 15),
    "separators": "password: " * (LONG // 10),
    "colons": "::" * (LONG // 2),
    "mail": "a@" * (LONG // 2),
    "dots": "a." * (LONG // 2),
    "commas": "a,b;" * (LONG // 4),
    "lines": "name,\n" * (LONG // 6),
    "headers": "name,email\n" * (LONG // 11),
    "inserts": "insert into t (name) values ('a'), " * (LONG // 35),
    "dear": "Dear Anna " * (LONG // 10),
    "regards": "best regards,\n" * (LONG // 14),
    "pem": "-----BEGIN PRIVATE KEY-----\n" * (LONG // 28),
    "jwt": "eyJ" + "a" * LONG + ".eyJ" + "b" * LONG,
    "quotes": "\"'" * (LONG // 2),
    "brackets": "<(" * (LONG // 2),
    "spaces": " " * LONG,
    "blank lines": "12 Elm Street\n\n" * (LONG // 15),
}
SECONDS = 20  # cubic time would take hours on these; this only keeps a hang from stopping the suite


@pytest.fixture
def limited():
    def stop(*_):
        raise TimeoutError("a regex runs away")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
@pytest.mark.usefixtures("limited")
def test_no_recognizer_runs_away_on_hostile_text(text):
    for recognizer in INSTANCES:
        for one in recognizer.analyze(text, []):
            assert 0 <= one.start < one.end <= len(text)


@pytest.mark.parametrize("recognizer", INSTANCES, ids=NAMES)
def test_a_recognizer_finds_nothing_where_none_of_its_gates_matches(recognizer):
    own = [(pattern.regex, recognizer.global_regex_flags) for pattern in recognizer.patterns]
    triggers = recognizer.triggers if isinstance(recognizer, LabelledValueRecognizer) else own
    gates = [regex.compile(pattern, flags) for pattern, flags in triggers]
    examples = (RULES / "cases").glob("*.yaml")
    lines = [line for path in examples for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [re.sub(r"\[[A-Z_]+:([^\[\]]+)\]", r"\1", line) for line in lines]

    found = [text for text in texts if recognizer.analyze(text, [])]

    assert [text for text in found if not any(gate.search(text) for gate in gates)] == []


@pytest.mark.parametrize("recognizer", INSTANCES, ids=NAMES)
@given(text=st.text(max_size=200))
def test_any_text_at_all_is_analysed(recognizer, text):
    assert all(text[one.start : one.end] for one in recognizer.analyze(text, []))


@pytest.mark.parametrize("recognizer", INSTANCES, ids=NAMES)
def test_only_entities_asked_for_are_returned(recognizer):
    text = "Dear Anna Lee, password: Summer2024! acct no: 12345678, 12 Elm Street, anna@example.org, +44 20 7946 0958"

    assert recognizer.analyze(text, ["NO_SUCH_ENTITY"]) == []


def test_every_entity_of_ours_is_in_the_standard_profile():
    standard = load_profiles(read_files(RULES))["standard"]

    assert {entity for one in INSTANCES for entity in one.supported_entities} - standard.sought == set()


@pytest.mark.parametrize("profile", ["standard", "strict", "minimal"])
def test_contacts_and_cards_are_hidden_in_every_profile(profile):
    actions = load_profiles(read_files(RULES))[profile].actions

    hidden = ("EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD")
    assert {actions[entity] for entity in hidden} == {"hide"}
    assert actions["PRIVATE_KEY"] == "block"


def test_at_most_two_percent_of_the_standard_library_are_altered():
    analyzer = example_analyzer()
    folder = Path(sys.modules["json"].__file__).parents[1]
    names = [
        "json/decoder.py",
        "ast.py",
        "argparse.py",
        "heapq.py",
        "sqlite3/dbapi2.py",
        "http/client.py",
        "statistics.py",
    ]
    texts = [(folder / name).read_text(encoding="utf-8")[:20_000] for name in names]

    altered = [sum(one.end - one.start for one in analyzer.find(text, analyzer.profiles["standard"])) for text in texts]

    assert sum(altered) / sum(map(len, texts)) < 0.02
