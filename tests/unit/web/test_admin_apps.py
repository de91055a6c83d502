"""Stopping, starting and renewing an app over the admin API, with the data plane beside it."""

import http.client
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from llmguard.audit.log import AuditLog
from llmguard.domain.clock import SystemClock
from tests.support.served import Served, a_small_registry

APP = "/admin/api/apps/expense-triage"
SOON = datetime.now(UTC).date() + timedelta(days=3)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    registry = a_small_registry(backup_owner="lee@example.com", expires=SOON)
    with Served(tmp_path_factory.mktemp("data"), registry=registry) as served:
        yield served


def ask(served, method, path, token, body=None):
    host = served.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    status, content = answer.status, json.loads(answer.read())
    connection.close()
    return status, content


def soon(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_app_is_stopped_by_its_owner_and_let_in_by_the_coe_alone(served):
    owner = served.operators.issue("lee@example.com", ("owner",), who="test").secret_text
    coe = served.operators.issue("coe@example.com", ("coe",), who="test").secret_text
    assert ask(served, "GET", "/v1/me", served.key)[0] == 200

    assert ask(served, "POST", f"{APP}/contain", owner, {})[1]["error"]["code"] == "invalid_request"
    status, contained = ask(served, "POST", f"{APP}/contain", owner, {"reason": "It leaks."})
    began = time.monotonic()
    soon(lambda: ask(served, "GET", "/v1/me", served.key)[0] == 401)
    assert time.monotonic() - began < 2  # a quarter of a second, and patience for a busy machine
    late = served.keys.issue("expense-triage").secret_text
    soon(lambda: ask(served, "GET", "/v1/me", late)[1]["error"]["code"] == "app_suspended")

    assert (status, contained["contained_by"], len(contained["key_ids"])) == (200, "lee@example.com", 1)
    [row] = ask(served, "GET", "/admin/api/apps", coe)[1]["data"]
    assert (row["status"], row["contained_at"] is not None) == ("suspended", True)
    noted = AuditLog(served.data / "state.db", SystemClock())
    soon(lambda: "app.evidence_noted" in [entry.what for entry in noted.entries()])

    assert ask(served, "POST", f"{APP}/lift", owner, {"reason": "Mended."})[1]["error"]["code"] == "role_missing"
    assert ask(served, "POST", f"{APP}/lift", coe, {"reason": "Mended."})[1]["lifted_by"] == "coe@example.com"
    soon(lambda: ask(served, "GET", "/v1/me", late)[0] == 200)
    assert ask(served, "GET", "/v1/me", served.key)[0] == 401


def test_owner_renews_as_far_as_the_registry_lets(served):
    owner = served.operators.issue("dana@example.com", ("owner",), who="test").secret_text
    until = (SOON + timedelta(days=30)).isoformat()
    key = served.keys.issue("expense-triage").secret_text

    status, renewed = ask(served, "POST", f"{APP}/renew", owner, {"until": until})

    assert (status, renewed["in_git"], renewed["expires"]) == (200, SOON.isoformat(), until)
    soon(lambda: ask(served, "GET", "/v1/me", key)[1].get("app", {}).get("expires") == until)
    assert ask(served, "POST", f"{APP}/renew", owner, {"until": "2999-01-01"})[0] == 400
    assert ask(served, "POST", f"{APP}/renew", owner, {"until": "soon"})[1]["error"]["code"] == "body_refused"
