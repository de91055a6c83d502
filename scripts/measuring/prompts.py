"""What callers ask in measurements: a letter of 200 tokens with a name, an e-mail address and a phone number.

`letter` is always the same one; `new_letters` are all different, in every sentence; `chats` resend a long history and
ask something new at its end.
"""

import json
import random
from collections.abc import Sequence

from scripts.measuring import texts

SYSTEM = (
    "You answer customers of a company that ships office furniture. Be short and friendly, name the next step and who "
    "takes it, and never promise money back before the warehouse has looked at the goods."
)
LETTER = (
    "Good morning, I am Eleanor Whitfield and I look after the offices of our company in Leeds. Two weeks ago we "
    "ordered twelve desks and a meeting table, and on Monday only nine of the desks came. The driver had no list with "
    "him and could not tell us whether the others are still in the warehouse. One of the desks has a deep scratch on "
    "its top, of which I can send pictures. Could you find out where the rest is, and arrange that it comes before the "
    "new colleagues start on the first of next month? If the table takes longer, please bring the desks first. You "
    "reach me at eleanor.whitfield@example.com, or on +44 113 496 0182 until five. Please tell the driver to use the "
    "entrance at the back, as the front is being painted."
)
_LETTER_TOKENS = 150  # the sentences with name, address and number make it 200
HISTORY_MESSAGES, HISTORY_TOKENS = 20, 80


def letter(model: str, *, stream: bool = False) -> str:
    """Return the request that everybody sends."""
    return asked(model, [LETTER], stream=stream)


def new_letters(model: str, count: int, seed: int) -> list[str]:
    """Return requests of which no sentence came before: 200 tokens each, with a name, an address and a number."""
    rng = random.Random(f"letters {seed}")
    return [asked(model, [_new_letter(rng)]) for _ in range(count)]


def long_letters(model: str, tokens: int, count: int, seed: int) -> list[str]:
    """Return different requests of about so many tokens each."""
    return [asked(model, [texts.text("prose", tokens, seed * 100_000 + number)]) for number in range(count)]


def chats(model: str, count: int, seed: int) -> list[str]:
    """Return requests that share a long history; only the last question is new in each."""
    rng = random.Random(f"chats {seed}")
    history = [texts.text("prose", HISTORY_TOKENS, seed * 1_000 + number) for number in range(HISTORY_MESSAGES)]
    return [asked(model, [*history, _question(rng)]) for _ in range(count)]


def asked(model: str, said: Sequence[str], *, stream: bool = False) -> str:
    """Return a request as JSON: what was said, by the user and the assistant in turn."""
    messages = [{"role": "system", "content": SYSTEM}]
    for number, content in enumerate(said):
        messages.append({"role": "assistant" if number % 2 else "user", "content": content})
    body = {"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 256}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body, ensure_ascii=False)


def _new_letter(rng: random.Random) -> str:
    """Return a letter whose sentences are made up anew."""
    sender = texts.person(rng)
    parts = [f"Good morning, I am {sender} and write about order {texts.digits(rng, 6)}. "]
    parts.append(texts.text("prose", _LETTER_TOKENS, rng.randrange(10**12)))
    parts.append(f" You reach me at {texts.mail(rng)} or on {texts.phone(rng)} until five.")
    return "".join(parts)


def _question(rng: random.Random) -> str:
    return f"Thank you. And what about order {texts.digits(rng, 7)}, which {texts.person(rng)} placed?"
