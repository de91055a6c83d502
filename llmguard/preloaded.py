"""What every worker needs and takes seconds to make: made once, by the process that the workers are forked from.

Importing this module makes it. The workers share its memory as long as none of them changes it, and start in
milliseconds. It must start no thread: a fork would not have it.
"""

import gc
import os

from llmguard import asgi  # noqa: F401 - with everything that workers import
from llmguard.providers.tokens import TokenCounter
from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.profiles import RedactionInvalid
from llmguard.settings import SettingsInvalidError, load_settings
from llmguard.wiring import Ready


def _make() -> Ready:
    tokens = TokenCounter()
    tokens.load()
    try:
        settings = load_settings(os.environ)
        analyzer = Analyzer.load(settings.redaction, cache=settings.redaction_cache)
    except (RedactionInvalid, SettingsInvalidError):  # whoever needs them says what is wrong
        return Ready(tokens)
    analyzer.warm_up()
    return Ready(tokens, analyzer)


READY = _make()
gc.collect()
gc.freeze()  # the collector would write into the pages that the workers share
