"""Presidio's two services as one, for the peers that call them by HTTP: `/analyze` and `/anonymize`, as its image has.

Runs in an environment of its own (see `scripts/bench_peers.py`) and knows nothing of llmguard. The engine is that
of `stock_presidio.py`: python presidio_server.py PORT
"""

import json
import os
import sys

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # more make it slower on one core

from flask import Flask, Response, request
from presidio_analyzer import RecognizerResult
from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import OperatorConfig
from stock_presidio import an_analyzer  # beside this file, which is run as a script
from waitress import serve


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
