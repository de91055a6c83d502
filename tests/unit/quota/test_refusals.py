from datetime import timedelta

import pytest

from llmguard.domain.errors import Refusal
from llmguard.domain.quota import Standing
from llmguard.quota.operations import Denied, Obstacle, Shortfall
from llmguard.quota.refusals import quota_refusal
from llmguard.quota.windows import SECOND, to_instant
from tests.support.builders import NOON, an_app

NOW = to_instant(NOON)
FIRST_OF_DECEMBER = NOON.replace(month=12, day=1, hour=0)
APP = an_app(name="claims-bot", owner="dana@example.com")


def a_refusal(name, asked, *, obstacle=Obstacle.USED_UP, opens=FIRST_OF_DECEMBER, **figures):
    facts = {"name": name, "used": 0, "held": 0, "resets_at": FIRST_OF_DECEMBER, "scope": "app:claims-bot"}
    standing = Standing(**(facts | figures))
    opens_at = None if opens is None else to_instant(opens)
    shortfall = Shortfall(standing, asked, obstacle, opens_at)
    return quota_refusal(APP, Denied(shortfall, NOW, (standing,)))


def test_a_used_up_month_is_told_with_what_is_left_and_until_when():
    refusal = a_refusal("tokens_per_month", 900, limit=2_000_000, used=1_999_000, held=788)

    assert refusal.code == "insufficient_quota"
    assert refusal.retry_after_seconds is None
    assert not refusal.time_heals
    assert refusal.message == (
        "claims-bot asked for up to 900 tokens and has 212 left of 2,000,000 tokens a month until 1 December 00:00 UTC."
    )
    assert refusal.hint == (
        'Lower max_tokens or shorten the prompt, or ask for more: POST {"limit": "tokens_per_month", "amount": 688, '
        '"reason": "..."} to /v1/me/overage with this app\'s key, or run `llmguard overage request claims-bot '
        'tokens_per_month 688 --reason "..."`. Somebody other than dana@example.com, who owns this app, decides.'
    )


def test_a_full_minute_is_told_with_the_time_to_wait():
    opens = NOON + timedelta(seconds=31)
    refusal = a_refusal("requests_per_minute", 1, limit=60, used=60, opens=opens)

    assert refusal.code == "rate_limit_exceeded"
    assert refusal.retry_after_seconds == 31
    assert refusal.message == (
        "claims-bot asked for up to 1 request and has 0 left of 60 requests a minute until 12:00:31 UTC."
    )
    assert refusal.hint == (
        "Send fewer requests, or ask for more: dana@example.com, who owns this app, can ask the CoE to raise the limit."
    )


def test_the_time_to_wait_is_exact_within_a_second():
    refusal = a_refusal("tokens_per_minute", 1, limit=1, used=1, opens=NOON + timedelta(milliseconds=250))
    assert refusal.retry_after_seconds == 250_000 / SECOND


def test_what_is_only_held_asks_for_another_try_in_a_second():
    refusal = a_refusal("tokens_per_day", 900, limit=2000, used=288, held=1500, obstacle=Obstacle.HELD)

    assert refusal.code == "rate_limit_exceeded"
    assert refusal.retry_after_seconds == 1
    assert refusal.message == (
        "claims-bot asked for up to 900 tokens and has 212 free right now: of 2,000 tokens a day, 1,500 are held for "
        "requests still running."
    )
    assert refusal.hint.startswith("Try again in a second.")


@pytest.mark.parametrize("name", ["tokens_per_minute", "tokens_per_month"])
def test_a_request_larger_than_the_limit_is_not_asked_to_wait(name):
    refusal = a_refusal(name, 30_000, limit=20_000, obstacle=Obstacle.LIMIT_TOO_SMALL, opens=None)

    assert refusal.code == "insufficient_quota"
    assert refusal.retry_after_seconds is None
    assert "asked for up to 30,000 tokens, more than its whole limit of 20,000 tokens a m" in refusal.message
    assert "Lower max_tokens or shorten the prompt" in refusal.hint


def test_money_is_told_in_dollars_without_rounding():
    refusal = a_refusal("usd_per_month", 135_000, limit=25_000_000_000, used=24_999_999_999)

    assert refusal.message == (
        "claims-bot asked for up to 0.000135 USD and has 0.000000001 left of 25 USD a month until 1 December 00:00 UTC."
    )


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("owner:dana@example.com", "owner dana@example.com"),
        ("cost_center:4711", "cost center 4711"),
    ],
)
def test_a_shared_limit_is_told_with_whose_it_is(scope, words):
    used_up = a_refusal("usd_per_month", 2_000_000_000, limit=25_000_000_000, used=24_500_000_000, scope=scope)
    too_small = a_refusal("tokens_per_day", 900, limit=100, obstacle=Obstacle.LIMIT_TOO_SMALL, opens=None, scope=scope)

    assert used_up.message == (
        f"claims-bot asked for up to 2 USD, and all apps of its {words} together have 0.5 left of 25 USD a month "
        "until 1 December 00:00 UTC."
    )
    kind = scope.partition(":")[0]
    assert f'"amount": 1.5, "scope": "{kind}"' in used_up.hint
    assert f"usd_per_month 1.5 --scope {kind} --reason" in used_up.hint
    assert used_up.hint.endswith("An approver of the organisation decides.")
    assert too_small.message == (
        f"claims-bot asked for up to 900 tokens, more than what all apps of its {words} together may use: 100 tokens "
        "a day."
    )


def test_the_end_of_a_day_is_told_by_the_clocks_of_its_time_zone():
    refusal = a_refusal("tokens_per_day", 2, limit=1, used=1, time_zone="Europe/Berlin")
    assert refusal.message.endswith("until 1 December 01:00 Europe/Berlin.")


def test_the_refusal_carries_the_standings_for_the_headers():
    refusal = a_refusal("tokens_per_day", 2, limit=1, used=1)

    assert isinstance(refusal, Refusal)
    assert [standing.name for standing in refusal.standings] == ["tokens_per_day"]
