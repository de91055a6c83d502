"""Drafts of catalog entries from who is seen to use language models: access logs, and providers' usage exports.

Only names, paths, models, counts and days are taken from a line; nothing of an Authorization header, a query or a key,
and what looks like a secret is left out of names, too.
"""

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from llmguard.registry.app_policy import UNASSIGNED
from llmguard.registry.leaks import without_secrets

# Source: nginx, ngx_http_log_module, the format `combined`; Apache's `combined` is the same.
_COMBINED: Final = re.compile(
    r'(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) \S+'
    r'(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)")?'
)
_MODEL_PATH: Final = re.compile(r"/v1/(?:chat/completions|responses|completions|embeddings|messages|images|audio)\b")
# By what somebody is known, the best first; the names of fields in JSON lines and in usage exports.
_WHO: Final = (
    *("app", "application", "service", "client_name", "project_name", "project", "remote_user", "user", "client_id"),
    *("project_id", "user_id", "user_email", "api_key_name", "api_key_id", "referer", "http_referer"),
    *("user_agent", "http_user_agent", "agent"),
)
_WHEN: Final = ("time", "timestamp", "time_local", "time_iso8601", "ts", "@timestamp", "date", "start_time", "day")
_COUNT: Final = ("num_model_requests", "n_requests", "requests", "num_requests", "request_count")
_MODEL: Final = ("model", "model_id", "snapshot_id", "operation")
_PATH: Final = ("path", "uri", "request_uri", "url", "request")
_NOBODY: Final = frozenset({"", "-", "none", "null", "unknown", "anonymous"})
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}")
_OPAQUE: Final = re.compile(r"(?i)\b(?:sk|key|proj|user|org)[-_][A-Za-z0-9_-]*\*{3}\S*|\S{65,}")
_A_MODEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9._:/ -]{0,79}")
_WEB: Final = re.compile(r"[a-z]+://", re.IGNORECASE)
_LONGEST_NAME: Final = 48
_UNKNOWN: Final = "[secret]"  # what `without_secrets` leaves


@dataclass(slots=True)
class Seen:
    """Somebody who was seen to use models."""

    name: str
    owner: str | None = None
    requests: int = 0
    first: date | None = None
    last: date | None = None
    models: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)

    def add(self, use: "_Use", source: str) -> None:
        """Count one line."""
        self.requests += use.requests
        self.sources.add(source)
        if use.model:
            self.models.add(use.model)
        if use.day is not None:
            self.first = use.day if self.first is None else min(self.first, use.day)
            self.last = use.day if self.last is None else max(self.last, use.day)


@dataclass(frozen=True, slots=True)
class _Use:
    who: str
    requests: int = 1
    day: date | None = None
    model: str | None = None


def discover(files: Iterable[tuple[str, str]], known: Collection[str]) -> tuple[list[Seen], int]:
    """Return who is seen in files (name and text) and is not among the known apps, and how many lines told nothing."""
    found: dict[str, Seen] = {}
    unread = 0
    for source, text in files:
        for use in _uses(text):
            name = _slug(use.who) if use is not None else ""
            if use is None or not name:
                unread += 1
            elif name not in known:
                owner = use.who if _ADDRESS.fullmatch(use.who) else None
                found.setdefault(name, Seen(name, owner)).add(use, source)
    return sorted(found.values(), key=lambda one: (-one.requests, one.name)), unread


def draft_row(seen: Seen) -> dict[str, Any]:
    """Return the entry of a draft: nobody answers for it, and it may do nothing, until somebody fills it in."""
    return {
        "owner": seen.owner or UNASSIGNED,
        "cost_center": UNASSIGNED,
        "status": "draft",
        "sensitivity": "restricted",
        "connectors": [],
        "presets": [],
        "quota": {"requests_per_minute": 60},
    }


def _uses(text: str) -> Iterator[_Use | None]:
    """Yield what each line says, in whichever format; None for one that says nothing."""
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[")):
        try:
            document = json.loads(start)
        except ValueError:
            yield from (_json_line(line) for line in start.splitlines() if line.strip())
        else:
            yield from _records(document, None)
    elif _COMBINED.match(start):
        for line in start.splitlines():
            if line.strip():
                match = _COMBINED.match(line)
                yield None if match is None else _log_use(match.groupdict())
    else:
        yield from map(_record, csv.DictReader(io.StringIO(start)))


def _json_line(line: str) -> _Use | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return _record(fields) if isinstance(fields, dict) else None


def _records(node: Any, day: date | None) -> Iterator[_Use | None]:  # Any: JSON
    """Yield the records of a document: OpenAI's usage API has them in buckets, with the time on the bucket."""
    if isinstance(node, list):
        for item in node:
            yield from _records(item, day)
    elif isinstance(node, dict):
        inner = next((node[name] for name in ("data", "results", "result") if isinstance(node.get(name), list)), None)
        if inner is None:
            yield _record(node, day)
        else:
            yield from _records(inner, _first(node, _WHEN, _day) or day)


def _record(fields: Mapping[str, Any], day: date | None = None) -> _Use | None:
    low = {str(name).strip().lower(): value for name, value in fields.items() if name is not None}
    path = _first(low, _PATH, _text)
    who = _first(low, _WHO, _identity)
    if who is None or (path is not None and not _MODEL_PATH.search(path)):
        return None
    count = _first(low, _COUNT, _whole)
    return _Use(who, 1 if count is None else count, _first(low, _WHEN, _day) or day, _first(low, _MODEL, _model))


def _log_use(line: Mapping[str, str | None]) -> _Use | None:
    if not _MODEL_PATH.search(line["request"] or ""):
        return None
    who = next((found for name in ("user", "referer", "agent") if (found := _identity(line[name]))), None)
    return None if who is None else _Use(who, 1, _day(line["time"]))


def _first(fields: Mapping[str, Any], names: Iterable[str], read: Any) -> Any:  # Any: a reader, and what it gives
    return next((found for name in names if (found := read(fields.get(name))) is not None), None)


def _text(value: Any) -> str | None:  # Any: JSON
    return value.strip() if isinstance(value, str) and value.strip().lower() not in _NOBODY else None


def _model(value: Any) -> str | None:  # Any: JSON
    text = _text(value)
    return text if text is not None and _A_MODEL.fullmatch(text) and without_secrets(text) == text else None


def _identity(value: Any) -> str | None:  # Any: JSON
    """Return by what somebody is known, without secrets; of a web address its host, of a program its name."""
    text = _text(value)
    if text is None:
        return None
    if _WEB.match(text):
        text = urlsplit(text).hostname or ""
    if not _ADDRESS.fullmatch(text):
        text = text.split("/", 1)[0]
    text = _OPAQUE.sub(_UNKNOWN, without_secrets(text))
    return text if text and _UNKNOWN not in text and text.lower() not in _NOBODY else None


def _whole(value: Any) -> int | None:  # Any: JSON, or a cell
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return None


def _day(value: Any) -> date | None:  # Any: JSON, or a cell
    if isinstance(value, int | float) or (isinstance(value, str) and re.fullmatch(r"\d{10}(?:\.\d+)?", value)):
        try:
            return datetime.fromtimestamp(float(value), UTC).date()
        except (ValueError, OverflowError, OSError):
            return None
    text = _text(value) or ""
    for form in ("%d/%b/%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(text[: 11 if "/" in text else 10], form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    return None


def _slug(who: str) -> str:
    """Return a name for the catalog; of an e-mail address what stands before the @."""
    return re.sub(r"[^a-z0-9]+", "-", who.partition("@")[0].lower()).strip("-")[:_LONGEST_NAME].strip("-")
