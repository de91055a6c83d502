"""What the CoE decides in git, as frozen values: providers, models, presets, apps, quotas."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from typing import Literal, NamedTuple

from llmguard.domain.alerts import AlertPolicy
from llmguard.domain.identity import IdentityProvider, OperatorPolicy
from llmguard.domain.money import Price
from llmguard.domain.retention import RetentionPolicy

JsonScalar = str | int | float | bool
ProviderKind = Literal["echo", "openai", "litellm"]
ModelMode = Literal["chat", "embedding"]
ModelApi = Literal["chat_completions", "responses"]
PresetStatus = Literal["draft", "approved", "deprecated", "retired"]
AppStatus = Literal["draft", "sandbox", "approved", "deprecated", "retired", "suspended"]
OnViolation = Literal["refuse", "clamp"]
KeyEnvironment = Literal["production", "sandbox"]
ScopeKind = Literal["app", "owner", "cost_center"]
DEFAULT_TIME_ZONE = "UTC"
RESPONDER_PREFIX = "responder:"  # before a person's name, where traces and ledger have an app's
MediaRule = Literal["forbidden", "allowed"]
ConnectorDirection = Literal["read", "write", "both"]
ConnectorStorage = Literal["none", "internal", "external"]
ToolsRule = Literal["forbidden", "allowed"] | tuple[str, ...]  # a tuple names the only tools allowed


class Sensitivity(IntEnum):
    """How harmful the loss of an app's data would be; ordered."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    RESTRICTED = 3

    @property
    def label(self) -> str:
        """The word used in registry.yaml."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class CircuitRule:
    """When a target of a provider is left alone for a while, and for how long."""

    consecutive_failures: int = 5
    failure_rate: float = 0.5  # of the requests in the window, where there are `minimum_requests`
    window_seconds: float = 60.0
    minimum_requests: int = 20
    cool_down_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Provider:
    """Where models are called. `api_key_env` names the variable that holds the key; the key itself is never here."""

    name: str
    kind: ProviderKind
    base_url: str | None = None
    api_key_env: str | None = None
    connect_timeout_seconds: float = 5.0
    first_byte_timeout_seconds: float = 300.0  # of a whole answer the first byte comes with the last
    idle_timeout_seconds: float = 120.0  # between two parts of a stream
    total_timeout_seconds: float = 600.0
    max_retries: int = 2
    circuit: CircuitRule = CircuitRule()


@dataclass(frozen=True, slots=True)
class Model:
    """An approved model: a target at a provider, with its price and the most sensitive data it may see.

    A model with several targets is its first one, with the others as `siblings`, which share its name.
    """

    name: str
    provider: Provider
    target: str
    max_sensitivity: Sensitivity
    price: Price
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    sandbox: bool = False  # whether apps in the sandbox may use it
    mode: ModelMode = "chat"  # what it answers: conversations, or texts with their vectors
    api: ModelApi = "chat_completions"  # which of OpenAI's two wires a provider of kind openai is asked by
    weight: int = 1  # its share of the requests, among the targets of one model
    siblings: tuple["Model", ...] = ()

    @property
    def targets(self) -> tuple["Model", ...]:
        """Every target that answers for this model, itself first."""
        return (self, *self.siblings)

    @property
    def is_for_sandbox(self) -> bool:
        """Whether a target may answer apps in the sandbox: echo, or what the CoE says is cheap enough."""
        return self.sandbox or self.provider.kind == "echo"


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """What one request parameter may be. All None: any value is allowed."""

    minimum: float | None = None
    maximum: float | None = None
    default: JsonScalar | None = None
    fixed: JsonScalar | None = None
    allowed: tuple[JsonScalar, ...] | None = None


@dataclass(frozen=True, slots=True)
class Preset:
    """A named, versioned, locked way to call a model; what apps put into `model`."""

    name: str
    version: int
    status: PresetStatus
    owner: str
    why: str
    model: Model
    digest: str
    fallbacks: tuple[Model, ...] = ()
    system: str | None = None
    parameters: Mapping[str, ParameterRule] = field(default_factory=dict)
    tools: ToolsRule = "forbidden"
    images: MediaRule = "forbidden"
    audio: MediaRule = "forbidden"
    files: MediaRule = "forbidden"
    provider_state: MediaRule = "forbidden"  # whether the provider may keep conversations and go on with them
    extra_parameters: tuple[str, ...] = ()  # fields that llmguard does not know, passed on as they are
    redaction: str = "standard"
    response_filters: tuple[str, ...] = ()
    on_violation: OnViolation = "refuse"
    on_quota: OnViolation = "refuse"  # clamp: lower max_tokens to what is left
    sunset: date | None = None
    successor: str | None = None

    @property
    def id(self) -> str:
        """`name@version`, as in headers and traces."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one scope; None is no limit of that kind. Day and month run by the calendar of `time_zone`."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    nano_usd_per_month: int | None = None
    time_zone: str = DEFAULT_TIME_ZONE


@dataclass(frozen=True, slots=True)
class QuotaScope:
    """Who has limits: an app, or all apps of an owner or a cost centre together."""

    kind: ScopeKind
    name: str
    quota: Quota

    @property
    def id(self) -> str:
        """`kind:name`, as the ledger keeps it."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class OveragePolicy:
    """Who decides when an app asks for more than its quota, and how far one of them alone may go.

    Attributes:
        approvers: e-mail addresses by role, such as finance.
        second_approver_above: what may be granted on one limit, over all grants in force, with one approver.
        longest_days: how long a grant may last.
    """

    approvers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    second_approver_above: Quota = Quota()
    longest_days: int = 92


@dataclass(frozen=True, slots=True)
class Connector:
    """A system that apps may reach, as the rules of the CoE see it; what nobody declared counts as the worst.

    Attributes:
        declared: whether the catalog describes it.
        direction: what apps do with it.
        storage: whether data stays there, and whether that is outside of the organisation.
        encrypted: whether what it stores is encrypted at rest.
        approved: the ticket that approved it; empty if none did.
    """

    name: str
    declared: bool = False
    direction: ConnectorDirection = "both"
    storage: ConnectorStorage = "external"
    encrypted: bool = False
    approved: str = ""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """How the CoE's rules in Rego are evaluated: embedded, or by a remote Open Policy Agent where `opa_url` is set."""

    timeout_seconds: float = 2.0
    opa_url: str | None = None
    opa_token_env: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """A micro app in the catalog.

    Attributes:
        sunset: the last day of a deprecated app.
        instead: what to use instead of a deprecated or retired app.
        has_owner: whether anybody answers for it: owner or backup owner, who has not left.
        contained_at: since when it is contained, which no change of registry.yaml ends.
        last_day: on which it may be used, in UTC; made of `expires` and, of a deprecated app, `sunset`.
    """

    name: str
    owner: str
    status: AppStatus
    sensitivity: Sensitivity
    presets: tuple[str, ...]
    quota: Quota
    cost_center: str
    team: str | None = None
    backup_owner: str | None = None
    ticket: str | None = None
    connectors: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    expires: date | None = None
    support: str | None = None
    runbook: str | None = None
    shared: tuple[QuotaScope, ...] = ()  # limits of its owner and its cost centre, where there are any
    sunset: date | None = None
    instead: str | None = None
    has_owner: bool = True
    contained_at: datetime | None = None
    last_day: date | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Find the last day once: each request asks for it."""
        days = [day for day in (self.expires, self.sunset if self.status == "deprecated" else None) if day is not None]
        object.__setattr__(self, "last_day", min(days, default=None))

    @property
    def scopes(self) -> tuple[QuotaScope, ...]:
        """Everybody whose limits count for this app: itself first."""
        return (QuotaScope("app", self.name, self.quota), *self.shared)


@dataclass(frozen=True, slots=True)
class RenewalPolicy:
    """How far owners may extend the approval of their apps without the CoE.

    Attributes:
        longest_days: from the day of the renewal.
        days_after_end: how long an app can still be renewed once it has ended.
    """

    longest_days: int = 180
    days_after_end: int = 14


@dataclass(frozen=True, slots=True)
class ReplayPolicy:
    """Who may send stored requests to a model again, each with a budget of their own, and which cost center pays."""

    cost_center: str | None = None
    responders: Mapping[str, Quota] = field(default_factory=dict)

    def account(self, who: str) -> App | None:
        """Return what a responder is charged as; None for everybody else. No app can have its name."""
        quota = self.responders.get(who)
        if quota is None or self.cost_center is None:
            return None
        name = f"{RESPONDER_PREFIX}{who}"
        return App(name, who, "approved", Sensitivity.RESTRICTED, (), quota, self.cost_center)


@dataclass(frozen=True, slots=True)
class Registry:
    """One accepted registry file. `digest` is the SHA-256 of its canonical content, in hex."""

    digest: str
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    presets: Mapping[str, tuple[Preset, ...]]  # by name, versions ascending
    apps: Mapping[str, App]
    overage: OveragePolicy = OveragePolicy()
    alerts: AlertPolicy = field(default_factory=AlertPolicy)
    replay: ReplayPolicy = field(default_factory=ReplayPolicy)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    identity_providers: Mapping[str, IdentityProvider] = field(default_factory=dict)
    operators: OperatorPolicy | None = None
    renewal: RenewalPolicy = RenewalPolicy()
    departed: frozenset[str] = frozenset()  # addresses of people who have left, in small letters

    connectors: Mapping[str, Connector] = field(default_factory=dict)
    policies: PolicySettings = PolicySettings()


@dataclass(frozen=True, slots=True)
class KeyScope:
    """What a key may do of what its app may; None is all of it.

    Attributes:
        endpoints: paths below `/v1/`.
        presets: names (every version) or name@version.
        environment: with `sandbox`, only echo models answer.
    """

    endpoints: tuple[str, ...] | None = None
    presets: tuple[str, ...] | None = None
    environment: KeyEnvironment = "production"

    def covers(self, preset: Preset) -> bool:
        """Whether a preset is in it."""
        return self.presets is None or preset.name in self.presets or preset.id in self.presets


class Caller(NamedTuple):
    """An app with a valid key; `scope` None: the key may do what the app may."""

    app: App
    key_id: str
    scope: KeyScope | None = None
