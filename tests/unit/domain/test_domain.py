import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.chat import Usage
from llmguard.domain.clock import SystemClock
from llmguard.domain.errors import CODES, Fault, Refusal
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.money import INPUT_KINDS, OUTPUT_KINDS, Price, TokenKind, Variant, to_nano_usd, to_usd
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


def test_each_kind_of_token_has_its_rate_and_is_charged_once():
    price = Price(
        Decimal(1),
        Decimal(10),
        "registry:x",
        cached_input=Decimal("0.1"),
        cache_write=Decimal("1.25"),
        cache_write_1h=Decimal(2),
        audio_input=Decimal(40),
        reasoning=Decimal(20),
        audio_output=Decimal(80),
    )
    usage = Usage(100, 50, 10, 20, cache_write_tokens=5, cache_write_1h_tokens=4, audio_input_tokens=3,
                  audio_output_tokens=2)  # fmt: skip

    assert list(usage.by_kind().values()) == [78, 10, 5, 4, 3, 28, 20, 2]
    assert usage.cost_nano_usd(price) == 78_000 + 1_000 + 6_250 + 8_000 + 120_000 + 280_000 + 400_000 + 160_000


@pytest.mark.parametrize(
    ("tier", "input_tokens", "name", "nano_usd"),
    [
        ("standard", 200, "standard", 200_000),
        ("standard", 201, "standard_above_200", 402_000),
        ("flex", 200, "flex", 100_000),
        ("flex", 500, "flex", 250_000),
        ("priority", 201, "standard_above_200", 402_000),
    ],
)
def test_rates_go_by_the_tier_that_answered_and_by_the_length_of_the_input(tier, input_tokens, name, nano_usd):
    price = Price(
        Decimal(1),
        Decimal(2),
        "registry:x",
        (Variant(Decimal(2), Decimal(4), above_tokens=200), Variant(Decimal("0.5"), Decimal(1), tier="flex")),
    )
    usage = Usage(input_tokens, 0, service_tier=tier)

    assert usage.rates_at(price)[0] == name
    assert usage.cost_nano_usd(price) == nano_usd


RATES = st.decimals(0, 1000, places=9)
VARIANTS = st.lists(
    st.builds(
        Variant,
        RATES,
        RATES,
        cached_input=st.none() | RATES,
        audio_input=st.none() | RATES,
        tier=st.sampled_from(["standard", "flex", "priority", "batch"]),
        above_tokens=st.sampled_from([0, 100]),
    ),
    max_size=3,
).map(tuple)
PRICES = st.builds(
    Price,
    RATES,
    RATES,
    st.just("registry:x"),
    VARIANTS,
    **{kind.value: st.none() | RATES for kind in TokenKind if kind not in {"input", "output"}},
)
FEW = st.integers(0, 60)


@given(PRICES, st.lists(FEW, min_size=5, max_size=5), st.lists(FEW, min_size=3, max_size=3), st.data())
def test_no_call_costs_more_than_the_most_it_can_cost(price, read, written, data):
    asked, answered = data.draw(
        st.sampled_from([(None, "flex"), ("auto", "priority"), ("default", "standard"), ("flex", "standard"),
                         ("priority", "priority"), ("flex", "flex"), (None, "batch")])
    )  # fmt: skip
    usage = Usage(sum(read), sum(written), read[0], written[0], read[1], read[2], read[3], written[1], answered)

    assert sum(usage.by_kind().values()) == usage.total_tokens
    assert set(usage.by_kind()) == {*INPUT_KINDS, *OUTPUT_KINDS}
    assert usage.cost_nano_usd(price) <= Usage(sum(read) + 7, sum(written)).most_nano_usd(price, asked)


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
