"""With the same recognizers, the pattern findings are those of Presidio's own engine."""

import pytest

from llmguard.redaction.detector import Detector
from llmguard.redaction.patterns import PatternPass
from llmguard.redaction.profiles import load_profiles
from llmguard.redaction.recognizer_list import load_recognizers
from scripts.measuring.stock_presidio import an_analyzer
from tests.support.analyzers import presidio_default_recognizers, the_language_model
from tests.support.corpus import texts
from tests.support.thorough import tries

ENTITIES = (  # noqa: SIM905  # a list of 16 strings is harder to read
    "CREDIT_CARD CRYPTO EMAIL_ADDRESS IBAN_CODE IP_ADDRESS MAC_ADDRESS MEDICAL_LICENSE PHONE_NUMBER UK_NHS URL "
    "US_BANK_NUMBER US_DRIVER_LICENSE US_ITIN US_PASSPORT US_SSN UUID"
).split()


@pytest.fixture(scope="module")
def presidio():
    return an_analyzer()


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
