"""Files for a browser to keep: streamed in bounded memory, under a name that says what is in them."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from starlette.responses import Response, StreamingResponse

from llmguard.web.pages import PAGE_HEADERS

_PART_BYTES: Final = 64 * 1024
KINDS: Final = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "zip": "application/zip",
}


async def stream_lines(lines: Callable[[], Iterable[str]], name: str) -> Response:
    """Return lines of text as a file; the first of them are made before anything is sent, so that errors are pages."""
    parts = _parts(lines)
    first = await asyncio.to_thread(lambda: next(parts, b""))
    return StreamingResponse(chain([first], parts), headers=_headers(name))


async def stream_file(write: Callable[[Path], None], name: str) -> Response:
    """Return a file that `write` makes, in a folder that is gone before the first byte is sent."""
    file, size = await asyncio.to_thread(_written, write, name)
    return StreamingResponse(_read(file), headers=_headers(name) | {"content-length": str(size)})


def _parts(lines: Callable[[], Iterable[str]]) -> Iterator[bytes]:
    held: list[str] = []
    size = 0
    for line in lines():
        held.append(line)
        size += len(line)
        if size >= _PART_BYTES:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()


def _written(write: Callable[[Path], None], name: str) -> tuple[BinaryIO, int]:
    with tempfile.TemporaryDirectory(prefix="llmguard-") as folder:
        path = Path(folder) / name
        write(path)
        file = path.open("rb")  # what is open can be read after its folder is gone
    return file, os.fstat(file.fileno()).st_size


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(_PART_BYTES):
            yield part


def _headers(name: str) -> dict[str, str]:
    kind = KINDS[name.rpartition(".")[2]]
    return PAGE_HEADERS | {"content-type": kind, "content-disposition": f'attachment; filename="{name}"'}
