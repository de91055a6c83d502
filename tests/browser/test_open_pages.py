"""The pages that need no sign-in look like the console, and are as accessible: sign-in, doctor, why; and refusals."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE


@pytest.fixture(params=[(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop, light", "phone, dark"])
def page(people, request):
    size, scheme = request.param
    page = people.page("coe", size=size, scheme=scheme)
    page.scheme = scheme
    return page


def test_sign_in_says_what_is_wrong_with_a_token(page, look):
    page.goto("/console/sign-in")
    page.get_by_label("Operator's token").fill("op-lg_wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("not known here")
    page.faults.clear()  # 401
    look(page, f"sign-in-{page.scheme}")


def test_token_opens_the_page_that_was_asked_for(people):
    token = people.token("guest@example.com", "coe")
    context = people.stranger()
    page = context.new_page()
    page.goto("/console/presets/summarise")
    page.get_by_label("Operator's token").fill(token)
    page.get_by_role("button", name="Sign in", exact=True).click()

    page.wait_for_url("**/console/presets/summarise")
    expect(page.get_by_role("heading", level=1)).to_have_text("summarise")
    context.close()


def test_doctor_answers_a_question(page, look):
    page.goto("/doctor")
    page.get_by_label("What the tool says").fill("Connection refused")
    page.get_by_role("button", name="Find out what is wrong").click()

    expect(page.locator("#answer")).to_be_visible()
    look(page, f"doctor-{page.scheme}")


def test_latest_refusal_leads_to_why(page, look):
    page.goto("/console/apps/expense-triage")
    page.get_by_role("link", name="More on this one").first.click()

    page.get_by_role("heading", level=1, name="Why, and what now").wait_for()
    look(page, f"why-{page.scheme}")


def test_refusal_by_two_rules_is_explained_by_both(page, look, site):
    body = {"model": "summarise", "messages": [{"role": "user", "content": "Hello."}], "temperature": 0.9, "top_p": 0.5}
    key = site.issue_key("expense-triage")
    _, headers, _ = site.send("POST", "/v1/chat/completions", json.dumps(body).encode(), key)
    address = f"/why/{headers['x-llmguard-trace-id']}"
    site.wait_until(lambda: site.get(address)[0] == 200)

    page.goto(address)

    expect(page.get_by_role("heading", name="The rule:")).to_have_count(2)
    look(page, f"why-two-{page.scheme}")


def test_page_that_is_not_there_says_so(page, look):
    assert page.goto("/console/apps/no-such-app").status == 404

    expect(page.get_by_text("There is no app of this name.")).to_be_visible()
    page.faults.clear()  # 404
    look(page, f"refused-{page.scheme}")
