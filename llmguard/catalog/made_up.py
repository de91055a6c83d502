"""Rows of made-up data for apps in the sandbox: the same seed gives the same rows, and no row is about anybody."""

import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Final, Literal, get_args

from llmguard.domain.made_up import FAMILY_NAMES, GIVEN_NAMES, MAIL_DOMAIN

Kind = Literal["people", "expenses", "tickets"]
Row = dict[str, str]
KINDS: tuple[Kind, ...] = get_args(Kind)
_FIRST_DAY: Final = date(2026, 1, 1)
_DEPARTMENTS: Final = ("finance", "people", "sales", "service", "legal")
_CITIES: Final = ("Testville", "Sampletown", "Mockport")
_EXPENSES: Final = (
    ("train", "second class, both ways"),
    ("hotel", "two nights, breakfast included"),
    ("meal", "lunch with a supplier, four people"),
    ("taxi", "from the station, no bus after eleven"),
    ("office", "a keyboard, the old one is broken"),
)
_PROBLEMS: Final = (
    ("Laptop does not start", "The screen stays black since this morning. I have tried another charger."),
    ("Cannot open the travel portal", "It says that my session is over, also right after I sign in."),
    ("Printer on floor 3", "It prints half of each page, then stops. Others have seen it, too."),
    ("Please add me to a mailing list", "My team uses it for the weekly plan, and I get nothing so far."),
    ("Invoice was paid twice", "The supplier has called about it. Who can take one of the two back?"),
)


def made_up_rows(kind: Kind, count: int, seed: int) -> Iterator[Row]:
    """Yield rows; each depends on the seed and its number alone, so that more rows begin with the same ones."""
    make = _MAKERS[kind]
    for number in range(1, count + 1):
        # str: a tuple would be hashed, and hashes of texts differ from process to process
        yield make(number, random.Random(f"{kind}/{seed}/{number}"))  # noqa: S311 - no secret: to be the same again


def as_csv(rows: list[Row]) -> str:
    """Return rows with a head line, as RFC 4180 has it but for line ends."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json_lines(rows: list[Row]) -> str:
    """Return one JSON object a line."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _person(number: int, chance: random.Random) -> Row:
    name = _name(chance)
    return {
        "employee_id": _id(number),
        "name": name,
        "email": _mail(name),
        "phone": f"+00 00 {chance.randrange(10**6):06}",
        "department": chance.choice(_DEPARTMENTS),
        "city": chance.choice(_CITIES),
        "since": _day(chance),
    }


def _expense(number: int, chance: random.Random) -> Row:
    category, note = chance.choice(_EXPENSES)
    return {
        "expense_id": _id(number),
        "employee": _name(chance),
        "day": _day(chance),
        "category": category,
        "amount": f"{chance.randrange(300, 90_000) / 100:.2f}",
        "currency": chance.choice(("EUR", "USD", "CHF")),
        "note": note,
    }


def _ticket(number: int, chance: random.Random) -> Row:
    subject, body = chance.choice(_PROBLEMS)
    name = _name(chance)
    return {
        "ticket_id": _id(number),
        "requester": name,
        "email": _mail(name),
        "day": _day(chance),
        "priority": chance.choice(("low", "normal", "high")),
        "subject": subject,
        "body": f"{body} Regards, {name}",
    }


_MAKERS: Final[dict[Kind, Callable[[int, random.Random], Row]]] = {
    "people": _person,
    "expenses": _expense,
    "tickets": _ticket,
}


def _id(number: int) -> str:
    return f"TEST-{number:05}"


def _name(chance: random.Random) -> str:
    return f"{chance.choice(GIVEN_NAMES)} {chance.choice(FAMILY_NAMES)}"


def _mail(name: str) -> str:
    return f"{name.lower().replace(' ', '.')}@{MAIL_DOMAIN}"


def _day(chance: random.Random) -> str:
    return (_FIRST_DAY + timedelta(days=chance.randrange(365))).isoformat()
