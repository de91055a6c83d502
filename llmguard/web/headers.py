"""The headers of every data-plane answer: ids, preset, what was changed and hidden, and how much quota is left."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from email.utils import format_datetime

from llmguard.domain.catalog import App
from llmguard.domain.errors import GuardError
from llmguard.domain.quota import Standing
from llmguard.domain.trace import Trace
from llmguard.gateway.recorder import Record

Headers = list[tuple[bytes, bytes]]
_OWN_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?")
# What machines make: UUIDs, ULIDs, hexadecimal digests, `req_` with random letters. A caller could put anything else
# there, a name or a number of a card among it, and it would be kept.
_MACHINE_ID = re.compile(
    r"(?:(?:req|request|trace|corr|run|id)[-_])?"
    r"(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}"
    r"|[0-7][0-9A-HJKMNP-TV-Z]{25})|req[-_](?=[A-Za-z]*[0-9])[A-Za-z0-9]{20,64}"
)
# Source: W3C Trace Context, 3.2 (version 00, and later ones read as 00); ff is no version, zeros are no id.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_DEFAULT_WAIT_SECONDS = 1.0
_END_IS_NEAR_DAYS = 14
_EXPOSED = (
    b"x-request-id, x-llmguard-trace-id, x-llmguard-preset, x-llmguard-adjusted, x-llmguard-redactions, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    b"x-should-retry, retry-after, retry-after-ms, sunset, x-llmguard-app-expires-in"
)
_LIMIT_KINDS = {"requests_per_minute": b"requests"} | dict.fromkeys(
    ("tokens_per_minute", "tokens_per_day", "tokens_per_month"), b"tokens"
)


def answer_headers(record: Record, request_id: bytes | None) -> Headers:
    """Return what is known of a request by now, as headers."""
    trace = record.trace
    headers = id_headers(trace.trace_id, request_id)
    if trace.preset is not None:
        headers.append((b"x-llmguard-preset", f"{trace.preset}@{trace.preset_version}".encode()))
    if record.adjusted:
        headers.append((b"x-llmguard-adjusted", ",".join(record.adjusted).encode()))
    if trace.entities:
        counts = ",".join(f"{kind}={count}" for kind, count in sorted(trace.entities.items()))
        headers.append((b"x-llmguard-redactions", counts.encode()))
    now = record.now()
    headers += _rate_limit_headers(record.standings, now)
    if record.app is not None:
        headers += end_headers(record.app, now)
    headers.append((b"openai-processing-ms", b"%d" % round(record.elapsed_ms())))
    return headers


def id_headers(trace_id: str, request_id: bytes | None) -> Headers:
    """Return the ids of an answer: the caller's own if it sent one, and ours."""
    own_id = request_id if request_id is not None and _OWN_REQUEST_ID.fullmatch(request_id) else trace_id.encode()
    return [(b"x-request-id", own_id), (b"x-llmguard-trace-id", trace_id.encode())]


def why_address(scheme: str, host: bytes | None, trace_id: str) -> str:
    """Return where it is told what happened to a request; without the host if that is none."""
    path, name = f"/why/{trace_id}", (host or b"").decode("latin-1")
    return f"{scheme}://{name}{path}" if _HOST.fullmatch(name) else path


def end_headers(app: App, now: datetime) -> Headers:
    """Return when an app ends, from two weeks before on; of a deprecated app at any time.

    Source: RFC 8594, section 3: `sunset` is the instant from which on it is expected not to answer.
    """
    last_day = app.last_day
    if last_day is None or ((last_day - now.date()).days > _END_IS_NEAR_DAYS and app.status != "deprecated"):
        return []
    end = datetime.combine(last_day + timedelta(days=1), time(), UTC)
    left = max(0, math.ceil((end - now).total_seconds()))
    return [
        (b"sunset", format_datetime(end, usegmt=True).encode()),
        (b"x-llmguard-app-expires-in", str(left).encode()),
    ]


def note_own_ids(trace: Trace, request_id: str | None, traceparent: str | None) -> None:
    """Put the caller's own ids of a request on its trace, if they have the shape of ids that machines make."""
    if request_id is not None and _MACHINE_ID.fullmatch(request_id):
        trace.request_id = request_id
    if traceparent is not None and (match := _TRACEPARENT.fullmatch(traceparent)):
        trace.w3c_trace_id = match[1]


def retry_headers(error: GuardError) -> Headers:
    """Return whether and when to try again, as the OpenAI clients read it."""
    if not error.time_heals:
        return [(b"x-should-retry", b"false")]
    wait = error.retry_after_seconds or _DEFAULT_WAIT_SECONDS
    return [
        (b"retry-after", str(math.ceil(wait)).encode()),
        (b"retry-after-ms", str(math.ceil(wait * 1000)).encode()),
    ]


def cors_headers(app: App | None, origin: bytes | None) -> Headers:
    """Return the headers that let a listed web page read the answer, refusals included."""
    if app is None or origin is None or origin.decode("latin-1") not in app.origins:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


def _rate_limit_headers(standings: Sequence[Standing], now: datetime) -> Headers:
    """Return the tightest limit of each kind over all scopes: the app's, its owner's and its cost center's."""
    tightest: dict[bytes, tuple[int, Standing]] = {}
    for standing in standings:
        kind = _LIMIT_KINDS.get(standing.name)
        if kind is not None:
            left = standing.left
            if kind not in tightest or left < tightest[kind][0]:
                tightest[kind] = left, standing
    headers: Headers = []
    for kind, (left, standing) in sorted(tightest.items()):
        wait = max(0, math.ceil((standing.resets_at - now).total_seconds()))
        headers += [
            (b"x-ratelimit-limit-" + kind, b"%d" % standing.limit),
            (b"x-ratelimit-remaining-" + kind, b"%d" % left),
            (b"x-ratelimit-reset-" + kind, b"%ds" % wait),
        ]
    return headers
