"""Lines of the spool at rest: AES-256-GCM under a key of their segment, so that random nonces never run out.

An encrypted line is `1:<key id>:<base64 of nonce and ciphertext>` with its newline; a plain one begins with `{`. Both
may stand in one spool: the setting may change between two starts.
"""

import binascii
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from llmguard.domain.at_rest import AtRest
from llmguard.traces.errors import TraceStoreError
from llmguard.traces.line import BadLineError

_NONCE_BYTES = 12  # Source: NIST SP 800-38D, 5.2.1.1: 96 bits; 8.3: at most 2**32 random ones under one key
_FORMAT = b"1"


class LineCipher:
    """Encrypts and decrypts the lines of one segment."""

    def __init__(self, key: bytes, segment: str) -> None:
        """Derive the key of a segment, whose name is unique."""
        self.key_id = hmac.digest(key, b"id", "sha256").hex()[:8].encode()
        self._begin = b"%b:%b:" % (_FORMAT, self.key_id)
        self._cipher = AESGCM(hmac.digest(key, b"segment/" + segment.encode(), "sha256"))

    def encrypt(self, line: bytes) -> bytes:
        """Return a line, with its newline, as the segment keeps it."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, line, None)
        return self._begin + binascii.b2a_base64(sealed)

    def decrypt(self, line: bytes) -> bytes:
        """Return what `encrypt` was given.

        Raises:
            BadLineError: it was changed or torn.
        """
        try:
            sealed = binascii.a2b_base64(line[len(self._begin) :], strict_mode=False)
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (binascii.Error, ValueError, InvalidTag):
            raise BadLineError("not what was encrypted") from None


class LineOpener:
    """Gives the plain lines of one segment, whichever of the keys they are encrypted with, if any."""

    def __init__(self, at_rest: AtRest, segment: str) -> None:
        """Know the keys; nothing is derived before an encrypted line comes."""
        self._at_rest = at_rest
        self._segment = segment
        self._ciphers: dict[bytes, LineCipher] | None = None

    def plain(self, line: bytes) -> bytes:
        """Return the plain line.

        Raises:
            BadLineError: it is torn or was changed.
            TraceStoreError: it is encrypted, and no key is given that opens it: nothing is lost, it has to wait.
        """
        if line[:1] == b"{":
            return line
        form, _, rest = line.partition(b":")
        key_id, colon, _ = rest.partition(b":")
        if form != _FORMAT or not colon:
            raise BadLineError("no line")
        if self._ciphers is None:
            ciphers = (LineCipher(key, self._segment) for key in self._at_rest.keys)
            self._ciphers = {cipher.key_id: cipher for cipher in ciphers}
        if key_id not in self._ciphers:
            raise TraceStoreError(
                "the spool is encrypted, and no secret in force opens it. Set LLMGUARD_SECRET to what it was, or "
                "LLMGUARD_SECRET_PREVIOUS if it was changed since"
            )
        return self._ciphers[key_id].decrypt(line)


def cipher_of(at_rest: AtRest, segment: str) -> LineCipher | None:
    """Return what encrypts the lines of a new segment; None if they stay plain."""
    return LineCipher(at_rest.keys[0], segment) if at_rest.encrypts else None
