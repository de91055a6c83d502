"""From a checked file to the frozen registry that requests are served by."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from llmguard.domain.catalog import (
    DEFAULT_TIME_ZONE,
    App,
    CircuitRule,
    Connector,
    Model,
    OveragePolicy,
    ParameterRule,
    PolicySettings,
    Preset,
    Provider,
    Quota,
    QuotaScope,
    Registry,
    RenewalPolicy,
    ReplayPolicy,
    Sensitivity,
)
from llmguard.domain.money import UNKNOWN_PRICE, Price, ServiceTier, TokenKind, Variant, to_nano_usd
from llmguard.registry.alert_policy import alert_policy
from llmguard.registry.app_entries import AppEntry, QuotaEntry, QuotasEntry
from llmguard.registry.app_policy import has_owner
from llmguard.registry.document import Document
from llmguard.registry.entries import (
    ModelEntry,
    OverageEntry,
    PoliciesEntry,
    PresetEntry,
    PriceEntry,
    ProviderEntry,
    RatesEntry,
    RegistryFile,
    ReplayEntry,
    RuleEntry,
    TargetEntry,
)
from llmguard.registry.identity_policy import identity_provider, operator_policy
from llmguard.registry.parameters import MAX_COMPLETION_TOKENS, MAX_TOKENS
from llmguard.registry.price_figures import with_version
from llmguard.registry.prices import PriceMap
from llmguard.registry.retention_policy import retention_policy


def build_registry(file: RegistryFile, document: Document, digest: str, prices: PriceMap) -> Registry:
    """Return the registry of a file without problems; `digest` is that of its content."""
    providers = {name: _provider(name, entry) for name, entry in file.providers.items()}
    models = {name: _model(name, entry, providers, prices) for name, entry in file.models.items()}
    departed = frozenset(person.casefold() for person in file.departed)
    presets = sorted(
        (_preset(entry, models, document.preset_digests[index]) for index, entry in enumerate(file.presets)),
        key=lambda preset: (preset.name, preset.version),
    )
    return Registry(
        digest=digest,
        providers=providers,
        models=models,
        presets={name: tuple(versions) for name, versions in groupby(presets, key=lambda preset: preset.name)},
        apps={name: _app(name, entry, file, departed) for name, entry in file.apps.items()},
        overage=_overage(file.overage),
        alerts=alert_policy(file.alerts),
        replay=_replay(file.replay),
        retention=retention_policy(file.retention),
        identity_providers={name: identity_provider(name, entry) for name, entry in file.identity_providers.items()},
        operators=operator_policy(file.operators),
        connectors={
            name: Connector(name, declared=True, **entry.model_dump() | {"approved": entry.approved or ""})
            for name, entry in file.connectors.items()
        },
        policies=_policies(file.policies),
        renewal=RenewalPolicy(**file.renewal.model_dump()),
        departed=departed,
    )


def pinned_preset(content: Mapping[str, Any], preset_id: str, digest: str, model: Model) -> Preset | None:
    """Return a preset of an older registry as it was, on a model of today; None if it is not there.

    Args:
        content: the older registry, as it was parsed.
        preset_id: `name@version`.
        digest: of the preset, as its traces pin it.
        model: answers for it; its fallbacks are left out.
    """
    for written in content.get("presets", ()):
        if f"{written.get('name')}@{written.get('version')}" == preset_id:
            entry = PresetEntry.model_validate(dict(written) | {"fallbacks": []})
            return _preset(entry, {entry.model: model}, digest)
    return None


def _provider(name: str, entry: ProviderEntry) -> Provider:
    return Provider(
        name=name,
        kind=entry.kind,
        base_url=entry.base_url,
        api_key_env=entry.api_key_env,
        connect_timeout_seconds=entry.connect_timeout_seconds,
        first_byte_timeout_seconds=entry.first_byte_timeout_seconds,
        idle_timeout_seconds=entry.idle_timeout_seconds,
        total_timeout_seconds=entry.total_timeout_seconds,
        max_retries=entry.max_retries,
        circuit=CircuitRule() if entry.circuit is None else CircuitRule(**entry.circuit.model_dump()),
    )


def _model(name: str, entry: ModelEntry, providers: dict[str, Provider], prices: PriceMap) -> Model:
    """Return the model: its first target, with the others as its siblings."""
    places = _places(entry)
    mode = entry.mode or prices.mode(places[0].target, places[0].provider)
    targets = [_target(name, entry, place, providers[place.provider], prices) for place in places]
    first, *others = (replace(target, mode=mode) for target in targets)
    return replace(first, siblings=tuple(others))


def _places(entry: ModelEntry) -> list[TargetEntry]:
    """Return the targets of a model, however it names them."""
    if entry.targets is not None:
        return entry.targets
    return [TargetEntry.model_validate({"provider": entry.provider, "target": entry.target})]


def _target(name: str, entry: ModelEntry, target: TargetEntry, provider: Provider, prices: PriceMap) -> Model:
    own_price = target.price or entry.price
    facts = prices.find(target.target, provider.name) if own_price is None else None
    if own_price is not None:
        price = price_from(own_price)
    elif facts is not None:
        price = facts.price
    elif entry.unknown_price == "allowed":
        price = UNKNOWN_PRICE
    else:
        raise AssertionError(f"{name} has no price")  # a problem, so a file that is built has none
    is_openai_reasoning = provider.kind == "openai" and facts is not None and facts.wants_completion_tokens
    return Model(
        name=name,
        provider=provider,
        target=target.target,
        weight=target.weight,
        api=entry.api,
        max_sensitivity=Sensitivity[entry.max_sensitivity.upper()],
        sandbox=entry.sandbox == "allowed",
        price=price,
        context_tokens=entry.context_tokens or (facts.context_tokens if facts else None),
        max_output_tokens=entry.max_output_tokens or (facts.max_output_tokens if facts else None),
        max_tokens_field=entry.max_tokens_field or ("max_completion_tokens" if is_openai_reasoning else "max_tokens"),
    )


def price_from(entry: PriceEntry) -> Price:
    """Return the price of an entry; its version is a digest of the figures."""
    standard = _rates(entry)
    tiers: tuple[tuple[ServiceTier, RatesEntry | None], ...] = (
        ("flex", entry.flex),
        ("priority", entry.priority),
        ("batch", entry.batch),
    )
    variants = [Variant(tier=tier, **standard | _rates(given)) for tier, given in tiers if given is not None]
    if entry.long_input is not None:
        long_rates = standard | _rates(entry.long_input)
        variants.append(Variant(above_tokens=entry.long_input.above_tokens, **long_rates))
    return with_version(Price(version="registry", variants=tuple(variants), **standard), "registry")


def _rates(entry: RatesEntry) -> dict[str, Any]:  # Any: the type checker does not follow ** by name
    return {kind.value: rate for kind in TokenKind if (rate := getattr(entry, kind.value)) is not None}


def _preset(entry: PresetEntry, models: dict[str, Model], digest: str) -> Preset:
    return Preset(
        name=entry.name,
        version=entry.version,
        status=entry.status,
        owner=entry.owner,
        why=entry.why,
        model=models[entry.model],
        digest=digest,
        fallbacks=tuple(models[name] for name in entry.fallbacks),
        system=entry.system,
        parameters={
            MAX_TOKENS if name == MAX_COMPLETION_TOKENS else name: _rule(rule)
            for name, rule in entry.parameters.items()
        },
        tools=entry.tools,
        images=entry.images,
        audio=entry.audio,
        files=entry.files,
        extra_parameters=tuple(entry.extra_parameters),
        provider_state=entry.provider_state,
        redaction=entry.redaction,
        response_filters=tuple(entry.response.filters),
        on_violation=entry.on_violation,
        on_quota=entry.on_quota,
        sunset=entry.sunset,
        successor=entry.successor,
    )


def _rule(entry: RuleEntry) -> ParameterRule:
    return ParameterRule(
        minimum=entry.min,
        maximum=entry.max,
        default=entry.default,
        fixed=entry.fixed,
        allowed=None if entry.allowed is None else tuple(entry.allowed),
    )


def _app(name: str, entry: AppEntry, file: RegistryFile, departed: frozenset[str]) -> App:
    return App(
        name=name,
        owner=entry.owner,
        status=entry.status,
        sensitivity=Sensitivity[entry.sensitivity.upper()],
        presets=tuple(entry.presets),
        quota=_quota(entry.quota, entry.time_zone),
        cost_center=entry.cost_center,
        team=entry.team,
        backup_owner=entry.backup_owner,
        ticket=entry.ticket,
        connectors=tuple(entry.connectors),
        origins=tuple(entry.origins),
        expires=entry.expires,
        support=entry.support,
        runbook=entry.runbook,
        shared=tuple(_shared(entry, file.quotas)),
        sunset=entry.sunset,
        instead=entry.instead,
        has_owner=has_owner(entry.owner, entry.backup_owner, departed),
    )


def _shared(app: AppEntry, quotas: QuotasEntry) -> Iterator[QuotaScope]:
    if (owned := quotas.owners.get(app.owner)) is not None:
        yield QuotaScope("owner", app.owner, _quota(owned, owned.time_zone))
    if (paid := quotas.cost_centers.get(app.cost_center)) is not None:
        yield QuotaScope("cost_center", app.cost_center, _quota(paid, paid.time_zone))


def _overage(entry: OverageEntry) -> OveragePolicy:
    return OveragePolicy(
        approvers={role: tuple(people) for role, people in entry.approvers.items()},
        second_approver_above=_quota(entry.second_approver_above),
        longest_days=entry.longest_days,
    )


def _replay(entry: ReplayEntry | None) -> ReplayPolicy:
    if entry is None:
        return ReplayPolicy()
    quotas = {who: _quota(quota, quota.time_zone) for who, quota in entry.responders.items()}
    return ReplayPolicy(entry.cost_center, quotas)


def _policies(entry: PoliciesEntry) -> PolicySettings:
    opa = entry.opa
    if opa is None:
        return PolicySettings(entry.timeout_seconds)
    return PolicySettings(entry.timeout_seconds, opa.url.rstrip("/"), opa.token_env)


def _quota(entry: QuotaEntry, time_zone: str = DEFAULT_TIME_ZONE) -> Quota:
    return Quota(
        requests_per_minute=entry.requests_per_minute,
        tokens_per_minute=entry.tokens_per_minute,
        tokens_per_day=entry.tokens_per_day,
        tokens_per_month=entry.tokens_per_month,
        nano_usd_per_month=None if entry.usd_per_month is None else to_nano_usd(entry.usd_per_month),
        time_zone=time_zone,
    )
