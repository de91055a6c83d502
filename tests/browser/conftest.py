"""A real gateway with a month of traces, and one headless Chromium, for the pages that people see.

After a click the page is an old one, half a new one, or a new one: `expect` waits for what is asserted, while `count`,
`all_inner_texts`, `is_visible` and the like read what is there by chance. Reading is for pages that `goto` or
`wait_for_url` brought, since both wait until all of it is loaded.

Chromium is the system's (Debian: `apt-get install chromium`); Playwright drives it, and brings none of its own.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from llmguard.domain.clock import SystemClock
from llmguard.identity.operator_store import OperatorStore
from llmguard.traces.places import Places
from tests.support.console_registry import a_console_registry
from tests.support.gateway import Gateway
from tests.support.month import seed_installation

ROWS = 9_000
PATIENCE_MS = 60_000  # with a busy machine; nothing waits that long on a quiet one
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"))), None
)
AT_WORK = ".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added"  # htmx takes each away when it is done
LEFT = "net::ERR_ABORTED"  # by going to another page meanwhile
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
JUDGED = {"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"]}
SHOTS = os.environ.get("LLMGUARD_SCREENSHOTS")  # a folder: each page that is looked at is saved there


def pytest_collection_modifyitems(items):
    """Run last: Playwright keeps an event loop of its own, which tests of coroutines in the same process trip over."""
    items.sort(key=lambda item: "tests/browser" in item.path.as_posix())


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The gateway, serving the console registry, with a month of traces."""
    if CHROMIUM is None:
        pytest.skip(
            "no Chromium here: install it (Debian: apt-get install chromium), or let scripts/test do it as root"
        )
    folder = tmp_path_factory.mktemp("console")
    gateway = Gateway(folder, a_console_registry())
    seed_installation(gateway, datetime.now(UTC), ROWS)
    with gateway:
        gateway.wait_until(Places(gateway.data).address.exists, 300)  # else pages say that the store is just starting
        yield gateway


@pytest.fixture(scope="session")
def chromium(site):
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=3 * PATIENCE_MS)
        yield browser
        browser.close()


class People:
    """Browsers in which somebody is signed in, each signed in once."""

    def __init__(self, site, chromium):
        self._site, self._chromium = site, chromium
        self._contexts = {}
        secret = (site.data / "secret").read_bytes()
        self._operators = OperatorStore(site.data / "state.db", secret, SystemClock())
        self.root = site.base_url.removesuffix("/v1")

    def page(self, *roles, name="coe@example.com", size=None, scheme="light", scripts=True):
        """Return a new page of somebody with these roles."""
        key = (name, roles, scheme, scripts)
        if key not in self._contexts:
            context = self.stranger(color_scheme=scheme, java_script_enabled=scripts)
            context.grant_permissions(["clipboard-read", "clipboard-write"], origin=self.root)
            self._contexts[key] = context
            self._sign_in(context, name, roles)
        page = self._contexts[key].new_page()
        page.set_viewport_size(size or DESKTOP)
        page.faults = []
        page.on("console", lambda said: page.faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on(
            "requestfailed",
            lambda request: page.faults.append(f"{request.url} {request.failure}") if request.failure != LEFT else None,
        )
        page.on("request", lambda request: page.faults.append(request.url) if self.root not in request.url else None)
        return page

    def stranger(self, **options):
        """Return a new context in which nobody is signed in; nothing fades, so colours are what they will be."""
        context = self._chromium.new_context(base_url=self.root, reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE_MS)
        return context

    def token(self, name, *roles):
        """Return a new operator's token."""
        return self._operators.issue(name, roles, who="test").secret_text

    def _sign_in(self, context, name, roles):
        token = self._operators.token_of(self.token(name, *roles))
        cookie = self._operators.open_session(token.operator(), token=token)
        context.add_cookies([{"name": "llmguard_session", "value": cookie, "url": self.root}])

    def close_pages(self):
        for context in self._contexts.values():
            for page in context.pages:
                page.close()

    def close(self):
        for context in self._contexts.values():
            context.close()


@pytest.fixture(scope="session")
def people(site, chromium):
    people = People(site, chromium)
    yield people
    people.close()


@pytest.fixture(autouse=True)
def _pages_closed(people):
    """Leave no page open that goes on refreshing itself."""
    yield
    people.close_pages()


@pytest.fixture(scope="session")
def axe():
    return Axe()


def settled(page):
    """Wait until the page is loaded, and what htmx brought into it is in its place and can be used."""
    page.wait_for_load_state()
    expect(page.locator(AT_WORK)).to_have_count(0)


def copied(button):
    """Click a button that copies, and return what can be pasted once the page has said that it is there."""
    said = button.page.locator("#said")
    said.evaluate("said => said.replaceChildren()")
    button.click()
    expect(said).to_have_text("Copied")
    return button.page.evaluate("navigator.clipboard.readText()")


def unfold(page, words):
    """Open a part of the page, if it is not open already."""
    settled(page)
    page.locator("details", has=page.locator("summary", has_text=words)).evaluate("part => { part.open = true; }")


@pytest.fixture
def look(axe):
    """Judge a page, or a part of it, as it is now: accessible, nothing against its policy, no wider than the screen."""

    def judge(page, name, within=None):
        settled(page)
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True, caret="initial")
        found = axe.run(page, within, options=JUDGED).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the screen"
        assert page.faults == []

    return judge
