"""IP addresses that may belong to somebody: not loopback, not `0.0.0.0`, not a version number or a slice."""
# ruff: noqa: E501  # a regex is read in one piece

import ipaddress
import re
from typing import ClassVar

from llmguard.redaction.recognizers.base import Rule, RuleRecognizer

_V4 = re.compile(
    r"(?<![\w.-])(?<!version[ =:])(?<!Version[ =:])(?<!version: )(?P<v>(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d))(?![\w-]|\.\d)"
)
_V6 = re.compile(r"(?<![\w:.])(?P<v>(?:[0-9A-Fa-f]{1,4}:{1,2}){2,7}[0-9A-Fa-f]{1,4})(?![\w:]|\.\d)")
_FEW_V6_DIGITS = 8  # `1::2` and `12:30:45` are slices and times; real addresses carry more


def belongs_to_somebody(value: str) -> bool:
    """Say whether an address can point at a person or machine: valid, and neither loopback nor unspecified."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and len(value.replace(":", "")) < _FEW_V6_DIGITS:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or value.startswith("255."))


class NetworkAddressRecognizer(RuleRecognizer):
    """IP_ADDRESS, version 4 and 6."""

    ENTITIES: ClassVar = ("IP_ADDRESS",)
    RULES: ClassVar = (
        Rule("IPv4 address", "IP_ADDRESS", _V4, 0.9, belongs_to_somebody),
        Rule("IPv6 address", "IP_ADDRESS", _V6, 0.9, belongs_to_somebody),
    )
