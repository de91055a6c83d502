"""Payment cards of 12 to 19 digits: issuer range and Luhn checksum.

Source: ISO/IEC 7812-1 (Luhn, annex B); issuer ranges as published by the networks (Visa 4; Mastercard 51 to 55 and
2221 to 2720; American Express 34, 37; Diners 30, 36, 38, 39; Discover 6011, 644 to 649, 65; JCB 3528 to 3589;
UnionPay 62; Maestro 50, 56 to 58, 6).
"""
# ruff: noqa: E501  # a regex is read in one piece

import re
from typing import ClassVar

from llmguard.redaction.recognizers.base import Rule, RuleRecognizer

_USUAL = re.compile(
    r"(?<![\w.,+/-])(?:[3-6]\d|2[2-7])\d{2}(?:[ -]?\d{4}){2}[ -]?\d{3,4}(?![\w-]|[.,]\d)"
    r"|(?<![\w.,+/-])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\w-]|[.,]\d)"
    r"|(?<![\w.,+/-])3(?:0|6|8|9)\d{2}[ -]?\d{6}[ -]?\d{4}(?![\w-]|[.,]\d)"
    r"|(?<![\w.,+/-])(?:62|6[0-9]|50|5[6-8])\d{2}(?:[ -]?\d{4}){3}[ -]?\d{3}(?![\w-]|[.,]\d)"
)
_RARE = re.compile(
    r"(?i)\b(?:card|visa|maestro|mastercard|debit|credit|amex|cc|pan)\b[^\d\n]{0,24}(?P<v>[1-6]\d{3}(?:[ -]?\d{2,4}){2,4})(?![\w-]|[.,]\d)"
)
_LENGTHS = {"4": (13, 16, 19), "2": (16,), "3": (14, 15, 16, 17, 18, 19), "5": (12, 13, 14, 15, 16, 17, 18, 19)}
_ANY_LENGTH = tuple(range(12, 20))
_FEWEST_DIGITS = 3  # different ones; 4444 4444 4444 4444 is filler


def passes_luhn(digits: str) -> bool:
    """Say whether a string of digits ends in its Luhn check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value // 10 + value % 10  # the digits of a product count one by one
    return total % 10 == 0


def is_card(value: str) -> bool:
    """Say whether this is a card number by length, issuer range and checksum; spaces and hyphens are allowed."""
    digits = re.sub(r"\D", "", value)
    lengths = _LENGTHS.get(digits[0], _ANY_LENGTH)
    return len(digits) in lengths and len(set(digits)) >= _FEWEST_DIGITS and passes_luhn(digits)


class PaymentCardRecognizer(RuleRecognizer):
    """CREDIT_CARD with its checksum; with a wrong one only beside a label (see `labelled`)."""

    ENTITIES: ClassVar = ("CREDIT_CARD",)
    RULES: ClassVar = (
        Rule("card with checksum", "CREDIT_CARD", _USUAL, 1.0, is_card),
        Rule("card of rare length beside its name", "CREDIT_CARD", _RARE, 1.0, is_card),
    )
