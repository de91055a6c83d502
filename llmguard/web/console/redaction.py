"""`/console/redaction`: what the rules find in a text that somebody pastes, and the lines that mend a wrong finding.

The text is in this request and its answer alone: it is neither stored, nor logged, nor traced, nor remembered.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import Fault
from llmguard.domain.operators import OperatorRefused
from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.findings import ExplainedFinding
from llmguard.redaction.placeholders import readable
from llmguard.redaction.profiles import Profile
from llmguard.web.console.layout import REDACTION, Console, is_part
from llmguard.web.console.trace_text import Piece, colour_of
from llmguard.web.operators import Visit

_MOST_CHARACTERS: Final = 10_000
_MOST_ROWS: Final = 200
_IN_FORCE: Final = frozenset({"found", "trimmed"})
_USUAL: Final = "standard"


@dataclass(frozen=True, slots=True)
class Row:
    """One finding, or one that was proposed and dropped; `allow` and `case` are the lines that take it back."""

    text: str
    finding: ExplainedFinding
    action: str
    colour: int
    allow: str
    case: str


def redaction_router(console: Console) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    require = console.guard.require("rules.try")
    turn = asyncio.Lock()  # one text at a time: requests of apps need the processors, too

    @router.get(REDACTION)
    async def show(visit: Annotated[Visit, Depends(require)]) -> Response:
        facts = _frame(_analyzer(console), "", _USUAL, everything=False)
        return console.page(visit, "redaction.html", "Redaction", REDACTION, **facts)

    @router.post(REDACTION)
    async def look(request: Request, visit: Annotated[Visit, Depends(require)]) -> Response:
        analyzer = _analyzer(console)
        text = readable(visit.form.get("text", "").replace("\r\n", "\n"))
        if len(text) > _MOST_CHARACTERS:
            raise OperatorRefused(
                "body_refused",
                f"The text has {len(text):,} characters, and this page takes {_MOST_CHARACTERS:,}.",
                "Paste less of it, or use `llmguard redaction try` at the machine.",
            )
        profile = visit.form.get("profile", _USUAL)
        everything = visit.form.get("all") == "on"
        facts = _frame(analyzer, text, profile, everything=everything)
        async with turn:
            facts |= await asyncio.to_thread(_found, analyzer, text, facts["profile"], everything=everything)
        if is_part(request):
            return console.part(visit, "redaction_found.html", **facts)
        return console.page(visit, "redaction.html", "Redaction", REDACTION, **facts)

    return router


def _analyzer(console: Console) -> Analyzer:
    """Return the rules in force.

    Raises:
        OperatorRefused: conflict; this process has none that can explain themselves.
    """
    analyzer = console.guard.services.redactor.finder
    if not isinstance(analyzer, Analyzer):
        raise OperatorRefused("conflict", "No redaction rules are loaded here.", "Ask whoever runs llmguard.")
    return analyzer


def _frame(analyzer: Analyzer, text: str, profile: str, *, everything: bool) -> JsonObject:
    name = profile if profile in analyzer.profiles else next(iter(analyzer.profiles))
    return {
        "text": text,
        "profile": analyzer.profiles[name],
        "profiles": list(analyzer.profiles),
        "everything": everything,
        "most_characters": _MOST_CHARACTERS,
        "rows": None,
        "pieces": (),
        "more": 0,
        "digest": analyzer.digest,
        "failed": False,
    }


def _found(analyzer: Analyzer, text: str, profile: Profile, *, everything: bool) -> JsonObject:
    try:
        explained = analyzer.explain(text, profile)
    except Fault:  # it holds nothing of the text, and neither does what is said
        return {"rows": [], "failed": True}
    in_force = sorted((one for one in explained if one.fate in _IN_FORCE), key=lambda one: one.start)
    shown = sorted(explained, key=lambda one: (one.start, one.fate not in _IN_FORCE)) if everything else in_force
    rows = [_row(text, one, profile) for one in shown[:_MOST_ROWS]]
    return {"rows": rows, "pieces": tuple(_pieces(text, in_force)), "more": len(shown) - len(rows)}


def _row(text: str, finding: ExplainedFinding, profile: Profile) -> Row:
    value = text[finding.start : finding.end]
    action = str(profile.actions.get(finding.entity_type, "hide"))
    quoted = json.dumps(value, ensure_ascii=False)
    line = value.strip()
    is_line = finding.fate in _IN_FORCE and "\n" not in line and not line.startswith("#")
    case = f"- rule: {json.dumps('not ' + finding.entity_type)}\n  profile: {profile.name}\n  kept:\n    - {quoted}"
    return Row(value, finding, action, colour_of(finding.entity_type), line if is_line else "", case)


def _pieces(text: str, findings: list[ExplainedFinding]) -> list[Piece]:
    pieces, at = [], 0
    for finding in findings:
        if finding.start > at:
            pieces.append(Piece(text[at : finding.start]))
        kind = finding.entity_type
        pieces.append(Piece(text[max(at, finding.start) : finding.end], kind, colour_of(kind)))
        at = max(at, finding.end)
    return [*pieces, Piece(text[at:])]
