"""One trace as people read it: what came of it, the nine steps with their times, what was said, what decided it."""

import json
from typing import Any

import click

from llmguard.catalog.steps import Step, steps_of
from llmguard.cli.output import print_rows
from llmguard.domain.chat import JsonObject

_PAYLOAD = ("request", "response", "chunks")
_APART = {"decision", "steps", "seq", *_PAYLOAD}


def print_trace(trace: JsonObject) -> None:
    """Print a trace in parts."""
    click.echo(f"Trace {trace['trace_id']}: {_outcome(trace)}")
    for reason in (trace.get("decision") or {}).get("reasons") or ():
        click.echo(f"  {reason['code']}: {reason['message']}")
        if reason.get("hint"):
            click.echo(f"  {reason['hint']}")
    if trace.get("erased_by"):
        click.echo(f"  Request and answer were erased by {trace['erased_by']} at {trace['erased_at']}.")
    _part("Steps")
    print_rows(_step_rows(trace), ("step", "name", "what", "ended_ms", "took_ms"), as_json=False, none="")
    _part("Facts")
    facts = {name: value for name, value in trace.items() if name not in _APART and value not in (None, {}, "")}
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.ljust(width)}  {_shown(value)}")
    decision = {name: value for name, value in (trace.get("decision") or {}).items() if name != "reasons"}
    for title, value in (("Decision", decision), *((name.capitalize(), trace.get(name)) for name in _PAYLOAD)):
        if value:
            _part(title)
            click.echo(_payload(value))


def _step_rows(trace: JsonObject) -> list[JsonObject]:
    """Return the nine steps with the milliseconds since the start at which each ended, and those that it took."""
    return [
        {
            "step": step.number,
            "name": step.name,
            "what": step.what,
            "ended_ms": _ended(step),
            "took_ms": "" if step.took_ms is None else f"{step.took_ms:.2f}",
        }
        for step in steps_of(trace)
    ]


def _ended(step: Step) -> str:
    if step.ended_ms is not None:
        return f"{step.ended_ms:.2f}"
    return "with call" if step.is_within_call else "not reached"


def _outcome(trace: JsonObject) -> str:
    who = trace.get("app") or "nobody known"
    preset = f", preset {trace['preset']}@{trace['preset_version']}" if trace.get("preset") else ""
    code = f" {trace['code']}" if trace.get("code") else ""
    return f"{trace['endpoint']} of {who}{preset} at {trace['started_at']} ended with {trace['status']}{code}."


def _part(title: str) -> None:
    click.echo(f"\n{title}")


def _shown(value: Any) -> str:  # Any: JSON
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _payload(value: Any) -> str:  # Any: JSON
    if isinstance(value, list):  # chunks: one a line
        return "\n".join(json.dumps(chunk, ensure_ascii=False) for chunk in value)
    return json.dumps(value, indent=2, ensure_ascii=False)
