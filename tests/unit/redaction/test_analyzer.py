import asyncio
import threading
import traceback
from itertools import pairwise

import pytest
from presidio_analyzer import PatternRecognizer

from llmguard.domain.errors import Fault
from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.ner import ModelMissing
from llmguard.redaction.workers import Workers
from tests.support.analyzers import PLAIN_RECOGNIZERS, a_profile_text, a_rules_folder, an_analyzer

MAIL = "Write to dana@acme.com today"
CARD = "4111 1111 1111 1111"


@pytest.fixture
def analyzer(tmp_path):
    profiles = a_profile_text(EMAIL_ADDRESS="hide", CREDIT_CARD="block", US_SSN="keep", BADGE="report")
    profiles += a_profile_text("names", ner=True, PERSON="hide", EMAIL_ADDRESS="hide")
    return an_analyzer(a_rules_folder(tmp_path, profiles))


def found(analyzer, text, profile="standard"):
    return [(text[one.start : one.end], one.entity_type) for one in analyzer.find(text, analyzer.profiles[profile])]


def test_findings_are_sorted_and_say_who_found_them(analyzer):
    text = f"{CARD} of dana@acme.com"
    first, second = analyzer.find(text, analyzer.profiles["standard"])
    assert (text[first.start : first.end], first.entity_type, first.score) == (CARD, "CREDIT_CARD", 1.0)
    assert (second.entity_type, second.recognizer) == ("EMAIL_ADDRESS", "EmailRecognizer")


def test_an_entity_that_the_profile_keeps_or_does_not_name_is_not_looked_for(analyzer):
    assert found(analyzer, "SSN 536-90-4399, account 12345678") == []


def test_a_card_with_a_wrong_checksum_is_no_card(analyzer):
    assert found(analyzer, "4111 1111 1111 1112") == []


def test_names_are_found_only_where_the_profile_wants_the_language_model(analyzer):
    text = "Yesterday John Smith called from Paris."
    assert found(analyzer, text, "names") == [("John Smith", "PERSON")]
    assert found(analyzer, text) == []


def test_findings_never_overlap_and_lie_inside_the_text(analyzer):
    text = "John dana@acme.com Smith BDG-1234 " * 50
    findings = analyzer.find(text, analyzer.profiles["names"])
    assert findings
    assert all(one.end <= other.start for one, other in pairwise(findings))
    assert findings[-1].end <= len(text)


def test_an_empty_text_holds_nothing(analyzer):
    assert found(analyzer, "", "names") == []


async def test_texts_asked_for_together_come_back_in_their_order(analyzer):
    texts = [MAIL, "nothing", MAIL, "John Smith wrote", ""]
    results = await analyzer.find_all(texts, analyzer.profiles["names"])
    assert [[one.entity_type for one in result] for result in results] == [
        ["EMAIL_ADDRESS"],
        [],
        ["EMAIL_ADDRESS"],
        ["PERSON"],
        [],
    ]
    assert list(results) == [analyzer.find(text, analyzer.profiles["names"]) for text in texts]


async def test_no_texts_are_no_findings(analyzer):
    assert await analyzer.find_all([], analyzer.profiles["names"]) == []


async def test_patterns_alone_on_a_short_text_need_no_thread(analyzer):
    analyzer.close()
    results = await analyzer.find_all([MAIL], analyzer.profiles["standard"])
    assert len(results[0]) == 1


async def test_a_text_under_way_is_analysed_once_for_all_who_ask(tmp_path):
    slow = _Gate()
    folder = a_rules_folder(tmp_path, a_profile_text("names", ner=True, PERSON="hide"))
    analyzer = an_analyzer(folder)
    analyzer._detector.find = slow.around(analyzer._detector.find)
    asks = [asyncio.create_task(analyzer.find_all(["John Smith"], analyzer.profiles["names"])) for _ in range(5)]
    await asyncio.sleep(0)
    slow.open()
    results = await asyncio.gather(*asks)
    assert slow.calls == 1
    assert all(result == results[0] for result in results)


async def test_a_caller_who_hangs_up_does_not_take_the_answer_from_others(tmp_path):
    slow = _Gate()
    folder = a_rules_folder(tmp_path, a_profile_text("names", ner=True, PERSON="hide"))
    analyzer = an_analyzer(folder)
    analyzer._detector.find = slow.around(analyzer._detector.find)
    gone, stays = (asyncio.create_task(analyzer.find_all(["John Smith"], analyzer.profiles["names"])) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    slow.open()
    assert len((await stays)[0]) == 1
    assert gone.cancelled()


async def test_when_too_much_waits_new_texts_are_refused_with_a_time_to_come_back(tmp_path):
    slow = _Gate()
    folder = a_rules_folder(tmp_path, a_profile_text("names", ner=True, PERSON="hide"))
    analyzer = an_analyzer(folder, workers=Workers(waiting_characters=50))
    analyzer._detector.find = slow.around(analyzer._detector.find)
    first = asyncio.create_task(analyzer.find_all(["x " * 100], analyzer.profiles["names"]))
    await asyncio.sleep(0)
    with pytest.raises(Fault) as refused:
        await analyzer.find_all(["y " * 100], analyzer.profiles["names"])
    slow.open()
    await first
    assert (refused.value.code, refused.value.retry_after_seconds) == ("overloaded", 1)
    assert len((await analyzer.find_all(["John Smith"], analyzer.profiles["names"]))[0]) == 1


async def test_a_request_of_many_texts_is_taken_whole_or_not_at_all(tmp_path):
    folder = a_rules_folder(tmp_path, a_profile_text("names", ner=True, PERSON="hide"))
    analyzer = an_analyzer(folder, workers=Workers(waiting_characters=10_000))
    with pytest.raises(Fault):
        await analyzer.find_all([f"{number} " * 1_500 for number in range(5)], analyzer.profiles["names"])

    assert not analyzer._running


class _Gate:
    """Holds work back until it is opened, and counts it."""

    def __init__(self):
        self._opened = threading.Event()
        self.calls = 0

    def open(self):
        self._opened.set()

    def around(self, work):
        def gated(*arguments):
            self.calls += 1
            self._opened.wait(10)
            return work(*arguments)

        return gated


class ExplodingRecognizer(PatternRecognizer):
    """Fails on every text that holds its pattern, and quotes it."""

    def __init__(self, name=None, context=None, supported_language="en"):
        super().__init__(supported_entity="BOOM", patterns=[], deny_list=["boom"], name="Exploding")

    def analyze(self, text, entities, nlp_artifacts=None, regex_flags=None):
        raise ValueError(text)


async def test_a_failing_recognizer_is_a_fault_that_holds_nothing_of_the_text(tmp_path):
    recognizers = PLAIN_RECOGNIZERS + "  - {name: ExplodingRecognizer, type: predefined}\n"
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(BOOM="hide"), recognizers))
    value = "value-secret"[::-1]  # else the traceback quotes this file
    with pytest.raises(Fault) as failure:
        await analyzer.find_all([f"boom {value}"], analyzer.profiles["standard"])
    fault = failure.value
    assert fault.code == "redaction_unavailable"
    assert fault.__cause__ is None
    assert fault.__context__ is None
    assert value not in "".join(traceback.format_exception(fault)) + str(fault) + (fault.hint or "")
    with pytest.raises(Fault):
        analyzer.explain(f"boom {value}", analyzer.profiles["standard"])
    assert (await analyzer.find_all(["calm"], analyzer.profiles["standard"])) == [()]


async def test_a_failure_in_the_thread_reaches_every_caller_and_is_not_remembered(tmp_path):
    recognizers = PLAIN_RECOGNIZERS + "  - {name: ExplodingRecognizer, type: predefined}\n"
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(ner=True, BOOM="hide", PERSON="hide"), recognizers))
    for _ in range(2):
        with pytest.raises(Fault, match="ValueError"):
            await analyzer.find_all(["boom John"], analyzer.profiles["standard"])
    assert analyzer._running == {}


async def test_when_the_threads_stop_those_who_wait_are_told(tmp_path):
    slow = _Gate()
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(ner=True, PERSON="hide")))
    analyzer._detector.find = slow.around(analyzer._detector.find)
    asks = [
        asyncio.create_task(analyzer.find_all([f"text {number}"], analyzer.profiles["standard"])) for number in range(2)
    ]
    await asyncio.sleep(0)
    analyzer.close()
    slow.open()
    results = await asyncio.gather(*asks, return_exceptions=True)
    assert results[0] == [()]
    assert isinstance(results[1], Fault)


def test_a_text_that_takes_too_long_is_a_fault_and_never_passes(tmp_path):
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(EMAIL_ADDRESS="hide")), time_limit_seconds=0.0)
    with pytest.raises(Fault, match="too long"):
        analyzer.find(MAIL, analyzer.profiles["standard"])


def test_a_regex_that_runs_away_is_a_fault_and_never_passes(tmp_path):
    recognizers = PLAIN_RECOGNIZERS + (
        "  - {name: Runaway, supported_entity: RUNAWAY, patterns: [{name: r, regex: '(x+x+)+y', score: 0.5}]}\n"
    )
    analyzer = an_analyzer(
        a_rules_folder(tmp_path, a_profile_text(RUNAWAY="hide"), recognizers), time_limit_seconds=0.3
    )
    with pytest.raises(Fault, match="too long"):
        analyzer.find("x" * 5000 + " xxy", analyzer.profiles["standard"])


def test_a_phrase_on_the_allow_list_is_no_finding_in_any_case(tmp_path):
    profiles = a_profile_text(extra="    allow: [allow.txt, help@acme.com]\n", EMAIL_ADDRESS="hide")
    analyzer = an_analyzer(a_rules_folder(tmp_path, profiles, allow="# service desk\nDesk@Acme.com # since 2024\n"))
    assert found(analyzer, "desk@acme.COM, help@acme.com, me@acme.com") == [("me@acme.com", "EMAIL_ADDRESS")]


def test_what_lies_inside_an_allowed_phrase_is_no_finding_there_but_is_elsewhere(tmp_path):
    profiles = a_profile_text(ner=True, extra="    allow: [John Deere tractors]\n", PERSON="hide")
    analyzer = an_analyzer(a_rules_folder(tmp_path, profiles))
    assert found(analyzer, "We met John Deere yesterday.") == [("John Deere", "PERSON")]
    assert found(analyzer, "We sell John Deere tractors.") == []
    assert found(analyzer, "We met John Deere tractorsmith.") != []


def test_an_entry_of_the_deny_list_is_found_for_certain_as_a_whole_word(tmp_path):
    extra = "    deny: {PROJECT: [Blue Heron, secret.txt]}\n"
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(extra=extra, PROJECT="hide"), secret="Osprey\n"))
    text = "Ask about BLUE HERON or osprey, not ospreys."
    assert found(analyzer, text) == [("BLUE HERON", "PROJECT"), ("osprey", "PROJECT")]
    assert all(one.score == 1.0 for one in analyzer.find(text, analyzer.profiles["standard"]))


def test_a_context_word_raises_a_weak_pattern_over_the_threshold(tmp_path):
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(US_BANK_NUMBER="hide")))
    assert found(analyzer, "the number 12345678 is odd") == []
    assert found(analyzer, "my bank account is 12345678") == [("12345678", "US_BANK_NUMBER")]


def test_a_context_of_several_words_counts_too(tmp_path):
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(threshold=0.9, BADGE="hide")))
    assert found(analyzer, "item BDG-1234") == []
    assert found(analyzer, "Employee  number BDG-1234") == [("BDG-1234", "BADGE")]


def test_a_recognizer_may_have_a_threshold_of_its_own(tmp_path):
    own = PLAIN_RECOGNIZERS.replace(
        "{name: EmailRecognizer,", "{name: EmailRecognizer, score_thresholds: {default: 1.0},"
    )
    own = own.replace("    context: [employee number]", "    score_thresholds: {BADGE: 0.7}")
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(EMAIL_ADDRESS="hide", BADGE="hide"), own))
    assert found(analyzer, "dana@acme.com BDG-1234") == [("dana@acme.com", "EMAIL_ADDRESS")]


def test_the_explanation_names_pattern_context_and_what_was_dropped_and_why(tmp_path):
    profiles = a_profile_text(
        extra="    allow: [ok@acme.com]\n",
        EMAIL_ADDRESS="hide",
        US_BANK_NUMBER="hide",
        CREDIT_CARD="hide",
        BADGE="hide",
    )
    analyzer = an_analyzer(a_rules_folder(tmp_path, profiles))
    text = "ok@acme.com, bank account 4111111111111111 or 12345678; item BDG-1234"
    told = {
        (text[one.start : one.end], one.entity_type): one
        for one in analyzer.explain(text, analyzer.profiles["standard"])
    }
    assert told["ok@acme.com", "EMAIL_ADDRESS"].fate == "allowed"
    card, account = told["4111111111111111", "CREDIT_CARD"], told["12345678", "US_BANK_NUMBER"]
    assert (card.fate, card.pattern) == ("found", "All Credit Cards (weak)")
    assert told["4111111111111111", "US_BANK_NUMBER"].fate == "overlapped"
    assert "CREDIT_CARD" in told["4111111111111111", "US_BANK_NUMBER"].reason
    assert (account.fate, account.context_word) == ("found", "account")
    assert told["BDG-1234", "BADGE"].pattern == "badge"
    assert not any(value in one.reason for one in told.values() for value in ("4111", "12345678", "acme"))


def test_the_explanation_tells_what_scored_too_low(tmp_path):
    analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(threshold=0.7, BADGE="hide")))
    (told,) = analyzer.explain("a BDG-1234 b", analyzer.profiles["standard"])
    assert (told.fate, told.score) == ("below_threshold", 0.6)
    assert "0.70" in told.reason


def test_the_digest_changes_with_any_rule_and_with_nothing_else(tmp_path):
    folder = a_rules_folder(tmp_path / "a", a_profile_text(EMAIL_ADDRESS="hide"), allow="x\n")
    first = an_analyzer(folder).digest
    assert an_analyzer(folder).digest == first
    assert len(first) == 64
    a_rules_folder(tmp_path / "a", a_profile_text(EMAIL_ADDRESS="hide"), allow="y\n")
    second = an_analyzer(folder).digest
    a_rules_folder(tmp_path / "a", a_profile_text(EMAIL_ADDRESS="drop"), allow="y\n")
    assert len({first, second, an_analyzer(folder).digest}) == 3


def test_an_analyzer_takes_over_what_did_not_change(tmp_path):
    folder = a_rules_folder(tmp_path, a_profile_text(ner=True, PERSON="hide", EMAIL_ADDRESS="hide"), allow="x\n")
    first = Analyzer.load(folder)
    (folder / "allow.txt").write_text("y\n", encoding="utf-8")
    second = Analyzer.load(folder, previous=first)
    assert second.parts is first.parts
    (folder / "recognizers.yaml").write_text(PLAIN_RECOGNIZERS + "# new\n", encoding="utf-8")
    third = Analyzer.load(folder, previous=second)
    assert third.parts.patterns is not first.parts.patterns
    assert third.parts.ner is first.parts.ner is not None
    third.warm_up()


def test_the_language_model_is_loaded_by_the_first_profile_that_needs_it(tmp_path, monkeypatch):
    folder = a_rules_folder(tmp_path, a_profile_text(ner=True, EMAIL_ADDRESS="hide"))
    with monkeypatch.context() as without_model:
        without_model.setattr("llmguard.redaction.ner._MODELS", ("no_such_model",))
        patterns_only = Analyzer.load(folder)
        assert patterns_only.parts.ner is None
        assert found(patterns_only, "Write to dana@acme.com") == [("dana@acme.com", "EMAIL_ADDRESS")]
        a_rules_folder(tmp_path, a_profile_text(ner=True, PERSON="hide"))
        with pytest.raises(ModelMissing):
            Analyzer.load(folder, previous=patterns_only)
    with_names = Analyzer.load(folder, previous=patterns_only)
    assert found(with_names, "John Smith met Mary Jones.") == [("John Smith", "PERSON"), ("Mary Jones", "PERSON")]


def test_the_digest_of_rules_without_names_is_the_same_whether_or_not_the_model_is_loaded(tmp_path):
    names = a_rules_folder(tmp_path, a_profile_text(ner=True, PERSON="hide"))
    loaded = Analyzer.load(names)
    patterns_only = a_rules_folder(tmp_path, a_profile_text(EMAIL_ADDRESS="hide"))
    assert Analyzer.load(patterns_only, previous=loaded).digest == Analyzer.load(patterns_only).digest


def test_a_finding_is_the_same_wherever_it_lies_in_a_long_text(analyzer):
    filler = "lorem ipsum dolor sit amet\n" * 4000
    text = f"{filler}{MAIL}\n{filler}{CARD}\n{filler}John Smith met dana@acme.com."
    assert found(analyzer, text) == [
        ("dana@acme.com", "EMAIL_ADDRESS"),
        (CARD, "CREDIT_CARD"),
        ("dana@acme.com", "EMAIL_ADDRESS"),
    ]
    assert ("John Smith", "PERSON") in found(analyzer, text, "names")


def test_nothing_asks_the_network(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("socket.socket.connect", lambda _, address: asked.append(address))
    monkeypatch.setattr("socket.getaddrinfo", lambda *address, **_: asked.append(address) or [])
    analyzer = Analyzer.load(a_rules_folder(tmp_path, a_profile_text(ner=True, EMAIL_ADDRESS="hide", PERSON="hide")))
    analyzer.warm_up()
    assert found(analyzer, "dana@acme.com and dana@intranet.nosuchsuffix") == [("dana@acme.com", "EMAIL_ADDRESS")]
    assert asked == []


def test_presidio_logs_nothing_of_a_text(tmp_path, caplog):
    recognizers = "supported_languages: [en]\nrecognizers: [{name: IbanRecognizer, type: predefined}]\n"
    with caplog.at_level("DEBUG"):
        analyzer = an_analyzer(a_rules_folder(tmp_path, a_profile_text(IBAN_CODE="hide"), recognizers))
        analyzer.find("DE89 3704 0044 0532 0130 00 and DE8937040044053201300\u0661", analyzer.profiles["standard"])
    assert "3704" not in caplog.text


def test_find_remembers_what_it_found(analyzer):
    first, again = (analyzer.find(MAIL, analyzer.profiles["standard"]) for _ in range(2))
    assert again == first
    assert analyzer.find(MAIL, analyzer.profiles["standard"]) is again
