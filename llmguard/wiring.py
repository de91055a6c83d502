"""The composition root: the only file that names concrete parts, and the order in which they start and stop."""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry

from llmguard.audit.log import AuditLog
from llmguard.catalog.containment import Containments
from llmguard.catalog.renewal import Renewals
from llmguard.domain.at_rest import AtRest
from llmguard.domain.catalog import App, Registry
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock, SystemClock
from llmguard.domain.errors import GuardError
from llmguard.domain.identifiers import worker_name
from llmguard.gateway.metrics import Metrics
from llmguard.gateway.recorder import Recorder
from llmguard.gateway.services import Services
from llmguard.idempotency.claims import Claims
from llmguard.idempotency.store import AnswerStore
from llmguard.identity.access import AccessDesk
from llmguard.identity.app_tokens import TokenMint
from llmguard.identity.key_store import KeyStore
from llmguard.identity.keyring import Keyring
from llmguard.identity.openid import OpenIdProviders
from llmguard.identity.operator_store import OperatorStore
from llmguard.identity.sign_ins import SignIns
from llmguard.policy.judge import Policies
from llmguard.policy.live import KeptPolicies, LivePolicies, PoliciesInvalid, accept
from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from llmguard.quota.gate import OverageGate
from llmguard.quota.ledger import Ledger
from llmguard.quota.workers import WorkerLocks
from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.check import check_rules
from llmguard.redaction.kept import KeptRules
from llmguard.redaction.live import LiveAnalyzer
from llmguard.redaction.redactor import Redactor
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.app_states import AppStateStore, LiveAppStates, in_force, states_at
from llmguard.registry.check import find_gaps
from llmguard.registry.finding import Finding, RegistryInvalid
from llmguard.registry.live import LiveRegistry
from llmguard.replay.live import Parts
from llmguard.settings import Settings
from llmguard.traces.spool import Spool, SpoolLimits
from llmguard.web.admin import OperatorParts
from llmguard.web.app import Site
from llmguard.web.probes import Probes
from llmguard.web.response_ids import ResponseIds
from llmguard.web.slots import Slots

if TYPE_CHECKING:
    from llmguard.traces.reader import TraceReader

METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name
_CHECK_SECONDS = 1.0
_OBJECTS_BETWEEN_COLLECTIONS = 10_000
_log = logging.getLogger(__name__)


class UnusableRulesError(Exception):
    """The CoE's files cannot be used, and there are no earlier ones to go on with."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Parts that take long to make, and that workers can share."""

    tokens: TokenCounter
    analyzer: Analyzer | None = None


class Worker:
    """One server process: every part, wired, with its start and stop."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], ready: Ready | None = None) -> None:
        """Build all parts, or take what is ready; nothing runs before `running` is entered."""
        ready = ready or Ready(TokenCounter())
        clock, name = SystemClock(), worker_name()
        self._rules_changed = asyncio.Event()
        self._analyzer = LiveAnalyzer(
            settings.redaction, cache=settings.redaction_cache, on_reload=self._use_rules, ready=ready.analyzer
        )
        self._ready = self._analyzer.current is ready.analyzer
        self._kept_rules = KeptRules(settings.data / "redaction-rules", (settings.secret,))
        self._keep_rules(self._analyzer.current)
        self._registry = LiveRegistry(
            settings.registry,
            AcceptedRegistries(settings.data / "registry"),
            lambda: self._analyzer.current.profiles,
            on_findings=_log_findings,
            on_reload=self._use_registry,
        )
        keys = KeyStore(settings.data / "state.db", settings.secret, clock, previous_secrets=settings.previous_secrets)
        mint = TokenMint((settings.secret, *settings.previous_secrets), clock)
        self._states = LiveAppStates(AppStateStore(settings.data / "state.db"), on_change=self._put_in_force)
        self._taking = threading.Lock()
        self._keyring = Keyring(keys, clock, mint, beside=(self._states.refresh,))
        self._policies = Policies(clock, environ.get)
        self._live_policies = LivePolicies(settings.policies, KeptPolicies(settings.data / "policies"), self._policies)
        self._ledger = Ledger(settings.data / "state.db", clock, name)
        self._spool = _spool(settings, name)
        self._tokens = ready.tokens
        metrics = Metrics(REGISTRY)
        self._providers = Providers(environ=environ, clock=clock, tokens=self._tokens, on_circuit=metrics.count_circuit)
        self._secret = settings.secret
        self._recorder = Recorder(self._spool, self._ledger, self._tokens, metrics, clock)
        self._claims = _claims(settings, name, clock)
        self._services = Services(
            clock=clock,
            keyring=self._keyring,
            registry=in_force(self._registry.current, self._states.current),
            redactor=Redactor(self._analyzer.current, settings.secret),
            tokens=self._tokens,
            ledger=self._ledger,
            providers=self._providers,
            recorder=self._recorder,
            overage=OverageGate(settings.data / "state.db", clock),
            claims=self._claims,
            policies=self._policies,
        )
        probes = Probes(metrics, environ.get(METRICS_FOLDER_VARIABLE), self._problems)
        traces = _Traces(settings.data, settings.at_rest)
        self.site = Site(
            self._services,
            probes,
            traces,
            self._running,
            ResponseIds(settings.secret),
            _operator_parts(settings, environ, keys, clock, traces, lambda: self._registry.findings),
            mint,
            OpenIdProviders(clock),
            is_set=lambda name: bool(environ.get(name, "").strip()),
            slots=Slots(settings.requests_at_once),
        )

    def _use_registry(self, registry: Registry) -> None:
        self._put_in_force()
        self._providers.keep(registry.models.values())
        _log.info("the registry %s is in force", registry.digest[:12])

    def _put_in_force(self) -> None:
        """Serve by git's registry with what has happened to its apps; called by two threads, and the last one counts.

        Each brings what it knows before it comes here, so whoever is last sees what both know.
        """
        with self._taking:
            self._services.registry = in_force(self._registry.current, self._states.current)

    def _keep_rules(self, analyzer: Analyzer) -> None:
        """Keep the rules for whoever reads older traces; a full disk must not keep good rules from taking over."""
        try:
            self._kept_rules.keep(analyzer.digest, analyzer.files)
        except OSError as error:
            _log.error("the redaction rules in force cannot be kept for later: %s", os.strerror(error.errno or 0))

    def _use_rules(self, analyzer: Analyzer) -> None:
        self._keep_rules(analyzer)
        self._services.redactor = Redactor(analyzer, self._secret)
        self._rules_changed.set()  # presets name profiles: a vanished one is a finding of the registry

    async def _check_registry_again(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rules_changed.wait(), _CHECK_SECONDS)
                self._rules_changed.clear()
                await self._registry.reload()

    def _problems(self) -> list[str]:
        """Return what would refuse every request now."""
        problems = []
        for check in (self._keyring.check, self._ledger.check, self._spool.check):
            try:
                check()
            except GuardError as error:
                problems.append(error.message)
        return problems

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Start every part, watch the CoE's files and the keys, and stop in the opposite order."""
        self._tokens.load()
        if not self._ready:
            await asyncio.to_thread(self._analyzer.current.warm_up)
        await self._live_policies.start()
        self._ledger.start()
        await self._providers.start({provider.kind for provider in self._registry.current.providers.values()})
        await asyncio.to_thread(self._keyring.refresh)  # on a busy machine, what was read first is too old by now
        stop = asyncio.Event()
        self._rules_changed.clear()
        watchers = [
            asyncio.create_task(watcher)
            for watcher in (
                self._registry.watch(stop),
                self._analyzer.watch(stop),
                self._live_policies.watch(stop),
                self._keyring.watch(stop),
                self._check_registry_again(stop),
                _stop_without_parent(stop),
            )
        ]
        async with AsyncExitStack() as stopping:  # from the last to the first, each even if another one fails
            stopping.push_async_callback(_end, watchers)
            stopping.callback(self._spool.close)
            stopping.push_async_callback(self._ledger.close)
            stopping.push_async_callback(self._claims.close)
            stopping.push_async_callback(self._providers.close)
            stopping.push_async_callback(self._policies.close)
            stopping.push_async_callback(self._recorder.drain)
            stopping.callback(stop.set)
            _settle_memory()
            yield


def _settle_memory() -> None:
    """Take what start-up made out of the garbage collector's rounds: hundreds of thousands of objects that stay.

    And let it make its rounds less often than for each 700 new objects, which is one request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])


@asynccontextmanager
async def open_replay(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Parts]:
    """Yield the parts of live replays, on the files of a gateway that may run or not.

    Its registry is the one in force. Traces go into a segment of its own; the ingester, or the next reader, takes it.

    Raises:
        RegistryInvalid, RedactionInvalid, PoliciesInvalid: the CoE's files have findings, with no earlier ones to use.
        NoVerdict: what evaluates the rules in Rego does not start.
        sqlite3.Error, OSError: the data folder cannot be used.
    """
    clock, name, tokens = SystemClock(), worker_name(), TokenCounter()
    analyzer = Analyzer.load(settings.redaction, cache=settings.redaction_cache)
    KeptRules(settings.data / "redaction-rules", (settings.secret,)).keep(analyzer.digest, analyzer.files)
    accepted = AcceptedRegistries(settings.data / "registry")
    live = LiveRegistry(settings.registry, accepted, lambda: analyzer.profiles, on_findings=_log_findings)
    registry = in_force(live.current, states_at(settings.data / "state.db"))
    policies = Policies(clock, environ.get)
    rules = LivePolicies(settings.policies, KeptPolicies(settings.data / "policies"), policies)
    ledger = Ledger(settings.data / "state.db", clock, name)
    spool = _spool(settings, name)
    providers = Providers(environ=environ, clock=clock, tokens=tokens)
    recorder = Recorder(spool, ledger, tokens, Metrics(CollectorRegistry()), clock)
    async with AsyncExitStack() as stopping:  # from the last to the first, as a worker does
        stopping.callback(spool.close)
        stopping.push_async_callback(policies.close)
        await rules.start()
        ledger.start()
        stopping.push_async_callback(ledger.close)
        stopping.push_async_callback(providers.close)
        stopping.push_async_callback(recorder.drain)
        yield Parts(
            clock=clock,
            registry=registry,
            accepted=accepted,
            redactor=Redactor(analyzer, settings.secret),
            policies=policies,
            tokens=tokens,
            ledger=ledger,
            providers=providers,
            recorder=recorder,
            environ=environ,
        )


def _spool(settings: Settings, worker: str) -> Spool:
    limits = SpoolLimits(backlog_bytes=settings.spool_limit_bytes)
    return Spool(settings.data / "spool", worker, at_rest=settings.at_rest, limits=limits)


class _Traces:
    """Shows traces. DuckDB (40 MB) is loaded for the first one: most workers show none."""

    def __init__(self, data: Path, at_rest: AtRest) -> None:
        self._data = data
        self._at_rest = at_rest

    def __call__(self, trace_id: str) -> dict[str, Any] | None:
        """Return a trace by its id; blocks."""
        return self.open().show(trace_id)

    def query(self, sql: str, parameters: dict[str, Any]) -> list[JsonObject]:
        """Return the rows of one SELECT over the traces; blocks."""
        return self.open().query(sql, parameters)

    def open(self) -> "TraceReader":
        """Return a reader; blocks where it is the first one."""
        from llmguard.traces.reader import TraceReader  # noqa: PLC0415 - see above

        return TraceReader(self._data, self._at_rest)


def _operator_parts(
    settings: Settings,
    environ: Mapping[str, str],
    keys: KeyStore,
    clock: SystemClock,
    traces: _Traces,
    findings: Callable[[], Sequence[Finding]],
) -> OperatorParts:
    state = settings.data / "state.db"
    return OperatorParts(
        OperatorStore(state, settings.secret, clock),
        AccessDesk(state, clock),
        keys,
        AuditLog(state, clock),
        SignIns(state, settings.secret, clock),
        Containments(settings.data, clock, traces.query),
        Renewals(settings.data, clock),
        lambda name: environ.get(name, "").strip() or None,
        traces.open,
        findings,
        lambda: find_gaps(settings.registry),
        settings,
        environ,
    )


def _claims(settings: Settings, name: str, clock: Clock) -> Claims:
    lives = WorkerLocks(settings.data / "workers", name).lives
    return Claims(lambda: AnswerStore(settings.data / "state.db", settings.secret, clock), name, lives)


async def _end(watchers: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*watchers, return_exceptions=True)


async def _stop_without_parent(stop: asyncio.Event) -> None:
    """End this worker when the process that started it is gone: nobody would restart or stop it any more."""
    starter = multiprocessing.parent_process()
    if starter is None:
        return  # started by hand, not by `llmguard serve`
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _CHECK_SECONDS)
        if not starter.is_alive():  # which may not be our parent: that is the process that we were forked from
            _log.error("the llmguard process that started this worker is gone; stopping")
            signal.raise_signal(signal.SIGTERM)
            return


def prepare(settings: Settings) -> App | None:
    """Check what serving needs, before any worker starts, and return the app that a demo key is for.

    Makes the state file and accepts the registry, so that workers that start together find both.

    Returns:
        The first approved app of the catalog, or None.

    Raises:
        UnusableRulesError: the registry, the redaction rules or the policies have findings; the text lists them all.
    """
    rules = check_rules(settings.redaction)
    if rules.findings:
        raise UnusableRulesError("\n".join(f"{settings.redaction.name}/{finding}" for finding in rules.findings))
    if not settings.registry.exists():  # a mistyped path is no broken edit: the last accepted one does not step in
        raise UnusableRulesError(f"There is no file {settings.registry}. Name it with --registry.")
    try:
        registry = LiveRegistry(
            settings.registry, AcceptedRegistries(settings.data / "registry"), lambda: rules.profiles
        )
    except RegistryInvalid as error:
        raise UnusableRulesError(str(error)) from None
    try:
        accept(settings.policies, KeptPolicies(settings.data / "policies"))
    except PoliciesInvalid as error:
        raise UnusableRulesError(str(error)) from None
    KeyStore(settings.data / "state.db", settings.secret, SystemClock())
    return next((app for app in registry.current.apps.values() if app.status == "approved"), None)


def _log_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        _log.error("the last accepted registry stays in force: %s", finding)
