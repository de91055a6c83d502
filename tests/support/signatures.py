"""Signatures of webhooks, checked by the words of the specification and not by the library that makes them."""

import base64
import hashlib
import hmac
import time


def is_signed(posted, secret):
    """Whether it was signed with the secret, a moment ago."""
    headers = posted.headers
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + posted.body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    is_recent = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return is_recent and f"v1,{expected}" in headers["webhook-signature"].split(" ")
