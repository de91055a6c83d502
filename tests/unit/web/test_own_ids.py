import pytest

from llmguard.web.headers import note_own_ids
from tests.support.builders import a_trace

HEX = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "kept",
    [
        "7d44b9a6-5f0e-4b0a-9f0e-0123456789ab",
        HEX,
        f"req-{HEX}",
        "01J9ZQ3V5K8M2N4P6R7S9T0VWX",
        "req_011CSHoEeqs5C35K2UUGVGCz",
    ],
)
def test_ids_that_machines_make_are_kept(kept):
    trace = a_trace()

    note_own_ids(trace, kept, None)

    assert trace.request_id == kept


@pytest.mark.parametrize(
    "dropped",
    [
        "anna.schmidt",
        "4111111111111111",
        "DE89370400440532013000",
        "123-45-6789",
        "anna-schmidt-1984-berlin",
        "",
        "req_annaschmidtfromberlincity",
    ],
)
def test_what_could_be_about_a_person_is_not_kept(dropped):
    trace = a_trace()

    note_own_ids(trace, dropped, dropped)

    assert (trace.request_id, trace.w3c_trace_id) == (None, None)


@pytest.mark.parametrize(
    ("traceparent", "kept"),
    [
        (f"00-{HEX}-b7ad6b7169203331-01", HEX),
        (f"cc-{HEX}-b7ad6b7169203331-01-later", HEX),
        (f"ff-{HEX}-b7ad6b7169203331-01", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-{HEX.upper()}-b7ad6b7169203331-01", None),
        (f"00-{HEX}-0000000000000000-01", None),
    ],
)
def test_the_trace_id_of_a_valid_traceparent_is_kept(traceparent, kept):
    trace = a_trace()

    note_own_ids(trace, None, traceparent)

    assert trace.w3c_trace_id == kept
