"""What differs between git and what is in force: files that were not accepted, containments, renewals."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.registry.app_states import AppStates

_GIT_SECONDS = 30


def committed(path: Path) -> bytes | None:
    """Return a file as git's HEAD has it; None where it is not under version control, or git is not there."""
    path = path.resolve()
    command = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def drift(git: Mapping[str, Any], live: Mapping[str, Any], states: AppStates) -> Iterator[JsonObject]:
    """Yield each difference about an app: `app`, `what`, `in_git`, `live`, and `fix`, what to do about it.

    Args:
        git: the registry as git has it, parsed.
        live: the registry that was accepted last, parsed.
        states: what has happened to apps since.
    """
    there, here = _apps(git), _apps(live)
    for name in sorted({*there, *here}):
        if name not in here:
            yield _row(name, "app", "there", "missing", "`llmguard check` says why the file was not accepted")
        elif name not in there:
            yield _row(name, "app", "missing", "there", f"commit it: `llmguard apps export {name}`")
        else:
            yield from _fields(name, there[name], here[name])
        yield from _states(name, there.get(name, {}), states)
    for name in sorted({*states.contained} - {*there, *here}):
        yield from _states(name, {}, states)


def _fields(name: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[JsonObject]:
    for field in sorted({*there, *here}):
        if there.get(field) != here.get(field):
            fix = "commit the file, or take the change back; if the file is git's: `llmguard check`"
            yield _row(name, field, there.get(field), here.get(field), fix)


def _states(name: str, there: Mapping[str, Any], states: AppStates) -> Iterator[JsonObject]:
    contained = states.contained.get(name)
    if contained is not None and there.get("status") not in {"suspended", "retired"}:
        said = f"contained on {contained.at:%Y-%m-%d %H:%M} UTC by {contained.by}"
        yield _row(name, "status", there.get("status"), said, "write `status: suspended`, or `llmguard contain --lift`")
    renewed = states.renewed.get(name)
    if renewed is not None and there.get("expires") == renewed.from_day.isoformat():
        day = renewed.to_day.isoformat()
        said = f"{day}, renewed on {renewed.at:%Y-%m-%d} by {renewed.by}"
        yield _row(name, "expires", there["expires"], said, f"write `expires: {day}`")


def _apps(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    apps = content.get("apps")
    return {str(name): row for name, row in apps.items() if isinstance(row, dict)} if isinstance(apps, dict) else {}


def _row(app: str, what: str, in_git: Any, live: Any, fix: str) -> JsonObject:  # Any: values of registry.yaml
    return {"app": app, "what": what, "in_git": in_git, "live": live, "fix": fix}
