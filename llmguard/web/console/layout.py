"""What every page of the console is made with: its parts, its frame, and a menu of what the operator may see."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from llmguard.catalog.activity import Activity
from llmguard.catalog.containment import Containments
from llmguard.catalog.renewal import Renewals
from llmguard.domain.catalog import App
from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import Operator
from llmguard.finance.app_month import AppMonths
from llmguard.identity.key_store import KeyStore
from llmguard.identity.roles import MATRIX, Action, Permit, reach_of
from llmguard.registry.finding import Finding
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.operators import CONSOLE, Guard, Visit
from llmguard.web.pages import PAGE_HEADERS, load_all_pages, load_page

if TYPE_CHECKING:  # it loads DuckDB, and most workers show no page
    from llmguard.traces.reader import TraceReader

MY_APPS: Final = "/console/apps"
CATALOG: Final = "/console/catalog"
PRESETS: Final = "/console/presets"
Answering = Callable[..., Awaitable[Response]]  # to a form on the page of an app: request, visit, app, part, facts
SPEND: Final = "/console/spend"
TRACES: Final = "/console/traces"
REDACTION: Final = "/console/redaction"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu: where it leads, and who is shown it."""

    title: str
    path: str
    is_for: Callable[[Operator], bool]


def sees_all(*actions: Action) -> Callable[[Operator], bool]:
    """Return whether an operator may do one of these for every app."""
    return lambda operator: any(reach_of(operator.roles, action) == "all" for action in actions)


def _owns_apps(operator: Operator) -> bool:
    return not operator.roles.isdisjoint(MATRIX["apps.read"].own)


MENU: Final = (
    Entry("Overview", CONSOLE, sees_all("traces.read", "costs.read")),
    Entry("My apps", MY_APPS, _owns_apps),
    Entry("Catalog", CATALOG, sees_all("apps.read")),
    Entry("Presets", PRESETS, sees_all("presets.read")),
    Entry("Spend", SPEND, lambda operator: reach_of(operator.roles, "costs.read") is not None),
    Entry("Traces", TRACES, lambda operator: reach_of(operator.roles, "traces.read") is not None),
    Entry("Redaction", REDACTION, sees_all("rules.try")),
)


@dataclass(frozen=True, slots=True)
class Console:
    """What pages work with.

    Attributes:
        guard: who may, and the services.
        keys: of apps.
        open_traces: gives a reader of traces; the first call of a process loads DuckDB, so it is made in a thread.
        findings: what is wrong with registry.yaml as it is now.
        gaps: what apps lack in it, which is served all the same; may block.
        containments: of apps.
        renewals: of apps, by their owners.
        activity: figures of the last hour, day and month.
        months: of each app.
        soon: what is likely to be asked for next, made ready in the background once somebody looks at a page; each may
            block.
    """

    guard: Guard
    keys: KeyStore
    open_traces: Callable[[], "TraceReader"]
    findings: Callable[[], Sequence[Finding]]
    gaps: Callable[[], Sequence[Finding]]
    containments: Containments
    renewals: Renewals
    activity: Activity = field(init=False)
    months: AppMonths = field(init=False)
    soon: list[Callable[[], object]] = field(init=False, default_factory=lambda: [load_all_pages])

    def __post_init__(self) -> None:
        """Ask the same traces."""
        object.__setattr__(self, "activity", Activity(self.select))
        object.__setattr__(self, "months", AppMonths(self.select))

    def select(self, sql: str, parameters: JsonObject) -> list[JsonObject]:
        """Return the rows of one SELECT over traces; blocks."""
        return self.open_traces().query(sql, parameters)

    def page(self, visit: Visit, template: str, title: str, here: str, **facts: Any) -> HTMLResponse:  # Any: as Jinja's
        """Return a whole page.

        Args:
            visit: whose page it is.
            template: its name below `templates/console`.
            title: of the browser's tab.
            here: the entry of the menu that is marked.
            facts: what the template shows; `status` is that of HTTP.
        """
        self._make_ready()
        status = facts.pop("status", 200)
        facts |= {"title": title, "here": here, "menu": menu_of(visit.operator), **_frame(visit)}
        return HTMLResponse(load_page(f"console/{template}").render(facts), status, headers=PAGE_HEADERS)

    def _make_ready(self) -> None:
        """Begin with what is likely to come next, once in the life of a worker; most workers show no page."""
        works = self.soon.copy()
        self.soon.clear()
        if works:
            threading.Thread(target=_try_all, args=(works,), name="console", daemon=True).start()

    def part(self, visit: Visit, template: str, **facts: Any) -> HTMLResponse:  # Any: as Jinja's
        """Return a part of a page, for htmx."""
        status = facts.pop("status", 200)
        facts |= _frame(visit)
        return HTMLResponse(load_page(f"console/{template}").render(facts), status, headers=PAGE_HEADERS)


def _try_all(works: Sequence[Callable[[], object]]) -> None:
    for work in works:
        with suppress(TraceStoreError, TraceQueryError):  # whoever looks is told
            work()


def menu_of(operator: Operator) -> list[Entry]:
    """Return the pages that somebody may see."""
    return [entry for entry in MENU if entry.is_for(operator)]


def may(operator: Operator, action: Action, app: App) -> bool:
    """Whether an operator may do something for an app."""
    reach = reach_of(operator.roles, action)
    return reach == "all" or (reach == "own" and operator.owns(app))


async def together(*works: Callable[[], Any]) -> list[Any]:  # Any: what each gives
    """Return what these give, which block, each in a thread of its own."""
    return list(await asyncio.gather(*(asyncio.to_thread(work) for work in works)))


def own_apps(operator: Operator, apps: Iterable[App]) -> list[App]:
    """Return the apps that somebody owns, by name."""
    return sorted((app for app in apps if operator.owns(app)), key=lambda app: app.name)


def apps_covered(console: Console, permit: Permit) -> tuple[str, ...] | None:
    """Return the apps that an operator may see figures of; None: all."""
    if permit.reach == "all":
        return None
    return tuple(app.name for app in own_apps(permit.operator, console.guard.services.registry.apps.values()))


def is_part(request: Request) -> bool:
    """Whether htmx asks, for a part of a page that is there already."""
    return request.headers.get("hx-request") == "true"


def _frame(visit: Visit) -> JsonObject:
    return {"operator": visit.operator, "csrf": visit.csrf}
