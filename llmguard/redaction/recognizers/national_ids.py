"""Identity and tax numbers with a checksum strong enough to stand alone, beyond those that Presidio has.

Sources: Receita Federal (CPF); INSEE (NIR, key modulo 97); RENAPO (CURP); GB 11643-1999 (Chinese resident identity
number, ISO 7064 MOD 11-2); SSA (social security number: areas never issued).
"""

import re
from typing import ClassVar

from llmguard.redaction.recognizers.base import Rule, RuleRecognizer

_CPF = re.compile(r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])")
_NIR = re.compile(r"(?<![\w.-])[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?![\w-])")
_CURP = re.compile(
    r"(?<!\w)[A-Z]{4}\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[HMX][A-Z]{2}[B-DF-HJ-NP-TV-Z]{3}[A-Z0-9]\d(?!\w)"
)
_CHINESE = re.compile(
    r"(?<![\w.-])[1-8]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\w-])"
)
_SSN = re.compile(r"(?<![\w.-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-]|\.\d)")
_CHINESE_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_cpf(value: str) -> bool:
    """Say whether both check digits of a CPF are right."""
    digits = [int(c) for c in value if c.isdigit()]
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(digit * (length + 1 - place) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != digits[length]:
            return False
    return True


def is_nir(value: str) -> bool:
    """Say whether the key of a French social security number is right; Corsica's 2A and 2B count as 19 and 18."""
    bare = value.replace(" ", "").replace("2A", "19").replace("2B", "18")
    return 97 - int(bare[:13]) % 97 == int(bare[13:])


def is_chinese_id(value: str) -> bool:
    """Say whether the last character of a Chinese resident identity number is right."""
    total = sum(int(digit) * weight for digit, weight in zip(value, _CHINESE_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == value[-1].upper()


class NationalIdRecognizer(RuleRecognizer):
    """NATIONAL_ID by checksum, US_SSN by its form."""

    ENTITIES: ClassVar = ("NATIONAL_ID", "US_SSN")
    RULES: ClassVar = (
        Rule("Brazilian CPF", "NATIONAL_ID", _CPF, 1.0, is_cpf),
        Rule("French NIR", "NATIONAL_ID", _NIR, 1.0, is_nir),
        Rule("Mexican CURP", "NATIONAL_ID", _CURP, 0.95),
        Rule("Chinese resident identity number", "NATIONAL_ID", _CHINESE, 1.0, is_chinese_id),
        Rule("social security number", "US_SSN", _SSN, 0.95),
    )
