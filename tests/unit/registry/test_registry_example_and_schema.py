"""The example that works offline, and the schema that editors use."""

import re
from datetime import date
from pathlib import Path

import pytest

from llmguard.registry.check import check_registry, check_source
from llmguard.registry.entries import RegistryFile
from llmguard.registry.resolve import usable_presets
from llmguard.registry.schema import registry_schema
from tests.support.registries import PROFILES

EXAMPLE = Path(__file__).parents[3] / "registry.yaml"
GUIDE = EXAMPLE.parent / "docs" / "guides" / "providers.md"


@pytest.fixture(scope="module")
def example():
    checked = check_registry(EXAMPLE, profiles=PROFILES, accepted={})
    assert checked.findings == ()
    return checked.registry


def test_the_example_works_offline(example):
    assert {model.provider.kind for model in example.models.values()} == {"echo"}


def test_the_example_shows_three_presets_and_three_apps_that_differ(example):
    assert len(example.presets) == len(example.apps) == 3
    assert len({app.sensitivity for app in example.apps.values()}) == 3
    presets = [preset for versions in example.presets.values() for preset in versions]
    assert {preset.on_violation for preset in presets} == {"refuse", "clamp"}
    assert {preset.tools for preset in presets} == {"forbidden", "allowed"}


def test_the_first_approved_app_of_the_example_can_use_every_preset_for_long(example):
    app = next(app for app in example.apps.values() if app.status == "approved")

    assert app.name == "expense-triage"
    assert len(usable_presets(example, app, today=date(2027, 12, 31))) == 3
    assert app.expires >= date(2027, 12, 31)


def test_the_commented_out_parts_of_the_example_are_right_too():
    text = re.sub(
        r"(?m)^  # ((?:openai|local|claude|claude-sonnet|embed-small|gpt-4o-mini):| )", r"  \1", EXAMPLE.read_text()
    )

    checked = check_source(text.encode(), file="registry.yaml", profiles=PROFILES, accepted={})

    assert checked.findings == ()
    assert set(checked.registry.providers) == {"echo", "openai", "local", "claude"}
    assert set(checked.registry.models) == {"echo-1", "gpt-4o-mini", "embed-small", "claude-sonnet"}


def test_the_example_of_the_guide_to_providers_is_right():
    example = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL).group(1)

    checked = check_source(f"version: 1\n{example}".encode(), file="guide", profiles=PROFILES, accepted={})

    assert checked.findings == ()
    assert [target.weight for target in checked.registry.models["gpt-4o-mini"].targets] == [3, 1]
    assert checked.registry.models["embed-small"].mode == "embedding"


def parts_of(schema):
    """Every mapping of settings in the schema, by name."""
    return {"RegistryFile": schema} | schema["$defs"]


def test_the_schema_describes_every_setting():
    for name, part in parts_of(registry_schema()).items():
        for setting, facts in part["properties"].items():
            assert facts.get("description"), f"{name}.{setting}"


def test_the_schema_forbids_unknown_settings_and_knows_what_is_required():
    schema = registry_schema()

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert all(part["additionalProperties"] is False for part in parts_of(schema).values())
    optional = {
        *("quotas", "overage", "alerts", "replay", "retention", "identity_providers", "operators"),
        *("connectors", "policies", "renewal", "departed"),
    }
    assert set(schema["required"]) == set(RegistryFile.model_fields) - optional
    assert "owner" in schema["$defs"]["AppEntry"]["required"]


def test_the_schema_lets_nothing_be_left_empty():
    assert '"null"' not in str(registry_schema()).replace("'", '"')


def test_the_schema_completes_parameter_names_and_states():
    definitions = registry_schema()["$defs"]

    assert "temperature" in definitions["PresetEntry"]["properties"]["parameters"]["propertyNames"]["enum"]
    assert definitions["PresetEntry"]["properties"]["status"]["enum"] == ["draft", "approved", "deprecated", "retired"]
    assert definitions["AppEntry"]["properties"]["expires"]["format"] == "date"
