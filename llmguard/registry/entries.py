"""What registry.yaml looks like, as pydantic models; the descriptions are what editors show."""

from typing import Annotated, Literal

from pydantic import Field

from llmguard.domain.catalog import (
    ConnectorDirection,
    ConnectorStorage,
    MediaRule,
    ModelApi,
    ModelMode,
    OnViolation,
    PresetStatus,
    ProviderKind,
)
from llmguard.registry.alert_entries import ALERT_ENTRIES, AlertsEntry
from llmguard.registry.app_entries import (
    AppEntry,
    QuotaEntry,
    QuotasEntry,
    RenewalEntry,
    SensitivityWord,
    SharedQuotaEntry,
)
from llmguard.registry.entry import Entry
from llmguard.registry.fields import (
    BaseUrl,
    EnvironmentName,
    IsoDate,
    ModelName,
    Name,
    ParameterName,
    PresetId,
    Scalar,
    Text,
    ToolsField,
    Usd,
)
from llmguard.registry.identity_entries import IDENTITY_ENTRIES, IdentityProviderEntry, OperatorsEntry
from llmguard.registry.parameters import PARAMETERS
from llmguard.registry.retention_entries import RETENTION_ENTRIES, RetentionEntry


class CircuitEntry(Entry):
    """When a target is left alone for a while: after failures of the provider, never after requests that are wrong."""

    consecutive_failures: int = Field(5, ge=1, le=1_000_000, description="Failures in a row that are too many.")
    failure_rate: float = Field(0.5, gt=0, le=1, description="Share of failures in the window that is too much.")
    window_seconds: float = Field(60.0, gt=0, le=3600, description="How far back failure_rate looks.")
    minimum_requests: int = Field(20, ge=1, le=1_000_000, description="Requests in the window before the rate counts.")
    cool_down_seconds: float = Field(30.0, gt=0, le=600, description="How long it is left alone; then one may try.")


class ProviderEntry(Entry):
    """Where models are called."""

    kind: ProviderKind = Field(
        description="echo: embedded and deterministic. openai: any server with OpenAI's API. "
        "litellm: any provider that LiteLLM translates."
    )
    base_url: BaseUrl | None = Field(
        None, description="Where the API begins, up to /v1. For openai the default is https://api.openai.com/v1."
    )
    api_key_env: EnvironmentName | None = Field(
        None, description="Name of the environment variable that holds the provider's key. Never the key itself."
    )
    connect_timeout_seconds: float = Field(5.0, gt=0, le=600, description="Patience for a connection.")
    first_byte_timeout_seconds: float = Field(300.0, gt=0, le=3600, description="Patience for the first byte.")
    idle_timeout_seconds: float = Field(
        120.0, gt=0, le=3600, description="Patience between two parts of a stream that has begun."
    )
    total_timeout_seconds: float = Field(600.0, gt=0, le=86_400, description="Patience for the whole answer.")
    max_retries: int = Field(2, ge=0, le=10, description="Retries after 429 and 5xx, before the first byte only.")
    circuit: CircuitEntry | None = Field(None, description="When a target that fails is left alone for a while.")


class RatesEntry(Entry):
    """Rates in USD per 1M tokens."""

    input: Usd = Field(description="USD per 1M input tokens.")
    output: Usd = Field(description="USD per 1M output tokens.")
    cached_input: Usd | None = Field(None, description="USD per 1M tokens read from a cache; default: as `input`.")
    cache_write: Usd | None = Field(None, description="USD per 1M tokens written to a cache; default: as `input`.")
    cache_write_1h: Usd | None = Field(None, description="The same, kept for an hour; default: as `cache_write`.")
    audio_input: Usd | None = Field(None, description="USD per 1M audio tokens read; default: as `input`.")
    reasoning: Usd | None = Field(None, description="USD per 1M reasoning tokens; default: as `output`.")
    audio_output: Usd | None = Field(None, description="USD per 1M audio tokens written; default: as `output`.")


class LongInputEntry(RatesEntry):
    """Other rates for requests that read much."""

    above_tokens: int = Field(gt=0, description="The rates count for requests that read more tokens than this.")


class PriceEntry(RatesEntry):
    """What a model costs, in USD per 1M tokens; a tier that is not given costs the same."""

    flex: RatesEntry | None = Field(None, description="Rates of the service tier flex.")
    priority: RatesEntry | None = Field(None, description="Rates of the service tier priority.")
    batch: RatesEntry | None = Field(None, description="Rates of the batch interface.")
    long_input: LongInputEntry | None = Field(None, description="Rates of requests with a long input.")


class TargetEntry(Entry):
    """One of several places where a model answers."""

    provider: Name = Field(description="One of `providers`.")
    target: Text = Field(description="The model's name at this provider.")
    weight: int = Field(1, ge=1, le=1000, description="Its share of the requests: 3 beside 1 gets three of four.")
    price: PriceEntry | None = Field(None, description="Default: the model's price, else LiteLLM's map.")


class ModelEntry(Entry):
    """An approved model: a target at a provider, or several that share its requests."""

    provider: Name | None = Field(None, description="One of `providers`; with `target`, or else write `targets`.")
    target: Text | None = Field(None, description="The model's name at its provider.")
    targets: list[TargetEntry] | None = Field(
        None, min_length=1, max_length=50, description="Several places where the same model answers, by weight."
    )
    max_sensitivity: SensitivityWord = Field(description="The most sensitive data that this model may see.")
    sandbox: MediaRule = Field("forbidden", description="allowed: cheap enough that apps in the sandbox may use it.")
    price: PriceEntry | None = Field(None, description="Default: the price in LiteLLM's map, if the target is in it.")
    unknown_price: Literal["refused", "allowed"] = Field(
        "refused",
        description="allowed: serve it without a price; its cost is then unknown on each trace, and never zero.",
    )
    context_tokens: int | None = Field(None, gt=0, description="Most tokens of a request; default: LiteLLM's map.")
    max_output_tokens: int | None = Field(None, gt=0, description="Most tokens of an answer; default: LiteLLM's map.")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        None, description="How the provider calls the output limit; default: max_tokens, or as OpenAI's model wants it."
    )
    api: ModelApi = Field(
        "chat_completions",
        description="chat_completions, or responses for models of kind openai that answer on /v1/responses only, and "
        "for presets with provider_state.",
    )
    mode: ModelMode | None = Field(
        None, description="chat, or embedding (vectors of texts); default: LiteLLM's map, else chat."
    )


class RuleEntry(Entry):
    """What one request parameter may be; `{}` allows any value."""

    min: float | None = Field(None, description="Least value.")
    max: float | None = Field(None, description="Greatest value.")
    default: Scalar | None = Field(None, description="Sent when the app does not name the parameter.")
    fixed: Scalar | None = Field(None, description="The only value; always sent.")
    allowed: list[Scalar] | None = Field(None, min_length=1, description="The only values an app may choose from.")


class ResponseEntry(Entry):
    """What is done with answers."""

    filters: list[Literal["no_secrets"]] = Field([], description="Filters on the answer: no_secrets.")


class PresetEntry(Entry):
    """A locked way to call a model. A version that was approved never changes; a change is a new version."""

    name: Name = Field(description="What apps put into `model`.")
    version: int = Field(ge=1, le=999_999_999, description="1, 2, 3, …")
    status: PresetStatus = Field(
        description="draft, approved, deprecated (with `sunset`) or retired (with `successor`)."
    )
    owner: Text = Field(description="Who answers questions about this preset: an e-mail address.")
    why: Text = Field(description="Why it is locked like this; people whose request is refused read it.")
    model: ModelName = Field(description="One of `models`.")
    fallbacks: list[ModelName] = Field([], description="Models to try, in order, when the first does not answer.")
    system: Text | None = Field(None, description="System prompt; goes first, and apps cannot see or remove it.")
    parameters: dict[str, RuleEntry] = Field(
        {},
        description="What apps may set. What is not named here is refused.",
        json_schema_extra={"propertyNames": {"enum": [*sorted(PARAMETERS)]}},
    )
    tools: ToolsField = Field("forbidden", description="forbidden, allowed, or a list of the only tools allowed.")
    images: MediaRule = Field("forbidden", description="Whether apps may send images; nothing in them is hidden.")
    audio: MediaRule = Field("forbidden", description="Whether apps may send sound; nothing in it is hidden.")
    files: MediaRule = Field("forbidden", description="Whether apps may send files; nothing in them is hidden.")
    extra_parameters: list[ParameterName] = Field(
        [], description="Fields of a request that llmguard does not know yet, which apps may send all the same."
    )
    provider_state: MediaRule = Field(
        "forbidden",
        description="Whether apps may continue a conversation that the provider keeps (previous_response_id, store); "
        "only with models of api: responses.",
    )
    redaction: Text = Field("standard", description="A profile of redaction/profiles.yaml.")
    response: ResponseEntry = Field(
        ResponseEntry(filters=[]), description="What is done with an answer before the app gets it."
    )
    on_violation: OnViolation = Field(
        "refuse", description="refuse: say what is allowed. clamp: use the nearest allowed value, and say so."
    )
    on_quota: OnViolation = Field(
        "refuse",
        description="What happens when less is left of a quota than `max_tokens` may use. refuse: say so. "
        "clamp: lower `max_tokens` to what is left, and say so.",
    )
    sunset: IsoDate | None = Field(None, description="Last day of a deprecated preset.")
    successor: PresetId | None = Field(None, description="name@version to use instead.")


class OverageEntry(Entry):
    """Who decides when an app asks for more than its quota."""

    approvers: dict[Name, Annotated[list[Text], Field(min_length=1)]] = Field(
        {}, description="E-mail addresses of those who may approve, by role, as in finance: [fin@example.com]."
    )
    second_approver_above: QuotaEntry = Field(
        QuotaEntry.model_validate({}),
        description="By limit: what may be granted on top with one approver; beyond it a second one must agree.",
    )
    longest_days: int = Field(92, ge=1, le=366, description="How many days a grant may last.")


class ReplayEntry(Entry):
    """Who may send stored requests to a model again, and what that may cost; never charged to the app."""

    cost_center: Text = Field(description='Who pays for live replays; in quotes, as in "4711".')
    responders: dict[Text, SharedQuotaEntry] = Field(
        min_length=1, description="What each may use, by e-mail address, as in fin@example.com: {usd_per_month: 5}."
    )


class ConnectorEntry(Entry):
    """A system that apps read or write, as the rules in policies/ see it."""

    direction: ConnectorDirection = Field(description="What apps do with it: read, write or both.")
    storage: ConnectorStorage = Field(
        description="Whether data stays there: none, internal, or external (outside of the organisation)."
    )
    encrypted: bool = Field(default=False, description="Whether what it stores is encrypted at rest.")
    approved: Text | None = Field(None, description="Where it was approved, as in GOV-12.")


class OpaEntry(Entry):
    """A remote Open Policy Agent that evaluates the rules."""

    url: BaseUrl = Field(description="Where it answers; llmguard adds /v1/data/llmguard/policies.")
    token_env: EnvironmentName | None = Field(
        None, description="Name of the environment variable that holds its bearer token. Never the token itself."
    )


class PoliciesEntry(Entry):
    """How the rules in policies/ are evaluated."""

    timeout_seconds: float = Field(
        2.0, gt=0, le=60, description="A decision that takes longer is a denial; it is not kept."
    )
    opa: OpaEntry | None = Field(None, description="A remote Open Policy Agent; default: the engine in llmguard.")


class RegistryFile(Entry):
    """What the CoE decides: providers, models, presets, apps, quotas."""

    version: Literal[1] = Field(description="Version of this format: 1.")
    providers: dict[Name, ProviderEntry] = Field(description="Where models are called, by name.")
    models: dict[ModelName, ModelEntry] = Field(description="Approved models, by name.")
    presets: list[PresetEntry] = Field(description="Locked, versioned ways to call a model.")
    apps: dict[Name, AppEntry] = Field(description="The catalog of micro apps, by name.")
    quotas: QuotasEntry = Field(QuotasEntry.model_validate({}), description="Limits of owners and cost centers.")
    overage: OverageEntry = Field(
        OverageEntry.model_validate({}), description="Who may grant more than a quota, and how much."
    )
    alerts: AlertsEntry = Field(
        AlertsEntry.model_validate({}), description="Webhooks for limits, expiring apps, overage and unusual use."
    )
    renewal: RenewalEntry = Field(
        RenewalEntry.model_validate({}), description="How far owners may extend the approval of their apps."
    )
    departed: list[Text] = Field(
        [], description="E-mail addresses of people who have left; an app with nobody else to answer for it is refused."
    )
    replay: ReplayEntry | None = Field(None, description="Who may replay traces live, each with a budget.")
    retention: RetentionEntry = Field(
        RetentionEntry.model_validate({}), description="How long requests and answers are kept; figures stay."
    )
    identity_providers: dict[Name, IdentityProviderEntry] = Field(
        {}, description="Providers of the company whose tokens apps may exchange for one of ours, by name."
    )
    operators: OperatorsEntry | None = Field(
        None, description="How people sign in to the console, and what they may be; without: by tokens of the machine."
    )
    connectors: dict[Text, ConnectorEntry] = Field(
        {}, description="Systems that apps may reach, by name; once there is one, apps may name no other."
    )
    policies: PoliciesEntry = Field(
        PoliciesEntry.model_validate({}), description="Who evaluates the rules in policies/, and with which patience."
    )


def entry_at(loc: tuple[str | int, ...]) -> type[Entry] | None:
    """Return the model of the mapping at this place of the document; None where the document has no fixed mapping."""
    for place, entry in _ENTRIES.items():
        if len(place) == len(loc) and all(part in (_ANY, here) for part, here in zip(place, loc, strict=True)):
            return entry
    return None


_ANY = "*"  # a name or an index, as the second and the fourth of presets, 0, parameters, temperature
_ENTRIES: dict[tuple[str, ...], type[Entry]] = {
    (): RegistryFile,
    ("providers", "*"): ProviderEntry,
    ("providers", "*", "circuit"): CircuitEntry,
    ("models", "*"): ModelEntry,
    ("models", "*", "price"): PriceEntry,
    ("models", "*", "targets", "*"): TargetEntry,
    ("models", "*", "targets", "*", "price"): PriceEntry,
    ("models", "*", "price", "*"): LongInputEntry,
    ("presets", "*"): PresetEntry,
    ("presets", "*", "parameters", "*"): RuleEntry,
    ("presets", "*", "response"): ResponseEntry,
    ("apps", "*"): AppEntry,
    ("apps", "*", "quota"): QuotaEntry,
    ("quotas",): QuotasEntry,
    ("quotas", "owners", "*"): SharedQuotaEntry,
    ("quotas", "cost_centers", "*"): SharedQuotaEntry,
    ("renewal",): RenewalEntry,
    ("overage",): OverageEntry,
    ("overage", "second_approver_above"): QuotaEntry,
    ("replay",): ReplayEntry,
    ("replay", "responders", "*"): SharedQuotaEntry,
    ("connectors", "*"): ConnectorEntry,
    ("policies",): PoliciesEntry,
    ("policies", "opa"): OpaEntry,
    **ALERT_ENTRIES,
    **RETENTION_ENTRIES,
    **IDENTITY_ENTRIES,
}
