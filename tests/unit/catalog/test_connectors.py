"""Connectors name the preset, cannot name a model, hold no secret, and are what their tools read."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from llmguard.catalog.connectors import n8n, postman, power_platform
from llmguard.catalog.connectors.contract import BaseUrlInvalid, Contract, checked_base_url, parameter_schema
from llmguard.catalog.connectors.openapi import openapi
from llmguard.domain.catalog import ParameterRule
from llmguard.registry.check import check_registry
from llmguard.registry.resolve import usable_presets
from tests.support.builders import a_preset, an_app

ROOT = Path(__file__).resolve().parents[3]
BASE = "https://llmguard.example.com/v1"
WRITERS = {
    "openapi": openapi,
    "swagger": power_platform.api_definition,
    "n8n": n8n.workflow,
    "postman": postman.collection,
}


def example_contracts():
    registry = check_registry(ROOT / "registry.yaml", profiles=("standard", "strict", "minimal"), accepted={}).registry
    return [
        Contract(app, preset, preset.name, BASE)
        for app in registry.apps.values()
        for preset in usable_presets(registry, app, today=date(2026, 11, 26))
    ]


CONTRACTS = example_contracts()


def a_contract(**preset_changes):
    preset = a_preset(**preset_changes)
    return Contract(an_app(), preset, preset.name, BASE)


def strings_in(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *strings_in(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.title)
def test_openapi_is_valid_and_its_example_is_what_it_describes(contract):
    document = openapi(contract)

    OpenAPIV31SpecValidator(document).validate()
    schemas = document["components"]["schemas"]
    request = schemas["Request"] | {"components": {"schemas": schemas}}
    body = document["paths"]["/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
    Draft202012Validator(request).validate(body["example"])


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.title)
def test_power_platform_definition_is_valid_swagger_without_what_its_designer_cannot_show(contract):
    document = power_platform.api_definition(contract)

    OpenAPIV2SpecValidator(document).validate()
    text = json.dumps(document)
    assert not {"const", "oneOf", "anyOf", "$ref", "additionalProperties"} & set(re.findall(r'"([\w$]+)":', text))
    assert all(isinstance(kind, str) for kind in _types(document["paths"]))
    operation = document["paths"]["/chat/completions"]["post"]
    fields = operation["parameters"][0]["schema"]["properties"]
    assert all(field.get("x-ms-summary") for name, field in fields.items() if name != "model")


def _types(value):
    if isinstance(value, dict):
        if "type" in value and not isinstance(value["type"], dict):
            yield value["type"]
        for inner in value.values():
            yield from _types(inner)


def test_power_platform_properties_have_the_shape_that_paconn_documents():
    """Source: github.com/microsoft/PowerPlatformConnectors, schemas/paconn-apiProperties.schema.json."""
    properties = power_platform.api_properties()["properties"]

    assert set(properties) <= {"iconBrandColor", "capabilities", "connectionParameters", "policyTemplateInstances"}
    assert properties["connectionParameters"]["api_key"]["type"] == "securestring"
    [policy] = properties["policyTemplateInstances"]
    assert set(policy) == {"templateId", "title", "parameters"}
    assert policy["templateId"] == "setheader"
    assert policy["parameters"]["x-ms-apimTemplateParameter.value"] == "Bearer @connectionParameters('api_key')"


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.title)
def test_n8n_nodes_are_wired_in_one_line_and_the_key_is_a_credential_by_name(contract):
    workflow = n8n.workflow(contract)

    names = [node["name"] for node in workflow["nodes"]]
    followed = [names[0]]
    while followed[-1] in workflow["connections"]:
        followed.append(workflow["connections"][followed[-1]]["main"][0][0]["node"])
    assert followed == names
    assert len({node["id"] for node in workflow["nodes"]}) == len(names)
    [request] = [node for node in workflow["nodes"] if node["type"] == "n8n-nodes-base.httpRequest"]
    assert request["credentials"] == {"httpHeaderAuth": {"id": "", "name": f"llmguard key of {contract.app.name}"}}
    assert f'"model": "{contract.model}"' in request["parameters"]["jsonBody"]
    inputs = {field["name"] for field in workflow["nodes"][1]["parameters"]["assignments"]["assignments"]}
    assert inputs == set(re.findall(r"\$json\.(\w+)", request["parameters"]["jsonBody"]))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.title)
def test_postman_has_base_url_and_an_empty_key_as_variables(contract):
    collection = postman.collection(contract)

    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")
    assert {one["key"]: one["value"] for one in collection["variable"]} == {"baseUrl": BASE, "apiKey": ""}
    assert json.loads(collection["item"][0]["request"]["body"]["raw"]) == contract.example()
    assert all(item["request"]["url"]["raw"].startswith("{{baseUrl}}/") for item in collection["item"])


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_connector_is_the_same_bytes_each_time_and_names_no_model(writer):
    contract = a_contract(parameters={"temperature": ParameterRule(0, 0.3, 0.1)})

    written = writer(contract)

    assert json.dumps(written) == json.dumps(writer(a_contract(parameters=dict(contract.preset.parameters))))
    assert not any("echo-1" in text or "sk-lg_" in text.replace("sk-lg_…", "") for text in strings_in(written))


def test_schema_keeps_a_foreign_model_out():
    schema = openapi(a_contract())["components"]["schemas"]["Request"]

    assert schema["properties"]["model"]["const"] == "summarise"
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("name", "rule", "expected"),
    [
        (
            "max_tokens",
            ParameterRule(None, 800.0, 400),
            {"type": "integer", "minimum": 1, "maximum": 800, "default": 400},
        ),
        ("temperature", ParameterRule(0.0, 0.3), {"type": "number", "minimum": 0, "maximum": 0.3}),
        ("top_p", ParameterRule(fixed=1), {"type": "number", "enum": [1], "default": 1}),
        ("reasoning_effort", ParameterRule(allowed=("low", "high")), {"type": "string", "enum": ["low", "high"]}),
        ("response_format", ParameterRule(), {}),
    ],
    ids=["range", "bounds", "fixed", "choices", "any"],
)
def test_parameter_has_the_range_of_the_preset(name, rule, expected):
    schema = parameter_schema(name, rule)

    assert schema.pop("description")
    assert schema == expected


def test_parameters_outside_of_the_preset_are_not_offered():
    fields = openapi(a_contract(parameters={"temperature": ParameterRule(0, 1)}))["components"]["schemas"]["Request"]

    assert set(fields["properties"]) == {"model", "messages", "temperature"}


def test_tools_are_offered_by_the_names_that_the_preset_lists():
    fields = openapi(a_contract(tools=("lookup",)))["components"]["schemas"]["Request"]["properties"]

    assert fields["tools"]["items"]["properties"]["function"]["properties"]["name"]["enum"] == ["lookup"]


@pytest.mark.parametrize(
    ("given", "expected"), [("https://a.example", "https://a.example/v1"), ("http://a:1/v1/", "http://a:1/v1")]
)
def test_base_url_ends_in_v1(given, expected):
    assert checked_base_url(given) == expected


@pytest.mark.parametrize(
    "given", ["a.example", "ftp://a.example", "https://u:p@a.example/v1", "https://a/v1/chat", "https://a/?x"]
)
def test_what_is_no_base_url_is_refused(given):
    with pytest.raises(BaseUrlInvalid):
        checked_base_url(given)
