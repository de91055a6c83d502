"""The catalog for others: what Backstage's own schema takes, CSV that no spreadsheet runs, and JSON."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import jsonschema_rs
import pytest

from llmguard.catalog.backstage import backstage_entities, entity_name
from llmguard.catalog.exports import catalog_json, cmdb_csv
from llmguard.domain.catalog import Connector
from llmguard.registry.check import check_source
from tests.support.builders import NOON, a_preset, an_app
from tests.support.served import a_small_registry

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = json.loads((ROOT / "tests/support/backstage_schemas.json").read_text())
# Source: Backstage, Descriptor Format, "metadata.name"; its schema leaves it to a rule in code.
NAME = re.compile(r"(?=.{1,63}$)[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
REFERENCE = re.compile(r"(user|group|api|resource):default/(.+)")


@pytest.fixture(scope="module")
def validators():
    parts = [schema for name, schema in SCHEMAS.items() if name != "$comment"]
    registry = jsonschema_rs.Registry([(f"json-schema:///{part['$id']}", part) for part in parts])
    kinds = {"Component": "ComponentV1alpha1", "System": "SystemV1alpha1", "Resource": "ResourceV1alpha1"}
    return {
        kind: jsonschema_rs.Draft7Validator(SCHEMAS[name], registry=registry)
        for kind, name in (kinds | {"API": "ApiV1alpha1"}).items()
    }


def a_registry():
    odd = an_app(name="x" * 80, owner="Ümit@example.com", connectors=("wiki write!", "sharepoint-read"), team="R & D")
    whole = an_app(
        backup_owner="lee@example.com", ticket="=1+1", runbook="https://wiki.example.com", expires=date(2027, 1, 31)
    )
    others = [an_app(name=status, status=status) for status in ("draft", "sandbox", "suspended", "retired")]
    stopped = an_app(name="stopped", status="suspended", contained_at=NOON)
    apps = {app.name: app for app in (whole, odd, stopped, *others)}
    connectors = {"wiki write!": Connector("wiki write!", declared=True, direction="write", storage="internal")}
    return replace(a_small_registry(), apps=apps, connectors=connectors)


def test_every_entity_is_one_of_backstage(validators):
    example = check_source(
        (ROOT / "registry.yaml").read_bytes(), file="r", profiles=("standard", "strict", "minimal"), accepted={}
    ).registry
    entities = [*backstage_entities(a_registry()), *backstage_entities(example)]

    assert {entity["kind"] for entity in entities} == set(validators)
    for entity in entities:
        validators[entity["kind"]].validate(entity)
        assert NAME.fullmatch(entity["metadata"]["name"])
    with pytest.raises(jsonschema_rs.ValidationError):  # the schema is not one that takes anything
        validators["Component"].validate(entities[1] | {"spec": {"type": "x"}})


def test_components_refer_to_what_is_exported_with_them():
    entities = list(backstage_entities(a_registry()))
    names = {(entity["kind"].lower(), entity["metadata"]["name"]) for entity in entities}

    for entity in entities:
        for reference in (*entity["spec"].get("consumesApis", ()), *entity["spec"].get("dependsOn", ())):
            assert REFERENCE.fullmatch(reference).groups() in names
    assert "draft" not in {name for _, name in names}


def test_a_component_says_what_an_app_is():
    [component] = [one for one in backstage_entities(a_registry()) if one["metadata"].get("title") == "expense-triage"]

    assert component["spec"]["lifecycle"] == "production"
    assert component["spec"]["owner"] == "user:default/dana"
    assert component["metadata"]["annotations"]["llmguard.dev/expires"] == "2027-01-31"


@pytest.mark.parametrize("text", ["a b", "x" * 90, "--", "é", "a" * 62 + "-b"])
def test_any_text_becomes_a_name(text):
    assert NAME.fullmatch(entity_name(text))


def test_a_preset_without_a_description_of_a_person_is_an_api():
    registry = replace(a_small_registry(), presets={"old": (a_preset(name="old", status="retired"),)})

    [api] = [one for one in backstage_entities(registry) if one["kind"] == "API"]

    assert (api["spec"]["lifecycle"], api["spec"]["owner"]) == ("deprecated", "user:default/coe")


def test_cmdb_rows_are_whole_and_no_cell_is_a_formula():
    rows = list(csv.DictReader(io.StringIO(cmdb_csv(a_registry()))))

    assert [row["name"] for row in rows] == sorted(a_registry().apps)
    [whole] = [row for row in rows if row["name"] == "expense-triage"]
    assert (whole["operational_status"], whole["end_of_life"]) == ("Operational", "2027-01-31")
    assert whole["change_control"] == "'=1+1"
    assert {row["name"]: row["operational_status"] for row in rows}["stopped"] == "Non-Operational"


def test_json_has_every_app_with_its_state():
    apps = {row["name"]: row for row in catalog_json(a_registry())["apps"]}

    assert apps["stopped"]["contained_at"] == NOON
    assert apps["expense-triage"]["last_day"] == date(2027, 1, 31)
