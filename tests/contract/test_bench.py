"""`scripts/bench gateway` in small: the test stand measures a real gateway."""

import json

from scripts.measuring import prompts
from scripts.measuring.processes import cpu_seconds, memory_of
from scripts.measuring.stand import NAMES, PATTERNS, Mock, require_all_ok, served


def test_two_seconds_of_load_are_measured(tmp_path):
    with Mock(chunks=5) as mock, served(tmp_path, mock.base_url) as gateway:
        measured, cpu_ms = gateway.ask(gateway.load([prompts.letter(PATTERNS)], callers=4, seconds=0.5))
        asked = mock.count()
        named, _ = gateway.ask(gateway.load(prompts.new_letters(NAMES, 4, seed=1), mode="once", callers=2, seconds=60))
        said = json.loads(mock.last())["messages"][-1]["content"]
        streamed, _ = gateway.ask(gateway.load([prompts.letter(PATTERNS, stream=True)], callers=2, seconds=0.3))
        crowd, _ = gateway.ask(gateway.load([prompts.letter(PATTERNS)], callers=256, seconds=0.5))
        roles = {part.role for part in gateway.parts}
        memory = [memory_of(pid) for pid in gateway.pids("worker")]
        spent = cpu_seconds(gateway.pids("worker"))

    assert require_all_ok(measured, "load").ok == asked > 4
    assert cpu_ms > 0
    assert require_all_ok(named, "names").ok == 4
    assert "<EMAIL_ADDRESS_" in said
    assert require_all_ok(streamed, "streams").ok > 2
    assert require_all_ok(crowd, "a crowd").ok >= 256  # nobody is left waiting outside while others are served
    assert {"parent", "template", "worker", "ingester"} <= roles
    assert [one.resident > one.own > 1 for one in memory] == [True]
    assert spent > 0
