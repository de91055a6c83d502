"""The organisation's own labels: `labels:` at the entry `LabelledValueRecognizer` of `recognizers.yaml`.

Presidio's loader hands a predefined recognizer the fields that Presidio knows and drops the others, so these are read
from the same file a second time, checked, and taught to the recognizers of labels and of columns.
"""
# ruff: noqa: RUF001  # people type curly apostrophes and dashes

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llmguard.redaction.presidio import EntityRecognizer
from llmguard.redaction.profiles import RedactionInvalid, RuleFinding
from llmguard.redaction.recognizers.label_table import Labels
from llmguard.redaction.recognizers.labelled import LabelledValueRecognizer
from llmguard.redaction.recognizers.tables import TableColumnRecognizer

_FILE = "recognizers.yaml"
_ENTITY = re.compile(r"[A-Z][A-Z0-9_]*")
_LABEL = re.compile(r"[^\W\d_][\w .'’-]{1,60}")
_EXAMPLE = "write EMPLOYEE_ID: [works number, clock card]"


def teach(recognizers: Iterable[EntityRecognizer], entries: Iterable[Any]) -> None:  # any YAML values
    """Teach the recognizers of labels what their entry in `recognizers.yaml` adds.

    Raises:
        RedactionInvalid: with everything that is wrong with the labels.
    """
    own = read_labels(entries)
    if not own:
        return
    labels = Labels.with_own(own)
    for recognizer in recognizers:
        if isinstance(recognizer, LabelledValueRecognizer | TableColumnRecognizer):
            recognizer.learn(labels)


def read_labels(entries: Iterable[Any]) -> dict[str, list[str]]:  # any YAML values
    """Return the organisation's labels by entity.

    Raises:
        RedactionInvalid: with everything that is wrong with them.
    """
    own: dict[str, list[str]] = {}
    findings: list[RuleFinding] = []
    for entry in entries:
        if not isinstance(entry, Mapping) or entry.get("labels") is None:
            continue
        place = f"recognizers.{entry.get('name')}.labels"
        if (entry.get("class_name") or entry.get("name")) != LabelledValueRecognizer.__name__:
            findings.append(RuleFinding(_FILE, place, "only LabelledValueRecognizer takes labels", "move them there"))
        elif not isinstance(entry["labels"], Mapping):
            findings.append(RuleFinding(_FILE, place, "must list labels by entity", _EXAMPLE))
        else:
            for entity, labels in entry["labels"].items():
                findings += _problems(f"{place}.{entity}", entity, labels)
                own[str(entity)] = list(labels) if isinstance(labels, list) else []
    if findings:
        raise RedactionInvalid(findings)
    return own


def _problems(place: str, entity: Any, labels: Any) -> list[RuleFinding]:  # any YAML values
    if not _ENTITY.fullmatch(str(entity)):
        return [RuleFinding(_FILE, place, "is no entity name", "entity names look like EMPLOYEE_ID")]
    if not isinstance(labels, list) or not labels:
        return [RuleFinding(_FILE, place, "must be a list of labels", _EXAMPLE)]
    wrong = [label for label in labels if not isinstance(label, str) or not _LABEL.fullmatch(label)]
    return [RuleFinding(_FILE, place, f"{label!r} is no label", "use words, as they stand in texts") for label in wrong]
