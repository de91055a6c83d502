"""How good the findings are on labelled text: precision, recall and F2 an entity, and how many characters are covered.

The rule of a match: neighbouring spans of one entity are first joined over spaces and punctuation, on both sides, so
that `Elm Street 5, Springfield` counts once however it was cut. A labelled span is *found* when findings of its entity
cover at least half of it; a finding is *right* when at least half of it lies in labelled spans of its entity. Findings
that lie in spans nobody counts (titles, organisations) are neither right nor wrong. Characters are *covered* by any
finding, of whatever entity: what is hidden under a wrong name is hidden.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

ENTITY_OF_LABEL: Mapping[str, str] = {
    "ADDRESS": "LOCATION",
    "STREET_ADDRESS": "LOCATION",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "FACILITY": "LOCATION",
    "PER": "PERSON",
    "NAME": "PERSON",
    "ORG": "ORGANIZATION",
    "ORGANISATION": "ORGANIZATION",
    "ZIP_CODE": "LOCATION",
    "IPV4": "IP_ADDRESS",
    "IPV6": "IP_ADDRESS",
    "DOMAIN_NAME": "URL",
    "DATE_OF_BIRTH": "DATE_TIME",
    "DATE": "DATE_TIME",
    "TIME": "DATE_TIME",
    "UK_DRIVING_LICENCE": "US_DRIVER_LICENSE",
}
UNCOUNTED = frozenset({"TITLE", "PREFIX", "ORGANIZATION", "MISC", "NRP", "AGE", "O"})
_BETWEEN = frozenset(" \t\r\n,.;:()-/\\\"'>")


class Finds(Protocol):
    """A span somebody found; `llmguard.redaction.findings.Finding` is one, and so is Presidio's result."""

    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102
    @property
    def entity_type(self) -> str: ...  # noqa: D102


ProfileT_contra = TypeVar("ProfileT_contra", contravariant=True)


class Finder(Protocol[ProfileT_contra]):
    """What is scored: the analyzer, with any kind of profile."""

    def find(self, text: str, profile: ProfileT_contra) -> Sequence[Finds]:
        """Return the findings in a text."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled span, its entity by Presidio's name."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A text and what somebody labelled in it."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class EntityScore:
    """The counts of one entity, or of all together.

    Attributes:
        labelled: joined spans in the labels.
        found: those of them that findings of this entity cover by half or more.
        proposed: joined findings.
        right: those of them that lie in labels of this entity by half or more.
        characters: labelled characters that are no space.
        covered: those of them that any finding covers.
    """

    labelled: int
    found: int
    proposed: int
    right: int
    characters: int
    covered: int

    @property
    def precision(self) -> float:
        """Share of the findings that are right; 1.0 when there is none."""
        return self.right / self.proposed if self.proposed else 1.0

    @property
    def recall(self) -> float:
        """Share of the labelled spans that are found; 1.0 when there is none."""
        return self.found / self.labelled if self.labelled else 1.0

    @property
    def f2(self) -> float:
        """F2: recall weighs four times as much as precision."""
        weighed = 4 * self.precision + self.recall
        return 5 * self.precision * self.recall / weighed if weighed else 0.0

    @property
    def cover(self) -> float:
        """Share of the labelled characters that are covered; 1.0 when there is none."""
        return self.covered / self.characters if self.characters else 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a whole set."""

    samples: int
    total: EntityScore
    entities: Mapping[str, EntityScore]


def score(analyzer: Finder[ProfileT_contra], samples: Iterable[Sample], profile: ProfileT_contra) -> Score:
    """Return how well the findings of a profile agree with the labels.

    Args:
        analyzer: whose `find` is asked for each text.
        samples: labelled texts.
        profile: handed to `find`.
    """
    counts: Counter[tuple[str, str]] = Counter()
    texts = 0
    for sample in samples:
        texts += 1
        _count(sample, analyzer.find(sample.text, profile), counts)
    entities = {entity: _entity_score(counts, entity) for entity in sorted({entity for entity, _ in counts})}
    for (_, what), number in list(counts.items()):
        counts["", what] += number
    return Score(texts, _entity_score(counts, ""), entities)


def read_samples(path: Path) -> list[Sample]:
    """Return the samples of a labelled file: presidio-research's JSON, or CoNLL with one token and its BIO tag a line.

    Raises:
        ValueError: the file is neither.
    """
    text = path.read_text(encoding="utf-8")
    return _read_json(text) if text.lstrip().startswith("[") else _read_conll(text)


def _read_json(text: str) -> list[Sample]:
    samples = []
    for item in json.loads(text):
        spans = (Span(one["start_position"], one["end_position"], _entity(one["entity_type"])) for one in item["spans"])
        samples.append(Sample(item["full_text"], tuple(sorted(spans, key=lambda span: span.start))))
    return samples


def _read_conll(text: str) -> list[Sample]:
    """Join tokens by single spaces; a blank line ends a sentence, `-DOCSTART-` is skipped."""
    samples: list[Sample] = []
    words: list[str] = []
    spans: list[Span] = []
    position = 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) > 1 and not fields[0].strip():  # an odd space for a token
            continue
        if not fields or fields[0] == "-DOCSTART-":
            if words:
                samples.append(Sample(" ".join(words), tuple(spans)))
            words, spans, position = [], [], 0
            continue
        if len(fields) == 1:
            raise ValueError(f"line {number}: no tag behind the token; this is neither JSON nor CoNLL")
        word, tag = fields[0], fields[-1]
        _add_token(spans, position, position + len(word), tag)
        words.append(word)
        position += len(word) + 1
    return samples


def _add_token(spans: list[Span], start: int, end: int, tag: str) -> None:
    prefix, _, label = tag.partition("-")
    if not label:
        return
    entity = _entity(label)
    if prefix == "I" and spans and spans[-1].entity == entity and spans[-1].end == start - 1:
        spans[-1] = Span(spans[-1].start, end, entity)
    else:
        spans.append(Span(start, end, entity))


def _entity(label: str) -> str:
    return ENTITY_OF_LABEL.get(label.upper(), label.upper())


def _count(sample: Sample, findings: Sequence[Finds], counts: Counter[tuple[str, str]]) -> None:
    proposed = [Span(one.start, one.end, _entity(one.entity_type)) for one in findings]
    hidden = {place for span in proposed for place in range(span.start, span.end)}
    counted = [span for span in sample.spans if span.entity not in UNCOUNTED]
    excused = {place for span in sample.spans if span.entity in UNCOUNTED for place in range(span.start, span.end)}
    places = _places(counted)
    for span in counted:
        told = [place for place in range(span.start, span.end) if not sample.text[place].isspace()]
        counts[span.entity, "characters"] += len(told)
        counts[span.entity, "covered"] += sum(place in hidden for place in told)
    found_places = _places(proposed)
    for span in _join(counted, sample.text):
        counts[span.entity, "labelled"] += 1
        counts[span.entity, "found"] += _share(span, found_places.get(span.entity, set())) >= 0.5  # noqa: PLR2004  # half
    for span in _join(proposed, sample.text):
        is_right = _share(span, places.get(span.entity, set())) >= 0.5  # noqa: PLR2004  # half
        if is_right or (span.entity not in UNCOUNTED and _share(span, excused) < 0.5):  # noqa: PLR2004  # half
            counts[span.entity, "proposed"] += 1
            counts[span.entity, "right"] += is_right


def _places(spans: Iterable[Span]) -> dict[str, set[int]]:
    places: dict[str, set[int]] = {}
    for span in spans:
        places.setdefault(span.entity, set()).update(range(span.start, span.end))
    return places


def _share(span: Span, places: set[int]) -> float:
    return sum(place in places for place in range(span.start, span.end)) / (span.end - span.start)


def _join(spans: Iterable[Span], text: str) -> list[Span]:
    """Return the spans with neighbours of one entity joined when only spaces and punctuation lie between."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.entity, one.start, one.end)):
        last = joined[-1] if joined else None
        if last and last.entity == span.entity and all(c in _BETWEEN for c in text[last.end : span.start]):
            joined[-1] = Span(last.start, max(last.end, span.end), span.entity)
        elif span.end > span.start:
            joined.append(span)
    return joined


def _entity_score(counts: Mapping[tuple[str, str], int], entity: str) -> EntityScore:
    return EntityScore(
        *(counts.get((entity, what), 0) for what in ("labelled", "found", "proposed", "right", "characters", "covered"))
    )
