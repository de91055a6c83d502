"""The change of registry.yaml that approves, suspends or renews an app, to copy: git decides, and no page does."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from llmguard.domain.catalog import App, AppStatus

_LEAP_DAY: Final = (2, 29)


@dataclass(frozen=True, slots=True)
class RegistryChange:
    """One change of an app's entry.

    Attributes:
        title: what it does, as a command.
        effect: what is different once it is merged.
        before: the line that is there now; None: there is none.
        after: the line to write.
        is_dangerous: whether apps that work stop working.
    """

    title: str
    effect: str
    app: str
    before: str | None
    after: str
    is_dangerous: bool = False

    @property
    def text(self) -> str:
        """The change in its place, with what it replaces as a comment."""
        was = f"  # was: {self.before.partition(': ')[2]}" if self.before else ""
        return f"apps:\n  {self.app}:\n    {self.after}{was}\n"


def state_changes(app: App) -> list[RegistryChange]:
    """Return the changes of state that make sense for an app as it is."""
    changes: list[RegistryChange] = []
    if app.contained_at is not None:
        return changes  # no change of git lets it in
    if app.status in ("draft", "sandbox", "suspended"):
        words = "Its keys work with every preset that it may use, from a second after the merge."
        changes.append(_state(app, "Approve", words, "approved"))
    if app.status == "draft":
        changes.append(_state(app, "Open a sandbox", "Its keys work, and only echo models answer.", "sandbox"))
    if app.status in ("approved", "sandbox"):
        words = "Every request of it is refused with app_not_approved, from a second after the merge. Keys stay."
        changes.append(_state(app, "Suspend", words, "suspended", is_dangerous=True))
    return changes


def renewal(app: App, today: date) -> RegistryChange | None:
    """Return the change that renews an approval for a year; None for an app without an end, or one that is stopped."""
    if app.expires is None or app.contained_at is not None:
        return None
    until = _a_year_after(max(app.expires, today))
    return RegistryChange(
        "Renew for a year",
        f"Its approval goes on until {until:%-d %b %Y}.",
        app.name,
        f"expires: {app.expires}",
        f"expires: {until}",
    )


def _state(app: App, title: str, effect: str, status: AppStatus, *, is_dangerous: bool = False) -> RegistryChange:
    return RegistryChange(
        title, effect, app.name, f"status: {app.status}", f"status: {status}", is_dangerous=is_dangerous
    )


def _a_year_after(day: date) -> date:
    return day.replace(year=day.year + 1, day=28 if (day.month, day.day) == _LEAP_DAY else day.day)
