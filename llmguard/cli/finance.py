"""`llmguard finance`: what models cost; while the gateway runs or not. A report is quick: the others load more."""

import click

from llmguard.cli.main import LazyGroup


class _Finance(LazyGroup):
    modules = {  # noqa: RUF012 - as the class above has it
        "report": ("llmguard.cli.finance_report", "Report what a month cost, with forecast and top movers."),
        "export": ("llmguard.cli.finance_export", "Export a month as FinOps FOCUS."),
        "rerate": ("llmguard.cli.finance_rerate", "Compute past costs under other prices."),
        "reconcile": ("llmguard.cli.finance_reconcile", "Explain the difference to a provider's export."),
    }


@click.group(cls=_Finance)
def command() -> None:
    """Report, export, recompute and reconcile what models cost."""
