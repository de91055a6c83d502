"""llmguard beside other gateways: the same prompts, provider and core, one after the other in one run.

`scripts/bench peers [--only NAME]... [--quick] [--save]`: TensorZero, Ferro, Portkey, LiteLLM, and LiteLLM with
Presidio are installed from their registries at the first time, in the user's cache folder. One that cannot be is left
out.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.measuring import prompts
from scripts.measuring.load import Load, Measured
from scripts.measuring.peers import PEERS, Peer, PeerUnavailableError, Running
from scripts.measuring.processes import cpu_seconds, memory_of
from scripts.measuring.results import Figure, Result, Run, Table
from scripts.measuring.stand import CALLERS_CORE, NAMES, PATTERNS, Mock, a_load, require_all_ok, run_load, served

MANY, STREAMS = 32, 16
SECONDS, QUICK_SECONDS = 6.0, 1.5
LETTERS, QUICK_LETTERS = 1_200, 150  # more than are answered in that time, where names are looked for
AIM_NEW, AIM_CHATS = 10.0, 100.0
OURS_PATTERNS, OURS_NAMES, MASKS = "llmguard, patterns only", "llmguard, names", "LiteLLM + Presidio"
COLUMNS = (
    "gateway",
    "what it does",
    "requests/s, 32 callers",
    "CPU ms",
    "added p50 ms, 1 caller",
    "added p99 ms",
    "streams/s, 16 callers",
    "CPU ms",
    "first byte p50 ms",
    "memory MB",
    "start s",
)


@dataclass(frozen=True, slots=True)
class Work:
    """How much is asked of each gateway, and how long the provider alone takes."""

    seconds: float
    letters: int
    straight: Measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="a name of the table; may be given several times")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    seconds, letters = (QUICK_SECONDS, QUICK_LETTERS) if given.quick else (SECONDS, LETTERS)
    with Run("peers", "scripts/bench peers", save=given.save) as result, tempfile.TemporaryDirectory() as name:
        folder, versions = Path(name), {}
        entries = [Peer(OURS_PATTERNS, "all nine steps", lambda: "this", ours(PATTERNS))]
        entries += [Peer(OURS_NAMES, "all nine steps", lambda: "this", ours(NAMES)), *PEERS]
        rows: list[tuple] = []
        hiding: dict[str, tuple] = {}
        with Mock() as mock:
            body = [prompts.letter("mock-1")]
            straight = run_load(a_load(mock.port, "none", body, callers=1, seconds=seconds / 2))
            work = Work(seconds, letters, require_all_ok(straight, "the provider"))
            for peer in entries:
                if given.only and peer.name not in given.only:
                    continue
                try:
                    versions[peer.name] = peer.install()
                    with started(peer, folder, mock) as (running, start_seconds):
                        rows.append((peer.name, peer.does, *measure(peer, running, work, result), start_seconds))
                        if peer.name in {OURS_NAMES, MASKS}:
                            hiding[peer.name] = measure_hiding(running, work)
                except PeerUnavailableError as error:
                    print(f"{peer.name} is left out: it {error}")
        result.circumstances["peers"] = versions
        add_tables(result, rows, hiding)


def ours(preset: str) -> Callable[[Path, int], "contextmanager[Running]"]:  # type: ignore[type-arg] # as Peer has it
    """Return how llmguard is run with one of the presets."""

    @contextmanager
    def run(folder: Path, provider_port: int) -> Iterator[Running]:
        with served(folder, f"http://127.0.0.1:{provider_port}/v1") as gateway:
            headers = {"authorization": f"Bearer {gateway.key}"}
            yield Running(gateway.port, (gateway.gateway.pid,), preset, headers)

    return run


@contextmanager
def started(peer: Peer, folder: Path, mock: Mock) -> Iterator[tuple[Running, float]]:
    """Run a peer, and yield it with the seconds until it answered."""
    begun = time.monotonic()
    with peer.run(folder / "".join(one for one in peer.name if one.isalnum()), mock.port) as running:
        seconds = time.monotonic() - begun
        ask(running, [prompts.letter(running.model)], callers=4, seconds=1.5)  # warm
        yield running, seconds


def ask(running: Running, bodies: list[str], *, callers: int, seconds: float, mode: str = "again") -> tuple:
    """Return what came of a load, and the ms of the processor that all processes took for each request."""
    load = Load(
        running.port,
        running.path,
        running.headers,
        bodies,
        mode=mode,  # type: ignore[arg-type] # one of two words
        callers=callers,
        seconds=seconds,
        core=CALLERS_CORE,
    )
    pids = running.processes()
    before = cpu_seconds(pids)
    measured = run_load(load)
    spent = cpu_seconds(pids) - before
    if set(measured.statuses) != {"200"} or measured.broken or measured.hanging:
        raise PeerUnavailableError(f"did not answer every request: {measured.statuses}, {measured.codes}")
    return measured, spent * 1000 / max(1, measured.ok)


def measure(peer: Peer, running: Running, work: Work, result: Result) -> tuple:
    """Return the columns of one gateway but its start."""
    body = [prompts.letter(running.model)]
    many, cpu_ms = ask(running, body, callers=MANY, seconds=work.seconds)
    alone, _ = ask(running, body, callers=1, seconds=work.seconds)
    stream = [prompts.letter(running.model, stream=True)]
    try:
        streams, stream_cpu_ms = ask(running, stream, callers=STREAMS, seconds=work.seconds)
        streamed = (streams.rps, stream_cpu_ms, streams.first_byte_p50_ms)
    except PeerUnavailableError as error:
        print(f"{peer.name} does not stream: it {error}")
        streamed = (None, None, None)
    memory = sum(memory_of(pid).fair for pid in running.processes())
    result.figures[f"{peer.name}: requests/s"] = Figure(many.rps, "requests/s", "higher")
    result.figures[f"{peer.name}: CPU"] = Figure(cpu_ms, "ms", "lower")
    added = (alone.p50_ms - work.straight.p50_ms, alone.p99_ms - work.straight.p99_ms)
    return (many.rps, cpu_ms, *added, *streamed, memory)


def measure_hiding(running: Running, work: Work) -> tuple:
    """Return requests/s and CPU of new prompts, of one prompt again, and of chats that resend their history."""
    model = running.model
    new, new_ms = ask(
        running, prompts.new_letters(model, work.letters, seed=5), callers=MANY, seconds=work.seconds, mode="once"
    )
    same, same_ms = ask(running, [prompts.letter(model)], callers=MANY, seconds=work.seconds)
    chats = prompts.chats(model, work.letters, seed=6)
    ask(running, chats[:1], callers=1, seconds=0.5)
    chat, chat_ms = ask(running, chats[1:], callers=MANY, seconds=work.seconds, mode="once")
    return (new.rps, new_ms, same.rps, same_ms, chat.rps, chat_ms)


def add_tables(result: Result, rows: list[tuple], hiding: dict[str, tuple]) -> None:
    note = (
        "CPU is of all processes of a gateway; memory, too, what several share counted once. Prompt: always the same."
    )
    result.tables.append(Table("Side by side", COLUMNS, rows, note))
    if set(hiding) != {OURS_NAMES, MASKS}:
        return
    columns = ("gateway", "new prompts/s", "CPU ms", "one prompt again/s", "CPU ms", "chats/s", "CPU ms")
    us, them = hiding[OURS_NAMES], hiding[MASKS]
    times = tuple(
        mine / theirs if place % 2 == 0 else None for place, (mine, theirs) in enumerate(zip(us, them, strict=True))
    )
    table = [(name, *values) for name, values in hiding.items()]
    note = (
        "Names, addresses and numbers hidden; 32 callers. Chats: 20 messages that were sent before, and a new question."
    )
    result.tables.append(Table("Hiding personal data", columns, [*table, ("times faster", *times)], note))
    cases = (
        ("new prompts", 0, AIM_NEW),
        ("one prompt again", 2, AIM_CHATS),
        ("chats that resend their history", 4, AIM_CHATS),
    )
    for name, place, aim in cases:
        words = f"times LiteLLM + Presidio, names on: {name}"
        result.figures[f"times LiteLLM + Presidio, {name}"] = Figure(
            us[place] / them[place], "times", "higher", aim, words
        )


if __name__ == "__main__":
    main()
