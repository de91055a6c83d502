"""However many different texts pass and however much is in one: memory stays bounded, and the event loop free."""

import asyncio
import time

import pytest

from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.ner_words import WordTable
from llmguard.redaction.redactor import Redactor
from tests.support.analyzers import a_profile_text, a_rules_folder, an_analyzer, the_language_model
from tests.support.builders import a_chat_request
from tests.support.finder import PatternFinder
from tests.support.thorough import tries

PROMPTS = tries(700, 3_000)  # each brings three new words, and 1,000 are kept


def a_prompt(number):
    return f"Please call Customer{number} of Town{number} about invoice {number * 7919} or write to c{number}@acme.com."


def test_thousands_of_different_prompts_do_not_grow_anything_beyond_its_bound(tmp_path, monkeypatch):
    model = the_language_model()
    monkeypatch.setattr(model._matrices, "_words", a_word_table(model, kept_words=1_000))
    folder = a_rules_folder(tmp_path, a_profile_text(ner=True, PERSON="hide", EMAIL_ADDRESS="hide"))
    analyzer = an_analyzer(folder, cache_bytes=50_000)
    words, vocabulary = model._matrices._words, model._pipeline.vocab
    analyzer.warm_up()
    known = len(vocabulary.strings)  # a lexeme goes with its string; spaCy does not count lexemes down
    for number in range(PROMPTS):
        analyzer.find(a_prompt(number), analyzer.profiles["standard"])
        assert words._used_rows <= 1_000
        assert len(words._tokens_of) <= 1_000
        assert analyzer._cache.held_bytes <= 50_000
    assert len(vocabulary.strings) == known
    assert analyzer._running == {}


def a_word_table(model, kept_words):
    embed = model._pipeline.get_pipe("ner").model.layers[0].layers[0].layers[0]
    return WordTable(model._pipeline, embed, kept_words=kept_words)


def test_a_small_word_table_finds_the_same(tmp_path, monkeypatch):
    model = the_language_model()
    texts = [f"{a_prompt(number)} John Smith lives in Paris." for number in range(60)]
    folder = a_rules_folder(tmp_path, a_profile_text(ner=True, PERSON="hide", LOCATION="hide"))
    expected = findings_of(an_analyzer(folder), texts)
    monkeypatch.setattr(model._matrices, "_words", a_word_table(model, kept_words=300))
    assert findings_of(an_analyzer(folder), texts) == expected
    assert all(expected)


def test_texts_that_cannot_be_read_leave_no_word_without_its_numbers():
    model = the_language_model()
    text = "John Smith lives in Paris."
    expected = a_word_table(model, kept_words=300).look_up(text)
    words = a_word_table(model, kept_words=300)
    words.look_up("some word here")  # words of this form need no tokenizer from here on
    for number in range(20):
        new = " ".join(f"{chr(97 + number)}{chr(97 + other)}pq" for other in range(26))
        with pytest.raises(UnicodeEncodeError):
            words.look_up(f"{new} \ud800")
    assert (words.look_up(text).vectors == expected.vectors).all()


def findings_of(analyzer: Analyzer, texts):
    return [analyzer.find(text, analyzer.profiles["standard"]) for text in texts]


async def test_thousands_of_findings_in_one_request_are_replaced_beside_the_event_loop():
    loop_thread_busy = []
    stop = asyncio.Event()

    async def tick():
        while not stop.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0)
            loop_thread_busy.append(time.perf_counter() - before)

    content = " ".join(f"user{number}@example.com" for number in range(5_000))
    ticking = asyncio.create_task(tick())
    result = await Redactor(PatternFinder(), b"s" * 32).redact(
        a_chat_request(content), app="claims-bot", profile="standard"
    )
    stop.set()
    await ticking
    assert result.entities == {"EMAIL_ADDRESS": 5_000}
    assert len(loop_thread_busy) > 5  # on the loop it would have ticked at most twice in between
    restored = result.vault.restore({"choices": [{"message": result.request.messages[0]}]})
    assert restored["choices"][0]["message"]["content"] == content
