"""The pages of the console, in the order of its menu."""

from fastapi import APIRouter

from llmguard.web.console.app_page import app_routers
from llmguard.web.console.apps import apps_router
from llmguard.web.console.catalog import catalog_router
from llmguard.web.console.desk import Desk
from llmguard.web.console.layout import Console
from llmguard.web.console.overview import overview_router
from llmguard.web.console.presets import presets_router
from llmguard.web.console.redaction import redaction_router
from llmguard.web.console.spend import spend_routers
from llmguard.web.console.trace_evidence import evidence_router
from llmguard.web.console.trace_page import trace_router
from llmguard.web.console.trace_replay import replay_router
from llmguard.web.console.traces import traces_router


def console_routers(console: Console, desk: Desk) -> list[APIRouter]:
    """Return the routes of every page."""
    return [
        overview_router(console),
        apps_router(console),
        *app_routers(console),
        catalog_router(console),
        presets_router(console),
        *spend_routers(console, desk),
        traces_router(console),
        trace_router(console, desk),
        replay_router(console, desk),
        evidence_router(console, desk),
        redaction_router(console),
    ]
