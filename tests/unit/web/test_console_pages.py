"""Pages of the console without a browser: what they say when something is missing, and that they stay small."""

import http.client

import pytest

from llmguard.catalog import activity
from llmguard.registry.finding import Finding
from llmguard.traces.errors import TraceStoreError
from tests.support.builders import a_quota
from tests.support.served import Served, a_small_registry

PAGES = [
    "/console/",
    "/console/?last=month",
    "/console/overview/figures?last=day",
    "/console/apps/expense-triage",
    "/console/catalog",
    "/console/catalog/findings",
    "/console/presets",
    "/console/presets/summarise",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(
        tmp_path_factory.mktemp("data"), registry=a_small_registry(quota=a_quota(tokens_per_day=100))
    ) as served:
        yield served


@pytest.fixture(scope="module")
def token(served):
    return served.operators.issue("coe@example.com", ("coe",), who="test").secret_text


def get(served, path, token, **headers):
    connection = http.client.HTTPConnection(served.base_url.removeprefix("http://").removesuffix("/v1"), timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers={"authorization": f"Bearer {token}", **given})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


class Busy:
    """A reader whose store cannot be read."""

    def query(self, *_, **__):
        raise TraceStoreError("busy")


@pytest.mark.parametrize("path", PAGES)
def test_page_of_an_empty_installation_is_whole_small_and_never_kept(served, token, path):
    status, headers, text = get(served, path, token)

    assert status == 200
    assert len(text) < 60_000
    assert (headers["cache-control"], "unsafe" in headers["content-security-policy"]) == ("no-store", False)
    assert "style=" not in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/console/?last=hour", "The figures cannot be read now"),
        ("/console/apps/expense-triage", "What it costs cannot be read now"),
        ("/console/presets/summarise", "This cannot be read now"),
    ],
)
def test_page_says_when_the_trace_store_cannot_be_read(served, token, path, words, monkeypatch):
    monkeypatch.setattr(served, "reader", Busy())
    monkeypatch.setattr(activity, "_FRESH_SECONDS", 0.0)  # or what an earlier page counted is shown

    status, _, text = get(served, path, token)

    assert (status, words in text) == (200, True)


def test_findings_say_where_and_how_to_mend(served, token, monkeypatch):
    finding = Finding("registry.yaml", 7, 3, "apps.x.status", "'sandbx' is not possible here", "sandbx", "use sandbox")
    monkeypatch.setattr(served, "findings", (finding,))

    _, _, text = get(served, "/console/catalog/findings", token)

    assert "registry.yaml:7:3" in text
    assert "Use sandbox" in text
    assert "1 mistake" in get(served, "/console/", token)[2]


def test_wrong_window_is_refused_in_words(served, token):
    status, _, text = get(served, "/console/?last=year", token)

    assert (status, "These parameters of the address cannot be: last." in text) == (400, True)


def test_part_of_a_page_leads_to_the_sign_in_when_nobody_is_signed_in(served):
    connection = http.client.HTTPConnection(served.base_url.removeprefix("http://").removesuffix("/v1"), timeout=60)
    here = f"{served.base_url.removesuffix('/v1')}/console/?last=day"
    connection.request("GET", "/console/overview/figures", headers={"hx-request": "true", "hx-current-url": here})
    answer = connection.getresponse()

    assert (answer.status, answer.headers["hx-redirect"]) == (401, "/console/sign-in?next=%2Fconsole%2F")
    connection.close()


def test_who_has_no_role_is_told_how_to_get_one(served):
    nobody = served.operators.issue("new@example.com", (), who="test").secret_text

    status, _, text = get(served, "/console/", nobody)

    assert (status, "Ask the CoE" in text, "llmguard access request" in text) == (403, True, True)
