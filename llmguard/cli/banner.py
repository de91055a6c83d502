"""What `llmguard serve` prints when it is ready: where it is, a key, and a line to paste."""

import http.client
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta

import click

from llmguard.cli.options import local_user
from llmguard.domain.catalog import App
from llmguard.domain.clock import SystemClock
from llmguard.identity.key_store import KeyStore
from llmguard.identity.operator_store import OperatorStore
from llmguard.settings import Settings

_DEMO_KEY_LIFE = timedelta(days=7)
_OPERATOR_TOKEN_LIFE = timedelta(days=90)
_POLL_SECONDS = 0.1
_GIVE_UP_SECONDS = 300
_OK = 200


@dataclass(frozen=True, slots=True)
class DemoKey:
    """A key to try the gateway with. It is issued before the workers start, so that all of them know it."""

    app: App
    text: str = field(repr=False)


def issue_demo_key(settings: Settings, app: App) -> DemoKey:
    """Return a new key of an app, for the banner."""
    store = KeyStore(settings.data / "state.db", settings.secret, SystemClock())
    return DemoKey(app, store.issue(app.name, ttl=_DEMO_KEY_LIFE, who="llmguard serve").secret_text)


def issue_first_token(settings: Settings) -> str | None:
    """Return a new operator's token, unless there is one in force: it was printed, or made, before."""
    clock = SystemClock()
    store = OperatorStore(settings.data / "state.db", settings.secret, clock)
    if any(token.state_at(clock.now()) == "valid" for token in store.tokens()):
        return None
    return store.issue(local_user(), ttl=_OPERATOR_TOKEN_LIFE, who="llmguard serve").secret_text


@dataclass(frozen=True, slots=True)
class Banner:
    """What is told about a gateway that is ready."""

    settings: Settings
    port: int
    demo: DemoKey | None
    operator_token: str | None = field(default=None, repr=False)

    @property
    def base_url(self) -> str:
        """What goes into an app's box for the OpenAI base URL."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self.port}/v1"

    def text(self) -> str:
        """Return the whole text."""
        lines = [
            f"llmguard is ready (workers: {self.settings.workers}, data: {self.settings.data})",
            f"  base URL  {self.base_url}",
            f"  console   {self.base_url.removesuffix('/v1')}/console/",
        ]
        if self.operator_token is not None:
            days = _OPERATOR_TOKEN_LIFE.days
            lines.append(f"  sign in   {self.operator_token}   (there; all roles, {days} days, not shown again)")
        if self.demo is not None:
            lines += self._key_lines(self.demo)
        return "\n".join([*lines, "Ctrl-C stops it."])

    def _key_lines(self, demo: DemoKey) -> list[str]:
        key, app = demo.text, demo.app
        preset = app.presets[0].partition("@")[0]
        body = (
            f'{{"model": "{preset}", "messages": [{{"role": "user", "content": '
            '"Anna Schmidt (anna.schmidt@example.com) asks for her invoice."}]}'
        )
        return [
            f"  key       {key}   (app {app.name}, {_DEMO_KEY_LIFE.days} days)",
            "Try it:",
            (
                f"  curl -s {self.base_url}/chat/completions -H 'Authorization: Bearer {key}' "
                f"-H 'Content-Type: application/json' -d '{body}'"
            ),
        ]


def print_when_ready(banner: Banner) -> None:
    """Print the banner as soon as the gateway answers, from a thread that ends with the process."""
    threading.Thread(target=_wait_and_print, args=(banner,), name="banner", daemon=True).start()


def _wait_and_print(banner: Banner) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(banner.settings.host, banner.settings.host)  # noqa: S104 - compared
    give_up_at = time.monotonic() + _GIVE_UP_SECONDS
    while time.monotonic() < give_up_at:
        if _is_ready(host, banner.port):
            click.echo(banner.text())
            return
        time.sleep(_POLL_SECONDS)


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
