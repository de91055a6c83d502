"""Texts for measurements, each different from every other: what people paste, as long as asked for.

Half of the prose is English that nobody here wrote (Python's reference, which is installed everywhere), half are
letters with made-up people in them; the code is the standard library's. Surnames and numbers are made up anew for each
text, so that no cache of words or findings has seen them.
"""
# ruff: noqa: SIM905, PLR2004  # lists of words read better without quotes; shares of kinds of sentence

import json
import random
import re
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics

from llmguard.providers.tokens import TokenCounter

Maker = Callable[[random.Random], str]

_CHARACTERS_A_TOKEN = 8  # more than any kind has, so that one draft is long enough
_FIRST = (
    "Dana Jürgen Zoë Łukasz Anna José Mary-Ann Wei Priya Omar Fatima Liam Noah Emma Olivia Giulia Hans Ingrid Pablo "
    "Chloé Tomasz Aisha Kwame Mei Raj Sofia Lucas Nina Viktor Elena Marta Sven Yusuf Amara Diego Paula"
).split()
_SYLLABLES = "ba den ka lor mi nas ter vel schu man har ri son berg ow ski tan ev ley wood ford ham quin mar".split()
_CITIES = (
    "London Berlin Paris Toronto Madrid Warsaw Chicago Lisbon Vienna Denver Oslo Austin Milan Leeds Boston".split()
)
_STREETS = "Main Oak Church High Station Park Mill Victoria Queen King Maple Cedar River Hill".split()
_TOPICS = (
    "salary review|parental leave|travel claim|late delivery|pension plan|badge renewal|refund|rota|new laptop|audit"
)


def surname(rng: random.Random) -> str:
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3))).capitalize()


def person(rng: random.Random) -> str:
    return f"{rng.choice(_FIRST)} {surname(rng)}"


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def mail(rng: random.Random) -> str:
    return f"{rng.choice('abcdefghijklm')}.{surname(rng).lower()}@{surname(rng).lower()}.{rng.choice(['com', 'co.uk'])}"


def phone(rng: random.Random) -> str:
    return f"+{rng.choice(['1', '44', '49'])} {digits(rng, 3)} {digits(rng, 3)} {digits(rng, 4)}"


def address(rng: random.Random) -> str:
    return f"{rng.randint(1, 999)} {rng.choice(_STREETS)} Street, {rng.choice(_CITIES)} {digits(rng, 5)}"


def date(rng: random.Random) -> str:
    return f"{rng.randint(1950, 2026)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


@cache
def _sentences() -> tuple[str, ...]:
    """Return plain English sentences of Python's reference: about two thousand."""
    text = " ".join(" ".join(topics.values()).split())
    return tuple(one for one in re.split(r"(?<=[.!?]) ", text) if re.fullmatch(r"[A-Z][A-Za-z ,;'()-]{30,240}\.", one))


def _letter_sentence(rng: random.Random) -> str:
    topic = rng.choice(_TOPICS.split("|"))
    return rng.choice(
        [
            f"{person(rng)} from {rng.choice(_CITIES)} asked about the {topic} and wants an answer by Friday.",
            f"I spoke to {person(rng)} about the {topic}; she will call back on {phone(rng)}.",
            f"Could you forward the {topic} to {mail(rng)} before the meeting in {rng.choice(_CITIES)}?",
            f"The {topic} of {person(rng)}, employee number {digits(rng, 6)}, has not been approved yet.",
            f"Please send the letter to {address(rng)}, and keep a copy for the file.",
            f"We have discussed the {topic} at length, and nobody in the team objects to it any more.",
            f"As agreed, the {topic} will start in March, provided that the works council has no questions.",
        ]
    )


def prose_sentence(rng: random.Random) -> str:
    sentence = rng.choice(_sentences()) if rng.random() < 0.5 else _letter_sentence(rng)
    return sentence + ("\n\n" if rng.random() < 0.12 else " ")


def form_line(rng: random.Random) -> str:
    card, iban = f"4111 1111 1111 {digits(rng, 4)}", f"DE89 3704 0044 0532 {digits(rng, 4)} 00"
    return rng.choice(
        [
            f"Name: {person(rng)}\nE-mail: {mail(rng)}\nPhone: {phone(rng)}\n",
            f"Patient {person(rng)}, DOB {date(rng)}, SSN {digits(rng, 3)}-{digits(rng, 2)}-{digits(rng, 4)}\n",
            f"Ship to: {person(rng)}, {address(rng)}\n",
            f"Card {card}, IBAN {iban}, account no: {digits(rng, 9)}\n",
            f"10:{digits(rng, 2)} {person(rng)}: call me on {phone(rng)} or write to {mail(rng)}\n",
        ]
    )


@cache
def _code_files() -> tuple[str, ...]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(path for path in folder.glob("*.py") if 8_000 < path.stat().st_size < 120_000)
    return tuple(path.read_text(encoding="utf-8", errors="replace") for path in paths)


def code_lines(rng: random.Random) -> str:
    lines = rng.choice(_code_files()).splitlines(keepends=True)
    start = rng.randrange(max(1, len(lines) - 30))
    return "".join(lines[start : start + 30]) + f"OWNER = {mail(rng)!r}  # {person(rng)}\n"


def record(rng: random.Random) -> dict[str, object]:
    return {
        "id": rng.randint(1, 10**9),
        "employee_name": person(rng),
        "email": mail(rng),
        "phone": phone(rng),
        "hired": date(rng),
        "active": rng.random() < 0.5,
        "salary": rng.randint(20_000, 200_000),
        "address": {"street": f"{rng.randint(1, 999)} {rng.choice(_STREETS)} Road", "city": rng.choice(_CITIES)},
        "status": rng.choice(["open", "closed", "pending"]),
        "note": _letter_sentence(rng),
    }


def csv_row(rng: random.Random) -> str:
    fields = (
        digits(rng, 6),
        person(rng),
        mail(rng),
        phone(rng),
        date(rng),
        rng.choice(_CITIES),
        str(rng.randint(1, 9999)),
    )
    return ",".join(fields) + "\n"


def _draft(kind: str, rng: random.Random, characters: int) -> str:
    if kind == "json":
        return json.dumps([record(rng) for _ in range(characters // 300 + 1)], ensure_ascii=False, indent=1)
    makers: dict[str, Maker] = {"prose": prose_sentence, "dense": form_line, "code": code_lines, "csv": csv_row}
    parts = ["employee_id,name,email,phone,hired,city,amount\n"] if kind == "csv" else []
    while sum(map(len, parts)) < characters:
        parts += [makers[kind](rng) for _ in range(20)]
    return "".join(parts)


KINDS = ("prose", "dense", "code", "json", "csv")


def text(kind: str, tokens: int, seed: int) -> str:
    """Return a text of one kind that has that many tokens of a model (o200k_base)."""
    rng = random.Random(f"{kind} {tokens} {seed}")
    return _counter().truncate(_draft(kind, rng, tokens * _CHARACTERS_A_TOKEN), "gpt-4o", max_tokens=tokens)


@cache
def _counter() -> TokenCounter:
    return TokenCounter()
