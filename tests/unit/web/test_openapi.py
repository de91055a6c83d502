from openapi_spec_validator import validate

from llmguard.domain.errors import CODES
from llmguard.web.openapi import describe


def test_document_is_valid():
    validate(describe())


def test_every_refusal_has_its_status_and_code():
    document = describe()
    statuses = {str(facts.status) for facts in CODES.values()}

    assert statuses <= set(document["paths"]["/v1/chat/completions"]["post"]["responses"])
    assert set(document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]) == {
        *CODES
    }
    described = " ".join(one["description"] for one in document["components"]["responses"].values())
    assert all(f"`{code}`" in described for code in CODES)
