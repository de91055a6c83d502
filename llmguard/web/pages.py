"""What pages for people share: their templates, and headers that let them load nothing but our own style and script."""

import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined, Template
from jinja2.bccache import Bucket

from llmguard.web.figures import FILTERS
from llmguard.web.static_files import static_url

PAGE_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "x-robots-tag": "noindex",
}


def load_page(name: str) -> Template:
    """Return a template of `web/templates`; it escapes what it is given."""
    return _pages().get_template(name)


class CompiledPages(FileSystemBytecodeCache):
    """Keeps compiled templates beside their sources, as Python keeps modules; each is compiled anew once it changes."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep one, if Python may keep its own and the folder can be written to."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)


def load_all_pages() -> None:
    """Make every template ready."""
    for name in _pages().list_templates(extensions=["html"]):
        load_page(name)


@cache
def _pages() -> Environment:
    pages = Environment(
        bytecode_cache=CompiledPages(str(Path(__file__).parent / "templates" / "__pycache__")),
        loader=PackageLoader("llmguard.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals["static"] = static_url
    pages.filters.update(FILTERS)
    return pages
