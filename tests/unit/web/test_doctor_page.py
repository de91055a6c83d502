"""The page for people who cannot program: says what is wrong, keeps nothing, and is no help for guessing keys."""

import http.client
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from llmguard.domain.errors import Fault
from llmguard.web.forms import Turns
from tests.support.builders import FrozenClock
from tests.support.served import Served

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("data")) as served:
        yield served


def ask(served, method="POST", path="/doctor", body=None, **headers):
    host = served.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=60)
    content = body if isinstance(body, bytes | None) else urlencode(body)
    given = {"content-type": FORM} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, content, given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


class Labels(HTMLParser):
    """Collects what is labelled, what is to be filled in, and what a page loads."""

    def __init__(self, page):
        super().__init__()
        self.labelled, self.fields, self.loaded, self.inline = set(), set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        if tag == "label":
            self.labelled.add(facts["for"])
        if tag in ("input", "textarea") and facts.get("type") != "hidden":
            self.fields.add(facts["id"])
        self.loaded += [facts[name] for name in ("src", "href") if name in facts]
        self.inline += [name for name in facts if name == "style" or name.startswith("on")]


def test_page_is_a_form_with_labels_that_loads_only_its_own_files(served):
    status, headers, page = ask(served, "GET")

    labels = Labels(page)
    assert status == 200
    assert labels.fields == labels.labelled == {"text", "key", "base_url", "preset", "origin"}
    assert [path.partition("?")[0] for path in labels.loaded] == [
        "/static/icon.svg",
        "/static/style.css",
        "/static/doctor.js",
        "/console/",  # a link
        "/static/icon.svg",
    ]
    assert labels.inline == []
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert (headers["cache-control"], headers["set-cookie"]) == ("no-store", None)


def test_good_key_is_looked_up_and_not_shown(served):
    status, _, page = ask(served, body={"key": served.key, "client_time": "2000-01-01T00:00:00.000Z"})

    assert status == 200
    assert "expense-triage" in page
    assert "The clock of your machine is" in page
    assert served.key[20:] not in page


def test_unknown_key_tells_nothing_of_any_app(served):
    _, _, page = ask(served, body={"key": served.key[:-8]})

    assert "was cut" in page
    assert "expense-triage" not in page


def test_what_was_pasted_is_never_markup(served):
    error = (
        '{"error": {"message": "<script>alert(1)</script>", "code": "invalid_request", "hint": "<b>", "trace_id": "x"}}'
    )

    _, _, page = ask(served, body={"text": error})

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_unknown_trace_is_said(served):
    _, _, page = ask(served, body={"text": "019aafd0-0000-7000-8000-00000000000a"})

    assert "knows no request with this id" in page


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
    ids=["cross", "sub domain", "origin", "sandboxed"],
)
def test_form_of_another_page_is_refused(served, headers):
    status, _, page = ask(served, body={"key": served.key}, **headers)

    assert status == 403
    assert "expense-triage" not in page


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * 200_000, {}),
        (b"\xff=1", {}),
        (b"&".join(b"a=1" for _ in range(60)), {}),
        (b"{}", {"content_type": "application/json"}),
    ],
    ids=["long", "no text", "many fields", "json"],
)
def test_what_is_no_form_is_refused(served, body, headers):
    assert ask(served, body=body, **headers)[0] == 400


def test_stale_keys_are_said_and_nothing_is_guessed(served, monkeypatch):
    def stale():
        raise Fault("ledger_unavailable", "Keys cannot be checked.", hint="Try again shortly.")

    monkeypatch.setattr(served.services.keyring, "_check_freshness", stale)

    _, _, page = ask(served, body={"key": served.key})

    assert "Keys cannot be checked." in page
    assert "expense-triage" not in page


def test_client_that_asks_too_often_has_to_wait(tmp_path):
    with Served(tmp_path) as served:
        statuses = [ask(served, body={"key": "x"})[0] for _ in range(22)]
        _, headers, _ = ask(served, body={"key": "x"})

    assert statuses == [200] * 20 + [429] * 2
    assert headers["retry-after"] == "60"


def test_turns_come_back_after_a_minute_and_are_shared_by_nobody():
    clock = FrozenClock()
    turns = Turns(clock, each=2, together=3)

    first = [turns.take("a"), turns.take("a"), turns.take("a"), turns.take("b"), turns.take("c")]
    clock.advance(seconds=60)

    assert first == [True, True, False, True, False]
    assert turns.take("a")
