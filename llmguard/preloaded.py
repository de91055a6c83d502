"""What every worker needs and takes seconds to make: made once, by the process that the workers are forked from.

Importing this module makes it. The workers share its memory as long as none of them changes it, and start in
milliseconds. It must start no thread: a fork would not have it.
"""

import ctypes
import gc
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmguard.wiring import Ready


def _make() -> "Ready":
    """Import what workers import, and make what they share."""
    import click  # noqa: F401, PLC0415 - as all here: workers import these when they start
    import uvloop  # noqa: F401, PLC0415
    from uvicorn.lifespan import on  # noqa: F401, PLC0415
    from uvicorn.protocols.http import httptools_impl  # noqa: F401, PLC0415

    from llmguard import asgi  # noqa: F401, PLC0415 - with everything that workers import; see _without_collector
    from llmguard.providers.tokens import TokenCounter  # noqa: PLC0415
    from llmguard.redaction.analyzer import Analyzer  # noqa: PLC0415
    from llmguard.redaction.profiles import RedactionInvalid  # noqa: PLC0415
    from llmguard.settings import SettingsInvalidError, load_settings  # noqa: PLC0415
    from llmguard.wiring import Ready  # noqa: PLC0415

    tokens = TokenCounter()
    tokens.load()
    try:
        settings = load_settings(os.environ)
        analyzer = Analyzer.load(settings.redaction, cache=settings.redaction_cache)
    except (RedactionInvalid, SettingsInvalidError):  # whoever needs them says what is wrong
        return Ready(tokens)
    analyzer.warm_up()
    return Ready(tokens, analyzer)


def _without_collector() -> "Ready":
    """Make it while the collector rests, and give back what is free afterwards.

    Of all that is made here it finds 50 objects to collect, and looking takes a fifth of the processor's time.
    """
    gc.disable()
    try:
        ready = _make()
        gc.freeze()  # the collector would write into the pages that the workers share
    finally:
        gc.enable()
    with suppress(AttributeError, OSError):  # GNU's library alone has it
        ctypes.CDLL(None).malloc_trim(0)
    return ready


READY = _without_collector()
