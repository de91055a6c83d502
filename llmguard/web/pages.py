"""What pages for people share: their templates, and headers that let them load nothing but our own style and script."""

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

PAGE_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "x-robots-tag": "noindex",
}


def load_page(name: str) -> Template:
    """Return a template of `web/templates`; it escapes what it is given."""
    pages = Environment(
        loader=PackageLoader("llmguard.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    return pages.get_template(name)
