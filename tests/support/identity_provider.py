"""A real OpenID provider (oidc-provider-mock) whose requests a test can look at; and an issuer of any token.

The first shows that sign-ins work with software that is not ours. The second signs what no provider would.
"""

import hashlib
import hmac
import http.server
import json
import threading
import time
from base64 import urlsafe_b64encode
from urllib.parse import parse_qsl

import flask
import oidc_provider_mock
from joserfc import jwt
from joserfc.jwk import RSAKey
from oidc_provider_mock import User
from werkzeug.serving import make_server


class OpenIdProvider:
    """Serves while it is entered; `tokens_asked` are the forms that came to its token endpoint."""

    def __init__(self, *users: User) -> None:
        app = oidc_provider_mock.app(user_claims=users, require_nonce=True)
        self.tokens_asked: list[dict[str, str]] = []
        self.authorizations: list[str | None] = []

        @app.before_request
        def look():
            if flask.request.path == "/oauth2/token":
                self.tokens_asked.append(dict(flask.request.form))
                self.authorizations.append(flask.request.headers.get("authorization"))

        self._server = make_server("localhost", 0, app, threaded=True)
        self.issuer = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class Issuer:
    """An issuer with a key of its own: signs whatever a test wants; counts how often its keys are fetched."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, parameters={"kid": "first"})
        self.published = [self.key]
        self.fetched = 0
        self.posted: list[tuple[dict[str, str], dict[str, str]]] = []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                form = parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode())
                headers = {name.lower(): value for name, value in self.headers.items()}
                issuer.posted.append((headers, dict(form)))
                self.do_GET()

            def do_GET(self):
                body = issuer.answer(self.path)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(json.dumps(body or {}).encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path):
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        if path == "/keys":
            self.fetched += 1
            return {"keys": [key.as_dict(private=False) for key in self.published]}
        return None

    def token(self, *, key=None, header=None, **claims):
        """Return a token of this issuer for the audience `llmguard` and the app `expense`, changed as a test says."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": "llmguard", "sub": "expense", "iat": now, "exp": now + 300}
        said = {name: value for name, value in (usual | claims).items() if value is not None}
        top = {"alg": "RS256", "kid": "first"} | (header or {})
        top = {name: value for name, value in top.items() if value is not None}
        if top["alg"] == "none":
            return f"{encoded(top)}.{encoded(said)}."
        return jwt.encode(top, said, key or self.key, algorithms=[top["alg"]])


def encoded(value):
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def s256(verifier):
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def hs256(public_key, kid, claims):
    """Return a token that is signed with a public key as if it were a shared secret: what attackers try."""
    body = f"{encoded({'alg': 'HS256', 'kid': kid})}.{encoded(claims)}"
    mac = hmac.digest(public_key.as_pem(private=False), body.encode(), "sha256")
    return f"{body}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"
