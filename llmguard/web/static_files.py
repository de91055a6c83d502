"""`/static/{name}`: style, scripts and icon of all pages, from memory, packed once.

The address of a file carries a digest of its content, so that browsers keep it for good and ask again after an upgrade.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_TYPES: Final = {
    "style.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "doctor.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_DIGEST_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file: as it is, packed with gzip, and the digest in its address."""

    content: bytes
    packed: bytes
    media_type: str
    digest: str


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Return every file that pages load, by name; read once a process."""
    folder = files("llmguard.web") / "static"
    return MappingProxyType({name: _read((folder / name).read_bytes(), kind) for name, kind in _TYPES.items()})


def static_url(name: str) -> str:
    """Return the address of a file, for templates."""
    return f"/static/{name}?{static_files()[name].digest}"


async def serve_static(request: Request) -> Response:
    """`GET /static/{name}`."""
    file = static_files().get(request.path_params["name"])
    if file is None:
        return Response("There is no such file.\n", status_code=404, media_type="text/plain")
    is_packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "cache-control": _FOR_GOOD if request.url.query == file.digest else "public, max-age=600",
        "vary": "Accept-Encoding",
        "x-content-type-options": "nosniff",
    }
    if is_packed:
        headers["content-encoding"] = "gzip"
    return Response(file.packed if is_packed else file.content, headers=headers, media_type=file.media_type)


def _read(content: bytes, media_type: str) -> StaticFile:
    packed = gzip.compress(content, 9, mtime=0)
    return StaticFile(content, packed, media_type, hashlib.sha256(content).hexdigest()[:_DIGEST_DIGITS])
