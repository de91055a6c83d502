"""The overview: what happens now, for those who may see all apps; by keyboard, on a phone, in the dark."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE


@pytest.mark.parametrize(
    ("last", "size", "scheme"),
    [("hour", DESKTOP, "light"), ("day", PHONE, "dark"), ("month", DESKTOP, "dark"), ("month", PHONE, "light")],
)
def test_overview_shows_requests_refusals_hidden_values_latency_and_spend(people, look, last, size, scheme):
    page = people.page("coe", size=size, scheme=scheme)

    page.goto(f"/console/?last={last}")

    names = page.locator(".card dt").all_inner_texts()
    cards = dict(zip(names, page.locator(".card dt + dd").all_inner_texts(), strict=True))
    assert list(cards) == ["Requests", "Refused", "Failed", "Values hidden", "Median latency", "Spend"]
    assert cards["Requests"] != "0"
    assert re.fullmatch(r"[\d.]+ m?s", cards["Median latency"])
    assert cards["Spend"].startswith("$")
    link = page.get_by_role("link", name="expense-triage", exact=True)
    expect(link).to_have_attribute("href", "/console/apps/expense-triage")
    expect(page.locator("#codes")).to_be_visible()
    look(page, f"overview-{last}-{scheme}-{size['width']}")


def test_overview_updates_by_itself_until_it_is_paused(people, site):
    page = people.page("coe", name="watcher@example.com")  # the clock is of all pages of a person
    page.clock.install()
    page.goto("/console/?last=hour")
    with page.expect_response("**/console/overview/figures*") as refreshed:
        page.clock.run_for(16_000)
    assert refreshed.value.status == 200
    assert refreshed.value.request.headers["x-llmguard-refresh"] == "1"
    expect(page.locator("#figures .card")).to_have_count(6)

    page.get_by_role("link", name="Pause").click()
    page.wait_for_url("**live=off")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert [path for path in asked if "/console/" in path] == []


def test_page_that_updates_itself_leads_to_the_sign_in_when_its_session_is_over(people):
    page = people.page("auditor", name="gone@example.com")
    page.clock.install()
    page.goto("/console/?last=hour")
    page.context.clear_cookies()

    page.clock.run_for(16_000)

    page.wait_for_url("**/console/sign-in?next=%2Fconsole%2F")


def test_finance_sees_spend_and_no_codes(people):
    page = people.page("finance", name="fin@example.com")
    page.goto("/console/")

    expect(page.locator(".card dt")).to_have_text(["Requests", "Refused", "Failed", "Median latency", "Spend"])
    expect(page.locator("#codes")).to_have_count(0)


def test_menu_shows_only_what_the_roles_allow(people):
    menus = {}
    for role in ("coe", "finance", "owner"):
        page = people.page(role, name="fin@example.com" if role == "finance" else "dana@example.com")
        page.goto("/console/")
        menus[role] = page.get_by_role("navigation").get_by_role("link").all_inner_texts()

    assert menus["coe"][0] == menus["finance"][0] == "Overview"
    assert menus["owner"][0] == "My apps"
    assert "My apps" not in menus["finance"]


def test_page_works_without_script_and_with_the_keyboard(people):
    still = people.page("coe", scripts=False)
    still.goto("/console/?last=month")
    expect(still.locator(".card")).to_have_count(6)

    page = people.page("coe")
    page.goto("/console/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("main :focus")).to_have_count(1)


def test_nothing_is_loaded_from_elsewhere_and_little_from_here(people):
    page = people.page("coe")
    answers = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - it takes Python functions only

    page.goto("/console/?last=month", wait_until="networkidle")

    sizes = [len(answer.body()) for answer in answers]
    assert len(sizes) >= 4
    assert sum(sizes) < 100_000
    assert page.faults == []


def test_signing_out_ends_the_session(people):
    page = people.page("responder", name="leaver@example.com")
    page.goto("/console/")
    page.locator(".who summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/console/sign-in")

    page.goto("/console/")

    assert "/console/sign-in" in page.url
