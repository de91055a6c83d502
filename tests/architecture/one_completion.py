"""Print the files of ours that one chat completion runs through; started by a test, in a process of its own."""

import asyncio
import os
import sys
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path

import msgspec

from llmguard.domain.clock import SystemClock
from llmguard.identity.key_store import KeyStore
from llmguard.settings import load_settings
from llmguard.web.app import build_app
from llmguard.wiring import Worker

ROOT = Path(__file__).resolve().parents[2]
OURS: ContextVar[bool] = ContextVar("ours", default=False)  # inherited by the tasks of the request, not by watchers


async def main(data: str) -> None:
    settings = load_settings({}, registry=str(ROOT / "registry.yaml"), redaction=str(ROOT / "redaction"), data=data)
    store = KeyStore(settings.data / "state.db", settings.secret, SystemClock())
    key = store.issue("expense-triage", ttl=timedelta(days=1)).secret_text
    worker = Worker(settings, os.environ)
    app = build_app(worker.site)
    async with worker.site.running():
        for _ in range(2):  # what is made once is made now, and what is found once is remembered
            await ask(app, key)
        seen = set()

        def see(frame, event, _):
            if event == "call" and OURS.get():
                seen.add(frame.f_code.co_filename)

        OURS.set(True)
        sys.setprofile(see)
        status = await ask(app, key)
        sys.setprofile(None)
    assert status == 200
    package = str(ROOT / "llmguard")
    sys.stdout.write("\n".join(sorted(str(Path(name).relative_to(ROOT)) for name in seen if name.startswith(package))))


async def ask(app, key: str) -> int:
    message = {"role": "user", "content": "Anna Schmidt (anna.schmidt@example.com) asks for her invoice."}
    body = msgspec.json.encode({"model": "summarise", "messages": [message]})
    sent = []
    received = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive():
        part = next(received, None)
        return part if part is not None else await asyncio.Event().wait()

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"host", b"test"), (b"authorization", f"Bearer {key}".encode())],
    }
    await app(scope, receive, send)
    return sent[0]["status"]


asyncio.run(main(sys.argv[1]))
