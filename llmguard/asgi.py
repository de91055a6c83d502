"""What the ASGI server imports: `uvicorn --factory llmguard.asgi:create_app`."""

import os

from fastapi import FastAPI

from llmguard.logs import configure_logging
from llmguard.settings import load_settings
from llmguard.web.app import build_app
from llmguard.wiring import Worker


def create_app() -> FastAPI:
    """Return the application of one worker, set up from the environment."""
    configure_logging()
    return build_app(Worker(load_settings(os.environ), os.environ).site)
