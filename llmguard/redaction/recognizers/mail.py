"""E-mail addresses, also of domains that no public suffix list knows (`anna@hr.corp.local`).

Presidio's own recognizer takes `email=anna@x.org` as one address, drops internal domains, and loads a suffix list.
"""
# ruff: noqa: E501  # a regex is read in one piece

import re
from typing import ClassVar

from llmguard.redaction.recognizers.base import Rule, RuleRecognizer

_ADDRESS = re.compile(
    r"(?<![\w.+%-])(?P<v>[\w+%-][\w.+%'-]{0,63}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,6}[^\W\d_](?:[\w-]{0,61}\w))(?![\w@])"
)
_LONGEST_LOCAL_PART = 64
_BRACKETED = re.compile(
    r"(?i)(?<![\w.+%-])(?P<v>[\w+%-][\w.+%-]{0,63} ?[\[({<] ?at ?[\])}>] ?[a-z0-9-]{1,63}(?: ?[\[({<] ?dot ?[\])}>] ?[a-z0-9-]{2,63}|\.[a-z0-9-]{2,63}){1,4})"
)


class MailAddressRecognizer(RuleRecognizer):
    """EMAIL_ADDRESS, plain and with `[at]`."""

    ENTITIES: ClassVar = ("EMAIL_ADDRESS",)
    RULES: ClassVar = (
        Rule("e-mail address", "EMAIL_ADDRESS", _ADDRESS, 0.95, sign="@", reach=_LONGEST_LOCAL_PART),
        Rule("e-mail address with [at]", "EMAIL_ADDRESS", _BRACKETED, 0.9),
    )
