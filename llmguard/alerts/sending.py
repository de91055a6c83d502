"""One try to deliver one event: signed, to a checked address, with little patience, and blind to the answer's text."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from standardwebhooks import Webhook as Signer

from llmguard.alerts.addresses import CheckedResolver, ForbiddenAddressError, check_address
from llmguard.alerts.event import CONTENT_TYPE
from llmguard.domain.alerts import Webhook

PATIENCE_SECONDS: Final = 15.0
_GONE: Final = 410
_ACCEPTED: Final = range(200, 300)
_REDIRECTED: Final = range(300, 400)
_MOST_HEADER_BYTES: Final = 8190
_LONGEST_WAIT_SECONDS: Final = 6 * 3600.0
_SECRET_BYTES: Final = range(24, 65)  # Standard Webhooks, "Signature scheme"
_PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a try ended, in words without a secret, an address or the receiver's text.

    Attributes:
        delivered: it was accepted (2xx).
        gone: the receiver wants no more of it (410): trying again is pointless.
        wait_seconds: how long the receiver asked to be left alone.
    """

    outcome: str
    delivered: bool = False
    gone: bool = False
    wait_seconds: float | None = None


class Sender:
    """Sends events, with the secrets that the environment holds."""

    def __init__(self, environ: Mapping[str, str], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Take secrets from an environment; wait this long for an answer."""
        self._environ = environ
        self._patience_seconds = patience_seconds

    async def send(self, webhook: Webhook, alert_id: str, event: str, now: datetime) -> Answer:
        """Post an event to its receiver and say how that went; never raises for what the receiver does.

        Redirects are not followed, TLS certificates are verified, proxies of the environment are not used, and nothing
        of the answer's body is read.

        Source: Standard Webhooks 1.0.0; HTTP 1.1 Web Hooks for Event Delivery of CloudEvents 1.0.2.
        """
        signer = _signer(self._environ.get(webhook.secret_env, "").strip())
        if signer is None:
            return Answer(
                f"{webhook.secret_env} holds no signing secret: whsec_ and 24 to 64 bytes in base64, as "
                "`openssl rand -base64 32` makes them. Set it where `llmguard serve` is started, and start it again."
            )
        headers = {
            "content-type": CONTENT_TYPE,
            "user-agent": "llmguard",
            "webhook-id": alert_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signer.sign(alert_id, now, event),
        }
        try:
            return await self._post(webhook, event.encode(), headers)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            return Answer(self._words(error))

    async def _post(self, webhook: Webhook, body: bytes, headers: Mapping[str, str]) -> Answer:
        _check_literal(webhook)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=CheckedResolver(loopback=webhook.loopback), force_close=True),
            timeout=aiohttp.ClientTimeout(total=self._patience_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_MOST_HEADER_BYTES,
            max_field_size=_MOST_HEADER_BYTES,
        ) as session:
            response = await session.post(webhook.url, data=body, headers=headers, allow_redirects=False)
            try:
                return _answer(response.status, response.headers.get("retry-after", ""))
            finally:
                response.close()  # whatever else it would send is not read

    def _words(self, error: Exception) -> str:
        """Return what went wrong, without the address: it may hold a token."""
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddressError):
            error = error.os_error
        match error:
            case ForbiddenAddressError():
                return f"not sent: {error}"
            case TimeoutError():
                return f"no answer within {self._patience_seconds:g} seconds"
            case aiohttp.ClientConnectorCertificateError():
                return "its TLS certificate is not trusted"
            case aiohttp.ClientConnectorError():
                return "it cannot be connected to"
            case _:
                return f"the connection failed ({type(error).__name__})"


def _check_literal(webhook: Webhook) -> None:
    """Check a host that is an IP address: such a one is not resolved."""
    host = urlsplit(webhook.url).hostname or ""
    try:
        check_address(host, loopback=webhook.loopback)
    except ForbiddenAddressError:
        raise
    except ValueError:
        return  # a name; what it means is checked when it is resolved


def _answer(status: int, retry_after: str) -> Answer:
    if status in _ACCEPTED:
        return Answer(f"accepted with {status}", delivered=True)
    if status == _GONE:
        return Answer("refused with 410: the receiver wants no more of these", gone=True)
    if status in _REDIRECTED:
        return Answer(f"redirected with {status}, which is not followed: write the final address into registry.yaml")
    wait = min(float(retry_after), _LONGEST_WAIT_SECONDS) if retry_after.isdecimal() else None
    return Answer(f"refused with {status}", wait_seconds=wait)


def _signer(secret: str) -> Signer | None:
    """Return what signs with this secret; None if it is no secret as the specification has it."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Signer(key) if len(key) in _SECRET_BYTES else None
