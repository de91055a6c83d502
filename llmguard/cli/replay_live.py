"""`llmguard replay --live`: traces asked again, one after the other, with what differs."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import click

from llmguard.cli.main import fail
from llmguard.cli.output import print_json
from llmguard.cli.replay_view import answer_json, print_live
from llmguard.domain.chat import JsonObject
from llmguard.policy.evaluator import NoVerdict
from llmguard.policy.live import PoliciesInvalid
from llmguard.redaction.profiles import RedactionInvalid
from llmguard.registry.finding import RegistryInvalid
from llmguard.replay.errors import BudgetSpent, CannotReplay
from llmguard.replay.live import LiveReplay, Parts, account_of, replay_live
from llmguard.replay.plan import Choice
from llmguard.replay.stored import read_stored
from llmguard.settings import Settings
from llmguard.wiring import open_replay

_DIFFERENT = 1
_CANNOT = 3


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How traces are asked again."""

    choice: Choice
    who: str
    times: int
    as_json: bool


@dataclass(slots=True)
class _Report:
    """What became of each trace, printed as it comes unless it is for programs."""

    as_json: bool
    total: int
    traces: list[JsonObject] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"same": 0, "different": 0, "not_replayed": 0})
    failed: bool = False

    def add(self, result: LiveReplay) -> None:
        self.counts["same" if result.is_same else "different"] += 1
        self.traces.append(live_json(result))
        if not self.as_json:
            print_live(result)

    def leave_out(self, trace_id: str, reason: CannotReplay) -> None:
        """Note a trace that was not asked; in a search, one that has nothing to send is no failure."""
        self.counts["not_replayed"] += 1
        self.failed = self.failed or not reason.is_final or self.total == 1
        self.traces.append({"trace_id": trace_id, "state": "not_replayed", "reason": str(reason)})
        if not self.as_json:
            click.echo(f"{trace_id}: not replayed. {reason}", err=True)

    def close(self) -> int:
        """Print the sums, and return the exit code."""
        rates = [one["agreement"] for one in self.traces if "agreement" in one]
        agreement = round(sum(rates) / len(rates), 4) if rates else None
        if self.as_json:
            print_json({"counts": self.counts, "agreement": agreement, "traces": self.traces})
        else:
            words = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in self.counts.items())
            click.echo(words + ("" if agreement is None else f"; agreement {agreement:.0%}"), err=True)
        if self.counts["different"]:
            return _DIFFERENT
        return _CANNOT if self.failed else 0


def replay_rows(settings: Settings, rows: Iterable[JsonObject], total: int, options: LiveOptions) -> int:
    """Ask each trace again, print what differs, and return the exit code."""
    report = _Report(options.as_json, total)
    try:
        asyncio.run(_ask_all(settings, rows, report, options))
    except CannotReplay as reason:
        fail(str(reason))
    except (OSError, sqlite3.Error) as error:
        fail(f"the data folder {settings.data} cannot be used ({type(error).__name__}); check its rights and its disk.")
    except (RegistryInvalid, RedactionInvalid, PoliciesInvalid) as error:
        fail(f"the CoE's files have findings:\n{error}")
    except NoVerdict as error:
        fail(f"the rules in {settings.policies} cannot be evaluated: {error}.")
    return report.close()


async def _ask_all(settings: Settings, rows: Iterable[JsonObject], report: _Report, options: LiveOptions) -> None:
    async with open_replay(settings, os.environ) as parts:
        account_of(parts.registry, options.who)
        hidden = not sys.stderr.isatty()
        asked = report.total * options.times
        with click.progressbar(length=asked, label="Asking again", file=sys.stderr, hidden=hidden) as progress:
            for row in rows:
                try:
                    report.add(await _ask(parts, row, options, lambda: progress.update(1)))
                except CannotReplay as reason:
                    report.leave_out(row["trace_id"], reason)
                    if isinstance(reason, BudgetSpent):
                        return


async def _ask(parts: Parts, row: JsonObject, options: LiveOptions, on_run: Callable[[], None]) -> LiveReplay:
    stored = read_stored(row)
    return await replay_live(parts, stored, options.choice, options.who, times=options.times, on_run=on_run)


def live_json(result: LiveReplay) -> JsonObject:
    """Return all about one trace that was asked again."""
    runs = zip(result.runs, result.differences, strict=True)
    return {
        "trace_id": result.stored.trace_id,
        "state": "same" if result.is_same else "different",
        "preset": result.preset_id,
        "model": result.model,
        "agreement": round(result.agreement, 4),
        "stability": round(result.stability, 4),
        "then": answer_json(result.stored.answer),
        "runs": [
            answer_json(run.answer)
            | {
                "same": difference.is_same,
                "differs_in": list(difference.parts),
                "similarity": round(difference.similarity, 4),
                "message": run.message,
                "hidden_in_addition": dict(run.hidden),
            }
            for run, difference in runs
        ],
    }
