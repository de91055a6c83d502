"""The table of overage grants in `state.db`: what is granted on top of a limit, and until when.

The ledger reads it inside the transaction that decides, so that a grant counts from the very next request on and ends
at its end; only the overage gate writes it.
"""

CREATE_GRANTS = (
    """
CREATE TABLE IF NOT EXISTS grants (
    request_id TEXT PRIMARY KEY, scope TEXT NOT NULL, limit_name TEXT NOT NULL, amount INTEGER NOT NULL,
    starts_at INTEGER NOT NULL, ends_at INTEGER NOT NULL
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS grants_by_end ON grants (ends_at)",
)
GRANTS_IN_FORCE = "SELECT scope, limit_name, amount, ends_at FROM grants WHERE ends_at > ?"
