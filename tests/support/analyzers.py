"""Real analyzers for tests: the language model is loaded once a session, the rules of each test are its own."""

from functools import cache
from pathlib import Path

import presidio_analyzer

from llmguard.redaction.analyzer import Analyzer, Parts
from llmguard.redaction.ner import NerModel
from llmguard.redaction.patterns import PatternPass
from llmguard.redaction.profiles import read_files
from llmguard.redaction.recognizer_list import load_recognizers
from llmguard.redaction.workers import Workers

PLAIN_RECOGNIZERS = """
supported_languages: [en]
recognizers:
  - {name: EmailRecognizer, type: predefined}
  - {name: CreditCardRecognizer, type: predefined}
  - {name: UsSsnRecognizer, type: predefined}
  - {name: UsBankRecognizer, type: predefined}
  - name: Badge
    supported_entity: BADGE
    patterns: [{name: badge, regex: "BDG-\\\\d{4}", score: 0.6}]
    context: [employee number]
"""


@cache
def the_language_model():
    return NerModel.load()


def a_rules_folder(folder: Path, profiles: str, recognizers: str = PLAIN_RECOGNIZERS, **lists: str) -> Path:
    """Write a folder of rules; `profiles` is what stands under `profiles:`, lists are `allow="…"` for allow.txt."""
    folder.mkdir(exist_ok=True)
    (folder / "profiles.yaml").write_text(f"version: 1\nprofiles:\n{profiles}", encoding="utf-8")
    (folder / "recognizers.yaml").write_text(recognizers, encoding="utf-8")
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def a_profile_text(name="standard", *, ner=False, threshold=0.4, extra="", **actions):
    entities = "".join(f"      {entity}: {action}\n" for entity, action in actions.items())
    head = f"  {name}:\n    ner: {str(ner).lower()}\n    threshold: {threshold}\n"
    return f"{head}{extra}    entities:\n{entities}"


def an_analyzer(folder: Path, **options) -> Analyzer:
    """Load a folder with the session's language model."""
    files = read_files(folder)
    parts = Parts(PatternPass(load_recognizers(files)), the_language_model(), options.pop("workers", None) or Workers())
    return Analyzer(files, parts, **options)


def presidio_default_recognizers() -> str:
    return (Path(presidio_analyzer.__file__).parent / "conf" / "default_recognizers.yaml").read_text(encoding="utf-8")
