"""What Prometheus sees: counts, sums and durations, never a value of a request."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from llmguard.domain.catalog import Model
from llmguard.domain.trace import Trace

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_DECISION_SECONDS = (0.000_005, 0.000_01, 0.000_025, 0.000_1, 0.000_25, 0.001, 0.01, 0.1, 1)
_TOGETHER_SECONDS = 0.2  # scrapes are seconds apart; counting a request by itself costs a twentieth of answering it


class Durations(Histogram):
    """A histogram that takes many observations at once."""

    def observe_all(self, seconds: Sequence[float]) -> None:
        """Observe each of these."""
        counts: dict[int, int] = {}
        for one in seconds:
            place = bisect_left(self._upper_bounds, one)
            counts[place] = counts.get(place, 0) + 1
        self._sum.inc(sum(seconds))
        for place, count in counts.items():
            self._buckets[place].inc(count)


class Metrics:
    """Counters of one worker. With several workers, prometheus_client adds them up through memory-mapped files.

    Label values are names from the registry, codes and entity types: nothing that a caller can invent. What comes
    within a fifth of a second is added up first, and counted together; a worker that is killed loses that much.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; `registry` collects those of this process."""
        self._registry = registry
        self._requests = Counter(
            "llmguard_requests", "Requests by outcome.", ("app", "preset", "status", "code"), registry=registry
        )
        self._tokens = Counter("llmguard_tokens", "Tokens as settled.", ("app", "preset", "kind"), registry=registry)
        self._cost = Counter("llmguard_cost_usd", "Cost as settled, in USD.", ("app", "preset"), registry=registry)
        self._findings = Counter(
            "llmguard_redactions",
            "Personal data found in requests, by entity type.",
            ("entity_type",),
            registry=registry,
        )
        self._latency = Durations(
            "llmguard_request_seconds",
            "From the first byte read to the answer complete.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._overhead = Durations(
            "llmguard_overhead_seconds",
            "Latency less the time spent waiting for the provider.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._decided = Durations(
            "llmguard_policy_seconds",
            "How long the CoE's own rules took to decide.",
            buckets=_DECISION_SECONDS,
            registry=registry,
        )
        self._reasons = Counter(
            "llmguard_policy_reasons", "Reasons by the CoE's own rules.", ("rule", "effect"), registry=registry
        )
        self._untraced = Counter(
            "llmguard_untraced", "Refusals that were counted only, since too many came.", ("code",), registry=registry
        )
        self._circuits = Gauge(
            "llmguard_provider_circuit_open",
            "Targets of a model that are left alone since they fail, over all workers.",
            ("provider", "model"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._added: defaultdict[tuple[Counter, *tuple[str, ...]], float] = defaultdict(float)  # by counter and labels
        self._observed: dict[Durations, list[float]] = {self._latency: [], self._overhead: [], self._decided: []}
        self._timer: asyncio.TimerHandle | None = None

    def count(self, trace: Trace) -> None:
        """Count one finished request; on an event loop it shows within a fifth of a second, elsewhere at once."""
        added, observed = self._added, self._observed
        app, preset = trace.app or "", trace.preset or ""
        added[self._requests, app, preset, str(trace.status), trace.code or ""] += 1
        if trace.latency_ms is not None:
            observed[self._latency].append(trace.latency_ms / 1000)
        if trace.overhead_ms is not None:
            observed[self._overhead].append(trace.overhead_ms / 1000)
        if trace.input_tokens is not None:
            added[self._tokens, app, preset, "input"] += trace.input_tokens
            added[self._tokens, app, preset, "output"] += trace.output_tokens or 0
            added[self._cost, app, preset] += (trace.cost_nano_usd or 0) / 1e9
        for entity_type, count in trace.entities.items():
            added[self._findings, entity_type] += count
        policy = trace.decision.get("policy")
        if policy is not None:
            observed[self._decided].append(policy["microseconds"] / 1e6)
            for reason in policy["reasons"]:
                added[self._reasons, reason["rule"], reason["effect"]] += 1
            if trace.code == "policy_denied":
                for reason in trace.decision["reasons"]:
                    added[self._reasons, reason.get("rule") or reason.get("file") or "", "deny"] += 1
        if self._timer is None:
            self._flush_soon()

    def count_turned_away(self, status: int, code: str) -> None:
        """Count one request that was refused before anything was made for it; it is not traced, and took no time."""
        self._added[self._requests, "", "", str(status), code] += 1
        self.count_untraced(code)

    def count_untraced(self, code: str) -> None:
        """Count one refusal that is not traced."""
        self._added[self._untraced, code] += 1
        if self._timer is None:
            self._flush_soon()

    def flush(self) -> None:
        """Show what was counted by now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        added = self._added
        while added:  # each is out before it is counted: where that fails, on a full disk, none is counted twice
            (counter, *labels), amount = added.popitem()
            counter.labels(*labels).inc(amount)
        for durations, observed in self._observed.items():
            if observed:
                durations.observe_all(observed)
                observed.clear()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            self._timer = loop.call_later(_TOGETHER_SECONDS, self.flush)

    def count_circuit(self, model: Model, is_open: bool) -> None:  # noqa: FBT001 - called as a plain callable
        """Count a circuit that opens or closes."""
        gauge = self._circuits.labels(model.provider.name, model.name)
        if is_open:
            gauge.inc()
        else:
            gauge.dec()

    def exposition(self, shared_folder: str | None) -> bytes:
        """Return the text for Prometheus: of all workers when they share a folder, else of this one."""
        self.flush()
        if shared_folder is None:
            return generate_latest(self._registry)
        collected = CollectorRegistry()
        multiprocess.MultiProcessCollector(collected, path=shared_folder)  # type: ignore[no-untyped-call]  # untyped there
        return generate_latest(collected)
