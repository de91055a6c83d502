"""An OpenID provider as a process of its own (oidc-provider-mock), and a browser that signs in there. Stdlib only."""

import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / ".venv" / "bin" / "oidc-provider-mock"
FORM = {"content-type": "application/x-www-form-urlencoded"}
_START_SECONDS = 60


class OpenIdProcess:
    """Serves while it is entered, and knows an operator of the CoE and a robot that stands for an app."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{port}"
        people = [{"sub": "coe-1", "email": "coe@example.com", "email_verified": True}, {"sub": "robot-1"}]
        claims = [word for one in people for word in ("--user-claims", json.dumps(one))]
        self._command = [COMMAND, "--port", str(port), *claims]

    def __enter__(self) -> "OpenIdProcess":
        environ = os.environ | {"PYTHONWARNINGS": "ignore"}
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, env=environ, stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                send(f"{self.issuer}/.well-known/openid-configuration")
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def sections(self) -> str:
        """Return the sections of registry.yaml that trust this provider."""
        return f"""
identity_providers:
  company: {{issuer: "{self.issuer}", audience: travel-robot, app_claim: sub, apps: {{robot-1: helpdesk}}}}
operators:
  issuer: "{self.issuer}"
  client_id: llmguard
  client_secret_env: PROVIDER_KEY
  roles: {{coe: {{emails: [coe@example.com]}}}}
"""

    def id_token(self, sub: str, client_id: str) -> str:
        """Return a token that the provider gives a client about somebody."""
        back = "http://127.0.0.1:1/back"
        question = {"response_type": "code", "client_id": client_id, "redirect_uri": back, "scope": "openid"}
        address = f"{self.issuer}/oauth2/authorize?{urlencode(question | {'nonce': secrets.token_hex(8)})}"
        code = parse_qs(urlsplit(self.consent(address, sub)).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        form |= {"client_id": client_id, "client_secret": "any"}
        _, _, body = send(f"{self.issuer}/oauth2/token", "POST", urlencode(form), FORM)
        return json.loads(body)["id_token"]

    def consent(self, address: str, sub: str) -> str:
        """Sign in as somebody at the provider; return where the browser is sent back to."""
        _, headers, _ = send(address, "POST", urlencode({"sub": sub}), FORM)
        return headers["location"]


def sign_in(base_url: str, provider: OpenIdProcess, sub: str) -> tuple[str, str]:
    """Sign in at llmguard by the provider; return the session's cookie and its form token."""
    _, headers, _ = send(f"{base_url}/console/sign-in/openid")
    cookie = headers["set-cookie"].partition(";")[0]
    status, headers, _ = send(provider.consent(headers["location"], sub), headers={"cookie": cookie})
    assert (status, headers["location"]) == (303, "/console/")
    session = re.search(r"llmguard_session=[\w-]+", str(headers))[0]
    _, _, page = send(f"{base_url}/console/", headers={"cookie": session})
    return session, re.search(r'name="csrf" value="(\w+)"', page)[1]


def send(url: str, method: str = "GET", body: str | None = None, headers: dict | None = None):
    """Return status, headers and text of an answer, without following where it leads."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()
