"""`/console/spend/export`: a month as CSV or Parquet, as the report has it or as FOCUS; streamed, in bounded memory."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from starlette.responses import Response

from llmguard.domain.operators import OperatorRefused
from llmguard.finance.errors import FinanceError
from llmguard.finance.focus import FocusVersion, focus_columns, focus_rows
from llmguard.finance.questions import month_of
from llmguard.finance.report import monthly_report
from llmguard.finance.spending import Row, StoredSpending
from llmguard.finance.tables import Column, csv_lines, write_parquet
from llmguard.registry.accepted import PRICES
from llmguard.registry.price_figures import PriceFiles
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.console.desk import Desk
from llmguard.web.console.layout import SPEND, Console, apps_covered
from llmguard.web.console.spend_narrowed import Asked
from llmguard.web.downloads import stream_file, stream_lines
from llmguard.web.operators import Visit

Form = Literal["csv", "parquet"]
Table = tuple[Iterable[Row], tuple[Column, ...]]


def export_router(console: Console, desk: Desk) -> APIRouter:
    """Return the route."""
    router = APIRouter()
    prices = PriceFiles(desk.settings.data / "registry" / PRICES)

    @router.get(f"{SPEND}/export")
    async def export(
        visit: Annotated[Visit, Depends(console.guard.require("costs.read"))],
        asked: Annotated[Asked, Depends()],
        what: Literal["report", "focus"] = "report",
        version: FocusVersion = "1.2",
        form: Form = "csv",
    ) -> Response:
        apps = apps_covered(console, visit.permit)
        month, by = asked.month, asked.by

        def report() -> Table:
            now = console.guard.services.clock.now()
            spending = asked.spending(StoredSpending(console.open_traces()))
            found = monthly_report(spending, month, (by,), now, apps=apps)
            return found.rows, found.columns

        def focus() -> Table:
            return focus_rows(console.open_traces(), prices, month_of(month, apps)), focus_columns(version)

        is_focus = what == "focus"
        part = "" if asked.narrowed is None else f"-of-one-{asked.narrowed[0]}"
        name = f"llmguard-focus-{version}-{month}" if is_focus else f"llmguard-spend-{month}{part}-by-{by}"
        answer = await _answer(focus if is_focus else report, f"{name}.{form}", form)
        await desk.record(visit, "spend.exported", f"{name}.{form}")
        return answer

    return router


async def _answer(table: Callable[[], Table], name: str, form: Form) -> Response:
    def lines() -> Iterable[str]:
        return csv_lines(*table())

    def write(path: Path) -> None:
        write_parquet(path, *table())

    try:
        return await (stream_lines(lines, name) if form == "csv" else stream_file(write, name))
    except FinanceError as error:
        raise OperatorRefused("body_refused", str(error), "Choose a month on the page of spend.") from None
    except (TraceStoreError, TraceQueryError):
        raise OperatorRefused(
            "conflict",
            "The traces cannot be read now.",
            "Try again in a minute; if it stays, tell whoever runs llmguard.",
        ) from None
