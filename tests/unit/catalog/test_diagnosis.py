"""Whatever is pasted, the doctor names the one thing that is wrong, and never more than the key's holder may know."""

import json
import time
from dataclasses import astuple
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.catalog.diagnosis.doctor import Question, Sources, diagnose
from llmguard.catalog.diagnosis.errors import code_answer
from llmguard.catalog.diagnosis.pasted import read_key, read_pasted
from llmguard.domain.catalog import Sensitivity
from llmguard.domain.errors import CODES
from llmguard.domain.quota import Standing
from llmguard.identity.key_store import Secret
from llmguard.identity.key_text import new_key_id, new_key_text
from tests.support.builders import NOON, a_model, a_preset, a_provider
from tests.support.served import a_small_registry

KEY = new_key_text(new_key_id())
OTHER = new_key_text(new_key_id())
TRACE_ID = "019aafd0-0000-7000-8000-00000000000a"
BASE = "http://127.0.0.1:8080/v1"


def a_secret(**changes):
    facts = {"digest": b"", "key_id": "k", "app": "expense-triage", "expires_at": None, "retires_at": None}
    return Secret(**(facts | {"revoked_at": None} | changes))


def some_sources(*, registry=None, secret=None, standings=(), trace=None, variables=(), **app):
    async def show_standings(_):
        return standings

    async def explain(trace_id):
        return trace if trace_id == TRACE_ID else None

    known = {KEY: secret or a_secret()}
    return Sources(
        registry or a_small_registry(**app), known.get, show_standings, explain, set(variables).__contains__, NOON
    )


async def ask(text="", sources=None, **fields):
    return await diagnose(Question(text, **fields), sources or some_sources())


def a_standing(left, name="tokens_per_day"):
    return Standing(name, 1000, 1000 - left, 0, datetime(2026, 11, 24, tzinfo=UTC))


async def test_good_key_is_said_to_work_with_what_it_may():
    answer = await ask(key=KEY, sources=some_sources(standings=(a_standing(10),)))

    assert answer.fine
    assert dict(answer.facts)["App"] == "expense-triage"
    assert dict(answer.facts)["Left"] == "10 tokens a day"


@pytest.mark.parametrize(
    ("pasted", "words"),
    [
        (KEY[:40], "was cut: it has 40 characters"),
        (KEY + "ab", "something behind it"),
        (KEY[:30] + " " + KEY[30:], "spaces or line breaks"),
        (KEY[:-1] + ("a" if KEY[-1] != "a" else "b"), "mistyped"),
        (KEY.removeprefix("sk-lg_"), "sk-lg_, is missing"),
        (KEY.upper(), "other capitals"),
        (KEY[:12] + "…", "short form"),
        ("hunter2", "no key of llmguard"),
        ("sk-ant-api03-abcdefghijklmn", "a key of Anthropic"),
        ("sk-proj-abcdefghijklmnopqrstuvwxyz", "a key of OpenAI"),
        (OTHER, "does not know it"),
    ],
    ids=["cut", "long", "space", "typo", "prefix", "case", "short", "none", "anthropic", "openai", "unknown"],
)
async def test_key_that_cannot_work_is_told_by_its_look(pasted, words):
    answer = await ask(key=pasted)

    assert words in answer.problem
    assert not answer.fine
    assert answer.facts == ()
    assert "expense-triage" not in str(astuple(answer))


@pytest.mark.parametrize(
    "wrapped", ['"{}"', " {} ", "Bearer {}", "Authorization: Bearer {}", "“{}”", "api_key = '{}',", "\u200b{}"]
)
async def test_what_stands_around_a_key_is_taken_away(wrapped):
    answer = await ask(key=wrapped.format(KEY))

    assert answer.fine


async def test_quotes_around_a_key_are_mentioned():
    answer = await ask(key=f'"{KEY}"')

    assert "the tool's box holds the key alone" in answer.notes[0]


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"revoked_at": NOON}, "key_revoked"),
        ({"expires_at": NOON - timedelta(days=1)}, "key_expired"),
        ({"retires_at": NOON}, "key_expired"),
    ],
    ids=["revoked", "expired", "rotated"],
)
async def test_ended_key_says_when_and_where_to_get_another(ended, code):
    answer = await ask(key=KEY, sources=some_sources(secret=a_secret(**ended)))

    assert (answer.code, "November 2026" in answer.problem) == (code, True)
    assert "keys issue" in answer.fix


@pytest.mark.parametrize(
    ("app", "code"),
    [
        ({"status": "suspended"}, "app_suspended"),
        ({"status": "draft"}, "app_not_approved"),
        ({"expires": NOON.date() - timedelta(days=1)}, "app_expired"),
        ({"presets": ()}, "preset_not_allowed"),
    ],
    ids=["suspended", "draft", "expired", "no preset"],
)
async def test_app_that_may_not_be_used_is_said_to_its_key(app, code):
    answer = await ask(key=KEY, sources=some_sources(**app))

    assert answer.code == code


async def test_app_that_left_the_catalog_is_said():
    answer = await ask(key=KEY, sources=some_sources(secret=a_secret(app="gone")))

    assert (answer.code, "gone" in answer.problem) == ("app_not_approved", True)


@pytest.mark.parametrize(("origin", "fine"), [("https://a.example/page?x=1", True), ("https://b.example", False)])
async def test_web_page_is_judged_by_its_origin(origin, fine):
    answer = await ask(key=KEY, origin=origin, sources=some_sources(origins=("https://a.example",)))

    assert answer.fine is fine
    assert fine or answer.code == "origin_not_allowed"


async def test_misspelt_preset_is_answered_with_the_right_one():
    answer = await ask(key=KEY, preset="sumarise")

    assert (answer.code, "Did you mean 'summarise'?" in answer.problem) == ("model_not_found", True)


async def test_used_up_quota_says_until_when():
    answer = await ask(key=KEY, sources=some_sources(standings=(a_standing(0), a_standing(5, "tokens_per_month"))))

    assert answer.code == "insufficient_quota"
    assert "24 November 2026 00:00 UTC" in answer.problem


async def test_minute_that_is_used_up_heals_by_waiting():
    answer = await ask(key=KEY, sources=some_sources(standings=(a_standing(0, "requests_per_minute"),)))

    assert (answer.code, answer.fix.startswith("Wait a minute")) == ("rate_limit_exceeded", True)


def registry_at_a_provider(**app):
    provider = a_provider(name="openai", kind="openai", api_key_env="OPENAI_API_KEY")
    model = a_model(provider=provider, max_sensitivity=Sensitivity.INTERNAL)
    registry = a_small_registry(**app)
    return type(registry)(
        registry.digest, {"openai": provider}, {}, {"summarise": (a_preset(model=model),)}, registry.apps
    )


@pytest.mark.parametrize(("variables", "code"), [((), "provider_error"), (("OPENAI_API_KEY",), "fine")])
async def test_missing_provider_key_is_for_whoever_runs_llmguard(variables, code):
    answer = await ask(key=KEY, sources=some_sources(registry=registry_at_a_provider(), variables=variables))

    assert answer.code == code
    assert variables or "OPENAI_API_KEY" in answer.fix


@pytest.mark.parametrize(
    ("app", "code"),
    [({"sensitivity": Sensitivity.RESTRICTED}, "sensitivity_not_allowed"), ({"status": "sandbox"}, "app_not_approved")],
    ids=["sensitive", "sandbox"],
)
async def test_app_whose_presets_are_all_out_of_reach_is_told(app, code):
    sources = some_sources(registry=registry_at_a_provider(**app), variables=("OPENAI_API_KEY",))

    assert (await ask(key=KEY, sources=sources)).code == code


@pytest.mark.parametrize(
    ("base_url", "words"),
    [
        ("http://127.0.0.1:8080", "not in /v1"),
        ("http://127.0.0.1:8080/v1/chat/completions", "it is there twice"),
        ("http://127.0.0.1:8080/v1/v1", "/v1 twice"),
        ("http://127.0.0.1:8080/openai", "not in /v1"),
        ("127.0.0.1:8080/v1", "must begin with http"),
        ("https://api.openai.com/v1", "of a model provider"),
        ("http://[", "no web address"),
    ],
)
async def test_wrong_base_url_says_what_is_wrong_with_it(base_url, words):
    answer = await ask(base_url=base_url)

    assert (answer.code, words in answer.problem) == ("wrong_base_url", True), answer


async def test_right_base_url_is_fine_and_a_bad_key_behind_it_is_found():
    assert (await ask(base_url=BASE)).fine
    assert (await ask(base_url=BASE, key="x")).code == "invalid_api_key"


SDK = (
    "openai.BadRequestError: Error code: 400 - {'error': {'message': 'temperature: it may be from 0 to 0.3', 'type': "
    "'invalid_request_error', 'param': 'temperature', 'code': 'parameter_not_allowed', 'hint': 'Send less.', "
    f"'trace_id': '{TRACE_ID}', 'why': None}}}}"
)
BODY = json.dumps({"error": {"message": "gone", "code": "preset_retired", "hint": "Use b.", "trace_id": TRACE_ID}})


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (SDK, "parameter_not_allowed", "from 0 to 0.3"),
        (BODY, "preset_retired", "gone"),
        (f"2026-11-26 ERROR node failed: {BODY} (retry 3)", "preset_retired", "gone"),
        ('{"error": {"message": "no", "code": "content_blocked"}}', "content_blocked", "must not leave"),
        ("status 429 insufficient_quota for this app", "insufficient_quota", "used up"),
        (
            "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
            "wrong_base_url",
            "did not ask llmguard",
        ),
        ("POST http://127.0.0.1:8080/chat/completions 404", "wrong_base_url", "without /v1"),
        ("POST http://127.0.0.1:8080/v1/v1/chat/completions 404", "wrong_base_url", "twice"),
        ("POST http://h/v1/chat/completions/chat/completions", "wrong_base_url", "twice"),
        ("connect ECONNREFUSED 127.0.0.1:8080", "unreachable", "Nothing answers"),
        ("getaddrinfo ENOTFOUND llmguard.example", "unreachable", "not known to the network"),
        ("SSL: CERTIFICATE_VERIFY_FAILED certificate verify failed: self-signed", "certificate", "does not trust"),
        ("certificate is not yet valid", "clock_or_certificate", "clock"),
        ("SSL routines:ssl3_get_record:wrong version number", "wrong_base_url", "http"),
        ("blocked by CORS policy: No 'Access-Control-Allow-Origin'", "origin_not_allowed", "not on the list"),
        ("Unexpected token '<', \"<!doctype \"... is not valid JSON", "wrong_base_url", "web page"),
        ("openai.APITimeoutError: Request timed out.", "timeout", "did not come"),
        ("openai.APIConnectionError: Connection error.", "unreachable", "could not connect"),
        ("Request failed with status code 401", "invalid_api_key", "not known"),
        ("openai.RateLimitError", "rate_limit_exceeded", "faster"),
        ("HTTP 503 Service Unavailable", "provider_error", "provider failed"),
        ("It just does not work", "not_recognised", "nothing in it"),
        ("", "not_recognised", "nothing in it"),
    ],
)
async def test_error_is_explained_by_what_it_says(text, code, words):
    answer = await ask(text)

    assert (answer.code, words in answer.problem) == (code, True), answer
    assert answer.fix
    assert answer.who


async def test_trace_id_and_why_address_tell_what_why_shows():
    reasons = [{"message": "temperature is too high.", "hint": "Send 0.3."}]
    sources = some_sources(trace={"code": "parameter_not_allowed", "status": 400, "reasons": reasons})

    for text in (TRACE_ID, f"http://127.0.0.1:8080/why/{TRACE_ID}", f"x-llmguard-trace-id: {TRACE_ID.upper()}"):
        answer = await ask(text, sources=sources)
        assert (answer.code, answer.problem, answer.fix) == (
            "parameter_not_allowed",
            "temperature is too high.",
            "Send 0.3.",
        )


@pytest.mark.parametrize(
    ("trace", "code"),
    [({"code": None, "status": 200}, "fine"), ({"code": "strange"}, "strange"), (None, "unknown_trace")],
)
async def test_trace_without_reasons_is_explained_by_its_code(trace, code):
    assert (await ask(TRACE_ID, sources=some_sources(trace=trace))).code == code


async def test_refused_tool_with_a_good_key_sends_another_one():
    answer = await ask("Request failed with status code 401", key=KEY)

    assert answer.code == "other_key"


async def test_key_inside_of_a_log_is_found():
    assert (await ask(f"export OPENAI_API_KEY={KEY}\n")).fine
    assert "line breaks" in (await ask(f"the key is {KEY[:30]}\n{KEY[30:]}")).problem
    assert (await ask(f"Incorrect key {KEY[:14]}...")).code == "invalid_api_key"
    assert (await ask(f"key {KEY[:30]} is refused")).code == "invalid_api_key"


async def test_clock_of_the_caller_is_compared():
    late = {"caller_time": NOON - timedelta(minutes=10)}

    alone, besides = await ask(key=KEY, **late), await ask(key=OTHER, **late)

    assert (alone.code, alone.problem) == ("clock_skew", "The clock of your machine is 10 minutes slow.")
    assert besides.code == "invalid_api_key"
    assert "10 minutes slow" in besides.notes[0]
    assert (await ask(key=KEY, caller_time=NOON + timedelta(seconds=20))).fine


def test_every_code_of_the_contract_is_explained():
    unexplained = [code for code in CODES if code_answer(code) is None]

    assert unexplained == []


async def test_pasted_keys_are_never_repeated():
    error = json.dumps(
        {"error": {"message": f"bad {KEY}", "code": "invalid_request", "hint": f"{OTHER}?", "trace_id": TRACE_ID}}
    )

    for question in ({"text": error}, {"key": KEY}, {"key": OTHER[:30]}, {"text": f"{error} {OTHER}"}):
        answer = str(astuple(await ask(**question)))
        assert KEY[10:30] not in answer
        assert OTHER[10:29] not in answer


@given(st.text(max_size=200), st.sampled_from(["", "{'error': ", '{"error": ', "sk-lg_", "http://[", "{" * 60]))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_read(text, before):
    read_pasted(before + text)
    read_key(before + text)


@pytest.mark.parametrize("piece", ["{", "{'a':", "sk-lg_", "http://a/v1/", '{"a":[', "{'error': {'message': '", "a_b "])
async def test_hostile_text_is_read_once(piece):
    await ask(piece * 20_000)


@pytest.mark.parametrize(
    "text",
    ["{'x':1," * 50 + "'a':(" + "1j+" * 6000 + "1)}", "{'x':[" * 50 + "1," * 9000 + "}"],
    ids=["sums", "brackets"],
)
def test_printed_objects_take_little_time_whatever_they_are(text):
    began = time.process_time()
    read_pasted(text)

    assert time.process_time() - began < 0.5


def test_printed_object_that_cannot_be_one_is_no_error():
    assert read_pasted("{'a': {[1]: 2}}").error is None
