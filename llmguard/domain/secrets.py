"""Subkeys: what is derived from the one installation secret, a different key for each purpose."""

import hmac


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Return the 32-byte key of one purpose; nobody who has it learns the secret or the key of another purpose.

    Args:
        secret: the bytes of LLMGUARD_SECRET, which should be random and at least 32 long.
        purpose: a fixed label in the code, such as `identity/key-digest`; changing it invalidates what it keyed.

    Raises:
        ValueError: the secret is empty. An empty HMAC key would work, and protect nothing.

    Source: NIST SP 800-108 revision 1, section 4: a PRF (here HMAC-SHA256) over a label for each purpose.
    """
    if not secret:
        raise ValueError("The installation secret (LLMGUARD_SECRET) is empty.")
    return hmac.digest(secret, f"llmguard/{purpose}".encode(), "sha256")
