"""The CoE's example rules, loaded once a session: compiling them and the language model takes seconds."""

import dataclasses
from functools import cache
from pathlib import Path

from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.recognizers.plausible import plausible

RULES = Path(__file__).parents[2] / "redaction"


class SiftedNer:
    """The language model, of whose proposals only the plausible ones pass."""

    def __init__(self, model):
        self._model = model
        self.name = model.name
        self.entities = model.entities

    def propose(self, text, sought, deadline):
        proposed = self._model.propose(text, sought, deadline)
        return [one for one in proposed if plausible(one.entity_type, text, one.start, one.end)]


@cache
def example_analyzer():
    loaded = Analyzer.load(RULES)
    return Analyzer(loaded.files, dataclasses.replace(loaded.parts, ner=SiftedNer(loaded.parts.ner)))
