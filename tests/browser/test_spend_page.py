"""Spend: what a month costs, by whom and by what, its export, and requests for more quota that wait for somebody."""

import csv
import io
import re
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pytest
from playwright.sync_api import expect

from llmguard.audit.log import AuditLog
from llmguard.domain.clock import SystemClock
from llmguard.finance.report import monthly_report
from llmguard.finance.spending import StoredSpending
from llmguard.quota.gate import OverageGate
from llmguard.quota.overage import Ask
from llmguard.traces.reader import TraceReader
from tests.browser.conftest import DESKTOP, PHONE, settled
from tests.support.builders import a_quota, an_app
from tests.support.console_registry import LONG_APP

FIN = "fin@example.com"
MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def fin(people):
    return people.page("finance", name=FIN)


def told_by_the_traces(site):
    return monthly_report(StoredSpending(TraceReader(site.data)), MONTH, ("app",), datetime.now(UTC))


def downloaded(page, link, folder):
    with page.expect_download() as started:
        page.get_by_role("link", name=link, exact=True).click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop, light", "phone, dark"]
)
def test_spend_shows_the_month_with_forecast_movers_and_a_bar_a_day(people, look, site, size, scheme):
    page = people.page("finance", name=FIN, size=size, scheme=scheme)

    page.goto("/console/spend")

    names = page.locator(".card dt").all_inner_texts()
    cards = dict(zip(names, page.locator(".card dt + dd").all_inner_texts(), strict=True))
    assert list(cards) == ["Spent", "Forecast", "Before", "Change", "Requests", "Tokens"]
    told = told_by_the_traces(site)
    assert cards["Spent"] == f"${told.total['cost_usd']:,.2f}"
    apps = page.locator("main table").last.locator("tbody th").all_inner_texts()
    assert apps == [row["app"] or "not known" for row in told.rows]
    assert page.locator(".chart svg g").count() in (28, 29, 30, 31)
    expect(page.locator("#movers + ul li").first).to_be_visible()
    look(page, f"spend-{scheme}")


@pytest.mark.parametrize("by", ["cost_center", "day"])
def test_each_way_to_look_at_it_adds_up_to_the_same(fin, by):
    fin.goto("/console/spend?by=app")
    whole = fin.locator(".card dd").first.inner_text()
    fin.goto(f"/console/spend?by={by}")

    expect(fin.locator(".card dd").first).to_have_text(whole)
    expect(fin.get_by_role("list", name="By").locator("[aria-current]")).to_have_count(1)
    rows = fin.locator("main table").last.locator("tbody tr")
    cells = [row.locator("td").first.inner_text() for row in rows.all()]
    total = sum(Decimal(cell.strip("$").replace(",", "")) for cell in cells)
    assert abs(total - Decimal(whole.strip("$").replace(",", ""))) < len(cells)


def test_rows_lead_to_their_traces_for_those_who_may_see_them(people, fin):
    fin.goto("/console/spend")
    expect(fin.get_by_role("link", name="expense-triage").first).to_be_visible()
    expect(fin.get_by_role("link", name="traces of expense-triage")).to_have_count(0)

    page = people.page("coe")
    page.goto("/console/spend")
    address = f"/console/traces?app=expense-triage&since={MONTH}-01T00%3A00&until="
    link = page.get_by_role("link", name="traces of expense-triage").first
    expect(link).to_have_attribute("href", re.compile(f"^{re.escape(address)}"))


@pytest.mark.parametrize("of", ["cost_center:3300", "app:hr-helpdesk"])
def test_a_row_leads_to_its_parts_which_add_up_to_it(fin, look, of):
    dimension, _, value = of.partition(":")
    fin.goto(f"/console/spend?by={dimension}")
    whole = fin.locator("main table").last.locator("tr", has_text=value).locator("td").first.inner_text()
    fin.locator("main table").last.get_by_role("link", name=value).click()
    fin.wait_for_url(f"**of={dimension}%3A{value}")

    expect(fin.locator(".card dd").first).to_have_text(whole)
    look(fin, f"spend-of-{dimension}")
    answer = fin.request.get(fin.get_by_role("link", name="CSV", exact=True).get_attribute("href"))
    cost = sum(Decimal(row["cost_usd"]) for row in csv.DictReader(io.StringIO(answer.text())))
    assert f"${cost:,.2f}" == whole


def test_exports_are_files_with_the_same_sum_and_each_is_in_the_audit_log(fin, site, tmp_path):
    fin.goto("/console/spend")
    total = told_by_the_traces(site).total["cost_usd"]

    plain = downloaded(fin, "CSV", tmp_path)
    focus = downloaded(fin, "FOCUS as CSV", tmp_path)
    parquet = downloaded(fin, "FOCUS as Parquet", tmp_path)

    assert plain.name == f"llmguard-spend-{MONTH}-by-app.csv"
    assert (focus.name, parquet.name) == (f"llmguard-focus-1.2-{MONTH}.csv", f"llmguard-focus-1.2-{MONTH}.parquet")
    rows = list(csv.DictReader(io.StringIO(plain.read_text())))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == total
    assert sum(Decimal(row["BilledCost"]) for row in csv.DictReader(io.StringIO(focus.read_text()))) == total
    [(billed,)] = duckdb.sql(f"SELECT sum(BilledCost) FROM '{parquet}'").fetchall()
    assert billed == total
    entries = AuditLog(site.data / "state.db", SystemClock()).entries()
    assert {(entry.who, entry.subject) for entry in entries if entry.what == "spend.exported"} >= {
        (FIN, plain.name),
        (FIN, parquet.name),
    }


def test_owner_sees_the_spend_of_own_apps_only(people, site):
    page = people.page("owner", name="sam@example.com")
    page.goto("/console/spend")

    expect(page.locator("main table").last.locator("tbody th a:first-child")).to_have_text(["ticket-router"])
    [row] = [row for row in told_by_the_traces(site).rows if row["app"] == "ticket-router"]
    expect(page.locator(".card dd").first).to_have_text(f"${row['cost_usd']:,.2f}")
    answer = page.request.get(f"/console/spend/export?month={MONTH}")
    assert [row["app"] for row in csv.DictReader(io.StringIO(answer.text()))] == ["ticket-router"]


def test_month_without_traces_and_a_month_that_is_none_are_said_in_words(fin, look):
    fin.goto("/console/spend?month=2020-01")
    expect(fin.get_by_text("Nothing was asked in 2020-01.")).to_be_visible()
    look(fin, "spend-empty")

    fin.goto("/console/spend?month=nonsense")
    expect(fin.get_by_role("heading", name="'nonsense' is no month")).to_be_visible()
    answer = fin.request.get("/console/spend/export?month=nonsense")
    assert (answer.status, "is no month" in answer.text()) == (400, True)


def ask_for_more(site, name, usd=20):
    """Ask as somebody at the machine does, and return the id."""
    app = an_app(name=name, quota=a_quota(nano_usd_per_month=40 * 10**9))
    ask = Ask(app, "app", "usd_per_month", usd * 10**9, "Year-end <close>.", "lee@example.com")
    return OverageGate(site.data / "state.db", SystemClock()).request(ask).id


def test_request_for_more_is_approved_and_another_denied_on_the_page(people, fin, site, look):
    first, second = ask_for_more(site, "contract-check"), ask_for_more(site, LONG_APP)
    fin.goto("/console/spend")
    expect(fin.get_by_text("Year-end <close>.")).to_have_count(2)
    wrong = fin.locator("#asked > ul > li", has_text="contract-check")
    wrong.locator("summary", has_text="Approve").click()
    wrong.get_by_label("How much").fill("nonsense")
    look(fin, "spend-asked", "#asked")
    wrong.get_by_role("button", name="Approve").click()
    fin.locator("#problem", has_text="The amount is no figure of this limit.").wait_for()
    settled(fin)
    fin.faults.clear()  # the browser calls the status 400 an error

    wrong.get_by_label("How much").fill("15")
    wrong.get_by_role("button", name="Approve").click()
    fin.locator("#asked", has_text="Granted to contract-check").wait_for()
    settled(fin)
    denied = fin.locator("#asked > ul > li", has_text=LONG_APP)
    denied.locator("summary", has_text="Deny").click()
    denied.get_by_label("Why not").fill("Next year.")
    denied.get_by_role("button", name="Deny").click()
    fin.locator("#asked", has_text=f"Denied to {LONG_APP}").wait_for()

    look(fin, "spend-decided", "#asked")
    every = {one.id: one for one in OverageGate(site.data / "state.db", SystemClock()).all()}
    assert (every[first].state, every[first].granted, every[first].decided_by) == ("approved", 15 * 10**9, FIN)
    assert (every[second].state, every[second].denial) == ("denied", "Next year.")


def test_without_script_a_decision_leads_back_to_the_page_and_auditors_have_no_form(people, site):
    ask_for_more(site, "legal-search", 7)
    auditor = people.page("auditor", name="audit@example.com")
    auditor.goto("/console/spend")
    expect(auditor.get_by_text("Your roles let you see it, and not decide.").first).to_be_visible()
    expect(auditor.locator("#asked form")).to_have_count(0)
    expect(auditor.locator("#asked > ul > li", has_text="legal-search")).to_be_visible()

    page = people.page("finance", name=FIN, scripts=False)
    page.goto("/console/spend")
    asked = page.locator("#asked > ul > li", has_text="legal-search")
    asked.locator("summary", has_text="Deny").click()
    asked.get_by_label("Why not").fill("No.")
    asked.get_by_role("button", name="Deny").click()
    page.wait_for_url("**/console/spend#asked")
    expect(asked).to_have_count(0)
