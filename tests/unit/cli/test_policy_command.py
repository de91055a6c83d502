"""`llmguard policy` as people run it."""

import json
import shutil

from tests.support.rego_text import a_rule
from tests.unit.cli.conftest import ROOT


def with_policies(registry):
    return shutil.copytree(ROOT / "policies", registry.parent / "policies")


def test_the_cases_beside_the_rules_pass(llmguard, registry):
    with_policies(registry)

    assert llmguard("policy", "test") == (0, "", "20 of 20 cases passed.\n")


def test_a_case_that_fails_is_named_with_its_place(llmguard, registry):
    file = with_policies(registry) / "accountable_apps.rego"
    file.write_text(file.read_text().replace(">= 2", ">= 3"))

    code, out, err = llmguard("policy", "test")

    assert (code, err) == (1, "18 of 20 cases passed.\n")
    assert out.splitlines()[0] == (
        "policies/accountable_apps_test.rego:17: test_confidential_data_needs_a_ticket: it does not hold"
    )


def test_rules_without_cases_fail_in_json_too(llmguard, registry):
    (with_policies(registry) / "note.rego").write_text(a_rule(package="note"))

    code, out, _ = llmguard("policy", "test", "--json")

    said = json.loads(out)
    [lacking] = [case for case in said["cases"] if not case["passed"]]
    assert (code, said["ok"]) == (1, False)
    assert (lacking["file"], lacking["problem"]) == ("note.rego", "it has no cases; write some in note_test.rego")


def test_files_with_findings_are_not_run(llmguard, registry, tmp_path):
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "night.rego").write_text(a_rule("input.app.nam == ``", package="night"))

    code, out, err = llmguard("policy", "test", str(folder))
    _, as_json, _ = llmguard("policy", "test", str(folder), "--json")

    assert (code, err) == (1, "1 findings; no case was run.\n")
    assert out == "others/night.rego:4:2: there is no input.app.nam; did you mean input.app.name?\n"
    assert json.loads(as_json)["findings"][0]["line"] == 4


def test_check_and_doctor_tell_what_is_wrong_in_the_policies(llmguard, registry):
    (with_policies(registry) / "night.rego").write_text(a_rule("input.app.nam == ``", package="night"))

    checked, out, _ = llmguard("check")
    _, doctor, _ = llmguard("doctor")

    assert checked == 1
    assert "policies/night.rego:4:2: there is no input.app.nam; did you mean input.app.name?\n" in out
    assert "policies/night.rego:4:2" in doctor


def test_nothing_to_try_on_is_said(llmguard, registry):
    code, out, err = llmguard("policy", "try", str(registry), "--since", "1d")

    assert (code, out) == (0, "")
    assert "There are no traces in this time." in err
    assert "Not looked at: quotas" in err
