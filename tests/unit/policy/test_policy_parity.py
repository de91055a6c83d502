"""Our engine against Open Policy Agent itself: it never allows what OPA denies."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard.policy.engine import Engine, RegoError
from llmguard.policy.rego_files import form_findings
from tests.support.rego import a_document, embedded_verdict, opa_verdict, rule_packages, shipped_files
from tests.support.rego_text import a_rule

opa_bindings = pytest.importorskip("opa_bindings")
QUICKLY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = st.sampled_from(["", " ", "a", "crm", "GOV-1", "dana@example.com", "Ä", "write", "external", "PERSON"])
CONNECTORS = st.lists(
    st.fixed_dictionaries(
        {
            "name": WORDS,
            "declared": st.booleans(),
            "direction": st.sampled_from(["read", "write", "both"]),
            "storage": st.sampled_from(["none", "internal", "external"]),
            "encrypted": st.booleans(),
            "approved": WORDS,
        }
    ),
    max_size=3,
)
KINDS = st.sampled_from(["PERSON", "EMAIL_ADDRESS", "DATE_TIME", "API_KEY", "IBAN_CODE"])
DOCUMENTS = st.builds(
    a_document,
    st.fixed_dictionaries(
        {
            "owner": WORDS,
            "ticket": WORDS,
            "sensitivity_rank": st.integers(0, 3),
            "connectors": CONNECTORS,
        }
    ),
    st.fixed_dictionaries({"version": st.integers(1, 12), "fallbacks": st.lists(WORDS, max_size=2)}),
    st.fixed_dictionaries(
        {
            "stream": st.booleans(),
            "tools": st.lists(WORDS, max_size=3),
            "characters": st.sampled_from([0, 1, 512, 2**20, 2**53]),
            "entities": st.dictionaries(KINDS, st.sampled_from([0, 1, 2, 8]), max_size=3),
        }
    ),
    st.fixed_dictionaries({"hour": st.integers(0, 23), "weekday": st.sampled_from(["Monday", "Saturday"])}),
)
TEXTS = st.sampled_from(
    ["input.app.owner", "input.app.ticket", "input.time.weekday", 'concat("", input.request.tools)']
)
NUMBERS = st.sampled_from(
    [
        *("input.app.sensitivity_rank", "input.request.characters", "input.time.hour", "count(input.request.tools)"),
        *("count(input.request.entities)", "input.preset.version", "sum([n | some n in input.request.entities])"),
        *("max([n | some n in input.request.entities])", "to_number(input.app.ticket)", "input.time.hour % 5"),
        *("input.request.characters / input.time.hour", "object.get(input.request.entities, `PERSON`, 0)"),
    ]
)
LITERALS = WORDS.map(json.dumps)
FIGURES = st.sampled_from(["0", "1", "2", "9", "10", "512", "-1", "2.5"])
COMPARISONS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
CONDITIONS = st.one_of(
    st.tuples(TEXTS, COMPARISONS, LITERALS).map(" ".join),
    st.tuples(NUMBERS, COMPARISONS, FIGURES).map(" ".join),
    st.tuples(NUMBERS, COMPARISONS, NUMBERS).map(" ".join),
    st.tuples(st.sampled_from(["startswith", "endswith", "contains"]), TEXTS, LITERALS).map(
        "{0[0]}({0[1]}, {0[2]})".format
    ),
    st.tuples(TEXTS, LITERALS, LITERALS).map("{0[0]} in {{{0[1]}, {0[2]}}}".format),
    st.tuples(st.sampled_from(["lower", "upper", "trim_space"]), TEXTS, LITERALS).map(
        "{0[0]}({0[1]}) == {0[2]}".format
    ),
    TEXTS.map("regex.match(`^[a-z]+$`, {})".format),
    LITERALS.map("some tool in input.request.tools\ntool == {}".format),
    st.just("some c in input.app.connectors\nc.storage == `external`\nnot c.encrypted"),
    st.just("every c in input.app.connectors { c.direction == `read` }"),
    KINDS.map("input.request.entities.{} > 0".format),
    KINDS.map("not input.request.entities.{}".format),
    st.just("input.request.stream"),
)
NEGATED = CONDITIONS.filter(lambda line: not line.startswith(("some", "every", "not"))).map("not {}".format)
RULES = st.builds(
    lambda conditions, effect: a_rule("\n".join(conditions), effect=effect),
    st.lists(CONDITIONS | NEGATED, min_size=1, max_size=3),
    st.sampled_from(["deny", "deny", "deny", "log", "allow"]),
)


def opa_for(files):
    opa = opa_bindings.OpaEngine()
    for name, text in files.items():
        opa.add_policy(name, text)
    return opa


@pytest.fixture(scope="module")
def shipped():
    files = {name: text for name, text in shipped_files().items() if not name.endswith("_test.rego")}
    return Engine(files), opa_for(files), rule_packages(files)


@QUICKLY
@given(document=DOCUMENTS)
def test_the_shipped_rules_decide_as_on_opa(shipped, document):
    engine, opa, packages = shipped

    ours = embedded_verdict(engine, packages, json.dumps(document))

    assert ours == opa_verdict(opa, packages, document)


@settings(QUICKLY, max_examples=400)
@given(rules=st.lists(RULES, min_size=1, max_size=3), documents=st.lists(DOCUMENTS, min_size=3, max_size=3))
def test_generated_rules_never_allow_what_opa_denies(rules, documents):
    files = {f"trial{n}.rego": text.replace(".trial\n", f".trial{n}\n") for n, text in enumerate(rules)}
    if any(finding for name, text in files.items() for finding in form_findings(name, text)):
        return  # such rules never come into force
    opa, packages = opa_for(files), rule_packages(files)
    try:
        engine = Engine(files)
    except RegoError:
        return  # nor do these
    for document in documents:
        theirs = opa_verdict(opa, packages, document)
        ours = embedded_verdict(engine, packages, json.dumps(document))

        assert ours.objections or not theirs.objections, (rules, document)
        if ours.is_whole:
            assert ours == theirs, (rules, document)
