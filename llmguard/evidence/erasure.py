"""Erasure on request and by age: what is due, done by whoever has the trace store, in every place that holds it."""

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llmguard.domain.catalog import Registry
from llmguard.domain.clock import Clock, SystemClock
from llmguard.domain.retention import end_of
from llmguard.idempotency.store import AnswerStore
from llmguard.settings import Settings
from llmguard.traces.erasing import Erased, Order
from llmguard.traces.filters import TraceFilters
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader

_BLOCK_BYTES = 1 << 20
RETENTION = "llmguard retention"
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # nothing is older


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an erasure did.

    Attributes:
        action: its id, as rows and audit log name it.
        rows: traces whose payload is gone.
        first_answers: kept for repeated requests until now, and gone too.
        rejected_files: parts of the spool that were no traces, and gone too.
        left_in: other files of the data folder in which a placeholder still stands.
    """

    action: str
    rows: int
    first_answers: int
    rejected_files: int
    left_in: tuple[Path, ...] = ()


def erasure_order(filters: TraceFilters, *, who: str, reason: str, dry_run: bool = False) -> Order:
    """Return the order to erase the payloads of all traces that pass the filters."""
    return Order(id=str(uuid.uuid4()), kind="erasure", who=who, reason=reason, filters=dict(filters), dry_run=dry_run)


def retention_order(registry: Registry, now: datetime, *, who: str = RETENTION, dry_run: bool = False) -> Order:
    """Return the order to erase the payloads that are older than the registry wants them kept.

    Those of an app that is contained stay: they are evidence.
    """
    policy = registry.retention
    ends = {
        app.name: _NEVER if app.contained_at else end_of(policy.days_of(app.name, app.sensitivity.label), now)
        for app in registry.apps.values()
    }
    return Order(
        id=str(uuid.uuid4()),
        kind="retention",
        who=who,
        reason=f"retention of registry {registry.digest[:12]}",
        ends={name: end.isoformat() for name, end in ends.items()},
        otherwise=end_of(policy.longest_days, now).isoformat(),
        dry_run=dry_run,
    )


def carry_out(settings: Settings, order: Order, clock: Clock | None = None) -> Outcome:
    """Erase, and return when no byte is left in the data folder that llmguard knows of.

    Raises:
        TraceStoreError: it is not known to be done; see its words.
        TraceQueryError: another erasure is under way.
        sqlite3.Error, OSError: payloads are gone, first answers may not be.
    """
    erased = TraceReader(settings.data, settings.at_rest).erase(order)
    placeholders = order.filters.get("placeholders", [])
    return Outcome(
        action=order.id,
        rows=erased.rows,
        first_answers=0 if order.dry_run else _forget_answers(settings, erased, clock or SystemClock()),
        rejected_files=erased.rejected_files,
        left_in=() if order.dry_run else tuple(_files_with(placeholders, settings.data)),
    )


def _forget_answers(settings: Settings, erased: Erased, clock: Clock) -> int:
    state = settings.data / "state.db"
    if not erased.recent or not state.exists():
        return 0
    with closing(AnswerStore(state, settings.secret, clock)) as answers:
        return answers.erase(erased.recent)


def _files_with(texts: Iterable[str], folder: Path) -> Iterator[Path]:
    """Yield files below the data folder that are not llmguard's own and hold one of these texts, such as exports."""
    wanted = [text.encode() for text in texts] + [json.dumps(text)[1:-1].encode() for text in texts]
    if not wanted:
        return
    own = {*Places(folder).spool.glob("*"), *folder.glob("traces.duckdb*"), *folder.glob("ingester.*")}
    for path in sorted(folder.rglob("*")):
        if path not in own and path.is_file() and _holds(path, wanted):
            yield path


def _holds(path: Path, wanted: list[bytes]) -> bool:
    overlap = max(map(len, wanted))
    try:
        with path.open("rb") as file:
            before = b""
            while block := file.read(_BLOCK_BYTES):
                if any(one in before + block for one in wanted):
                    return True
                before = block[-overlap:]
    except OSError:  # gone meanwhile, or not ours to read
        return False
    return False
