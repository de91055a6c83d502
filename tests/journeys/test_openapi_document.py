"""llmguard's own OpenAPI document, and what comes of requests that a machine makes up from it."""

import json

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is in the environment .venv-client: scripts/test")

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.support.thorough import tries

EXAMPLES = tries(12, 60)  # of each operation and kind: in the document's shapes, and off them
# Left out: whether a body in the right shape passes is the preset's affair.
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
LONGEST_MODEL = 256
OPEN = ["/auth/token", "/.well-known/jwks.json", "/why/{trace_id}", "/healthz", "/readyz", "/openapi.json"]
GOVERNED = ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings"]
LISTED = ["/v1/models", "/v1/models/{model}", "/v1/me", "/v1/me/overage"]


@pytest.fixture(scope="module")
def document(gateway):
    status, headers, body = gateway.get("/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    return json.loads(body)


@pytest.fixture(scope="module")
def schema(gateway, document):
    load_all_checks()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=gateway.base_url.removesuffix("/v1"))
    return schema


def test_document_needs_no_key_and_says_nothing_of_apps(document):
    text = json.dumps(document)

    assert document["openapi"] == "3.1.0"
    for secret in ("helpdesk", "dana@example.com", "by-char", "remote-1"):
        assert secret not in text


@pytest.mark.parametrize("path", [*GOVERNED, *LISTED])
def test_stranger_is_answered_as_the_document_says(schema, document, path):
    for method, described in document["paths"][path].items():
        filled = {"body": {}} if "requestBody" in described else {}
        case = schema[path][method.upper()].Case(path_parameters={"model": "echo"} if "{" in path else {}, **filled)
        answer = case.call(headers={"authorization": "Bearer sk-lg_wrong"})

        case.validate_response(answer, checks=CHECKS.get_by_names(CHECKED[:-1]))
        assert answer.status_code == 401


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["in shape", "off shape"])
@pytest.mark.parametrize("path", [*GOVERNED, *LISTED, *OPEN])
def test_whatever_is_sent_is_answered_as_the_document_says(schema, document, key, path, mode):
    checks = CHECKS.get_by_names(CHECKED)
    headers = {"authorization": f"Bearer {key}"}
    preset = "vectors" if path == "/v1/embeddings" else "echo"
    for method, described in document["paths"][path].items():
        if mode is GenerationMode.NEGATIVE and "requestBody" not in described:
            continue  # there is nothing to get wrong
        operation = schema[path][method.upper()]

        @hypothesis.seed(20261126)
        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode, headers=headers))
        def ask(case):
            model = case.body.get("model") if isinstance(case.body, dict) else None
            if isinstance(model, str) and 1 <= len(model) <= LONGEST_MODEL:
                case.body["model"] = preset  # else nearly all would end at a preset that does not exist
            case.call_and_validate(checks=checks)

        ask()
