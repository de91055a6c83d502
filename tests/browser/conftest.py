"""A real gateway with a month of traces, and one headless Chromium, for the pages that people see.

Chromium is the system's (Debian: `apt-get install chromium`); Playwright drives it, and brings none of its own.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from llmguard.domain.clock import SystemClock
from llmguard.identity.operator_store import OperatorStore
from tests.support.console_registry import a_console_registry
from tests.support.gateway import Gateway
from tests.support.month import seed_installation

ROWS = 9_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"))), None
)
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
        yield gateway


@pytest.fixture(scope="session")
def chromium(site):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
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
            context = self._chromium.new_context(base_url=self.root, color_scheme=scheme, java_script_enabled=scripts)
            context.set_default_timeout(10_000)
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


def unfold(page, words):
    """Open a part of the page, if it is not open already."""
    page.locator("details", has=page.locator("summary", has_text=words)).evaluate("part => { part.open = true; }")


@pytest.fixture
def look(axe):
    """Judge a page, or a part of it, as it is now: accessible, nothing against its policy, no wider than the screen."""

    def judge(page, name, within=None):
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True, caret="initial")
        found = axe.run(page, within, options=JUDGED).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the screen"
        assert page.faults == []

    return judge
