"""Packs made in a process of their own: going over every trace would hold up the requests of the one that asks.

    python -m llmguard.evidence.apart < what to pack

The secret goes through standard input, and no personal data comes back: a pack is written to the file that was named.
"""

import asyncio
import base64
import os
import sqlite3
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from llmguard.evidence.scope import Packed, Scope
from llmguard.evidence.signing import EvidenceError
from llmguard.settings import Settings
from llmguard.traces.errors import TraceQueryError, TraceStoreError

_PASSED_ON: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_NICE: Final = 10


class Order(msgspec.Struct, frozen=True):
    """What goes to the other process."""

    registry: str
    redaction: str
    data: str
    secrets: tuple[str, ...]
    encrypts_traces: bool
    since: datetime
    until: datetime
    app: str | None
    output: str


class Result(msgspec.Struct, frozen=True):
    """What comes back: what was packed, or why nothing was."""

    packed: Packed | None
    why: str = ""


async def pack_apart(settings: Settings, scope: Scope, output: Path, seconds: float) -> Packed:
    """Make a pack in another process.

    Raises:
        EvidenceError: it cannot be made, or takes longer than these seconds; the other process has ended then.
    """
    secrets = (settings.secret, *settings.previous_secrets)
    order = Order(
        str(settings.registry),
        str(settings.redaction),
        str(settings.data),
        tuple(base64.b64encode(secret).decode() for secret in secrets),
        settings.encrypts_traces,
        scope.since,
        scope.until,
        scope.app,
        str(output),
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llmguard.evidence.apart", stdin=pipe, stdout=pipe, env=_environment()
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate(msgspec.json.encode(order))
    except TimeoutError:
        process.kill()
        await process.wait()
        raise EvidenceError(
            f"it takes longer than {seconds:g} seconds; `llmguard evidence pack` has no limit"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
    try:
        result = msgspec.json.decode(said, type=Result)
    except msgspec.MsgspecError:
        raise EvidenceError("the process that makes it ended early") from None
    if result.packed is None:
        raise EvidenceError(result.why)
    return result.packed


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("COVERAGE_")}


def main() -> None:
    """Do what standard input says."""
    from llmguard.evidence.pack import make_pack  # noqa: PLC0415 - it loads DuckDB, and whoever asks does without

    os.nice(_NICE)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    secret, *previous = (base64.b64decode(text) for text in order.secrets)
    settings = Settings(
        Path(order.registry),
        Path(order.redaction),
        Path(order.data),
        secret=secret,
        previous_secrets=tuple(previous),
        encrypts_traces=order.encrypts_traces,
    )
    try:
        packed = make_pack(settings, Scope(order.since, order.until, order.app), Path(order.output))
        result = Result(packed)
    except EvidenceError as error:
        result = Result(None, str(error))
    except (TraceStoreError, TraceQueryError, sqlite3.Error, OSError) as error:
        result = Result(None, f"the data folder cannot be read now ({type(error).__name__})")
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
