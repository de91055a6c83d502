"""What a month will have cost at its end: an explainable rule, and no model.

What was spent so far, plus for the rest of today and each day that is left the mean of that weekday over the last four
weeks. Weekends are quiet in most organisations, so a plain daily mean is wrong in every month that ends with one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

_HISTORY_DAYS = 28
_DAY_SECONDS = 86_400
_NANO = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class WeekdayRule:
    """How much of each weekday is left of a month, and on how many days its mean rests.

    Attributes:
        since: the first day of history, a complete day like all up to yesterday.
        until: today.
    """

    since: date
    until: date
    left: Mapping[int, Fraction]  # weekday -> days
    observed: Mapping[int, int]  # weekday -> days

    @property
    def days(self) -> int:
        """Complete days of history."""
        return (self.until - self.since).days

    @property
    def method(self) -> str:
        """The rule in words, with its figures."""
        if not self.days:
            return "There is no forecast before the first complete day."
        return (
            f"Spent so far, plus for what is left of today and each day after it the mean of that weekday in the "
            f"{self.days} complete days since {self.since}; a weekday not seen in them counts as their daily mean."
        )

    def forecast(self, spent: Decimal, costs: Mapping[date, Decimal]) -> Decimal | None:
        """Return the cost of the month.

        Args:
            spent: in this month so far.
            costs: of each day of history; absent is nothing.
        """
        if not self.days:
            return None
        by_weekday: dict[int, Fraction] = {}
        for day, cost in costs.items():
            by_weekday[day.weekday()] = by_weekday.get(day.weekday(), Fraction(0)) + Fraction(cost)
        daily_mean = sum(by_weekday.values(), Fraction(0)) / self.days
        rest = Fraction(0)
        for weekday, left in self.left.items():
            seen = self.observed.get(weekday, 0)
            rest += left * (by_weekday.get(weekday, Fraction(0)) / seen if seen else daily_mean)
        return (spent + Decimal(rest.numerator) / Decimal(rest.denominator)).quantize(_NANO)


def weekday_rule(now: datetime, month_end: datetime, first_day: date | None) -> WeekdayRule:
    """Return the rule for a month that is not over.

    Args:
        now: the present.
        month_end: the first instant after the month.
        first_day: of the first trace there is; None: there is none yet.
    """
    today = now.astimezone(UTC).date()
    since = max(today - timedelta(days=_HISTORY_DAYS), min(first_day or today, today))
    midnight = datetime.combine(today + timedelta(days=1), time(), UTC)
    left = {today.weekday(): Fraction(int((midnight - now).total_seconds()), _DAY_SECONDS)}
    for offset in range((month_end.date() - today).days - 1):
        weekday = (today + timedelta(days=offset + 1)).weekday()
        left[weekday] = left.get(weekday, Fraction(0)) + 1
    observed: dict[int, int] = {}
    for offset in range((today - since).days):
        weekday = (since + timedelta(days=offset)).weekday()
        observed[weekday] = observed.get(weekday, 0) + 1
    return WeekdayRule(since, today, left, observed)


def history_start(now: datetime) -> datetime:
    """Return where the four weeks of complete days begin."""
    return datetime.combine(now.astimezone(UTC).date() - timedelta(days=_HISTORY_DAYS), time(), UTC)
