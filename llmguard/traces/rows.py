"""What the trace store answers with; apart from what asks it, which needs DuckDB."""

from typing import Final

from llmguard.domain.chat import JsonObject

Rows = list[JsonObject]

MAX_ROWS: Final = 100_000
