"""Prices and sizes of models: from the registry, else from LiteLLM's bundled map, which is read without litellm."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest

from llmguard.registry.accepted import PRICES, AcceptedRegistries
from llmguard.registry.check import check_source
from llmguard.registry.price_figures import PriceFiles, figures_of, price_of
from llmguard.registry.prices import PriceMap
from tests.support.registries import PROFILES, a_document, as_source

ENTRY = {
    "mode": "chat",
    "litellm_provider": "openai",
    "input_cost_per_token": 1.5e-07,
    "output_cost_per_token": 6e-07,
    "cache_read_input_token_cost": 7.5e-08,
    "max_input_tokens": 128000,
    "max_output_tokens": 16384,
}


@pytest.fixture
def a_map(tmp_path):
    def write(**entries):
        (tmp_path / "litellm").mkdir()
        path = tmp_path / "litellm" / "model_prices_and_context_window_backup.json"
        path.write_text(json.dumps({"sample_spec": {"max_tokens": "words"}} | entries))
        return PriceMap(tmp_path, "9.9.9")

    return write


def model_of(document, name, prices=None):
    checked = check_source(as_source(document), file="r", profiles=PROFILES, accepted={}, prices=prices)
    assert checked.findings == ()
    return checked.registry.models[name]


def test_the_price_of_the_installed_map_is_exact_and_names_its_version():
    price = model_of(a_document(), "gpt-4o-mini").price

    assert (price.input, price.output, price.cached_input) == (Decimal("0.15"), Decimal("0.6"), Decimal("0.075"))
    assert price.version.startswith("litellm-1.")


def test_sizes_come_with_the_price():
    model = model_of(a_document(), "gpt-4o-mini")

    assert (model.context_tokens, model.max_output_tokens) == (128_000, 16_384)


def test_litellm_itself_is_not_imported():
    code = (
        "import sys\n"
        "from llmguard.registry.prices import PriceMap\n"
        "assert PriceMap().find('gpt-4o-mini', 'openai') is not None\n"
        "print('litellm' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_the_registrys_own_price_and_sizes_win():
    document = a_document()
    document["models"]["gpt-4o-mini"] |= {
        "price": {"input": 1.1, "output": 2, "cached_input": 0.3},
        "context_tokens": 10,
        "max_output_tokens": 5,
        "max_tokens_field": "max_completion_tokens",
    }

    model = model_of(document, "gpt-4o-mini")

    assert (model.price.input, model.price.output, model.price.cached_input) == (Decimal("1.1"), 2, Decimal("0.3"))
    assert model.price.version.startswith("registry:")
    assert (model.context_tokens, model.max_output_tokens) == (10, 5)
    assert model.max_tokens_field == "max_completion_tokens"


def test_the_version_of_a_registry_price_changes_with_the_figures_only():
    document = a_document()
    before = model_of(document, "echo-1").price.version
    document["models"]["echo-1"]["target"] = "echo-2"
    same = model_of(document, "echo-1").price.version
    document["models"]["echo-1"]["price"]["output"] = 0.61

    assert before == same != model_of(document, "echo-1").price.version


@pytest.mark.parametrize(
    ("names", "target", "provider", "is_found"),
    [
        (["gpt-x"], "gpt-x", "openai", True),
        (["azure/gpt-x"], "gpt-x", "azure", True),
        (["gpt-x"], "openai/gpt-x", "claude", True),
        (["gpt-x"], "mistral/gpt-x", "claude", False),
        (["gpt-x"], "gpt-y", "openai", False),
        (["gpt-x"], "sample_spec", "openai", False),
    ],
)
def test_targets_are_found_by_their_exact_name(a_map, names, target, provider, is_found):
    prices = a_map(**dict.fromkeys(names, ENTRY))

    assert (prices.find(target, provider) is not None) is is_found


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "image_generation"},
        {"mode": None},
        {"input_cost_per_token": None},
        {"output_cost_per_token": "free"},
        {"output_cost_per_token": -1.0},
        {"input_cost_per_token": 0, "output_cost_per_token": 0.0},
    ],
)
def test_an_entry_without_a_price_for_tokens_is_no_price(a_map, changes):
    assert a_map(**{"gpt-x": ENTRY | changes}).find("gpt-x", "openai") is None


EMBEDDING = {"mode": "embedding", "litellm_provider": "openai", "input_cost_per_token": 2e-08}


def test_an_embedding_model_of_the_installed_map_has_its_mode_and_no_output_price():
    document = a_document()
    document["models"]["find"] = {
        "provider": "openai",
        "target": "text-embedding-3-small",
        "max_sensitivity": "internal",
    }

    model = model_of(document, "find")

    assert (model.mode, model.price.input, model.price.output) == ("embedding", Decimal("0.02"), 0)
    assert model.context_tokens == 8191


@pytest.mark.parametrize(
    ("changes", "output"),
    [({}, 0), ({"output_cost_per_token": 0}, 0), ({"output_cost_per_token": 1e-08}, Decimal("0.01"))],
)
def test_embeddings_without_an_output_price_have_no_output(a_map, changes, output):
    facts = a_map(**{"gpt-x": EMBEDDING | changes}).find("gpt-x", "openai")

    assert (facts.price.input, facts.price.output) == (Decimal("0.02"), output)


@pytest.mark.parametrize("changes", [{"input_cost_per_token": 0}, {"input_cost_per_token": None}])
def test_embeddings_without_an_input_price_have_no_price(a_map, changes):
    assert a_map(**{"gpt-x": EMBEDDING | changes}).find("gpt-x", "openai") is None


@pytest.mark.parametrize(
    ("entry", "said", "mode"),
    [
        (EMBEDDING, None, "embedding"),
        (EMBEDDING | {"input_cost_per_token": 0}, None, "embedding"),
        (ENTRY, None, "chat"),
        (ENTRY, "embedding", "embedding"),
        (EMBEDDING, "chat", "chat"),
    ],
)
def test_mode_is_what_the_registry_says_or_else_the_map(a_map, entry, said, mode):
    document = a_document()
    document["models"]["gpt-4o-mini"]["price"] = {"input": 1, "output": 0}
    document["presets"][0]["fallbacks"] = []
    if said is not None:
        document["models"]["gpt-4o-mini"]["mode"] = said

    assert model_of(document, "gpt-4o-mini", a_map(**{"gpt-4o-mini": entry})).mode == mode


def test_odd_sizes_are_left_out_and_whole_floats_are_read(a_map):
    facts = a_map(**{"gpt-x": ENTRY | {"max_input_tokens": 1000.0, "max_output_tokens": "many"}}).find(
        "gpt-x", "openai"
    )

    assert (facts.context_tokens, facts.max_output_tokens) == (1000, None)
    assert facts.price.version.startswith("litellm-9.9.9:")


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("openai", {"supports_reasoning": True}, "max_completion_tokens"),
        ("openai", {"supports_reasoning": True, "litellm_provider": "deepseek"}, "max_tokens"),
        ("openai", {}, "max_tokens"),
        ("litellm", {"supports_reasoning": True}, "max_tokens"),
    ],
)
def test_openais_reasoning_models_get_their_own_name_of_the_output_limit(a_map, kind, changes, field):
    document = a_document()
    document["providers"]["openai"]["kind"] = kind
    prices = a_map(**{"gpt-4o-mini": ENTRY | changes})

    assert model_of(document, "gpt-4o-mini", prices).max_tokens_field == field


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_without_a_readable_map_a_price_is_unknown(tmp_path, content):
    (tmp_path / "litellm").mkdir()
    if content is not None:
        (tmp_path / "litellm" / "model_prices_and_context_window_backup.json").write_text(content)

    assert PriceMap(tmp_path, "1").find("gpt-4o-mini", "openai") is None


TIERED = ENTRY | {
    "cache_creation_input_token_cost": 1.25e-06,
    "cache_creation_input_token_cost_above_1hr": 2e-06,
    "input_cost_per_token_flex": 5e-07,
    "output_cost_per_token_flex": 1e-06,
    "input_cost_per_token_priority": 2e-06,
    "output_cost_per_token_priority": 4e-06,
    "input_cost_per_token_above_200k_tokens": 3e-06,
    "output_cost_per_token_above_200k_tokens": 6e-06,
    "input_cost_per_token_above_200k_tokens_priority": 9e-06,
    "input_cost_per_audio_token": 4e-05,
    "output_cost_per_reasoning_token": 7e-06,
}


def test_the_map_gives_tiers_and_long_inputs_their_rates(a_map):
    price = a_map(**{"gpt-x": TIERED}).find("gpt-x", "openai").price

    named = {
        name: (figures["input"], figures["output"], figures["cache_write"], figures["audio_input"])
        for name, figures in figures_of(price).items()
    }

    standard = figures_of(price)["standard"]
    assert (standard["cache_write_1h"], standard["reasoning"]) == ("2", "7")
    assert named["standard_above_200000"][:2] == ("3", "6")
    assert named["flex"] == ("0.5", "1", "1.25", "40")
    assert named["priority"][:2] == ("2", "4")
    assert named["priority_above_200000"][:2] == ("9", "4")
    assert "flex_above_200000" not in named


def test_each_chat_model_of_the_installed_map_keeps_its_figures_to_the_digit(tmp_path):
    prices, files = PriceMap(), PriceFiles(tmp_path / "prices")
    found = [facts.price for name in list(prices._entries)[::25] if (facts := prices.find(name, "openai"))]
    assert len(found) > 50

    files.keep(found)

    for price in found:
        again = files.find(price.version)
        assert again.figures() == price.figures()
        assert again.variants == price.variants


def test_the_registry_gives_every_kind_tier_and_long_input_its_rate():
    document = a_document()
    document["models"]["echo-1"]["price"] = {
        "input": 1,
        "output": 2,
        "cached_input": 0.1,
        "cache_write": 1.25,
        "audio_input": 40,
        "reasoning": 3,
        "audio_output": 80,
        "flex": {"input": 0.5, "output": 1},
        "long_input": {"above_tokens": 200_000, "input": 2, "output": 4},
    }

    price = model_of(document, "echo-1").price

    assert figures_of(price)["flex"] == figures_of(price)["standard"] | {"input": "0.5", "output": "1"}
    assert price.rates_for("standard", 200_001)[0] == "standard_above_200000"
    assert price_of(figures_of(price), price.version) == price


def test_figures_of_another_version_or_nonsense_are_not_found(tmp_path):
    files = PriceFiles(tmp_path)
    (tmp_path / "0123456789ab.json").write_text('{"version": "x", "usd_per_million_tokens": {"gold": {"input": "1"}}}')

    found = [files.find(version) for version in (None, "litellm-1.0.0", "registry:../../etc", "registry:0123456789ab")]

    assert found == [None] * 4


def test_accepting_a_registry_keeps_its_prices_once(tmp_path):
    accepted = AcceptedRegistries(tmp_path)
    registry = check_source(as_source(a_document()), file="r", profiles=PROFILES, accepted={}).registry

    for _ in range(2):
        accepted.accept(registry, b"x")

    price = registry.models["gpt-4o-mini"].price
    assert PriceFiles(tmp_path / PRICES).find(price.version).figures() == price.figures()
    assert len(list((tmp_path / PRICES).iterdir())) == len({model.price.version for model in registry.models.values()})


def unpriced(**app):
    document = a_document()
    document["models"]["gpt-4o-mini"] |= {"target": "our-own-model", "unknown_price": "allowed"}
    document["presets"][0]["model"] = "gpt-4o-mini"
    document["apps"]["expense-triage"]["quota"] = app
    return document


def test_an_unknown_price_can_be_allowed_and_is_not_zero():
    price = model_of(unpriced(tokens_per_day=100), "gpt-4o-mini").price

    assert not price.is_known
    assert price.version == "unknown"


def test_no_limit_in_usd_can_hold_where_a_price_is_unknown():
    checked = check_source(as_source(unpriced(usd_per_month=5)), file="r", profiles=PROFILES, accepted={})

    assert [finding.path for finding in checked.findings] == ["apps.expense-triage.quota.usd_per_month"]
    assert "'gpt-4o-mini', whose price is unknown" in checked.findings[0].message
