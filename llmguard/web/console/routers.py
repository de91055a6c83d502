"""The pages of the console, in the order of its menu."""

from fastapi import APIRouter

from llmguard.web.console.app_page import app_routers
from llmguard.web.console.apps import apps_router
from llmguard.web.console.catalog import catalog_router
from llmguard.web.console.layout import Console
from llmguard.web.console.overview import overview_router
from llmguard.web.console.presets import presets_router


def console_routers(console: Console) -> list[APIRouter]:
    """Return the routes of every page."""
    return [
        overview_router(console),
        apps_router(console),
        *app_routers(console),
        catalog_router(console),
        presets_router(console),
    ]
