"""Everything wrong in the CoE's folder of redaction rules, at once, without loading the language model."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import regex  # type: ignore[import-untyped]  # its stubs are a package of their own

from llmguard.redaction.cases import case_problems
from llmguard.redaction.ner import NerModel
from llmguard.redaction.presidio import EntityRecognizer, Pattern, PatternRecognizer
from llmguard.redaction.profiles import (
    PROFILES_FILE,
    Profile,
    RedactionInvalid,
    RuleFinding,
    load_profiles,
    read_files,
)
from llmguard.redaction.recognizer_list import RECOGNIZERS_FILE, load_recognizers


@dataclass(frozen=True, slots=True)
class CheckedRules:
    """What a folder is worth. `profiles` are the names that presets may use, empty when they cannot be read."""

    profiles: tuple[str, ...]
    findings: tuple[RuleFinding, ...]


def check_rules(folder: Path) -> CheckedRules:
    """Return all findings of a folder: profiles, lists, recognizers and their patterns, entity names, cases."""
    try:
        files = read_files(folder)
    except RedactionInvalid as error:
        return CheckedRules((), error.findings)
    findings: list[RuleFinding] = []
    profiles: dict[str, Profile] = {}
    recognizers: list[EntityRecognizer] = []
    try:
        profiles = load_profiles(files)
    except RedactionInvalid as error:
        findings += error.findings
    try:
        recognizers = load_recognizers(files)
    except RedactionInvalid as error:
        findings += error.findings
    findings += pattern_findings(recognizers)
    if profiles and recognizers:
        findings += entity_findings(profiles, recognizers)
    for path in sorted((folder / "cases").glob("*.yaml")):
        findings += [RuleFinding(f"cases/{path.name}", place, words) for place, words in case_problems(path, profiles)]
    return CheckedRules(tuple(profiles), tuple(findings))


def entity_findings(profiles: Mapping[str, Profile], recognizers: Iterable[EntityRecognizer]) -> list[RuleFinding]:
    """Return the entities that a profile names and nothing can find: a typo there would switch protection off."""
    found = {entity for recognizer in recognizers for entity in recognizer.supported_entities} | NerModel.entities
    findings = []
    for profile in profiles.values():
        for entity in sorted(profile.sought - found - set(profile.deny)):
            near = difflib.get_close_matches(entity, found, n=1)
            fix = f"did you mean {near[0]}?" if near else f"add a recognizer for it to {RECOGNIZERS_FILE}"
            place = f"profiles.{profile.name}.entities"
            findings.append(RuleFinding(PROFILES_FILE, place, f"nothing finds the entity '{entity}'", fix))
    return findings


def pattern_findings(recognizers: Iterable[EntityRecognizer]) -> Iterator[RuleFinding]:
    """Yield the patterns that are no regular expressions."""
    for recognizer in recognizers:
        if not isinstance(recognizer, PatternRecognizer):
            continue
        patterns: list[Pattern] = recognizer.patterns  # type: ignore[has-type]  # untyped in Presidio
        for pattern in patterns:
            try:
                regex.compile(pattern.regex)
            except regex.error as error:
                words = f"the pattern '{pattern.name}' is no regular expression: {error}"
                name = getattr(recognizer, "name", "")  # untyped in Presidio
                yield RuleFinding(RECOGNIZERS_FILE, name, words, "correct the regex")
