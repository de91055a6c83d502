"""How long a provider asks to be left alone, out of the headers of its answer."""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_WAIT_SECONDS: Final = 24 * 3600.0  # what a provider may ask for and be believed


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that a provider asks to wait; None if it does not say, or not so that it can be read.

    Source: RFC 9110, 10.2.3; `retry-after-ms` is OpenAI's own.

    Args:
        headers: of the answer, by lower-case names or whatever their case.
        now: the time that a date is compared with; aware.
    """
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return _bounded(float(headers[name]) / per_second)
        except (KeyError, ValueError):
            continue
    try:
        date = parsedate_to_datetime(headers["retry-after"])
        return _bounded((date - now).total_seconds())
    except (KeyError, ValueError, TypeError):  # TypeError: a date without a zone
        return None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), _LONGEST_WAIT_SECONDS)
