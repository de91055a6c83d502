"""What a pack is about, and what was packed; apart from what packs, which needs DuckDB."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pack is about: `since` counts, `until` does not; without an app all of them."""

    since: datetime
    until: datetime
    app: str | None = None
    with_redaction_rules: bool = False


@dataclass(frozen=True, slots=True)
class Packed:
    """What was packed. `fault`: what `traces verify` finds wrong with the store, which the pack says, too."""

    traces: int
    audit_entries: int
    manifest_sha256: str
    fingerprint: str
    fault: str | None
    not_kept: tuple[str, ...]
