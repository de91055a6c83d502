"""What only shows when entries are read together: references, states, duplicates, prices."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from llmguard.registry.alert_policy import alert_problems
from llmguard.registry.document import Document, as_mapping, as_texts, id_of, targets_in
from llmguard.registry.finding import Loc, Problem, suggestion
from llmguard.registry.identity_policy import identity_problems
from llmguard.registry.parameters import MAX_COMPLETION_TOKENS, MAX_TOKENS
from llmguard.registry.prices import PriceMap
from llmguard.registry.retention_policy import retention_problems
from llmguard.registry.rules import parameter_problems

_ECHO_NEEDS_NOTHING = ("base_url", "api_key_env")


def reference_problems(document: Document, profiles: Collection[str], prices: PriceMap) -> Iterator[Problem]:
    """Yield everything that is wrong between entries.

    Not among it, on purpose: an app that has expired and a preset whose model may not see an app's data are refused
    when they are used, with words for the caller; a fallback that may not is stepped over for that app.

    Args:
        document: the file.
        profiles: names of the redaction profiles.
        prices: where prices are looked up that the file does not give.
    """
    yield from _provider_problems(document)
    yield from _model_problems(document, prices)
    for index, preset in enumerate(document.presets):
        loc: Loc = ("presets", index)
        yield from _target_problems(document, loc, preset)
        yield from _mode_problems(document, loc, preset, prices)
        yield from _provider_state_problems(document, loc, preset)
        yield from _state_problems(document, loc, preset)
        yield from _profile_problems(loc, preset, profiles)
        yield from parameter_problems((*loc, "parameters"), as_mapping(preset.get("parameters")))
        yield from _clamping_problems(loc, preset)
        yield from _twin_problems(document, index, preset)
    yield from _app_problems(document)
    yield from _quota_problems(document)
    yield from _budget_problems(document, prices)
    yield from alert_problems(document)
    yield from retention_problems(document)
    yield from identity_problems(document)


def _provider_problems(document: Document) -> Iterator[Problem]:
    for name, provider in document.providers.items():
        if provider.get("kind") != "echo":
            continue
        for field in _ECHO_NEEDS_NOTHING:
            if field in provider:
                message = f"echo is embedded and has no {field}"
                fix = "remove it, or write kind: openai or kind: litellm"
                yield Problem(("providers", name, field), message, fix=fix, on_key=True)


def _model_problems(document: Document, prices: PriceMap) -> Iterator[Problem]:
    for name, model in document.models.items():
        yield from _form_problems(name, model)
        tried: set[tuple[str, str]] = set()
        for below, place in targets_in(model):
            loc: Loc = ("models", name, *below)
            provider, target = place.get("provider"), place.get("target")
            if isinstance(provider, str) and provider not in document.providers:
                yield _unknown((*loc, "provider"), "provider", provider, document.providers)
            if model.get("api") == "responses" and document.providers.get(str(provider), {}).get("kind") != "openai":
                fix = "remove `api`, or name a provider of kind: openai"
                yield Problem((*loc, "provider"), "api: responses is for providers of kind: openai", fix=fix)
            if not isinstance(target, str) or not isinstance(provider, str):
                continue
            if (provider, target) in tried:
                yield Problem(
                    loc, f"'{target}' at {provider} is there twice", fix="remove one, and add up their weights"
                )
            tried.add((provider, target))
            if model.get("unknown_price") != "allowed" and _is_unpriced(model, place, prices):
                yield Problem(
                    loc,
                    f"the price of '{name}' is unknown: LiteLLM's map has no '{target}'",
                    value=target,
                    fix="add price: {input: …, output: …} in USD per 1M tokens, or write the target as LiteLLM does",
                    on_key=not below,
                )


def _form_problems(name: str, model: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a model that says in two ways where it answers, or in none."""
    given = [field for field in ("provider", "target") if field in model]
    if "targets" in model and given:
        message = f"'targets' stands beside {' and '.join(given)}"
        fix = f"keep one of the two: move {' and '.join(given)} into `targets`, or remove `targets`"
        yield Problem(("models", name, "targets"), message, fix=fix, on_key=True)
    elif "targets" not in model:
        for field in ("provider", "target"):
            if field not in model:
                fix = "write provider: and target:, or targets: for several"
                yield Problem(("models", name, field), f"'{field}' is missing", fix=fix, on_key=True)


def _is_unpriced(model: Mapping[str, Any], place: Mapping[str, Any], prices: PriceMap) -> bool:
    provider, target = place.get("provider"), place.get("target")
    if "price" in model or "price" in place or not isinstance(target, str) or not isinstance(provider, str):
        return False
    return prices.find(target, provider) is None


def _budget_problems(document: Document, prices: PriceMap) -> Iterator[Problem]:
    """Yield apps with a limit in USD that may use a model whose price nobody knows: the limit could not hold."""
    unpriced = {
        name
        for name, model in document.models.items()
        if model.get("unknown_price") == "allowed"
        and any(_is_unpriced(model, place, prices) for _, place in targets_in(model))
    }
    shared = document.section("quotas")
    for name, app in document.section("apps").items():
        groups = (("owners", app.get("owner")), ("cost_centers", app.get("cost_center")))
        budgets = [app.get("quota"), *(as_mapping(shared.get(section)).get(str(group)) for section, group in groups)]
        if not unpriced or not any("usd_per_month" in as_mapping(budget) for budget in budgets):
            continue
        own: Loc = ("quota", "usd_per_month") if "usd_per_month" in as_mapping(app.get("quota")) else ("presets",)
        wanted = {reference for _, reference in as_texts(app.get("presets"))}
        for preset in document.presets:
            models = {str(preset.get("model")), *(fallback for _, fallback in as_texts(preset.get("fallbacks")))}
            if {str(preset.get("name")), id_of(preset)} & wanted and (found := sorted(models & unpriced)):
                yield Problem(
                    ("apps", name, *own),
                    f"{id_of(preset)} uses '{found[0]}', whose price is unknown, so that no limit in USD can hold",
                    fix=f"give '{found[0]}' a price, or limit the app in tokens",
                )


def _target_problems(document: Document, loc: Loc, preset: Mapping[str, Any]) -> Iterator[Problem]:
    model = preset.get("model")
    if isinstance(model, str) and model not in document.models:
        yield _unknown((*loc, "model"), "model", model, document.models)
    tried = {str(model)}
    for index, fallback in as_texts(preset.get("fallbacks")):
        here = (*loc, "fallbacks", index)
        if fallback not in document.models:
            yield _unknown(here, "model", fallback, document.models)
        elif fallback in tried:
            message = f"'{fallback}' is tried already when its turn comes"
            yield Problem(here, message, value=fallback, fix="remove it: retries are `max_retries` of the provider")
        tried.add(fallback)


def _mode_problems(document: Document, loc: Loc, preset: Mapping[str, Any], prices: PriceMap) -> Iterator[Problem]:
    """Yield fallbacks that answer another kind of request than the model whose turn they take."""
    first = document.models.get(str(preset.get("model")))
    if first is None:
        return
    mode = _mode_of(first, prices)
    for index, fallback in as_texts(preset.get("fallbacks")):
        model = document.models.get(fallback)
        if model is not None and (other := _mode_of(model, prices)) != mode:
            yield Problem(
                (*loc, "fallbacks", index),
                f"'{fallback}' is a model for {other} and cannot stand in for a model for {mode}",
                value=fallback,
                fix=f"name a model for {mode}, or correct `mode` of '{fallback}'",
            )


def _provider_state_problems(document: Document, loc: Loc, preset: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield models that cannot keep a conversation where a preset lets apps continue one."""
    if preset.get("provider_state") != "allowed":
        return
    named: list[tuple[Loc, str]] = [((*loc, "model"), str(preset.get("model")))]
    named += [((*loc, "fallbacks", index), name) for index, name in as_texts(preset.get("fallbacks"))]
    for here, name in named:
        model = document.models.get(name)
        if model is not None and model.get("api") != "responses":
            yield Problem(
                here,
                f"provider_state is allowed, and '{name}' does not answer by OpenAI's Responses API",
                value=name,
                fix=f"write api: responses at '{name}' if its provider knows that API, or provider_state: forbidden",
            )


def _mode_of(model: Mapping[str, Any], prices: PriceMap) -> str:
    if "mode" in model:
        return str(model["mode"])
    places = [place for _, place in targets_in(model)] or [model]
    return prices.mode(str(places[0].get("target")), str(places[0].get("provider")))


def _state_problems(document: Document, loc: Loc, preset: Mapping[str, Any]) -> Iterator[Problem]:
    status, successor = preset.get("status"), preset.get("successor")
    if status == "deprecated" and "sunset" not in preset:
        fix = "add sunset: its last day, as in 2027-03-31"
        yield Problem((*loc, "status"), "a deprecated preset says until when it works", value="deprecated", fix=fix)
    if status == "retired" and "successor" not in preset:
        fix = "add successor: name@version of what to use instead"
        yield Problem((*loc, "status"), "a retired preset names its successor", value="retired", fix=fix)
    if not isinstance(successor, str) or "@" not in successor:
        return
    if successor == id_of(preset):
        yield Problem((*loc, "successor"), "a preset cannot succeed itself", value=successor, fix="name another one")
    elif successor not in document.preset_ids:
        yield _unknown((*loc, "successor"), "preset", successor, document.preset_ids)


def _profile_problems(loc: Loc, preset: Mapping[str, Any], profiles: Collection[str]) -> Iterator[Problem]:
    profile = preset.get("redaction", "standard")
    if isinstance(profile, str) and profile.strip() and profile not in profiles:
        yield _unknown((*loc, "redaction"), "redaction profile", profile, profiles)


def _twin_problems(document: Document, index: int, preset: Mapping[str, Any]) -> Iterator[Problem]:
    preset_id = id_of(preset)
    if preset_id is None or document.preset_ids[preset_id] == index:
        return
    yield Problem(
        ("presets", index, "version"),
        f"{preset_id} is there already, as presets[{document.preset_ids[preset_id]}]",
        value=preset_id,
        fix=f"write version: {newest_version(document, str(preset['name'])) + 1}, or remove one of the two",
    )


def _app_problems(document: Document) -> Iterator[Problem]:
    known = document.preset_names | document.preset_ids.keys()
    for name, app in document.section("apps").items():
        listed: set[str] = set()
        for index, reference in as_texts(app.get("presets")):
            here = ("apps", name, "presets", index)
            if reference not in known:
                yield _unknown(here, "preset", reference, known)
            elif reference in listed:
                yield Problem(here, f"'{reference}' is listed twice", value=reference, fix="remove one of the two")
            listed.add(reference)
        connectors = document.section("connectors")
        for index, connector in as_texts(app.get("connectors")):
            if connectors and connector not in connectors:
                yield _unknown(("apps", name, "connectors", index), "connector", connector, connectors)


def _clamping_problems(loc: Loc, preset: Mapping[str, Any]) -> Iterator[Problem]:
    if preset.get("on_quota") != "clamp":
        return
    for name in (MAX_TOKENS, MAX_COMPLETION_TOKENS):
        rule = as_mapping(as_mapping(preset.get("parameters")).get(name))
        for locked in ("fixed", "allowed"):
            if locked in rule:
                message = f"{name} is locked by `{locked}`, so it cannot be lowered to what is left"
                yield Problem((*loc, "on_quota"), message, value="clamp", fix="give it min and max, or write refuse")


def _quota_problems(document: Document) -> Iterator[Problem]:
    apps = document.section("apps").values()
    for section, field in (("owners", "owner"), ("cost_centers", "cost_center")):
        known = {app[field] for app in apps if isinstance(app.get(field), str)}
        for name in as_mapping(document.section("quotas").get(section)):
            if isinstance(name, str) and name not in known:
                noun = field.replace("_", " ")
                message = f"no app has the {noun} '{name[:100]}', so nothing is limited by this"
                loc = ("quotas", section, name)
                yield Problem(loc, message, value=name, fix=suggestion(name, known), on_key=True)


def newest_version(document: Document, name: str) -> int:
    """Return the highest version of a preset in the file."""
    return max(
        int(preset_id.rpartition("@")[2]) for preset_id in document.preset_ids if preset_id.startswith(f"{name}@")
    )


def _unknown(loc: Loc, noun: str, word: str, known: Collection[str]) -> Problem:
    return Problem(loc, f"there is no {noun} '{word[:100]}'", value=word, fix=suggestion(word, known))
