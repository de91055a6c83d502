"""Generated texts of every kind that people paste, from a seed: prose, code, JSON, CSV, logs, and odd Unicode."""

import json
import random

_FIRST = ["Dana", "Jürgen", "Zoë", "Łukasz", "Anna", "Nguyễn", "José", "Mary-Ann", "O'Brien", "Wei"]
_LAST = ["Lee", "Müller", "Smith", "Ivanov", "García", "Nowak", "Çelik", "Jones", "Tanaka"]
_WORDS = ["account", "invoice", "the", "card", "phone", "for", "driver license", "bank", "mail", "SSN", "passport"]
_ODD = [
    "\u0660\u0661\u0662",
    "\u00a0",
    "\u2003",
    "\u212a",
    "\u017f",
    "İ",
    "ß",
    "🙂",
    "é",
    "e\u0301",
    "№",
    "“",
    "\u2019",
    "\x1c",
    "中文",
]


def a_value(rng: random.Random) -> str:
    digits = lambda n: "".join(rng.choice("0123456789") for _ in range(n))  # noqa: E731  # short is clear
    makers = [
        lambda: (
            f"{rng.choice(_FIRST).lower()}.{rng.choice(_LAST).lower()}@{rng.choice(['acme.com', 'x.co.uk', 'a.b'])}"
        ),
        lambda: f"{rng.randint(1, 999):03}-{digits(2)}-{digits(4)}",
        lambda: rng.choice(["4111 1111 1111 1111", "4111-1111-1111-1112", "378282246310005", digits(16)]),
        lambda: rng.choice(["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "DE00" + digits(18)]),
        lambda: f"+{rng.randint(1, 99)} {digits(3)} {digits(3)} {digits(4)}",
        lambda: f"({digits(3)}) {digits(3)}-{digits(4)}",
        lambda: ".".join(str(rng.randint(0, 300)) for _ in range(4)),
        lambda: f"20{digits(2)}-{rng.randint(0, 13):02}-{rng.randint(0, 32):02}",
        lambda: f"{rng.randint(1, 31)}-{rng.choice(['JAN', 'Feb', 'dec'])}-{digits(4)}",
        lambda: (
            f"https://www.{rng.choice(['example', 'corp-x'])}.{rng.choice(['com', 'io', 'museum'])}/p?q={digits(3)}"
        ),
        lambda: rng.choice(
            ["fe80::1ff:fe23:4567:890a", "::1", "00:1B:44:11:3A:B7", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"]
        ),
        lambda: digits(rng.randint(1, 20)),
        lambda: rng.choice("ABCDEFGH") + digits(rng.randint(1, 12)),
        lambda: rng.choice(_ODD) + digits(3) + rng.choice(_ODD),
        lambda: f"{digits(8)}-{digits(4)}-4{digits(3)}-a{digits(3)}-{digits(12)}",
        lambda: f"{rng.choice(_FIRST)} {rng.choice(_LAST)}",
    ]
    return rng.choice(makers)()


def a_text(rng: random.Random) -> str:
    values = [a_value(rng) for _ in range(rng.randint(0, 12))]
    kind = rng.randrange(6)
    if kind == 0:
        return " ".join(part for value in values for part in (rng.choice(_WORDS), rng.choice(_FIRST), value))
    if kind == 1:
        return json.dumps([{rng.choice(_WORDS): value} for value in values], ensure_ascii=rng.random() < 0.5)
    if kind == 2:
        return "\n".join(",".join(values[place : place + 3]) for place in range(0, len(values), 3))
    if kind == 3:
        return "\n".join(f"2026-11-23T10:00:0{place} INFO {value}" for place, value in enumerate(values))
    if kind == 4:
        return "".join(value + rng.choice([*_ODD, "", "\n", "\t", '"', "'", "_", "-"]) for value in values)
    return "\n".join(f"    def f{place}(x): return {value!r}" for place, value in enumerate(values))


def texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [a_text(rng) for _ in range(count)]
