"""The whole door in this process, on a real socket, with parts that a test may break."""

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from llmguard.audit.log import AuditLog
from llmguard.catalog.containment import Containments
from llmguard.catalog.renewal import Renewals
from llmguard.domain.catalog import Registry
from llmguard.domain.clock import SystemClock
from llmguard.gateway.metrics import Metrics
from llmguard.gateway.recorder import Recorder
from llmguard.gateway.services import Services
from llmguard.idempotency.claims import Claims
from llmguard.idempotency.store import AnswerStore
from llmguard.identity.access import AccessDesk
from llmguard.identity.app_tokens import TokenMint
from llmguard.identity.key_store import KeyStore
from llmguard.identity.keyring import Keyring
from llmguard.identity.openid import OpenIdProviders
from llmguard.identity.operator_store import OperatorStore
from llmguard.identity.sign_ins import SignIns
from llmguard.policy.judge import Policies
from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from llmguard.quota.gate import OverageGate
from llmguard.quota.ledger import Ledger
from llmguard.redaction.redactor import Redactor
from llmguard.registry.app_states import AppStateStore, LiveAppStates, in_force
from llmguard.settings import Settings
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from llmguard.web.admin import OperatorParts
from llmguard.web.app import Site, build_app
from llmguard.web.connection import Connection
from llmguard.web.probes import Probes
from llmguard.web.response_ids import ResponseIds
from llmguard.web.slots import Slots
from tests.support.builders import PATIENT, a_model, a_preset, a_provider, an_app
from tests.support.finder import PatternFinder

SECRET = b"a secret for tests only"


def a_small_registry(**app_changes) -> Registry:
    app, preset = an_app(**app_changes), a_preset(redaction="standard")
    return Registry(
        digest="0" * 64,
        providers={"echo": a_provider()},
        models={"echo-1": a_model()},
        presets={preset.name: (preset,)},
        apps={app.name: app},
    )


def a_registry_at(base_url: str, **app_changes) -> Registry:
    """Return a small registry whose one model is at a provider that speaks OpenAI's wire format."""
    provider = a_provider(name="remote", kind="openai", base_url=base_url, max_retries=0, circuit=PATIENT)
    model = a_model(name="remote-1", target="gpt-4o-mini", provider=provider)
    preset = a_preset(redaction="standard", model=model)
    return replace(
        a_small_registry(**app_changes),
        providers={provider.name: provider},
        models={model.name: model},
        presets={preset.name: (preset,)},
    )


class Served:
    """Serves while it is entered; `services` may be changed meanwhile."""

    def __init__(self, data: Path, *, registry: Registry | None = None, finder=None, slots=None) -> None:
        clock = SystemClock()
        store = KeyStore(data / "state.db", SECRET, clock)
        self.data = data
        self.key = store.issue("expense-triage").secret_text
        self.ledger = Ledger(data / "state.db", clock, "test", busy_timeout_seconds=0.2)
        self.spool = Spool(data / "spool", "test")
        self.reader = TraceReader(data)
        self.findings = ()  # of registry.yaml; a test may set some
        tokens = TokenCounter()
        self.recorder = Recorder(self.spool, self.ledger, tokens, Metrics(CollectorRegistry()), clock)
        self.mint = TokenMint((SECRET,), clock)
        self.git = registry or a_small_registry()
        self.states = LiveAppStates(AppStateStore(data / "state.db"), on_change=self.put_in_force)
        self.services = Services(
            clock=clock,
            keyring=Keyring(store, clock, self.mint, beside=(self.states.refresh,)),
            registry=in_force(self.git, self.states.current),
            redactor=Redactor(finder or PatternFinder(), SECRET),
            tokens=tokens,
            ledger=self.ledger,
            providers=Providers(environ={}, clock=clock, tokens=tokens),
            recorder=self.recorder,
            overage=OverageGate(data / "state.db", clock),
            claims=Claims(
                lambda: AnswerStore(data / "state.db", SECRET, clock), "test", lambda worker: worker == "test"
            ),
            policies=Policies(clock),
        )
        probes = Probes(self.recorder.metrics, None, list)
        self.keys, self.operators = store, OperatorStore(data / "state.db", SECRET, clock)
        self.app = build_app(
            Site(
                self.services,
                probes,
                self.reader.show,
                self._running,
                ResponseIds(SECRET),
                OperatorParts(
                    self.operators,
                    AccessDesk(data / "state.db", clock),
                    store,
                    AuditLog(data / "state.db", clock),
                    SignIns(data / "state.db", SECRET, clock),
                    Containments(data, clock, self.reader.query),
                    Renewals(data, clock),
                    {"OIDC_SECRET": "s3cret"}.get,
                    lambda: self.reader,
                    lambda: self.findings,
                    tuple,
                    Settings(data / "registry.yaml", data / "redaction", data, secret=SECRET),
                    {},
                ),
                self.mint,
                OpenIdProviders(clock),
                slots=slots or Slots(),
            )
        )
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, http=Connection, lifespan="on", log_config=None, ws="none")
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def put_in_force(self) -> None:
        self.services.registry = in_force(self.git, self.states.current)

    def ask(self, content="hello"):
        """Return status, headers and body of a chat completion."""
        body = json.dumps({"model": "summarise", "messages": [{"role": "user", "content": content}]}).encode()
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        request = urllib.request.Request(self.base_url + "/chat/completions", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, dict(answer.headers), json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), json.load(error)

    def __enter__(self) -> "Served":
        self._thread.start()
        with closing(socket.create_connection(self._socket.getsockname())) as probe:
            probe.sendall(b"GET /healthz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
            assert probe.recv(15).startswith(b"HTTP/1.1 200")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def _serve(self) -> None:
        uvloop.run(self._server.serve([self._socket]))  # as `llmguard serve` does

    @asynccontextmanager
    async def _running(self):
        self.ledger.start()
        await self.services.providers.start(("echo",))
        stop = asyncio.Event()
        watching = asyncio.create_task(self.services.keyring.watch(stop))
        yield
        await self.recorder.drain()
        stop.set()
        await watching
        await self.services.claims.close()
        await self.services.providers.close()
        await self.ledger.close()
        self.spool.close()
