"""The CoE's `recognizers.yaml`, read by Presidio's own loader, offline and with its logging off.

Presidio's and llmguard's own classes are found by name (`type: predefined`); patterns, contexts and deny lists need no
Python (`type: custom`).
"""

import importlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from llmguard.redaction.presidio import (
    URL_RECOGNIZER,
    URL_RECOGNIZER_MODULE,
    EmailRecognizer,
    EntityRecognizer,
    PatternRecognizer,
    RecognizerRegistryProvider,
    SpacyRecognizer,
)
from llmguard.redaction.profiles import RedactionInvalid, RuleFinding, parse_yaml
from llmguard.redaction.recognizers import catalog as _catalog  # noqa: F401  # makes our classes known by name
from llmguard.redaction.recognizers.own_labels import teach as teach_labels

RECOGNIZERS_FILE = "recognizers.yaml"
DENY_LIST = "DenyList"


def load_recognizers(files: Mapping[str, str]) -> list[EntityRecognizer]:
    """Return the recognizers of a folder of rules; the NER model is not among them.

    Raises:
        RedactionInvalid: with what Presidio finds wrong.
    """
    _silence_presidio()
    configuration = parse_yaml(RECOGNIZERS_FILE, files)
    if not isinstance(configuration, dict) or "recognizers" not in configuration:
        raise RedactionInvalid([RuleFinding(RECOGNIZERS_FILE, "recognizers", "is missing", "list the recognizers")])
    if URL_RECOGNIZER in str(configuration["recognizers"]):
        importlib.import_module(URL_RECOGNIZER_MODULE)  # Presidio finds the classes that are imported
    try:
        provider = RecognizerRegistryProvider(registry_configuration=configuration)
        recognizers = list(provider.create_recognizer_registry().recognizers)
    except Exception as error:  # noqa: BLE001  # Presidio and its recognizers raise any type; the CoE gets findings
        findings = _findings(error, configuration)
    else:
        own = [recognizer for recognizer in recognizers if not isinstance(recognizer, SpacyRecognizer)]
        _take_offline(own)
        teach_labels(own, configuration["recognizers"])
        return own
    raise RedactionInvalid(findings)


def deny_recognizer(entity: str, entries: Sequence[str]) -> EntityRecognizer:
    """Return a recognizer that finds each entry as a whole word, in any case, with score 1.0."""
    longest_first = sorted(set(entries), key=lambda entry: (-len(entry), entry))
    return PatternRecognizer(supported_entity=entity, name=DENY_LIST, deny_list=longest_first)


def _silence_presidio() -> None:
    """Switch Presidio's logger off: at debug and error level it writes matched values."""
    logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL + 1)


def _take_offline(recognizers: Sequence[EntityRecognizer]) -> None:
    """Let e-mail addresses be checked against the suffix list inside the package; the default asks the network."""
    checked = [recognizer for recognizer in recognizers if type(recognizer) is EmailRecognizer]
    if not checked:
        return
    import tldextract  # noqa: PLC0415 - 8 MB for those who have such a recognizer

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    def has_public_suffix(address: str) -> bool:
        return bool(extract(address).fqdn)

    for recognizer in checked:
        setattr(recognizer, "validate_result", has_public_suffix)  # noqa: B010  # mypy forbids assigning a method


def _findings(error: Exception, configuration: dict[str, Any]) -> list[RuleFinding]:  # any YAML value
    """Return what Presidio says is wrong; it wraps what pydantic found into a message that says nothing."""
    cause = error if isinstance(error, ValidationError) else error.__cause__
    if isinstance(cause, ValidationError):
        return [RuleFinding(RECOGNIZERS_FILE, ".".join(map(str, one["loc"])), one["msg"]) for one in cause.errors()]
    if not isinstance(configuration["recognizers"], list):
        return [RuleFinding(RECOGNIZERS_FILE, "recognizers", "must be a list")]
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return [RuleFinding(RECOGNIZERS_FILE, "", first_line)]
