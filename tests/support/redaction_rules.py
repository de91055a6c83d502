"""The CoE's example rules, loaded once a session: compiling them and the language model takes seconds."""

from functools import cache
from pathlib import Path

from llmguard.redaction.analyzer import Analyzer

RULES = Path(__file__).parents[2] / "redaction"


@cache
def example_analyzer():
    return Analyzer.load(RULES)
