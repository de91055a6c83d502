"""The page of one app, as its owner uses it: health, quota, cost, refusals, keys, more quota, the first request."""

import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from llmguard.audit.log import AuditLog
from llmguard.domain.clock import SystemClock
from tests.browser.conftest import DESKTOP, PHONE, copied, settled, unfold
from tests.support.console_registry import LONG_APP

SIZES = pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop, light", "phone, dark"]
)


@SIZES
def test_owner_finds_everything_about_an_app_on_one_page(people, look, size, scheme):
    page = people.page("owner", name="dana@example.com", size=size, scheme=scheme)
    page.goto("/console/")
    page.get_by_role("link", name="expense-triage", exact=True).click()
    page.wait_for_url("**/console/apps/expense-triage")

    expect(page.get_by_role("heading", level=1)).to_have_text("expense-triage")
    parts = ["Quota", "Cost", "Latest refusals", "Keys", "The first request", "About this app"]
    expect(page.get_by_role("heading", level=2)).to_have_text([re.compile("^Health"), *parts])
    expect(page.locator("#refusals ~ ul li").nth(1)).to_be_visible()
    expect(page.locator("#refusals ~ ul")).to_contain_text("Keep temperature within 0 to 0.3", use_inner_text=True)
    expect(page.locator(".card dd").first).to_have_text(re.compile(r"^\$"))
    expect(page.locator("#quota ~ table")).to_contain_text("Tokens a month", use_inner_text=True)
    look(page, f"app-{scheme}")


@pytest.mark.parametrize("app", [LONG_APP, "legal-search", "brand-new"])
def test_apps_with_long_names_no_traces_and_no_approval_are_shown_too(people, look, app):
    page = people.page("coe", size=PHONE)

    page.goto(f"/console/apps/{app}")

    expect(page.get_by_role("heading", level=1)).to_have_text(app)
    look(page, f"app-{app[:12]}", "#main")


def issue(page):
    unfold(page, "Issue a key")
    page.get_by_role("button", name="Issue the key").click()
    page.get_by_role("heading", name="The key, this once").wait_for()
    settled(page)
    return page.locator("[data-answer] code").inner_text()


def audited(site, subject):
    """Return what the audit log says that dana did to something, oldest first."""
    entries = AuditLog(site.data / "state.db", SystemClock()).entries()
    return [entry.what for entry in entries if (entry.subject, entry.who) == (subject, "dana@example.com")]


def test_key_is_issued_copied_used_rotated_and_revoked(people, look, site):
    page = people.page("owner", name="dana@example.com")
    page.goto("/console/apps/expense-triage")
    key = issue(page)
    look(page, "app-new-key", "#keys-of-app")
    assert re.fullmatch(r"sk-lg_\w+", key)
    assert copied(page.get_by_role("button", name="Copy key")) == key
    site.wait_until(lambda: site.get("/v1/me", key)[0] == 200)

    key_id = page.locator("#keys-of-app tbody th code").last.inner_text()
    page.locator("summary", has_text=f"Rotate {key_id}").click()
    page.get_by_role("button", name="Rotate", exact=True).click()
    expect(page.locator("[data-answer] code")).not_to_have_text(key)
    settled(page)
    rotated = page.locator("[data-answer] code").inner_text()
    site.wait_until(lambda: site.get("/v1/me", rotated)[0] == 200)

    page.locator("summary", has_text=f"Revoke {key_id}").click()
    page.get_by_role("button", name="Revoke for good").click()
    page.get_by_role("heading", name=f"The key {key_id} is revoked.").wait_for()
    site.wait_until(lambda: site.get("/v1/me", rotated)[0] == 401)
    page.reload()
    assert key not in page.content()
    assert rotated not in page.content()
    assert audited(site, key_id) == ["key.issued", "key.rotated", "key.revoked"]
    assert page.faults == []


def test_key_is_issued_without_script_too(people):
    page = people.page("owner", name="dana@example.com", scripts=False)
    page.goto("/console/apps/hr-helpdesk")
    page.locator("summary", has_text="Issue a key").click()
    page.get_by_label("It is for").select_option("sandbox")
    page.get_by_label("draft-reply").uncheck()
    page.get_by_role("button", name="Issue the key").click()

    expect(page.locator("[data-answer] code")).to_have_text(re.compile(r"^sk-lg_\w+$"))
    expect(page.locator("#keys-of-app table")).to_contain_text("presets: summarise@2; sandbox", use_inner_text=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("hr-helpdesk")


def test_more_quota_is_asked_for_once_and_the_reason_is_hidden(people, look, site):
    page = people.page("owner", name="dana@example.com")
    page.goto("/console/apps/expense-triage")
    page.locator("summary", has_text="Ask for more quota").click()
    page.get_by_label("Which limit").select_option(label="Tokens a month")
    page.get_by_label("How much more").fill("many")
    page.locator("#overage").get_by_label("Why").fill("The year ends, as anna.schmidt@example.com says.")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem .wrong")).to_contain_text("no figure of this limit")

    page.get_by_label("How much more").fill("500,000")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_role("heading", name="You have asked for more.").wait_for()
    expect(page.locator("#overage")).to_contain_text("500,000 more", use_inner_text=True)
    page.reload()
    expect(page.locator("#overage")).to_contain_text("waits for a decision", use_inner_text=True)
    assert b"as anna.schmidt@example.com says" not in (site.data / "state.db").read_bytes()
    assert [fault.partition("(")[2] for fault in page.faults] == ["Bad Request)"]  # the first try
    page.faults.clear()
    look(page, "app-asked-for-more", "#overage")


def test_first_requests_are_copied_and_work(people, site):
    page = people.page("owner", name="dana@example.com")
    page.goto("/console/apps/expense-triage")
    page.get_by_label("Preset", exact=True).select_option("summarise")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**preset=summarise**")
    key = issue(page)
    site.wait_until(lambda: site.get("/v1/me", key)[0] == 200)
    page.locator("summary", has_text="Power Automate").click()
    uri, headers, body = (
        copied(page.get_by_role("button", name=f"Copy {name}")) for name in ("URI", "headers", "body")
    )

    headers = {name: value.replace("sk-lg_…", key) for name, value in json.loads(headers).items()}
    request = urllib.request.Request(uri, body.encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["choices"][0]["message"]["content"]
    assert [tool.split("\n")[0] for tool in page.locator("details[name=tool] summary").all_inner_texts()] == [
        "OpenAI SDK",
        "curl",
        "n8n",
        "Power Automate",
    ]
    n8n = json.loads(page.locator("[data-copy='workflow for n8n'] code").text_content())
    assert {node["type"] for node in n8n["nodes"]} >= {"n8n-nodes-base.httpRequest"}


def test_owner_renews_an_approval_as_far_as_the_coe_lets(people, look):
    page = people.page("owner", name="rita@example.com")
    page.goto("/console/apps/contract-check")
    today = datetime.now(UTC).date()
    unfold(page, "Renew")
    page.get_by_label("Until").fill((today + timedelta(days=1)).isoformat())
    page.get_by_role("button", name="Renew", exact=True).click()
    expect(page.locator("#problem .wrong")).to_contain_text("is approved until")

    page.get_by_label("Until").fill((today + timedelta(days=180)).isoformat())
    page.get_by_role("button", name="Renew", exact=True).click()
    page.locator("#health-of-app [data-answer]").wait_for()
    expect(page.locator("#problem")).to_be_empty()
    expect(page.locator("#health-of-app dl")).to_contain_text("(in 180 days)")
    page.faults.clear()  # the first try
    look(page, "app-renewed", "#health-of-app")


def test_owner_sees_no_app_of_others_and_builder_issues_no_key(people):
    page = people.page("owner", name="dana@example.com")
    assert page.goto("/console/apps/ticket-router").status == 403
    assert "You own no app of this name" in page.content()

    builder = people.page("builder", name="dana@example.com")
    builder.goto("/console/apps/expense-triage")
    expect(builder.get_by_role("heading", level=1)).to_have_text("expense-triage")
    expect(builder.locator("summary", has_text="Issue a key")).to_have_count(0)


def test_who_reads_only_gets_no_actions(people):
    page = people.page("auditor", name="once@example.com")

    page.goto("/console/apps/expense-triage")

    expect(page.locator("form[method=post]")).to_have_count(1)  # sign out
    expect(page.locator("details.action form")).to_have_count(0)
