"""Where the trace store keeps its files inside the data folder, and how they are kept; knows names, not formats."""

from dataclasses import dataclass
from pathlib import Path

from llmguard.domain.at_rest import PLAIN, AtRest


@dataclass(frozen=True, slots=True)
class Places:
    """The files of the trace store below one data folder."""

    data: Path
    at_rest: AtRest = PLAIN

    @property
    def spool(self) -> Path:
        """The folder with the segments that workers write and the ingester empties."""
        return self.data / "spool"

    @property
    def store(self) -> Path:
        """The DuckDB file."""
        return self.data / "traces.duckdb"

    @property
    def fresh_store(self) -> Path:
        """A copy of the store in the making, which takes its place."""
        return self.data / "traces.duckdb.fresh"

    @property
    def rejected(self) -> Path:
        """The folder with what was in the spool and is no trace."""
        return self.spool / "rejected"

    @property
    def state(self) -> Path:
        """The file with the audit log."""
        return self.data / "state.db"

    @property
    def lock(self) -> Path:
        """Whoever holds its flock is the one process that may write to the store."""
        return self.data / "ingester.lock"

    @property
    def address(self) -> Path:
        """Where the running ingester answers reads, and with which key."""
        return self.data / "ingester.json"

    @property
    def batch(self) -> Path:
        """The rows of one commit on their way into DuckDB."""
        return self.data / "ingester.ndjson"

    @property
    def temporary(self) -> Path:
        """Where DuckDB spills what does not fit into its memory limit."""
        return self.data / "duckdb.tmp"

    def create(self) -> None:
        """Make the folders, for the owner only."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.spool.mkdir(mode=0o700, exist_ok=True)
