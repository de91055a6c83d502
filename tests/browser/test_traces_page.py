"""Traces: search in the address, the live tail, one trace with its steps and what was said, replays and evidence."""

import json
import re
import zipfile

import pytest
from playwright.sync_api import expect

from llmguard.audit.log import AuditLog
from llmguard.domain.clock import SystemClock
from llmguard.evidence.pack_check import check_pack
from llmguard.traces.reader import TraceReader
from tests.browser.conftest import DESKTOP, PHONE, settled

RAE = "rae@example.com"
PERSONAL = "Write to Anna Schmidt, anna.schmidt@example.com, about <b>Lisbon</b>.\nThe invoice is late."
HIDDEN = ("Anna", "Schmidt", "anna.schmidt@example.com")
SIZES = pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop, light", "phone, dark"]
)


@pytest.fixture(scope="module")
def key(site):
    return site.issue_key("expense-triage")


@pytest.fixture(scope="module")
def ask(site, key):
    """Asks once through the gateway, and returns the trace id once the trace can be read."""
    reader = TraceReader(site.data)

    def ask(text=PERSONAL, **body):
        body = {"model": "summarise", "messages": [{"role": "user", "content": text}]} | body
        _, headers, _ = site.send("POST", "/v1/chat/completions", json.dumps(body).encode(), key)
        trace_id = headers["x-llmguard-trace-id"]
        site.wait_until(lambda: reader.show(trace_id) is not None)
        return trace_id

    return ask


@pytest.fixture(scope="module")
def trace_id(ask):
    return ask()


@pytest.fixture
def rae(people):
    return people.page("responder", name=RAE)


def entries(site, what):
    return [entry for entry in AuditLog(site.data / "state.db", SystemClock()).entries() if entry.what == what]


@SIZES
def test_search_narrows_by_what_stands_in_the_address(people, look, size, scheme):
    page = people.page("responder", name=RAE, size=size, scheme=scheme)
    page.goto("/console/traces?last=hour")
    look(page, f"traces-{scheme}")
    page.goto("/console/traces?last=month")
    expect(page.locator("tbody tr")).to_have_count(50)

    page.get_by_label("App", exact=True).fill("hr-helpdesk")
    page.get_by_label("Status", exact=True).fill("400")
    page.get_by_role("button", name="Search").click()

    page.wait_for_url("**app=hr-helpdesk**")
    assert "status=400" in page.url
    outcomes = page.locator("tbody tr td:nth-child(3)").all_inner_texts()
    assert set(outcomes) == {"400\ncontent_blocked"}
    older = page.get_by_role("link", name="Older ones")
    assert page.locator("caption").inner_text().startswith(f"{len(outcomes)} traces" if older.count() == 0 else "")


def test_older_ones_go_on_where_the_page_ends(rae):
    rae.goto("/console/traces?last=month")
    first = rae.locator("tbody a").evaluate_all("links => links.map(link => link.href)")
    rae.get_by_role("link", name="Older ones").click()
    rae.wait_for_url("**until=**")
    second = rae.locator("tbody a").evaluate_all("links => links.map(link => link.href)")

    assert len(first) == len(second) == 50
    assert not set(first) & set(second)


def paused(route):
    """Answer as if the texts took longer than a page may: a row follows that looks on."""
    answer = route.fetch()
    onward = 'hx-get="/console/traces/further?text=lisbon&room=50" hx-trigger="load" hx-swap="outerHTML"'
    row = f'<tr id="further" {onward}><td colspan="7">Looked back a little.</td></tr></tbody>'
    route.fulfill(response=answer, body=answer.text().replace("</tbody>", row))


def test_text_is_found_however_long_it_takes(rae, trace_id, look):
    found, further = rae.locator("tbody th a"), rae.locator("#further")
    rae.goto("/console/traces?text=lisbon")
    expect(found.first).to_have_attribute("href", f"/console/traces/{trace_id}")

    rae.goto("/console/traces?text=lisbon&last=month&status=nonsense")
    expect(rae.get_by_text("'nonsense' is no figure for status.")).to_be_visible()
    rae.goto("/console/traces?text=lisbon&last=month")
    expect(further).to_have_count(0)
    expect(found).to_have_count(1)
    rae.route("**/console/traces?text=lisbon&last=day", paused)
    rae.goto("/console/traces?text=lisbon&last=day")
    rae.get_by_text("That is all").first.wait_for()
    expect(further).to_have_count(0)
    expect(found).to_have_count(2)
    rae.goto("/console/traces?text=nobody-ever-said-this&last=hour")
    expect(further).to_have_count(0)
    look(rae, "traces-empty", "main")
    rae.get_by_label("Text or trace id").fill(trace_id)
    rae.get_by_role("button", name="Search").click()
    rae.wait_for_url(f"**/console/traces/{trace_id}")


def test_live_tail_adds_new_traces_alone_and_rests_while_nobody_looks(people, ask, look):
    page = people.page("responder", name="watcher@example.com")  # the clock is of all pages of a person
    page.clock.install(time=0)
    page.clock.pause_at(1_000)
    page.goto("/console/traces?live=on&app=expense-triage")
    before = page.locator("tbody a").count()
    new = ask("Another one.")
    with page.expect_response(lambda answer: "/traces/tail" in answer.url and answer.status == 200) as tail:
        page.clock.run_for(2_100)
    page.clock.resume()
    expect(page.locator(f"a[href='/console/traces/{new}']")).to_be_visible()
    assert tail.value.text().count("<th") == 1
    expect(page.locator("tbody a")).to_have_count(before + 1)
    expect(page.locator("tbody tr").nth(1).locator("a")).to_have_attribute("href", f"/console/traces/{new}")
    look(page, "traces-live", "#tail")

    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.isAway, configurable: true})")
    page.evaluate("window.isAway = true")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(10_000)
    assert asked == []
    page.evaluate("window.isAway = false")
    with page.expect_request("**/console/traces/tail*"):
        page.clock.run_for(2_100)


@SIZES
def test_trace_shows_nine_steps_and_what_was_said_with_placeholders_by_type(people, look, trace_id, size, scheme, site):
    page = people.page("responder", name=RAE, size=size, scheme=scheme)
    page.goto(f"/console/traces/{trace_id}")

    steps = page.locator(".steps tbody th").all_inner_texts()
    assert [step.split()[:2] for step in steps] == [
        [str(number), name]
        for number, name in enumerate(
            ("authenticate", "resolve", "decide", "redact", "reserve", "call", "settle", "restore", "trace"), 1
        )
    ]
    marks = page.locator(".said mark").all_inner_texts()
    assert {re.match(r"<([A-Z_]+)_[A-Z]+>$", mark)[1] for mark in marks} == {"PERSON", "EMAIL_ADDRESS"}
    expect(page.locator(".said pre", has_text="about <b>Lisbon</b>").first).to_be_visible()
    assert not any(value in page.content() for value in HIDDEN)
    look(page, f"trace-{scheme}")
    assert len(page.content()) < 100_000


def test_refusal_shows_all_its_reasons(rae, ask, look):
    refused = ask(temperature=0.9, top_p=0.5)
    rae.goto(f"/console/traces/{refused}")

    expect(rae.locator("section.answer.care h2")).to_have_count(2)
    expect(rae.get_by_text("not reached", exact=True)).to_have_count(4)
    expect(rae.get_by_text("Nothing is kept: a request that is refused")).to_be_visible()
    look(rae, "trace-refused", ".answer")


def test_what_decided_it_then_is_brought_into_the_page(rae, trace_id, look):
    rae.goto(f"/console/traces/{trace_id}")
    rae.get_by_role("link", name="Preset, model, app and rules as they were then").click()
    rae.locator("#pinned h3", has_text="Redaction profile").wait_for()

    expect(rae.locator("#pinned")).to_contain_text("version 1 still made things up", use_inner_text=True)
    look(rae, "trace-pinned", "#pinned")


def test_stored_answer_is_proven_and_a_live_one_shown_beside_it(rae, trace_id, look, site):
    rae.goto(f"/console/traces/{trace_id}")
    rae.get_by_role("button", name="Prove the stored answer").click()
    rae.locator("#replayed", has_text="byte for byte what was written").wait_for()
    settled(rae)

    rae.get_by_label("Preset", exact=True).select_option("summarise@1")
    rae.get_by_role("button", name="Ask the model again").click()
    rae.locator("#replayed .compared").wait_for()

    expect(rae.locator("#replayed .beside tbody tr").first).to_be_visible()
    assert not any(value in rae.content() for value in HIDDEN)
    look(rae, "trace-replayed", "#replayed")
    href = rae.locator("#replayed").get_by_role("link", name="The trace of it").get_attribute("href")
    reader = TraceReader(site.data)
    site.wait_until(lambda: reader.show(href.rsplit("/", 1)[1]) is not None)
    replay = reader.show(href.rsplit("/", 1)[1])
    assert (replay["app"], replay["replay_of"], replay["preset_version"]) == (f"responder:{RAE}", trace_id, 1)
    assert [(entry.who, entry.subject) for entry in entries(site, "trace.replayed")][-2:] == [(RAE, trace_id)] * 2


def test_live_replay_that_may_not_be_says_why(rae, trace_id, people):
    rae.goto(f"/console/traces/{trace_id}")
    rae.get_by_label("Temperature").fill("7")
    rae.get_by_role("button", name="Ask the model again").click()
    rae.locator("#problem", has_text="This is no temperature.").wait_for()

    page = people.page("coe")
    page.goto(f"/console/traces/{trace_id}")
    expect(page.get_by_text("To ask the model again you need a budget")).to_be_visible()


def test_evidence_pack_is_downloaded_and_holds(rae, trace_id, tmp_path, site):
    rae.goto(f"/console/traces/{trace_id}")
    with rae.expect_download() as started:
        rae.get_by_role("button", name="Download the pack").click()
    path = tmp_path / started.value.suggested_filename
    started.value.save_as(path)

    assert path.name == f"llmguard-evidence-{trace_id}.zip"
    _, manifest, fault = check_pack(path)
    assert (fault, manifest["traces"]["count"], manifest["app"]) == (None, 1, "expense-triage")
    with zipfile.ZipFile(path) as archive:
        assert trace_id in archive.read("traces.jsonl").decode()
    assert entries(site, "evidence.packed")[-1].who == RAE


def test_responder_stops_an_app_from_a_trace_of_it(people, site, look):
    [row] = TraceReader(site.data).list(limit=1, app="ticket-router")
    page = people.page("responder", name=RAE)
    page.goto(f"/console/traces/{row['trace_id']}")
    page.locator("summary", has_text="Stop ticket-router now").click()
    page.get_by_label("Why", exact=True).fill("It sends everything twice.")
    look(page, "trace-contain", "#contain")
    page.get_by_role("button", name="Stop ticket-router now").click()
    page.get_by_text("It is stopped.").wait_for()

    page.goto(f"/console/traces/{row['trace_id']}")
    expect(page.get_by_text("ticket-router is stopped since")).to_be_visible()
    assert (entries(site, "app.contained")[-1].who, entries(site, "app.contained")[-1].app) == (RAE, "ticket-router")
    coe = people.page("coe")
    coe.goto("/console/apps/ticket-router")
    coe.locator("summary", has_text="Let it in again").click()
    coe.get_by_label("Why", exact=True).fill("It is mended.")
    coe.get_by_role("button", name="Let it in again").click()
    coe.get_by_text("It is let in again.").first.wait_for()


def test_whoever_may_not_read_contents_sees_none_of_them(people, trace_id):
    page = people.page("coe")
    page.goto(f"/console/traces/{trace_id}")

    expect(page.get_by_text("Your roles show that it happened")).to_be_visible()
    assert "Lisbon" not in page.content()
    assert page.request.get(f"/console/traces/{trace_id}/content").status == 403
    owner = people.page("owner", name="sam@example.com")
    answer = owner.goto(f"/console/traces/{trace_id}")
    assert answer.status == 404
    expect(owner.get_by_text("There is no such trace among those that you may see.")).to_have_count(1)
    owner.goto("/console/traces?last=month")
    assert set(owner.locator("tbody td:nth-child(2)").all_inner_texts()) == {"ticket-router\nclassify@1"}


def test_trace_and_its_replay_work_without_script(people, trace_id):
    page = people.page("responder", name=RAE, scripts=False)
    page.goto(f"/console/traces/{trace_id}")
    page.get_by_role("button", name="Prove the stored answer").click()
    page.get_by_text("byte for byte what was written").wait_for()
    page.get_by_role("link", name="Back to the trace").click()
    page.get_by_role("link", name="Preset, model, app and rules as they were then").click()
    page.get_by_role("heading", name="What decided it, as it was then").wait_for()
