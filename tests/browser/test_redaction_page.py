"""Redaction: a pasted text and what is found in it, live; the lines that take a finding back; nothing is kept."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, copied, settled

TEXT = "Please call Zephyrine Quackenbush on +1 212 555 0123.\nShe wrote from zq@quackenbush.example <today>."


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop, light", "phone, dark"]
)
def test_findings_come_while_one_types_with_recognizer_and_score(people, look, site, size, scheme):
    page = people.page("coe", size=size, scheme=scheme)
    page.goto("/console/redaction")
    look(page, f"redaction-empty-{scheme}")

    page.get_by_label("Text").fill(TEXT)

    page.locator("#found h2").wait_for()
    settled(page)
    found = page.locator(".findings code").all_inner_texts()
    assert {"PERSON", "PHONE_NUMBER", "EMAIL_ADDRESS"} <= set(found)
    address = page.locator(".findings li", has_text="EMAIL_ADDRESS").first
    expect(address.get_by_text("score 0.95")).to_be_visible()
    expect(address.get_by_text("MailAddressRecognizer")).to_be_visible()
    look(page, f"redaction-{scheme}", "#found")
    kept = site.every_byte()
    assert b"Quackenbush" not in kept
    assert b"quackenbush" not in kept


def test_wrong_finding_gives_the_line_and_the_case_to_copy(people, look):
    page = people.page("coe")
    page.goto("/console/redaction")
    page.get_by_label("Text").fill(TEXT)
    finding = page.locator(".findings li", has_text="zq@quackenbush.example")
    finding.locator("summary").click()

    expect(finding.locator("[data-copy]").nth(1)).to_be_visible()
    lines = finding.locator("[data-copy] code").all_inner_texts()

    assert lines[0] == "zq@quackenbush.example"
    assert lines[1] == ('- rule: "not EMAIL_ADDRESS"\n  profile: standard\n  kept:\n    - "zq@quackenbush.example"')
    look(page, "redaction-line", ".findings")
    assert copied(finding.get_by_role("button", name="Copy the line for allow.txt")) == "zq@quackenbush.example"


def test_profile_and_dropped_proposals_can_be_chosen_and_a_long_text_is_refused_in_words(people):
    page = people.page("coe")
    page.goto("/console/redaction")
    page.get_by_label("Text").fill(TEXT)
    page.get_by_label("Profile").select_option("minimal")
    page.locator("#found h2", has_text="profile minimal").wait_for()
    expect(page.locator(".findings code", has_text="PERSON")).to_have_count(0)

    page.get_by_label("Also what was proposed and dropped").check()
    page.locator("#found h2", has_text="proposal").wait_for()
    page.evaluate("document.getElementById('text').removeAttribute('maxlength')")
    page.get_by_label("Text").fill("word " * 3000)
    page.locator("#problem", has_text="and this page takes 10,000").wait_for()


def test_page_works_without_script_for_a_responder_and_not_for_finance(people):
    page = people.page("responder", name="rae@example.com", scripts=False)
    page.goto("/console/redaction")
    page.get_by_label("Text").fill(TEXT)
    page.get_by_role("button", name="Look").click()
    expect(page.locator(".findings li").nth(2)).to_be_visible()
    expect(page.get_by_label("Text")).to_have_value(TEXT)

    assert people.page("finance", name="fin@example.com").goto("/console/redaction").status == 403
