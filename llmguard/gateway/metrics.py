"""What Prometheus sees: counts, sums and durations, never a value of a request."""

from collections.abc import Callable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from llmguard.domain.catalog import Model
from llmguard.domain.trace import Trace

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_DECISION_SECONDS = (0.000_005, 0.000_01, 0.000_025, 0.000_1, 0.000_25, 0.001, 0.01, 0.1, 1)
_CHILDREN = 4096  # label sets kept at hand; the catalog bounds them far below that


class Metrics:
    """Counters of one worker. With several workers, prometheus_client adds them up through memory-mapped files.

    Label values are names from the registry, codes and entity types: nothing that a caller can invent.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; `registry` collects those of this process."""
        self._registry = registry
        requests = Counter(
            "llmguard_requests", "Requests by outcome.", ("app", "preset", "status", "code"), registry=registry
        )
        tokens = Counter("llmguard_tokens", "Tokens as settled.", ("app", "preset", "kind"), registry=registry)
        cost = Counter("llmguard_cost_usd", "Cost as settled, in USD.", ("app", "preset"), registry=registry)
        findings = Counter(
            "llmguard_redactions",
            "Personal data found in requests, by entity type.",
            ("entity_type",),
            registry=registry,
        )
        latency = Histogram(
            "llmguard_request_seconds",
            "From the first byte read to the answer complete.",
            buckets=_SECONDS,
            registry=registry,
        )
        overhead = Histogram(
            "llmguard_overhead_seconds",
            "Latency less the time spent waiting for the provider.",
            buckets=_SECONDS,
            registry=registry,
        )
        decided = Histogram(
            "llmguard_policy_seconds",
            "How long the CoE's own rules took to decide.",
            buckets=_DECISION_SECONDS,
            registry=registry,
        )
        reasons = Counter(
            "llmguard_policy_reasons", "Reasons by the CoE's own rules.", ("rule", "effect"), registry=registry
        )
        self._circuits = Gauge(
            "llmguard_provider_circuit_open",
            "Targets of a model that are left alone since they fail, over all workers.",
            ("provider", "model"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._latency: Callable[[float], None] = latency.observe
        self._overhead: Callable[[float], None] = overhead.observe
        self._decided: Callable[[float], None] = decided.observe
        # labels() costs more than counting: children are looked up once
        self._requests = lru_cache(_CHILDREN)(requests.labels)
        self._tokens = lru_cache(_CHILDREN)(tokens.labels)
        self._cost = lru_cache(_CHILDREN)(cost.labels)
        self._findings = lru_cache(_CHILDREN)(findings.labels)
        self._reasons = lru_cache(_CHILDREN)(reasons.labels)

    def count(self, trace: Trace) -> None:
        """Count one finished request."""
        app, preset = trace.app or "", trace.preset or ""
        self._requests(app, preset, str(trace.status), trace.code or "").inc()
        if trace.latency_ms is not None:
            self._latency(trace.latency_ms / 1000)
        if trace.overhead_ms is not None:
            self._overhead(trace.overhead_ms / 1000)
        if trace.input_tokens is not None:
            self._tokens(app, preset, "input").inc(trace.input_tokens)
            self._tokens(app, preset, "output").inc(trace.output_tokens or 0)
            self._cost(app, preset).inc((trace.cost_nano_usd or 0) / 1e9)
        for entity_type, count in trace.entities.items():
            self._findings(entity_type).inc(count)
        policy = trace.decision.get("policy")
        if policy is not None:
            self._decided(policy["microseconds"] / 1e6)
            for reason in policy["reasons"]:
                self._reasons(reason["rule"], reason["effect"]).inc()
            if trace.code == "policy_denied":
                for reason in trace.decision["reasons"]:
                    self._reasons(reason.get("rule") or reason.get("file") or "", "deny").inc()

    def count_circuit(self, model: Model, is_open: bool) -> None:  # noqa: FBT001 - called as a plain callable
        """Count a circuit that opens or closes."""
        gauge = self._circuits.labels(model.provider.name, model.name)
        if is_open:
            gauge.inc()
        else:
            gauge.dec()

    def exposition(self, shared_folder: str | None) -> bytes:
        """Return the text for Prometheus: of all workers when they share a folder, else of this one."""
        if shared_folder is None:
            return generate_latest(self._registry)
        collected = CollectorRegistry()
        multiprocess.MultiProcessCollector(collected, path=shared_folder)  # type: ignore[no-untyped-call]  # untyped there
        return generate_latest(collected)
