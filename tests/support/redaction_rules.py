"""The CoE's example rules, loaded once a session: compiling them and the language model takes seconds."""

from functools import cache
from pathlib import Path

from llmguard.redaction.analyzer import Analyzer
from tests.support.compiled_rules import compiled_rules

RULES = Path(__file__).parents[2] / "redaction"


@cache
def example_analyzer():
    return Analyzer.load(RULES, cache=compiled_rules())
