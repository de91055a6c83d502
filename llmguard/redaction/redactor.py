"""Step 4: hide what is personal in a request before a provider sees it, and in an answer before a trace keeps it.

The engine that finds personal data is an argument (`Finder`); what happens to a finding is decided by the profile:
`hide` (a placeholder, restored in the answer), `drop` (`<TYPE>`, never restored), `block` (the request is refused) or
`report` (counted). It never changes the request it is given, and never lets anything through when the engine fails.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import Fault, Refusal
from llmguard.domain.secrets import derive_key
from llmguard.redaction.document import answer_units, chunk_units, place_name, request_units, rewrite
from llmguard.redaction.findings import Action, Finding
from llmguard.redaction.placeholders import PERSON, PlaceholderCodes, mask, protected_spans, spell_dropped
from llmguard.redaction.profiles import Profile
from llmguard.redaction.propagation import KnownValues
from llmguard.redaction.spans import Edit, Span, apply, spans_of
from llmguard.redaction.units import Field, Unit, text_units
from llmguard.redaction.vault import Vault

_SECRETS = frozenset({"API_KEY", "PASSWORD", "PRIVATE_KEY"})
T = TypeVar("T")
_INLINE_SPANS = 200  # about ten microseconds each: more of them would hold up the event loop
_JSON_FORMATS = frozenset({"json_object", "json_schema"})


class Finder(Protocol):
    """What finds personal data: the Analyzer, and in tests something small."""

    @property
    def digest(self) -> str:
        """The SHA-256 over everything that decides findings, in hex."""
        ...

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """The profiles by name."""
        ...

    async def find_all(self, texts: Sequence[str], profile: Profile) -> list[tuple[Finding, ...]]:
        """Return the findings of each text, sorted and not overlapping.

        Raises:
            Fault: the engine cannot answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Redacted:
    """A request as the provider may see it.

    Attributes:
        request: the same object as the one given when nothing in it was changed.
        vault: what restores the answer.
        entities: how many spans of each type were hidden, dropped or reported.
    """

    request: ChatRequest
    vault: Vault
    entities: dict[str, int]


class Redactor:
    """Redacts requests and answers with one engine and one secret. Holds nothing of any request."""

    __slots__ = ("_finder", "_key")

    def __init__(self, analyzer: Finder, secret: bytes) -> None:
        """Take the parts.

        Args:
            analyzer: finds personal data.
            secret: of the installation; the placeholders are keyed by what is derived from it.
        """
        self._finder = analyzer
        self._key = derive_key(secret, "redaction/placeholders")

    @property
    def digest(self) -> str:
        """The SHA-256 over everything that decides findings, in hex; pinned on each trace."""
        return self._finder.digest

    async def redact(self, request: ChatRequest, *, app: str, profile: str) -> Redacted:
        """Return the request with everything personal hidden, and the vault that brings it back.

        Raises:
            Refusal: `content_blocked`: it holds what the profile blocks.
            Fault: `redaction_unavailable` or `overloaded`: nothing may be sent.
        """
        rules = self._rules(profile)
        vault = Vault(app, profile, PlaceholderCodes(self._key, app), json_mode=_asks_for_json(request))
        units = request_units(request)
        spans = await self._spans(units, rules, ())
        if not any(spans):
            return Redacted(request, vault, {})
        _refuse_blocked(spans, rules)
        entities = dict(Counter(span.entity_type for own in spans for span in own))
        edits = await _beside_the_loop(spans, lambda: _edits(units, spans, rules.actions, vault))
        if not edits:
            return Redacted(request, vault, entities)
        body = {"messages": request.messages, "parameters": request.parameters}
        root = await _beside_the_loop(spans, lambda: rewrite(body, edits))
        redacted = replace(request, messages=root["messages"], parameters=root["parameters"])
        return Redacted(redacted, vault, entities)

    async def redact_answer(self, answer: JsonObject, vault: Vault) -> JsonObject:
        """Return a chat.completion body as the provider sent it, for the trace: what is personal in it is hidden too.

        The placeholders in it stay. What the profile blocks is hidden, since an answer cannot be refused any more.

        Raises:
            Fault: the engine cannot answer: no body may be stored.
        """
        edits = await self._answer_edits(answer_units(answer), vault)
        return rewrite(answer, edits) if edits else answer

    async def redact_chunks(self, chunks: list[JsonObject], vault: Vault) -> list[JsonObject]:
        """Return the chunks of a stream, for the trace, as many and cut at the same places.

        Each field is read as the whole text that it grows to. A replacement stands in the chunk in which what it
        replaces begins.

        Raises:
            Fault: as `redact_answer`.
        """
        edits = await self._answer_edits(chunk_units(chunks), vault)
        if not edits:
            return chunks
        rewritten: list[JsonObject] = rewrite({"chunks": chunks}, edits)["chunks"]
        return rewritten

    async def drop_secrets(self, answer: list[JsonObject], vault: Vault, *, stream: bool) -> list[JsonObject]:
        """Return an answer in which every secret that the model wrote itself is `<API_KEY>` or the like for good.

        Secrets of the caller are placeholders still, and come back to the caller as they always do.

        Args:
            answer: the chunks of a stream, or one chat.completion.
            vault: of the request; its profile must look for secrets, as all of the example do.
            stream: which of the two it is.

        Raises:
            Fault: the engine cannot answer: nothing may be passed on.
        """
        rules = self._rules(vault.profile)
        units = chunk_units(answer) if stream else [unit for body in answer for unit in answer_units(body)]
        spans = await self._spans(units, rules, ())
        secrets = [[span for span in own if span.entity_type in _SECRETS] for own in spans]
        edits = _edits(units, secrets, dict.fromkeys(_SECRETS, "drop"), vault.fork()) if any(secrets) else {}
        if not edits:
            return answer
        rewritten: list[JsonObject] = (
            rewrite({"chunks": answer}, edits)["chunks"] if stream else [rewrite(body, edits) for body in answer]
        )
        return rewritten

    async def redact_text(self, text: str, *, app: str, profile: str) -> str:
        """Return any text, such as a provider's error message, with everything personal hidden; nothing restores it.

        Raises:
            Fault: the engine cannot answer: the text may not be kept.
        """
        vault = Vault(app, profile, PlaceholderCodes(self._key, app))
        edits = await self._answer_edits(text_units((), text), vault)
        return apply(text, next(iter(edits.values()))) if edits else text

    def _rules(self, profile: str) -> Profile:
        rules = self._finder.profiles.get(profile)
        if rules is None:
            raise Fault("redaction_unavailable", f"The redaction profile '{profile}' is not loaded; nothing was sent.")
        return rules

    async def _spans(self, units: Sequence[Unit], rules: Profile, known: Sequence[tuple[str, str]]) -> list[list[Span]]:
        """Return what is personal in each unit, with every further occurrence of it and of the known values."""
        closed = [protected_spans(unit.text, rules.actions) for unit in units]
        found = await self._finder.find_all(
            [mask(unit.text, own) for unit, own in zip(units, closed, strict=True)], rules
        )
        return await _beside_the_loop(found, lambda: _everywhere(units, found, closed, rules, known))

    async def _answer_edits(self, units: Sequence[Unit], vault: Vault) -> dict[Field, list[Edit]]:
        rules = self._rules(vault.profile)
        known = [(entry.entity_type, entry.text) for entry in vault.entries()]
        spans = await self._spans(units, rules, known)
        if not any(spans):
            return {}
        actions: dict[str, Action] = {
            entity_type: "hide" if action == "block" else action for entity_type, action in rules.actions.items()
        }
        return await _beside_the_loop(spans, lambda: _edits(units, spans, actions, vault.fork()))


async def _beside_the_loop(many: Sequence[Sequence[object]], work: Callable[[], T]) -> T:
    """Return what the work returns; in a thread if there are so many spans that others would notice."""
    if sum(map(len, many)) <= _INLINE_SPANS:
        return work()
    return await asyncio.to_thread(work)


def _everywhere(
    units: Sequence[Unit],
    found: Sequence[Sequence[Finding]],
    closed: Sequence[Sequence[tuple[int, int]]],
    rules: Profile,
    known: Sequence[tuple[str, str]],
) -> list[list[Span]]:
    """Return the spans of each unit, with every further occurrence of what they hold and of the known values."""
    spans = [spans_of(*one) for one in zip(units, found, closed, strict=True)]
    values = {
        (span.entity_type, unit.text[span.start : span.end])
        for unit, own in zip(units, spans, strict=True)
        for span in own
        if _action(rules.actions, span) != "report"
    }
    values.update(known)
    return KnownValues(sorted(values), rules.allow).spread(units, spans, closed) if values else spans


def _edits(
    units: Sequence[Unit], spans: Sequence[Sequence[Span]], actions: Mapping[str, Action], vault: Vault
) -> dict[Field, list[Edit]]:
    """Return what is replaced in each field, giving the vault what it brings back."""
    hidden = [(unit, span) for unit, own in zip(units, spans, strict=True) for span in own]
    names = [
        unit.text[span.start : span.end]
        for unit, span in hidden
        if span.entity_type == PERSON and _action(actions, span) == "hide"
    ]
    vault.expect((unit.text for unit in units), names)
    edits: dict[Field, list[Edit]] = {}
    for unit, span in hidden:
        action = _action(actions, span)
        if action != "report":
            edit = _edit(unit, span, vault if action == "hide" else None)
            edits.setdefault(span.slot.field, []).append(edit)
    return edits


def _edit(unit: Unit, span: Span, vault: Vault | None) -> Edit:
    """Return how one span is replaced: by a placeholder of the vault, without one by its type."""
    slot = span.slot
    start, end = slot.raw_span(span.start, span.end)
    if vault is None:
        replacement = spell_dropped(span.entity_type)
    else:
        raw = slot.field.source[start:end] if slot.form in {"json", "key"} and slot.field.kind == "text" else None
        is_number = slot.form == "number"
        replacement = vault.hide(span.entity_type, unit.text[span.start : span.end], raw=raw, number=is_number)
    if slot.form == "number" and slot.field.kind == "text":  # a number in a JSON text becomes a string there
        replacement = f'"{replacement}"'
    return Edit(start, end, replacement)


def _action(actions: Mapping[str, Action], span: Span) -> Action:
    return actions.get(span.entity_type, "hide")


def _refuse_blocked(spans: Sequence[Sequence[Span]], rules: Profile) -> None:
    blocked = [span for own in spans for span in own if _action(rules.actions, span) == "block"]
    if not blocked:
        return
    types = ", ".join(sorted({span.entity_type for span in blocked}))
    places = list(dict.fromkeys(place_name(span.slot.field) for span in blocked))
    raise Refusal(
        "content_blocked",
        f"The request holds {types} in {', '.join(places)}, and the redaction profile '{rules.name}' blocks that.",
        hint="Take it out and send the request again. What is blocked is decided in redaction/profiles.yaml.",
        param=places[0],
    )


def _asks_for_json(request: ChatRequest) -> bool:
    wanted = request.parameters.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in _JSON_FORMATS
