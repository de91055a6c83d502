"""The pages that need no sign-in look like the console, and are as accessible: sign-in, doctor, why; and refusals."""

import pytest

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
    page.get_by_role("alert").wait_for()

    assert "not known here" in page.get_by_role("alert").inner_text()
    page.faults.clear()  # 401
    look(page, f"sign-in-{page.scheme}")


def test_token_opens_the_page_that_was_asked_for(people, chromium):
    token = people.token("guest@example.com", "coe")
    context = chromium.new_context(base_url=people.root)
    page = context.new_page()
    page.goto("/console/presets/summarise")
    page.get_by_label("Operator's token").fill(token)
    page.get_by_role("button", name="Sign in", exact=True).click()

    page.wait_for_url("**/console/presets/summarise")
    assert page.get_by_role("heading", level=1).inner_text() == "summarise"
    context.close()


def test_doctor_answers_a_question(page, look):
    page.goto("/doctor")
    page.get_by_label("What the tool says").fill("Connection refused")
    page.get_by_role("button", name="Find out what is wrong").click()

    page.locator("#answer").wait_for()
    look(page, f"doctor-{page.scheme}")


def test_latest_refusal_leads_to_why(page, look):
    page.goto("/console/apps/expense-triage")
    page.get_by_role("link", name="More on this one").first.click()

    page.get_by_role("heading", level=1, name="Why, and what now").wait_for()
    look(page, f"why-{page.scheme}")


def test_page_that_is_not_there_says_so(page, look):
    assert page.goto("/console/apps/no-such-app").status == 404

    assert "There is no app of this name." in page.content()
    page.faults.clear()  # 404
    look(page, f"refused-{page.scheme}")
