"""What the pages of finance and of responders work with beside the console: files, audit log, environment."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmguard.audit.log import AuditLog
from llmguard.settings import Settings
from llmguard.web.operators import Visit


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the files are, where it is recorded what people did, and which keys of providers are set."""

    settings: Settings
    audit: AuditLog
    environ: Mapping[str, str]

    async def record(self, visit: Visit, what: str, subject: str, app: str | None = None, **facts: Any) -> None:
        """Write into the audit log what somebody did here; `facts` is JSON.

        Raises:
            sqlite3.Error: it cannot be written now; what is done only if it is recorded must not be done then.
        """
        who = visit.operator.who
        await asyncio.to_thread(self.audit.record, who=who, what=what, subject=subject, app=app, facts=facts)
