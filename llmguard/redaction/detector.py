"""The rules of one folder at work on one text: propose, raise by context, thin out. Synchronous, without memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from llmguard.domain.errors import Fault
from llmguard.redaction.allowing import AllowList
from llmguard.redaction.candidates import Candidate, drop_duplicates, resolve_overlaps
from llmguard.redaction.context import raise_scores
from llmguard.redaction.deadline import Deadline, DeadlineExceeded
from llmguard.redaction.findings import ExplainedFinding, Finding
from llmguard.redaction.ner import NER_RECOGNIZER, ModelMissing, NerModel
from llmguard.redaction.patterns import PatternPass
from llmguard.redaction.profiles import Profile
from llmguard.redaction.recognizer_list import deny_recognizer
from llmguard.redaction.recognizers.escapes import unescaped
from llmguard.redaction.recognizers.plausible import JUDGED, plausible, possible_places

Findings = tuple[Finding, ...]
T = TypeVar("T")

_LEAST_SECONDS = 5.0
_SECONDS_A_CHARACTER = 20e-6  # four times what prose costs on two shared cores; hostile text is cut off there
_HINT = "Nothing was sent. Try again; if it stays, shorten the text or tell the CoE, who owns redaction."


@dataclass(frozen=True, slots=True)
class Plan:
    """A profile made ready: what runs for it.

    Attributes:
        profile: what it was made from.
        sought: the entities to find.
        deny: finds what is on its deny lists, if there are any.
        allow: its allow lists.
        ner: the language model; None for a profile that does without.
        judged_names: whether nothing is sought of the language model but what `plausible` judges.
    """

    profile: Profile
    sought: frozenset[str]
    deny: PatternPass | None
    allow: AllowList
    ner: NerModel | None
    judged_names: bool


class Detector:
    """Finds, and explains what it finds; safe to use from several threads."""

    def __init__(self, patterns: PatternPass, ner: NerModel | None, *, time_limit_seconds: float) -> None:
        self._patterns = patterns
        self._ner = ner
        self._time_limit_seconds = time_limit_seconds

    def prepare(self, profile: Profile) -> Plan:
        """Return what runs for a profile.

        Raises:
            ModelMissing: the profile needs the language model, and this detector was made without.
        """
        needs_model = uses_model(profile)
        if needs_model and self._ner is None:
            raise ModelMissing(f"The profile '{profile.name}' needs the language model.")
        denied = [deny_recognizer(entity, entries) for entity, entries in profile.deny.items() if entries]
        return Plan(
            profile=profile,
            sought=profile.sought,
            deny=PatternPass(denied) if denied else None,
            allow=AllowList(profile.allow),
            ner=self._ner if needs_model else None,
            judged_names=NerModel.entities & profile.sought <= JUDGED,
        )

    def find(self, plan: Plan, text: str) -> Findings:
        """Return the findings in a text: sorted and disjoint.

        Raises:
            Fault: `redaction_unavailable`; it holds nothing of the text.
        """
        return _guarded(lambda: tuple(self._resolve(plan, text, self._propose(plan, text, found_only=True))))

    def explain(self, plan: Plan, text: str) -> list[ExplainedFinding]:
        """Return every span that was proposed, in order, with its fate and the reason.

        Raises:
            Fault: as `find`.
        """
        return _guarded(lambda: self._explain(plan, text))

    def propose(self, plan: Plan, text: str) -> list[Candidate]:
        """Return what Presidio would return: raised by context, over the threshold, without duplicates.

        Raises:
            Fault: as `find`.
        """
        return _guarded(lambda: drop_duplicates(_over_threshold(plan, self._propose(plan, text))))

    def _propose(self, plan: Plan, text: str, *, found_only: bool = False) -> list[Candidate]:
        """Return all candidates; `found_only` spares the language model where nothing it says would stand."""
        text = unescaped(text)
        busy_seconds = _LEAST_SECONDS + len(text) * _SECONDS_A_CHARACTER
        deadline = Deadline(min(self._time_limit_seconds, busy_seconds), self._time_limit_seconds)
        candidates = self._patterns.propose(text, plan.sought, deadline)
        if plan.deny is not None:
            candidates += plan.deny.propose(text, plan.sought, deadline)
        raise_scores(text, candidates)
        if plan.ner is not None:
            near = possible_places if found_only and plan.judged_names else None
            candidates += plan.ner.propose(text, plan.sought, deadline, near=near)
        return candidates

    def _resolve(self, plan: Plan, text: str, candidates: list[Candidate]) -> list[Finding]:
        if not candidates:
            return []
        read = unescaped(text)
        standing = [one for one in _over_threshold(plan, candidates) if _is_plausible(read, one)]
        standing = drop_duplicates(standing)
        if plan.allow:
            standing = [one for one in standing if not _is_allowed(plan, text, one)]
        return [
            Finding(start, end, one.entity_type, one.score, one.recognizer)
            for start, end, one in resolve_overlaps(standing, plan.profile.actions, text)
        ]

    def _explain(self, plan: Plan, text: str) -> list[ExplainedFinding]:
        candidates = self._propose(plan, text)
        findings = self._resolve(plan, text, candidates)
        explained = [_explained(one) for one in candidates if one.fate != "trimmed"]
        for one in candidates:
            if one.fate == "trimmed":
                pieces = [piece for piece in findings if one.start <= piece.start < one.end and _same(piece, one)]
                explained += [_explained(one, piece.start, piece.end) for piece in pieces]
        return sorted(explained, key=lambda one: (one.start, -one.end, one.fate != "found"))


def uses_model(profile: Profile) -> bool:
    """Say whether a profile looks for anything that the language model finds."""
    return profile.ner and not NerModel.entities.isdisjoint(profile.sought)


def _over_threshold(plan: Plan, candidates: list[Candidate]) -> list[Candidate]:
    standing = []
    for one in candidates:
        least = plan.profile.threshold if one.threshold is None else one.threshold
        if one.score >= least:
            standing.append(one)
        else:
            one.leave("below_threshold", f"scored {one.score:.2f}, and {least:.2f} is the least that counts")
    return standing


def _is_plausible(text: str, candidate: Candidate) -> bool:
    if candidate.recognizer != NER_RECOGNIZER or plausible(candidate.entity_type, text, candidate.start, candidate.end):
        return True
    candidate.leave("implausible", "the language model's guess, and its surroundings say otherwise")
    return False


def _is_allowed(plan: Plan, text: str, candidate: Candidate) -> bool:
    allowed = plan.allow.allows(text, candidate)
    if allowed:
        candidate.leave("allowed", f"is on the allow list of the profile {plan.profile.name}")
    return allowed


def _same(finding: Finding, candidate: Candidate) -> bool:
    return finding.recognizer == candidate.recognizer and finding.entity_type == candidate.entity_type


def _explained(one: Candidate, start: int | None = None, end: int | None = None) -> ExplainedFinding:
    reason = one.reason or (f"raised by '{one.context_word}' nearby" if one.context_word else "")
    return ExplainedFinding(
        start=one.start if start is None else start,
        end=one.end if end is None else end,
        entity_type=one.entity_type,
        score=one.score,
        recognizer=one.recognizer,
        pattern=one.pattern,
        context_word=one.context_word,
        fate=one.fate,
        reason=reason or "found",
    )


def _guarded(work: Callable[[], T]) -> T:
    """Return what the work returns; whatever goes wrong becomes a fault that holds nothing of the text."""
    try:
        return work()
    except (DeadlineExceeded, TimeoutError):
        message = "Checking a text for personal data took too long."
    except Exception as error:  # noqa: BLE001  # the border of redaction: recognizers raise any type, and all fail closed
        message = f"Checking a text for personal data failed ({type(error).__name__})."
    # Raised outside the handlers, so that neither cause nor context leads to an exception that quotes the text.
    raise Fault("redaction_unavailable", message, hint=_HINT, retry_after_seconds=1)
