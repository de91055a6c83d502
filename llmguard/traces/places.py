"""Where the trace store keeps its files inside the data folder; knows names, not formats."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The files of the trace store below one data folder."""

    data: Path

    @property
    def spool(self) -> Path:
        """The folder with the segments that workers write and the ingester empties."""
        return self.data / "spool"

    @property
    def store(self) -> Path:
        """The DuckDB file."""
        return self.data / "traces.duckdb"

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
