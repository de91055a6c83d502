"""Digests: the same for the same content however it is written, different for different content."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, a_preset_entry, as_source


def registry_of(source):
    checked = check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})
    assert checked.findings == ()
    return checked.registry


def shuffled(value, randomness):
    if isinstance(value, dict):
        items = [(key, shuffled(item, randomness)) for key, item in value.items()]
        randomness.shuffle(items)
        return dict(items)
    return [shuffled(item, randomness) for item in value] if isinstance(value, list) else value


@given(st.integers())
def test_the_order_of_keys_and_the_layout_change_no_digest(seed):
    document = a_document()
    other = json.dumps(shuffled(document, random.Random(seed)), indent=seed % 5 or None).encode()

    one, two = registry_of(as_source(document)), registry_of(b"# a comment\n" + other)

    assert one.digest == two.digest
    assert one.presets["summarise"][0].digest == two.presets["summarise"][0].digest


def test_digests_are_sha256_in_hex():
    registry = registry_of(as_source(a_document()))

    assert len(bytes.fromhex(registry.digest)) == len(bytes.fromhex(registry.presets["summarise"][0].digest)) == 32


def test_digests_of_today_hold_tomorrow():
    """Accepted digests outlive this version of llmguard: whoever changes these must migrate what was accepted."""
    registry = registry_of(as_source(a_document()))

    assert registry.presets["summarise"][0].digest.startswith("3d0f887db0023626")
    assert registry.digest.startswith("2b047acd2c0423ea")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("apps", "expense-triage", "owner"), "kim@example.com"),
        (("presets", 0, "status"), "draft"),
        (("providers", "openai", "base_url"), "http://127.0.0.1/v1"),
        (("models", "echo-1", "price", "input"), 0.16),
    ],
)
def test_any_change_of_content_changes_the_registry_digest(path, value):
    document = a_document()
    before = registry_of(as_source(document)).digest
    node = document
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value

    assert registry_of(as_source(document)).digest != before


def test_numbers_are_compared_by_value():
    document = a_document()
    document["presets"][0]["parameters"] = {"top_p": {"fixed": 1}, "temperature": {"max": 0.5}}
    text = as_source(document).decode()

    one, two = registry_of(text.encode()), registry_of(text.replace('"fixed": 1', '"fixed": 1.0').encode())

    assert one.digest == two.digest
    assert one.presets["summarise"][0].digest == two.presets["summarise"][0].digest


def test_the_number_one_is_not_the_word_true():
    document = a_document()
    document["presets"] = [
        a_preset_entry(parameters={"seed": {"fixed": 1}}),
        a_preset_entry(version=2, parameters={"seed": {}}),
    ]

    one, two = registry_of(as_source(document)).presets["summarise"]

    assert one.digest != two.digest


def test_both_names_of_the_output_limit_behave_alike_and_share_a_digest():
    document = a_document()
    document["presets"] = [
        a_preset_entry(parameters={"max_tokens": {"max": 9}}),
        a_preset_entry(version=2, parameters={"max_completion_tokens": {"max": 9}}),
    ]

    one, two = registry_of(as_source(document)).presets["summarise"]

    assert one.digest == two.digest


def test_which_targets_a_model_has_counts_and_their_order_weights_and_spelling_do_not():
    document = a_document()
    one, two = ({"provider": "openai", "target": target} for target in ("gpt-4o-mini", "gpt-4o"))
    plain = {"max_sensitivity": "internal"}
    document["models"] |= {
        "a": plain | {"targets": [one, two]},
        "b": plain | {"targets": [two | {"weight": 9}, one]},
        "c": plain | {"targets": [one]},
        "d": plain | one,
    }
    document["presets"] = [
        a_preset_entry(version=version, model=model, fallbacks=[]) for version, model in enumerate("abcd", start=1)
    ]

    several, mixed, single, spelled = registry_of(as_source(document)).presets["summarise"]

    assert several.digest == mixed.digest != single.digest == spelled.digest


def test_provider_state_counts_and_the_api_of_a_model_does_not():
    document = a_document()
    plain = {"provider": "openai", "target": "gpt-4o", "max_sensitivity": "internal"}
    document["models"] |= {"a": plain, "b": plain | {"api": "responses"}}
    document["presets"] = [
        a_preset_entry(model="a", fallbacks=[], provider_state="forbidden"),
        a_preset_entry(version=2, model="b", fallbacks=[]),
        a_preset_entry(version=3, model="b", fallbacks=[], provider_state="allowed"),
    ]

    one, two, three = registry_of(as_source(document)).presets["summarise"]

    assert one.digest == two.digest != three.digest


def test_the_order_of_fallbacks_counts_and_that_of_tools_does_not():
    document = a_document()
    document["models"]["echo-2"] = document["models"]["echo-1"] | {"target": "echo-2"}
    document["presets"] = [
        a_preset_entry(fallbacks=["gpt-4o-mini", "echo-2"], tools=["a", "b"]),
        a_preset_entry(version=2, fallbacks=["gpt-4o-mini", "echo-2"], tools=["b", "a"]),
        a_preset_entry(version=3, fallbacks=["echo-2", "gpt-4o-mini"], tools=["a", "b"]),
    ]

    one, two, three = registry_of(as_source(document)).presets["summarise"]

    assert one.digest == two.digest != three.digest
