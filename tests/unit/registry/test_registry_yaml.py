"""What YAML itself can go wrong with: syntax, duplicate keys, anchors, several documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, as_source

HEAD = "version: 1\nproviders: {}\nmodels: {}\npresets: []\n"


def check(text):
    return check_source(text.encode(), file="registry.yaml", profiles=PROFILES, accepted={})


def test_the_smallest_registry_is_accepted():
    assert check(HEAD + "apps: {}\n").findings == ()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("version: [\n", (2, 1)),
        ("version: 1\n\tproviders: {}\n", (2, 1)),
        ("version: 1: 2\n", (1, 11)),
        ("version: 'x\n", (2, 1)),
        ("version: 1\n---\nversion: 1\n", (2, 1)),
        ("version: *one\n", (1, 10)),
        ("version: 1\napps: a\x07b\n", (2, 8)),
        ("- a\n-b\n", (3, 1)),
        ("version: 99999999999999999999999\n", (1, 10)),
        ("? [a]\n: 1\n", (1, 1)),
        ("&a [1, *a]\n", (1, 1)),
        ("%YAML 1.3\n---\nversion: 1\n", (1, 1)),
        ("[" * 500, (1, 1)),
        ("version: " + "[" * 400 + "]" * 400, (1, 137)),
    ],
    ids=[
        "open",
        "tab",
        "colon",
        "quote",
        "two documents",
        "alias",
        "bell",
        "dash",
        "number",
        "list as key",
        "endless",
        "directive",
        "deep",
        "deep and closed",
    ],
)
def test_text_that_is_not_one_yaml_document_is_located(text, place):
    (finding,) = check(text).findings

    assert finding.message.startswith("this is not YAML")
    assert (finding.line, finding.column) == place


def test_a_syntax_finding_repeats_nothing_of_the_file():
    text = "version: 1\nowner: \"dana said 'no\n"

    assert "dana" not in repr(check(text).findings)


def test_a_key_given_twice_is_found_with_both_lines_and_the_other_findings():
    text = HEAD + (
        "apps:\n"
        "  a: {owner: x, cost_center: '1', status: approved, sensitivity: internal, presets: [], quota: {}}\n"
        "  b:\n"
        "    owner: x\n"
        "    cost_center: 4711\n"
        "    owner: y\n"
        "    status: approved\n"
        "    sensitivity: internal\n"
        "    presets: []\n"
        "    quota: {}\n"
        "  a: {}\n"
    )

    findings = check(text).findings

    assert [(finding.line, finding.path, finding.message) for finding in findings] == [
        (9, "apps.b.cost_center", "the number 4711 stands here, and a text is expected"),
        (10, "apps.b.owner", "'owner' is given twice, in line 8 and again in line 10"),
        (15, "apps.a", "'a' is given twice, in line 6 and again in line 15"),
    ]


def test_duplicates_inside_lists_and_flow_mappings_are_found():
    text = "version: 1\nproviders: {}\nmodels: {}\napps: {}\npresets:\n  - {name: x, name: y}\n"

    findings = check(text).findings

    assert any(finding.message == "'name' is given twice, in line 6 and again in line 6" for finding in findings)
    assert any(finding.message == "'owner' is missing" for finding in findings)


def test_a_file_with_duplicates_is_read_by_the_same_rules_as_one_without():
    text = HEAD.replace("providers: {}", "providers: {echo: {kind: echo, kind: echo, max_retries: 2}}") + (
        'apps:\n  a: {owner: no, cost_center: "1", status: approved, sensitivity: internal, presets: [], '
        "quota: {tokens_per_day: 5}, expires: 2027-03-31}\n"
    )

    (finding,) = check(text).findings

    assert finding.message.startswith("'kind' is given twice")


def test_duplicates_next_to_endless_anchors_end():
    findings = check("version: 1\nversion: 1\napps: &a {x: *a, y: [*a]}\n").findings

    assert any("given twice" in finding.message for finding in findings)


def test_a_number_without_end_next_to_a_duplicate_is_a_finding_of_its_own():
    findings = check("version: 99999999999999999999999\napps: {}\napps: {}\n").findings

    assert [finding.path for finding in findings if finding.line > 1 or finding.column > 1] == ["version", "apps"]


def test_a_tab_behind_a_colon_is_read_and_findings_keep_their_lines():
    (finding,) = check("version:\t2\n" + HEAD.partition("\n")[2] + "apps: {}\n").findings

    assert (finding.line, finding.column, finding.path) == (1, 10, "version")


def test_where_only_ryaml_reads_the_file_findings_stand_without_their_lines():
    (finding,) = check("version: !+!x 1\n" + HEAD.partition("\n")[2] + "apps: {}\n").findings

    assert (finding.line, finding.path) == (1, "version")


def test_anchors_for_whole_values_are_allowed():
    text = HEAD + (
        "apps:\n"
        "  a: &app {owner: x, cost_center: '1', status: approved, sensitivity: internal, presets: [], quota: {}}\n"
        "  b: *app\n"
    )

    assert set(check(text).registry.apps) == {"a", "b"}


def test_merge_keys_are_found_as_what_they_are():
    text = HEAD + (
        "apps:\n"
        "  a: &app {owner: x, cost_center: '1', status: approved, sensitivity: internal, presets: [], quota: {}}\n"
        "  b: {<<: *app, owner: y}\n"
    )

    assert any("merge keys are not supported" in (finding.fix or "") for finding in check(text).findings)


def test_an_anchor_bomb_is_refused_fast():
    rows = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        rows.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")

    assert check("\n".join(rows)).registry is None


@given(st.binary(max_size=200))
def test_no_bytes_make_the_check_raise(source):
    checked = check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})

    assert (checked.registry is None) == bool(checked.findings)


_YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_no_value_in_any_place_makes_the_check_raise(data):
    document = a_document()
    node = document
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            node[key] = data.draw(_YAML_VALUES)
            break
        node = node[key]

    checked = check_source(as_source(document), file="registry.yaml", profiles=PROFILES, accepted={})

    assert (checked.registry is None) == bool(checked.findings)
    assert all(finding.line >= 1 and finding.column >= 1 for finding in checked.findings)
