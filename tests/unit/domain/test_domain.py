import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.catalog import Price
from llmguard.domain.chat import Usage
from llmguard.domain.clock import SystemClock
from llmguard.domain.errors import CODES, Fault, Refusal
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.money import to_nano_usd, to_usd
from tests.support.builders import NOON


def test_trace_ids_are_version_7_and_sort_by_time():
    ids = [new_trace_id(NOON + timedelta(milliseconds=step)) for step in range(50)]

    assert ids == sorted(ids)
    assert {uuid.UUID(trace_id).version for trace_id in ids} == {7}
    assert {uuid.UUID(trace_id).variant for trace_id in ids} == {uuid.RFC_4122}


def test_trace_ids_of_one_instant_differ():
    assert len({new_trace_id(NOON) for _ in range(1000)}) == 1000


@given(st.integers(min_value=0, max_value=10**15))
def test_nano_dollars_survive_the_way_to_dollars_and_back(nano_usd):
    assert to_nano_usd(to_usd(nano_usd)) == nano_usd


def test_cost_is_exact_and_cached_tokens_are_charged_once():
    price = Price(Decimal("2.50"), Decimal(10), "registry:x", cached_input=Decimal("1.25"))

    cost = Usage(input_tokens=1000, output_tokens=10, cached_tokens=600).cost_nano_usd(price)

    assert to_usd(cost) == Decimal("0.001850000")  # 400 x 2.50 + 600 x 1.25 + 10 x 10 millionths


def test_cached_tokens_without_a_price_of_their_own_cost_as_much_as_others():
    price = Price(Decimal("0.15"), Decimal("0.60"), "registry:x")

    assert Usage(100, 0, cached_tokens=50).cost_nano_usd(price) == Usage(100, 0).cost_nano_usd(price) == 15_000


def test_refusals_are_4xx_and_faults_5xx():
    assert Refusal("invalid_api_key", "No.").status == 401
    assert Fault("provider_timeout", "Late.").status == 504
    assert all(400 <= facts.status < 600 for facts in CODES.values())


def test_only_what_time_heals_invites_another_try():
    assert Refusal("rate_limit_exceeded", "Later.").time_heals
    assert not Refusal("insufficient_quota", "No.").time_heals


def test_system_clock_is_aware_and_goes_on():
    clock = SystemClock()
    first = clock.ticks()

    assert clock.now().tzinfo is UTC
    assert clock.ticks() >= first
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
