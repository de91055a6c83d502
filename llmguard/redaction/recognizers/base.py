"""What llmguard's recognizers share: rules over text whose finding is one part of what a regex matched.

A recognizer here is a Presidio `PatternRecognizer`, so its `patterns` can be compiled into a prefilter, with one
difference: the patterns are *gates*. When no gate matches, `analyze` finds nothing; when one does, `analyze` decides.
Gates are plain ASCII regexes without lookaround, which Hyperscan takes as they are. Rules need none: `triggers` offers
their own regexes, and `find_fired` is told which of them can match.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llmguard.redaction.presidio import AnalysisExplanation, Pattern, PatternRecognizer, RecognizerResult

if TYPE_CHECKING:
    from presidio_analyzer.nlp_engine import NlpArtifacts


@dataclass(frozen=True, slots=True)
class Hit:
    """One span that a rule found: `text[start:end]` is the value alone, without its label."""

    start: int
    end: int
    entity: str
    score: float
    rule: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A regex for one entity; the group `v` is the value, the whole match if there is none.

    `check` sees the value and says whether it stands (a checksum, a quality gate). `needs` are literals in small
    letters of which one is in every text that the regex matches: a test of a microsecond before a regex of many.
    `sign` is one that every match holds, or has right behind it, at most `reach` characters from its start and on the
    same line, and not before: then only what is near such a sign is looked at. `gate` is a part of the regex without
    which it matches nothing, for a prefilter to which all of it is too much.
    """

    name: str
    entity: str
    regex: re.Pattern[str]
    score: float
    check: Callable[[str], bool] | None = None
    needs: tuple[str, ...] = ()
    sign: str = ""
    reach: int = 0
    gate: str = ""

    @property
    def trigger(self) -> tuple[str, int]:
        """The regex, with its flags, that matches in every text that holds a hit."""
        return self.gate or self.regex.pattern, self.regex.flags

    def find(self, text: str, lowered: str) -> Iterator[Hit]:
        """Yield what this rule finds, in order; `lowered` is the text in small letters."""
        if self.needs and not any(need in lowered for need in self.needs):
            return
        group: str | int = "v" if "v" in self.regex.groupindex else 0
        for match in self._near_sign(text) if self.sign else self.regex.finditer(text):
            start, end = match.span(group)
            if end > start and (self.check is None or self.check(text[start:end])):
                yield Hit(start, end, self.entity, self.score, self.name)

    def _near_sign(self, text: str) -> Iterator[re.Match[str]]:
        end = 0
        place = text.find(self.sign)
        while place >= 0:
            match = self.regex.search(text, max(end, place - self.reach, text.rfind("\n", 0, place) + 1))
            if match is None:
                return
            yield match
            end = match.end()
            place = text.find(self.sign, max(end, place + 1))


class GatedRecognizer(PatternRecognizer):
    """A recognizer of one or more entities behind cheap gates."""

    name: str
    ENTITIES: ClassVar[tuple[str, ...]]
    GATES: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        supported_language: str = "en",
        name: str | None = None,
        context: list[str] | None = None,
    ) -> None:
        """Build it as Presidio's loader does, from the fields of an entry in `recognizers.yaml`."""
        gates = [Pattern(f"gate {number}", gate, 0.01) for number, gate in enumerate(self.GATES)]
        super().__init__(
            supported_entity=self.ENTITIES[0],
            patterns=gates,
            context=context or [],
            supported_language=supported_language,
            name=name or type(self).__name__,
        )
        self.supported_entities = list(self.ENTITIES)

    @property
    def triggers(self) -> Sequence[tuple[str, int]]:
        """The regexes, with their flags, of which one matches in every text that holds a hit: here the gates."""
        return [(gate, int(self.global_regex_flags or 0)) for gate in self.GATES]

    @abstractmethod
    def find(self, text: str) -> Iterable[Hit]:
        """Return every hit in the text, in any order; hits may overlap."""

    def find_fired(self, text: str, fired: AbstractSet[int]) -> Iterable[Hit]:  # noqa: ARG002  # here any gate opens all
        """Return what `find` returns, knowing which of the triggers, by their place, can match in this text."""
        return self.find(text)

    def analyze(
        self,
        text: str,
        entities: list[str],
        nlp_artifacts: "NlpArtifacts | None" = None,  # noqa: ARG002  # Presidio's signature
        regex_flags: int | None = None,  # noqa: ARG002  # Presidio's signature
    ) -> list[RecognizerResult]:
        """Return Presidio results for the entities asked for (all of them when the list is empty)."""
        wanted = set(entities) if entities else set(self.supported_entities)
        return [self._result(hit) for hit in self.find(text) if hit.entity in wanted]

    def _result(self, hit: Hit) -> RecognizerResult:
        explanation = AnalysisExplanation(
            recognizer=self.name,
            original_score=hit.score,
            pattern_name=hit.rule,
            textual_explanation=f"{self.name}: {hit.rule}",
        )
        return RecognizerResult(
            entity_type=hit.entity,
            start=hit.start,
            end=hit.end,
            score=hit.score,
            analysis_explanation=explanation,
            recognition_metadata={
                RecognizerResult.RECOGNIZER_NAME_KEY: self.name,
                RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
            },
        )


class RuleRecognizer(GatedRecognizer):
    """A gated recognizer whose findings are those of a fixed list of rules; each rule's regex is its own gate."""

    RULES: ClassVar[Sequence[Rule]]
    GATES: ClassVar = ("",)  # Presidio wants a pattern

    @property
    def triggers(self) -> Sequence[tuple[str, int]]:
        """The rules' regexes."""
        return [rule.trigger for rule in self.RULES]

    def find(self, text: str) -> Iterable[Hit]:
        """Return the hits of every rule."""
        lowered = text.lower()
        return (hit for rule in self.RULES for hit in rule.find(text, lowered))

    def find_fired(self, text: str, fired: AbstractSet[int]) -> Iterable[Hit]:
        """Return the hits of the rules that can match."""
        lowered = text.lower()
        return (hit for place in sorted(fired) for hit in self.RULES[place].find(text, lowered))
