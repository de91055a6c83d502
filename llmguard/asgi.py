"""What the ASGI server imports: `uvicorn --factory llmguard.asgi:create_app`."""

import os

from llmguard.logs import configure_logging
from llmguard.settings import load_settings
from llmguard.web.app import build_app
from llmguard.web.data_plane import Application
from llmguard.wiring import Worker


def create_app() -> Application:
    """Return the application of one worker, set up from the environment."""
    from llmguard.preloaded import READY  # noqa: PLC0415 - it imports this module, and takes seconds unless it was

    configure_logging()
    environ = dict(os.environ)  # each call reads a provider's key there, and os.environ decodes at each reading
    return build_app(Worker(load_settings(environ), environ, READY).site)
