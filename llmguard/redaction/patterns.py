"""All recognizers but the language model: after one prefilter pass, only those run that can find something.

What a recognizer finds is what Presidio would have it find: its own regexes by the `regex` module, its validation, its
own `analyze` where it has one. The contract with recognizers, Presidio's and ours:

- A `PatternRecognizer` with Presidio's `analyze`: each pattern is run on its own, if it fired.
- A `GatedRecognizer` of ours: if none of its `triggers` matches, it finds nothing; `find_fired` is told which may.
- Another `PatternRecognizer` with its own `analyze`: its patterns are gates. If none matches, it finds nothing.
- Any other recognizer: `analyze` runs on every text, unless it is Presidio's phone recognizer.
- All are called without NLP artifacts, on windows of a long text, from several threads.

There are two passes: our own recognizers run by `re`, Presidio's and those of `recognizers.yaml` by `regex`, which
disagree about what a letter is. So a pattern added to `recognizers.yaml` does not compile our own ones anew, either.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import regex  # type: ignore[import-untyped]  # its stubs are a package of their own

from llmguard.redaction.candidates import CERTAIN, Candidate, drop_duplicates
from llmguard.redaction.deadline import Deadline
from llmguard.redaction.prefilter import Prefilter, Trigger
from llmguard.redaction.prefilter_cache import DatabaseCache
from llmguard.redaction.presidio import EntityRecognizer, Pattern, PatternRecognizer, PhoneRecognizer, RecognizerResult
from llmguard.redaction.projection import Dialect
from llmguard.redaction.recognizers.base import GatedRecognizer
from llmguard.redaction.windows import windows

_WINDOW = 32_768  # characters; bounds what a quadratic regex can cost
_OVERLAP = 8_192  # a private key in PEM has up to 3,300 characters
_PATTERN_SECONDS = 2.0  # for one pattern on one window
_DIALECTS: tuple[Dialect, Dialect] = ("re", "regex")
_PHONE_GATE = r"(?:\d[^\d]{0,4}){4}"  # phonenumbers: at least four digits, at most four signs between two of them


@dataclass(frozen=True, slots=True)
class _PatternRule:
    """One pattern of a recognizer with Presidio's own matching."""

    trigger: int
    pattern: Pattern
    compiled: regex.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Runner:
    """A recognizer, the triggers that call it, and its facts in the form candidates need."""

    recognizer: Any  # Presidio's EntityRecognizer; mypy cannot follow its assignments
    name: str
    entities: frozenset[str]
    group: int  # the number of the prefilter that holds its triggers
    triggers: frozenset[int]  # empty: runs always
    first_trigger: int
    rules: tuple[_PatternRule, ...]  # empty: `analyze` decides
    context: tuple[str, ...]
    thresholds: dict[str, float]


class PatternPass:
    """Proposes candidates of a fixed list of recognizers; safe to use from several threads."""

    def __init__(
        self,
        recognizers: Sequence[EntityRecognizer],
        *,
        prefiltered: bool = True,
        cache: DatabaseCache | None = None,
    ) -> None:
        """Compile the recognizers' patterns.

        Args:
            recognizers: as `load_recognizers` returns them.
            prefiltered: whether Hyperscan chooses what runs; without it everything runs, with the same candidates.
            cache: where compiled patterns are kept; without it they are compiled each time.
        """
        self._triggers: tuple[list[Trigger], list[Trigger]] = ([], [])
        self._runners = [self._runner(recognizer) for recognizer in recognizers]
        both = zip(self._triggers, _DIALECTS, strict=True)
        self._prefilters = [Prefilter(own, dialect=one, cache=cache) for own, one in both] if prefiltered else None
        self._everything = [set(range(len(own))) for own in self._triggers]

    @property
    def entities(self) -> frozenset[str]:
        """Everything that these recognizers can find."""
        return frozenset(entity for runner in self._runners for entity in runner.entities)

    def propose(self, text: str, sought: AbstractSet[str], deadline: Deadline) -> list[Candidate]:
        """Return candidates of the entities sought, without duplicates within a recognizer; in no order.

        Raises:
            DeadlineExceeded: the time is up.
            TimeoutError: one regex took more than two seconds on one window.
        """
        runners = [runner for runner in self._runners if not runner.entities.isdisjoint(sought)]
        found: list[Candidate] = []
        for window in windows(text, _WINDOW, _OVERLAP):
            whole = window.end - window.start == len(text)
            part = text if whole else text[window.start : window.end]
            fired = self._fired(part)
            for runner in runners:
                own = fired[runner.group]
                if runner.triggers and own.isdisjoint(runner.triggers):
                    continue
                proposed = list(_run(runner, part, sought, own, deadline))
                found.extend(proposed if whole else _moved(proposed, window.start, window.owns))
        return found

    def _fired(self, text: str) -> Sequence[AbstractSet[int]]:
        if self._prefilters is None:
            return self._everything
        return [prefilter.fired(text) for prefilter in self._prefilters]

    def _runner(self, recognizer: Any) -> _Runner:  # see _Runner
        rules: tuple[_PatternRule, ...] = ()
        group = _DIALECTS.index("re" if isinstance(recognizer, GatedRecognizer) else "regex")
        triggers = self._triggers[group]
        first = len(triggers)
        has_patterns = isinstance(recognizer, PatternRecognizer)
        if isinstance(recognizer, GatedRecognizer):
            triggers.extend(Trigger(pattern, flags) for pattern, flags in recognizer.triggers)
        elif has_patterns:
            flags = int(recognizer.global_regex_flags or 0)
            triggers.extend(Trigger(pattern.regex, flags) for pattern in recognizer.patterns)
            if type(recognizer).analyze is PatternRecognizer.analyze:
                rules = tuple(
                    _PatternRule(first + place, pattern, regex.compile(pattern.regex, flags=flags))
                    for place, pattern in enumerate(recognizer.patterns)
                )
        elif type(recognizer) is PhoneRecognizer:
            triggers.append(Trigger(_PHONE_GATE, regex.IGNORECASE))
        return _Runner(
            recognizer=recognizer,
            name=str(recognizer.name),
            entities=frozenset(recognizer.supported_entities),
            group=group,
            triggers=frozenset(range(first, len(triggers))),
            first_trigger=first,
            rules=rules,
            context=tuple(word.lower() for word in recognizer.context or ()),
            thresholds=recognizer.score_thresholds,
        )


def _moved(candidates: list[Candidate], offset: int, owns: Callable[[int], bool]) -> Iterator[Candidate]:
    for candidate in candidates:
        candidate.start += offset
        candidate.end += offset
        if owns(candidate.start):
            yield candidate


def _run(
    runner: _Runner, text: str, sought: AbstractSet[str], fired: AbstractSet[int], deadline: Deadline
) -> list[Candidate]:
    left_seconds = min(deadline.left_seconds(), _PATTERN_SECONDS)
    if isinstance(runner.recognizer, GatedRecognizer):
        places = {number - runner.first_trigger for number in fired & runner.triggers}
        hits = runner.recognizer.find_fired(text, places)
        return [
            _candidate(runner, (hit.start, hit.end), hit.entity, hit.score, hit.rule)
            for hit in hits
            if hit.entity in sought
        ]
    if not runner.rules:
        results = runner.recognizer.analyze(text, sorted(runner.entities & sought), None) or ()
        return [_from_result(runner, result) for result in results if result.score > 0 and result.entity_type in sought]
    proposed = [
        candidate
        for rule in runner.rules
        if rule.trigger in fired
        for candidate in _match(runner, rule, text, left_seconds)
    ]
    return drop_duplicates(proposed) if len(proposed) > 1 else proposed


def _match(runner: _Runner, rule: _PatternRule, text: str, seconds: float) -> Iterator[Candidate]:
    """Yield what one pattern finds.

    Source: presidio_analyzer 2.2.366, `PatternRecognizer.__analyze_patterns`; but a time-out is an error here, where
    Presidio skips the pattern and lets the text pass.
    """
    for match in rule.compiled.finditer(text, timeout=seconds, concurrent=True):
        start, end = match.span()
        if start == end:
            continue
        score = _validated_score(runner.recognizer, rule.pattern.score, match.group())
        if score > 0:
            yield _candidate(runner, (start, end), runner.recognizer.supported_entities[0], score, rule.pattern.name)


def _validated_score(recognizer: Any, score: float, value: str) -> float:
    valid = recognizer.validate_result(value)
    if valid is not None:
        score = CERTAIN if valid else 0.0
    return 0.0 if recognizer.invalidate_result(value) else score


def _from_result(runner: _Runner, result: RecognizerResult) -> Candidate:
    explanation = result.analysis_explanation
    rule = getattr(explanation, "pattern_name", None) or runner.name
    candidate = _candidate(runner, (result.start, result.end), result.entity_type, result.score, rule)
    metadata = result.recognition_metadata or {}
    if metadata.get(RecognizerResult.IS_SCORE_ENHANCED_BY_CONTEXT_KEY):
        candidate.context = ()  # the recognizer did it itself
    return candidate


def _candidate(runner: _Runner, span: tuple[int, int], entity: str, score: float, rule: str) -> Candidate:
    thresholds = runner.thresholds
    return Candidate(
        start=span[0],
        end=span[1],
        entity_type=entity,
        score=score,
        recognizer=runner.name,
        pattern=rule,
        context=runner.context,
        threshold=thresholds.get(entity, thresholds.get("default")) if thresholds else None,
    )
