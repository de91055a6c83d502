"""Presidio's recognizers and their registry, which is what llmguard uses of it: import them from here.

Its engines for language models are left out, and spaCy with them: llmguard runs spaCy itself (`ner`), and only while a
profile looks for names.
"""
# ruff: noqa: E402  # Presidio is imported without these modules first

from llmguard.redaction.lean_imports import import_without

URL_RECOGNIZER = "UrlRecognizer"
URL_RECOGNIZER_MODULE = "presidio_analyzer.predefined_recognizers.generic.url_recognizer"
import_without(
    "presidio_analyzer",
    {
        "presidio_analyzer.nlp_engine.nlp_artifacts": "NlpArtifacts",
        "presidio_analyzer.nlp_engine.no_op_nlp_engine": "NoOpNlpEngine",
        "presidio_analyzer.nlp_engine.slim_spacy_nlp_engine": "SlimSpacyNlpEngine",
        "presidio_analyzer.nlp_engine.spacy_nlp_engine": "SpacyNlpEngine",
        "presidio_analyzer.nlp_engine.stanza_nlp_engine": "StanzaNlpEngine",
        "presidio_analyzer.nlp_engine.transformers_nlp_engine": "TransformersNlpEngine",
        "tldextract": "extract",  # for EmailRecognizer, which the CoE may choose; brings in `requests`
        URL_RECOGNIZER_MODULE: URL_RECOGNIZER,  # compiles four patterns of all top-level domains: 0.1 s
    },
)

from presidio_analyzer import AnalysisExplanation, EntityRecognizer, Pattern, PatternRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import EmailRecognizer, PhoneRecognizer, SpacyRecognizer
from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

__all__ = [
    "AnalysisExplanation",
    "EmailRecognizer",
    "EntityRecognizer",
    "Pattern",
    "PatternRecognizer",
    "PhoneRecognizer",
    "RecognizerRegistryProvider",
    "RecognizerResult",
    "SpacyRecognizer",
]
