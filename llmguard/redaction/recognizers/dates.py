"""Full dates long ago: in the texts of offices they are dates of birth; recent ones are deadlines and meetings."""
# ruff: noqa: E501  # a regex is read in one piece

import re
from typing import ClassVar

from llmguard.redaction.recognizers.base import Rule, RuleRecognizer

_LONG_AGO = re.compile(
    r"(?<![\w/.,-])(?:0?[1-9]|[12]\d|3[01])(?P<sign>[/.])(?:0?[1-9]|[12]\d|3[01])(?P=sign)(?:19[2-9]\d|200\d)(?![\w/-]|\.\d| \d\d?:\d)"
)


class OldDateRecognizer(RuleRecognizer):
    """DATE_OF_BIRTH for full dates of 1920 to 2009, written with slashes or dots and without a time."""

    ENTITIES: ClassVar = ("DATE_OF_BIRTH",)
    RULES: ClassVar = (Rule("full date long ago", "DATE_OF_BIRTH", _LONG_AGO, 0.5),)
