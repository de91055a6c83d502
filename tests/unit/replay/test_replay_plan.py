"""What a live replay would send, and where today's registry lets no data go."""

from dataclasses import replace
from datetime import date

import msgspec
import pytest

from llmguard.domain.catalog import ParameterRule, Registry, Sensitivity
from llmguard.gateway.pipeline import compose
from llmguard.providers.adapter import prepare_body
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.check import check_source
from llmguard.replay.difference import answer_of
from llmguard.replay.errors import CannotReplay
from llmguard.replay.plan import Choice, plan
from llmguard.replay.stored import Stored, read_stored
from tests.support.builders import a_model, a_preset, a_provider, an_app
from tests.support.registries import PROFILES, a_document, a_preset_entry, as_source

TODAY = date(2026, 11, 26)
REMOTE = a_provider(name="remote", kind="openai", api_key_env="REMOTE_KEY")
MODEL = a_model(name="big", target="big-1", provider=REMOTE, max_sensitivity=Sensitivity.INTERNAL)
PRESET = a_preset(
    model=MODEL,
    system="Be short.",
    digest="p" * 64,
    parameters={"temperature": ParameterRule(maximum=0.3, default=0.1), "max_tokens": ParameterRule(maximum=800)},
)
SENT = {
    "model": "big-1",
    "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Who is <PERSON_KOFADE>?"}],
    "temperature": 0.1,
    "seed": 7,
    "max_tokens": 800,
}


def a_registry(*presets, models=None, app=None):
    app = app or an_app()
    by_name = {}
    for preset in presets or (PRESET,):
        by_name[preset.name] = (*by_name.get(preset.name, ()), preset)
    models = {model.name: model for model in models or (MODEL, a_model())}
    return Registry("r" * 64, {"remote": REMOTE}, models, by_name, {app.name: app})


def a_stored(sent=SENT, **changes):
    row = {
        "trace_id": "t",
        "app": "expense-triage",
        "owner": "dana@example.com",
        "cost_center": "4711",
        "endpoint": "/v1/chat/completions",
        "preset": "summarise",
        "preset_version": 1,
        "preset_digest": "p" * 64,
        "registry_digest": "r" * 64,
        "redaction_digest": "d" * 64,
        "provider": "remote",
        "model": "big",
        "status": 200,
        "code": None,
        "input_tokens": 1,
        "output_tokens": 1,
        "cost_usd": "0.1",
        "latency_ms": 1.0,
        "entities": {"PERSON": 2},
        "replay_of": None,
    } | changes
    return Stored(row, sent, {}, answer_of(row, None))


@pytest.fixture
def planned(tmp_path):
    accepted = AcceptedRegistries(tmp_path / "registry")

    def planned(registry=None, stored=None, **choice):
        return plan(stored or a_stored(), Choice(**choice), registry or a_registry(), accepted, TODAY)

    return planned


@pytest.fixture
def refused(planned):
    def refused(*arguments, **choice):
        with pytest.raises(CannotReplay) as caught:
            planned(*arguments, **choice)
        return str(caught.value)

    return refused


@pytest.mark.parametrize(
    "more",
    [{}, {"tools": [{"type": "function"}]}, {"stream": True, "stream_options": {"include_usage": True}}],
    ids=["whole", "tools", "stream"],
)
def test_what_was_sent_is_sent_again_byte_for_byte(planned, more):
    sent = {name: value for name, value in SENT.items() if name != "max_tokens"} | more | {"max_tokens": 800}

    one = planned(stored=a_stored(sent))

    again = prepare_body(one.preset.model, compose(one.preset, one.request))
    assert msgspec.json.encode(again) == msgspec.json.encode(sent)
    assert one.decision.models == (MODEL,)
    assert one.redacted_by == ("standard", "d" * 64)
    assert one.entities == {"PERSON": 2}


def test_texts_to_embed_are_sent_again_byte_for_byte(planned):
    sent = {"model": "big-1", "input": ["A", "<PERSON_KOFADE>"], "dimensions": 8, "encoding_format": "base64"}
    registry = a_registry(models=(replace(MODEL, mode="embedding"),))

    one = planned(registry, a_stored(sent, endpoint="/v1/embeddings"))

    again = prepare_body(one.preset.model, compose(one.preset, one.request))
    assert msgspec.json.encode(again) == msgspec.json.encode(sent)


def test_temperature_and_seed_can_be_chosen_and_nothing_else_changes(planned):
    one = planned(temperature=0.0, seed=1)

    assert one.request.parameters == {"temperature": 0.0, "seed": 1, "max_tokens": 800}
    assert one.decision.adjusted == ("temperature", "seed")
    assert one.preset.id == "summarise@1"


def test_the_model_that_answered_is_asked_and_no_other_target_of_it(planned):
    second = replace(MODEL, target="big-2")
    registry = a_registry(models=(replace(MODEL, siblings=(second,)), a_model()))

    one = planned(registry, a_stored(SENT | {"model": "big-2"}))

    assert one.decision.models == (second,)


def test_another_preset_gets_what_the_app_itself_had_sent(planned):
    draft = a_preset(
        version=2,
        status="draft",
        model=a_model(),
        system="Be kind.",
        digest="q" * 64,
        parameters={"temperature": ParameterRule(maximum=1, default=0.7), "seed": ParameterRule()},
    )

    one = planned(a_registry(PRESET, draft), preset="summarise")

    assert one.preset.id == "summarise@2"
    assert compose(one.preset, one.request)["messages"][0]["content"] == "Be kind."
    assert len(one.request.messages) == 1
    assert one.request.parameters == {"seed": 7, "temperature": 0.7, "max_tokens": 4096}
    assert one.decision.objections == ()


def test_another_preset_that_refuses_the_request_says_so(planned):
    strict = a_preset(name="strict", model=a_model(), digest="q" * 64)

    one = planned(a_registry(PRESET, strict), preset="strict@1")

    assert [objection.param for objection in one.decision.objections] == ["seed"]


def test_another_model_is_asked_under_the_preset_of_then(planned):
    one = planned(model="echo-1")

    assert (one.preset.id, one.preset.model.name, one.request.parameters["temperature"]) == (
        "summarise@1",
        "echo-1",
        0.1,
    )


@pytest.mark.parametrize("choice", [{}, {"model": "big"}, {"preset": "summarise@1"}], ids=["then", "model", "preset"])
def test_data_that_is_too_sensitive_today_is_sent_nowhere(refused, choice):
    message = refused(a_registry(app=an_app(sensitivity=Sensitivity.CONFIDENTIAL)), **choice)

    assert "confidential, and the model big is approved up to internal today" in message
    assert "models that may see this data today: echo-1." in message


def test_data_that_was_more_sensitive_then_counts_as_that(tmp_path):
    document = a_document()
    document["apps"]["expense-triage"]["sensitivity"] = "restricted"
    accepted = AcceptedRegistries(tmp_path / "registry")
    older = check_source(as_source(document), file="r", profiles=PROFILES, accepted={}).registry
    accepted.accept(older, as_source(document))

    with pytest.raises(CannotReplay, match="is restricted"):
        plan(a_stored(registry_digest=older.digest), Choice(), a_registry(), accepted, TODAY)


@pytest.mark.parametrize(
    "app",
    [
        an_app(status="suspended"),
        an_app(status="retired"),
        an_app(status="sandbox"),
        an_app(expires=date(2026, 11, 25)),
        an_app(name="another"),
    ],
    ids=["suspended", "retired", "sandbox", "expired", "gone"],
)
def test_data_of_an_app_that_may_not_be_used_today_leaves_for_no_provider(planned, refused, app):
    registry = a_registry(app=app, models=(replace(MODEL, max_sensitivity=Sensitivity.RESTRICTED), a_model()))

    assert "models that may see this data today: echo-1." in refused(registry)
    assert planned(registry, model="echo-1").decision.models == (a_model(),)


def test_a_model_that_is_no_longer_approved_is_not_asked(refused):
    message = refused(a_registry(a_preset(digest="p" * 64), models=(a_model(),)))

    assert "big-1 at remote, which was asked then, is no approved model any more" in message


@pytest.mark.parametrize(
    ("stored", "choice", "words"),
    [
        (a_stored(None, status=400, code="content_blocked"), {}, "400 content_blocked before anything was sent"),
        (a_stored(None, endpoint="/v1/me"), {}, "asked no model (/v1/me)"),
        (a_stored(replay_of="t0"), {}, "It is a replay itself; replay t0 instead"),
        (a_stored({"omitted": "too long"}), {}, "too large"),
        (a_stored(preset_digest="x" * 64), {}, "summarise@1 as it was then is neither"),
        (a_stored(preset="gone"), {}, "gone@1 as it was then is neither"),
        (a_stored(), {"preset": "nope"}, "There is: summarise@1."),
        (a_stored(), {"preset": "summarise@9"}, "There is no preset summarise@9"),
        (a_stored(), {"model": "nope"}, "There is: big, echo-1."),
        (a_stored({"model": "big-1", "input": ["a"]}), {}, "is for chat, and this request is not"),
    ],
    ids=[
        "refused",
        "no model",
        "replay",
        "omitted",
        "changed preset",
        "no preset",
        "unknown",
        "version",
        "model",
        "vectors",
    ],
)
def test_what_cannot_be_sent_says_why(refused, stored, choice, words):
    assert words in refused(None, stored, **choice)


def test_a_preset_that_is_gone_comes_from_the_registry_that_was_in_force(tmp_path):
    document = a_document() | {"presets": [a_preset_entry(system="Be short.", model="gpt-4o-mini")]}
    accepted = AcceptedRegistries(tmp_path / "registry")
    older = check_source(as_source(document), file="r", profiles=PROFILES, accepted={}).registry
    accepted.accept(older, as_source(document))
    stored = a_stored(registry_digest=older.digest)

    one = plan(stored, Choice(), a_registry(a_preset(version=2)), accepted, TODAY)

    assert (one.preset.id, one.preset.system, one.preset.digest) == ("summarise@1", "Be short.", "p" * 64)
    assert len(one.request.messages) == 1


def test_a_trace_that_was_changed_in_the_store_is_not_used(tmp_path):
    row = {"trace_id": "t", "status": 200, "code": None, "request": "{}", "response": None, "chunks": None}

    with pytest.raises(CannotReplay, match="was changed since it was written"):
        read_stored(row | {"payload_digest": "0" * 64})
