"""The catalog, presets and findings, as the CoE uses them: find an app, copy a change, compare two versions."""

import pytest
from playwright.sync_api import expect

from llmguard.audit.log import AuditLog
from llmguard.domain.clock import SystemClock
from tests.browser.conftest import DESKTOP, PHONE, copied, settled, unfold
from tests.support.console_registry import LONG_APP, a_console_registry

SIZES = pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop, light", "phone, dark"]
)


@SIZES
def test_catalog_lists_every_app_and_narrows_down(people, look, size, scheme):
    page = people.page("coe", size=size, scheme=scheme)
    page.goto("/console/")
    page.get_by_role("navigation").get_by_role("link", name="Catalog").click()
    page.wait_for_url("**/console/catalog")
    expect(page.locator("tbody tr")).to_have_count(9)
    look(page, f"catalog-{scheme}")

    def narrow(state="", data="", ends="", owner=""):
        """Return the links to the apps that are like that."""
        page.get_by_label("State").select_option(state)
        page.get_by_label("Data").select_option(data)
        page.get_by_label("Approval").select_option(ends)
        page.get_by_label("Name or owner").fill(owner)
        page.get_by_role("button", name="Filter").click()
        page.wait_for_url(f"**/console/catalog?state={state}&data={data}&ends={ends}&owner={owner}")
        return page.locator("tbody th a")

    expect(narrow(state="suspended")).to_have_text(["legal-search"])
    expect(narrow(ends="30")).to_have_text(["hr-helpdesk", "legal-search", "visitor-badges"])
    expect(narrow(ends="nobody")).to_have_text(["canteen-menu"])
    expect(narrow(data="confidential")).to_have_text([LONG_APP, "ticket-router"])
    expect(narrow(data="confidential", owner="nobody")).to_have_count(0)
    look(page, f"catalog-empty-{scheme}", "#main .empty")


def test_change_of_state_is_copied_for_git(people, look):
    page = people.page("coe")
    page.goto("/console/apps/ticket-router")
    unfold(page, "Approve in git…")
    change = page.locator("details", has_text="Approve in git…")

    text = copied(change.get_by_role("button", name="Copy change of registry.yaml"))

    assert text == "apps:\n  ticket-router:\n    status: approved  # was: sandbox\n"
    expect(page.locator("summary", has_text="Suspend in git…")).to_have_count(1)
    expect(page.locator("summary", has_text="Renew for a year in git…")).to_have_count(1)
    look(page, "app-change", "#health-of-app")


@SIZES
def test_preset_shows_what_it_allows_who_uses_it_and_what_differs(people, look, size, scheme):
    page = people.page("coe", size=size, scheme=scheme)
    page.goto("/console/presets")
    look(page, f"presets-{scheme}")
    page.get_by_role("link", name="summarise").click()
    page.wait_for_url("**/console/presets/summarise")

    settings = page.locator("#difference ~ table tbody th").all_inner_texts()
    differing = dict(zip(settings, page.locator("td.new").all_inner_texts(), strict=True))
    assert differing["parameter temperature"].startswith("from 0 to 0.3")
    assert differing["parameter top_p"] in ("1 only", "1.0 only")
    assert "model" not in differing
    expect(page.locator("#v2 ~ p").last).to_contain_text("expense-triage")
    expect(page.locator("#use ~ table tbody tr").nth(1)).to_be_visible()
    look(page, f"preset-{scheme}")

    page.get_by_label("To version").select_option("1")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#difference ~ .empty")).to_have_text("These two do the same.")


def test_builder_sees_presets_and_only_own_apps_on_them(people):
    page = people.page("builder", name="dana@example.com")

    page.goto("/console/presets/summarise")

    expect(page.locator("#use ~ table tbody th")).to_have_text(["expense-triage"])
    assert LONG_APP not in page.content()
    assert page.goto("/console/presets/none").status == 404
    assert page.goto("/console/catalog").url.endswith("/console/apps")
    assert page.goto("/console/catalog/findings").url.endswith("/console/apps")


def test_app_is_stopped_at_once_and_let_in_again(people, look, site):
    page = people.page("coe")
    page.goto("/console/apps/hr-helpdesk")
    page.get_by_label("It is for").wait_for(state="attached")
    unfold(page, "Issue a key")
    page.get_by_role("button", name="Issue the key").click()
    page.get_by_role("heading", name="The key, this once").wait_for()
    settled(page)
    key = page.locator("#keys-of-app [data-answer] code").inner_text()
    site.wait_until(lambda: site.get("/v1/me", key)[0] == 200)

    unfold(page, "Stop it now")
    page.get_by_label("Why", exact=True).first.fill("Its key was seen in a public place.")
    page.get_by_role("button", name="Stop it now").click()
    page.get_by_role("heading", name="It is stopped.").wait_for()
    expect(page.locator("#health")).to_contain_text("does not work")
    expect(page.locator("#keys-of-app table")).not_to_contain_text("valid", use_inner_text=True)
    expect(page.locator("#health-of-app dl")).to_contain_text("stopped since")
    expect(page.locator("summary", has_text="in git…")).to_have_count(0)
    look(page, "app-stopped", "#health-of-app")
    site.wait_until(lambda: site.get("/v1/me", key)[0] == 401)
    page.goto("/console/catalog")
    expect(page.locator("tr", has_text="hr-helpdesk").locator(".badge").first).to_have_text("stopped")

    page.goto("/console/apps/hr-helpdesk")
    unfold(page, "Let it in again")
    page.locator("#reason-lift").fill("It was a false alarm.")
    page.get_by_role("button", name="Let it in again").click()
    page.get_by_role("heading", name="It is let in again.").wait_for()
    log = AuditLog(site.data / "state.db", SystemClock()).entries()
    said = [(entry.what, entry.who) for entry in log if entry.what in ("app.contained", "app.lifted")]
    assert said[-2:] == [("app.contained", "coe@example.com"), ("app.lifted", "coe@example.com")]


def test_findings_of_a_broken_registry_are_listed_until_they_are_mended(people, look, site):
    page = people.page("coe")
    page.goto("/console/catalog/findings")
    expect(page.locator("#main")).to_contain_text("registry.yaml has no mistakes")
    look(page, "findings-none", "#main")
    site.registry.write_text(a_console_registry().replace("status: sandbox", "status: sandbx", 1))
    try:
        site.wait_until(lambda: "sandbx" in page.request.get("/console/catalog/findings").text())
        page.goto("/console/catalog/findings")
        expect(page.locator("#main")).to_contain_text("registry.yaml has 1 mistake")
        look(page, "findings")
        page.goto("/console/")
        expect(page.locator("#main")).to_contain_text("registry.yaml has 1 mistake")
    finally:
        site.registry.write_text(a_console_registry())
        site.wait_until(lambda: "no mistakes" in page.request.get("/console/catalog/findings").text())
