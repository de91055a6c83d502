"""How our processes log: one line each to standard error, never a text of a request."""

import logging
import sys


def configure_logging() -> None:
    """Send log lines to standard error; libraries that are talkative at start are quietened."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for talkative in ("presidio-analyzer", "httpx", "LiteLLM", "watchfiles"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
