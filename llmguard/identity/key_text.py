"""How keys are written: `sk-lg_<key id>_<secret><checksum>` for apps, `op-lg_…` for tokens of operators.

People recognise them, scanners find them with `KEY_PATTERN` and can prove a hit offline, without asking anybody: the
last six characters are the CRC-32 of everything before them, as six base62 digits. So a pasted key is told apart from a
random string, and a mistyped one is refused without a look-up. The checksum is no protection; the 190 random bits of
the secret are.

Source: the layout follows "Behind GitHub's new authentication token formats" (github.blog, 5 April 2021).
"""

import hmac
import re
import secrets
import zlib

PREFIX = "sk-lg_"
OPERATOR_PREFIX = "op-lg_"
KEY_PATTERN = r"sk-lg_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}"

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_ID_LENGTH = 12
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6  # 62**6 > 2**32
_KEY = re.compile(rf"{KEY_PATTERN}|{KEY_PATTERN.replace(PREFIX, OPERATOR_PREFIX)}")


def new_key_id() -> str:
    """Return a random key id: no secret, shown in lists and traces."""
    return _random_base62(_KEY_ID_LENGTH)


def new_key_text(key_id: str, prefix: str = PREFIX) -> str:
    """Return a whole new key for this id; its secret part has 190 random bits."""
    body = f"{prefix}{key_id}_{_random_base62(_SECRET_LENGTH)}"
    return body + _checksum(body)


def key_digest(text: str, digest_key: bytes) -> bytes:
    """Return what is stored of a key: HMAC-SHA256 under a subkey of the installation secret."""
    return hmac.digest(digest_key, text.encode(), "sha256")


def is_well_formed(text: str) -> bool:
    """Whether the text is written like a key, or an operator's token, and its checksum is right; not if it is known."""
    if _KEY.fullmatch(text) is None:
        return False
    return _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]


def _random_base62(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _checksum(body: str) -> str:
    remainder = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        remainder, digit = divmod(remainder, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
