"""Ids of responses that a provider keeps, as apps see them: each ends in a seal that only its own app can use.

All apps share the organisation's account at a provider, so whoever has an id could go on with the conversation behind
it. With the seal, an id that was seen in another app's logs is worth nothing.
"""

import hmac
import re
from typing import Final

from llmguard.domain.secrets import derive_key

_SEALED: Final = re.compile(r"(resp_[A-Za-z0-9_-]{1,160})([0-9a-f]{16})")
_SEAL_BYTES: Final = 8


class ResponseIds:
    """Seals and opens ids; nothing is stored."""

    def __init__(self, secret: bytes) -> None:
        """Seal with a key of the installation's secret."""
        self._key = derive_key(secret, "web/response-ids")

    def seal(self, app: str, provider_id: str) -> str:
        """Return the id that this app gets for a provider's."""
        return provider_id + self._seal(app, provider_id)

    def open(self, app: str, sealed: object) -> str | None:
        """Return the provider's id; None for what is no id that this app got."""
        match = _SEALED.fullmatch(sealed) if isinstance(sealed, str) else None
        if match is None or not hmac.compare_digest(match[2], self._seal(app, match[1])):
            return None
        return match[1]

    def _seal(self, app: str, provider_id: str) -> str:
        return hmac.digest(self._key, f"{app}\0{provider_id}".encode(), "sha256")[:_SEAL_BYTES].hex()
