"""`llmguard check --cases`: regression cases asked of the registry as it is now, and of its models."""

import asyncio
import os
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from llmguard.cli.main import fail
from llmguard.domain.catalog import Registry
from llmguard.domain.errors import GuardError
from llmguard.policy.evaluator import NoVerdict
from llmguard.policy.live import PoliciesInvalid
from llmguard.replay.cases import Case, CaseInvalid, Judged, judge, read_cases
from llmguard.replay.errors import CannotReplay
from llmguard.settings import Settings

Finding = dict[str, Any]  # Any: JSON


def case_findings(settings: Settings, registry: Registry, folder: Path, who: str | None) -> list[Finding]:
    """Return one entry a case; its `text` is None where everything is as the case expects.

    Args:
        settings: where things are.
        registry: the file as it is now.
        folder: of the cases.
        who: asks the models, too; None: they are not asked.
    """
    if not folder.is_dir():
        fail(f"there is no folder {folder}. `llmguard replay TRACE --save-case` makes it.")
    try:
        cases = list(read_cases(folder))
    except CaseInvalid as error:
        fail(str(error))
    today = datetime.now(UTC).date()
    judged = [(path, case, judge(case, registry, today)) for path, case in cases]
    if who is None:
        return [_finding(path, case, result, result.problems) for path, case, result in judged]
    try:
        return asyncio.run(_answered(settings, judged, who))
    except (OSError, sqlite3.Error) as error:
        fail(f"the data folder {settings.data} cannot be used ({type(error).__name__}); check its rights and its disk.")
    except (CannotReplay, PoliciesInvalid, NoVerdict) as reason:
        fail(str(reason))


async def _answered(settings: Settings, judged: list[tuple[Path, Case, Judged]], who: str) -> list[Finding]:
    """Return the same with what the models answer, for cases that are decided as expected and are let through."""
    from llmguard.replay.live import account_of, answer_case  # noqa: PLC0415 - imports every part of the gateway: seconds
    from llmguard.wiring import open_replay  # noqa: PLC0415 - as above

    found = []
    hidden = not sys.stderr.isatty()
    async with open_replay(settings, os.environ) as parts:
        account_of(parts.registry, who)
        with click.progressbar(judged, label="Asking", file=sys.stderr, hidden=hidden) as progress:
            for path, case, result in progress:
                problems = result.problems
                if not problems and result.code is None:
                    try:
                        problems = await answer_case(parts, case, who)
                    except (CannotReplay, GuardError) as error:
                        problems = (f"it could not be asked: {error}",)
                found.append(_finding(path, case, result, problems))
    return found


def _finding(path: Path, case: Case, result: Judged, problems: tuple[str, ...]) -> Finding:
    preset = None if result.preset is None else result.preset.id
    under = f" under {preset}" if preset else ""
    was = f" (it was {case.decided_by})" if case.decided_by not in (None, preset) else ""
    text = f"{path}: {case.app}{under}{was}: {'; '.join(problems).rstrip('.')}." if problems else None
    return {"file": str(path), "trace": case.trace, "app": case.app, "preset": preset, "text": text}
