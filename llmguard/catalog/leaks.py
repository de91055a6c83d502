"""Who may write to a connector, who changed that, and what those apps sent: when something stands where it must not."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from llmguard.domain.catalog import Registry
from llmguard.domain.chat import JsonObject
from llmguard.policy.decide import HARMLESS
from llmguard.registry.yaml_text import NotYaml, read_yaml
from llmguard.traces.reader import TraceReader

_FINDINGS: Final = """
SELECT trace_id::VARCHAR AS trace_id, started_at::VARCHAR AS started_at, app, key_id, preset, status, found AS entities
FROM (
    SELECT *, list_filter(map_keys(entities), kind -> NOT list_contains($harmless, kind)) AS found
    FROM traces WHERE app = $app AND started_at >= $since::TIMESTAMPTZ
) WHERE len(found) > 0 ORDER BY started_at DESC, seq DESC
"""
_GIT_SECONDS: Final = 60
_MOST_COMMITS: Final = 2_000
_MARK: Final = "\x1e"
_LOG: Final = ("log", f"--max-count={_MOST_COMMITS}", f"--format={_MARK}%H%x1f%an%x1f%ae%x1f%aI%x1f%s")
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")


def writers(registry: Registry, connector: str) -> list[JsonObject]:
    """Return the apps that may write to a connector; one that nobody described counts as one that is written to."""
    described = registry.connectors.get(connector)
    if described is not None and described.direction == "read":
        return []
    return [
        {
            "app": app.name,
            "status": app.status,
            "owner": app.owner,
            "backup_owner": app.backup_owner,
            "sensitivity": app.sensitivity.label,
            "contained_at": app.contained_at,
        }
        for _, app in sorted(registry.apps.items())
        if connector in app.connectors
    ]


def changes(registry_file: Path, connector: str) -> Iterator[JsonObject] | None:
    """Yield each commit that changed who may use a connector, newest first; None where there is no git to ask.

    Every commit of the registry is read, up to two thousand: which app a line belongs to is seen in the file alone.
    """
    path = registry_file.resolve()
    log = _git(path.parent, *_LOG, "--", path.name)
    if log is None:
        return None
    return _changes(path, connector, [line.split("\x1f") for line in log.split(_MARK)[1:]])


def findings(reader: TraceReader, app: str, since: datetime, *, limit: int) -> list[JsonObject]:
    """Return the newest traces of an app in which something confidential was found and hidden: types, never values.

    Raises:
        TraceStoreError, TraceQueryError: they cannot be read now.
    """
    parameters = {"app": app, "since": since.isoformat(), "harmless": sorted(HARMLESS)}
    return reader.query(_FINDINGS, parameters, limit=limit)


def _changes(path: Path, connector: str, commits: list[list[str]]) -> Iterator[JsonObject]:
    after: tuple[list[str], dict[str, Any]] | None = None
    for commit in [*commits, None]:
        now = {} if commit is None else _use(path, commit[0], connector)
        if now is None:
            continue  # a state that is no YAML was never in force
        if after is not None and (what := list(_difference(now, after[1]))):
            digest, author, address, moment, subject = (part.strip() for part in after[0])
            yield {"commit": digest, "when": moment, "who": f"{author} <{address}>", "subject": subject, "what": what}
        if commit is not None:
            after = (commit, now)


def _use(path: Path, commit: str, connector: str) -> dict[str, Any] | None:
    """Return what a commit says about a connector: the apps that name it with their status, and its direction."""
    text = _git(path.parent, "show", f"{commit}:./{path.name}") if _COMMIT.fullmatch(commit) else None
    if text is None:
        return {}  # the file was not there
    try:
        content = read_yaml(text)
    except NotYaml:
        return None
    document = content if isinstance(content, dict) else {}
    apps = {
        f"app {name}": row.get("status", "sandbox") for name, row in _rows(document, "apps") if _names(row, connector)
    }
    direction = {f"connector {name}": row.get("direction") for name, row in _rows(document, "connectors")}
    return apps | {name: value for name, value in direction.items() if name == f"connector {connector}"}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if name not in before:
            yield f"{name} came ({after[name]})"
        elif name not in after:
            yield f"{name} went"
        elif before[name] != after[name]:
            yield f"{name}: {before[name]} -> {after[name]}"


def _rows(document: Mapping[str, Any], section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = document.get(section)
    return (
        ((str(name), row) for name, row in rows.items() if isinstance(row, dict))
        if isinstance(rows, dict)
        else iter(())
    )


def _names(row: Mapping[str, Any], connector: str) -> bool:
    listed = row.get("connectors")
    return isinstance(listed, list) and connector in listed


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and no word of it is from outside but names of files
            ["git", "-C", str(folder), *words],  # noqa: S607 - whichever git is installed
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
