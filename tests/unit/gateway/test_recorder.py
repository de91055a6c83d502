"""What the recorder writes of those whom nobody knows."""

from prometheus_client import CollectorRegistry

from llmguard.domain.trace import Trace
from llmguard.gateway.metrics import Metrics
from llmguard.gateway.recorder import Recorder
from llmguard.traces.spool import Spool
from tests.support.builders import FrozenClock


def refuse(recorder, count, status=401):
    for number in range(count):
        trace = Trace(str(number), recorder.clock.now(), "/v1/chat/completions")
        trace.status, trace.code = status, "invalid_api_key"
        recorder.write(trace)


async def test_a_flood_of_requests_without_a_key_does_not_fill_the_disk(tmp_path, caplog):
    clock, folder, counted = FrozenClock(), tmp_path / "spool", CollectorRegistry()
    recorder = Recorder(Spool(folder, "test"), None, None, Metrics(counted), clock)

    def written():
        return sum(path.read_bytes().count(b"\n") for path in folder.iterdir())

    refuse(recorder, 3_000)
    of_the_flood = written()
    refuse(recorder, 700, status=403)
    known = written() - of_the_flood
    clock.advance(seconds=10)
    refuse(recorder, 3_000)

    await recorder.drain()

    assert (of_the_flood, known, written()) == (500, 700, 500 + 700 + 100)
    assert "5400 requests without a valid key were refused without a trace" in caplog.text
    assert counted.get_sample_value("llmguard_untraced_total", {"code": "invalid_api_key"}) == 5400
