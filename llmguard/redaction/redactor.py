"""Step 4: hide what is personal in a request before a provider sees it, and in an answer before a trace keeps it.

The engine that finds personal data is an argument (`Finder`); what happens to a finding is decided by the profile:
`hide` (a placeholder, restored in the answer), `drop` (`<TYPE>`, never restored), `block` (the request is refused) or
`report` (counted). It never changes the request it is given, and never lets anything through when the engine fails.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import Fault, Refusal
from llmguard.domain.pieces import Pieces, cut
from llmguard.domain.secrets import derive_key
from llmguard.redaction.document import answer_units, chunk_units, place_name, request_units
from llmguard.redaction.findings import Action, Finding
from llmguard.redaction.jsontext import positions
from llmguard.redaction.placeholders import (
    PERSON,
    PLACEHOLDERS_PURPOSE,
    Folded,
    PlaceholderCodes,
    fold,
    mask,
    plain,
    protected_spans,
    spell_dropped,
)
from llmguard.redaction.profiles import Profile
from llmguard.redaction.spans import Edit, Span, rewrite, spans_of
from llmguard.redaction.units import Field, Unit, text_units
from llmguard.redaction.vault import Vault

_SECRETS = frozenset({"API_KEY", "PASSWORD", "PRIVATE_KEY"})
_INLINE_SPANS = 200  # about twenty microseconds each: more of them would hold up the event loop
_INLINE_CHARACTERS = 50_000  # so would longer documents
_NODE = 16  # characters that take as long to read as one more node of a document
_SMALL_BYTES = 2 * _INLINE_CHARACTERS // _NODE  # a node takes two bytes at least: so few hold no large document
_LARGE_BYTES = 20 * _INLINE_CHARACTERS  # of them it is not told more exactly
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


class Redacted(NamedTuple):
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
        self._key = derive_key(secret, PLACEHOLDERS_PURPOSE)

    @property
    def finder(self) -> Finder:
        """What finds the spans."""
        return self._finder

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
        document = {"messages": request.messages, "parameters": request.parameters, "inputs": request.inputs}
        size = request.body_bytes
        is_large = size > _SMALL_BYTES and (_LARGE_BYTES < size < math.inf or _is_large(document))
        found = await self._find(partial(request_units, request), rules, is_large=is_large)
        if found.is_much:
            return await asyncio.to_thread(_redacted, request, document, found, rules, vault)
        return _redacted(request, document, found, rules, vault)

    async def redact_answer(self, answer: JsonObject, vault: Vault) -> JsonObject:
        """Return a chat.completion body as the provider sent it, for the trace: what is personal in it is hidden too.

        The placeholders in it stay. What the profile blocks is hidden, since an answer cannot be refused any more.

        Raises:
            Fault: the engine cannot answer: no body may be stored.
        """
        redacted = await self._redact_answer(lambda: answer, lambda: answer_units(answer), vault, of_size=answer)
        return answer if redacted is None else redacted

    async def redact_chunks(self, chunks: list[JsonObject], vault: Vault) -> list[JsonObject]:
        """Return the chunks of a stream, for the trace, as many and cut at the same places.

        They are the same list if nothing is hidden in them. Each field is read as the whole text that it grows to. A
        replacement stands in the chunk in which what it replaces begins.

        Raises:
            Fault: as `redact_answer`.
        """
        # Tells how much there is to read.
        said = [chunk.texts if isinstance(chunk, Pieces) else chunk.get("choices") for chunk in chunks]
        units, whole = partial(chunk_units, chunks), lambda: {"chunks": cut(chunks)}
        redacted = await self._redact_answer(whole, units, vault, of_size=said)
        return chunks if redacted is None else redacted["chunks"]

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
        found = await self._find(
            lambda: chunk_units(answer) if stream else [unit for body in answer for unit in answer_units(body)],
            rules,
            is_large=_is_large(answer),
        )
        work = partial(_without_secrets, answer, found, rules, vault, stream=stream)
        return await asyncio.to_thread(work) if found.is_much else work()

    async def redact_text(self, text: str, *, app: str, profile: str) -> str:
        """Return any text, such as a provider's error message, with everything personal hidden; nothing restores it.

        Raises:
            Fault: the engine cannot answer: the text may not be kept.
        """
        vault = self.empty_vault(app, profile)
        units = partial(text_units, ("text",), text)
        redacted = await self._redact_answer(lambda: {"text": text}, units, vault, of_size=text)
        return text if redacted is None else str(redacted["text"])

    def empty_vault(self, app: str, profile: str) -> Vault:
        """Return a vault that brings nothing back, for texts that are redacted already and for answers to them."""
        return Vault(app, profile, PlaceholderCodes(self._key, app))

    def _rules(self, profile: str) -> Profile:
        rules = self._finder.profiles.get(profile)
        if rules is None:
            raise Fault("redaction_unavailable", f"The redaction profile '{profile}' is not loaded; nothing was sent.")
        return rules

    async def _find(self, units_of: Callable[[], list[Unit]], rules: Profile, *, is_large: bool) -> "_Found":
        """Return the units of a document, and what the engine finds in them; a large one is read in a thread."""
        read = await asyncio.to_thread(_visible, units_of, rules) if is_large else _visible(units_of, rules)
        found = await self._finder.find_all(read.texts, rules)
        if any(read.folds):
            found = [
                own if folds is None else _unfolded(own, folds) for own, folds in zip(found, read.folds, strict=True)
            ]
        return _Found(read.units, read.closed, found, is_large or sum(map(len, found)) > _INLINE_SPANS)

    async def _redact_answer(
        self, document: Callable[[], JsonObject], units_of: Callable[[], list[Unit]], vault: Vault, *, of_size: object
    ) -> JsonObject | None:
        rules = self._rules(vault.profile)
        found = await self._find(units_of, rules, is_large=_is_large(of_size))
        if found.is_much or vault.size > _INLINE_SPANS:
            return await asyncio.to_thread(_redacted_answer, document, found, rules, vault)
        return _redacted_answer(document, found, rules, vault)


class _Found(NamedTuple):
    """What the engine found in a document.

    Attributes:
        units: what it read.
        closed: of each unit, where placeholders stand.
        findings: of each unit.
        is_much: so much that the event loop must not wait for what is done with it.
    """

    units: list[Unit]
    closed: list[list[tuple[int, int]]]
    findings: list[tuple[Finding, ...]]
    is_much: bool

    def spans(self, rules: Profile, vault: Vault, known: Sequence[tuple[str, str]] = ()) -> list[list[Span]]:
        """Return what is personal in each unit, with every further occurrence of it and of the known values."""
        spans = [spans_of(*one) for one in zip(self.units, self.findings, self.closed, strict=True)]
        values = {
            (span.entity_type, unit.text[span.start : span.end])
            for unit, own in zip(self.units, spans, strict=True)
            for span in own
            if rules.actions.get(span.entity_type) != "report"
        }
        values.update(known)
        if not values:
            return spans
        return vault.known_values(values, rules.allow).spread(self.units, spans, self.closed)


def _is_large(document: Any) -> bool:  # JSON of any shape
    """Return whether reading a document may hold up the event loop: by how long it is in JSON, and its punctuation.

    Each node but the first is the first of its container or stands after a comma.
    """
    try:
        written = msgspec.json.encode(document)
    except (UnicodeEncodeError, RecursionError):  # half a character, or nested too deeply: nobody knows
        return True
    nodes = written.count(b",") + written.count(b"[") + written.count(b"{")
    return len(written) + nodes * _NODE > _INLINE_CHARACTERS


class _Read(NamedTuple):
    """Units; of each where placeholders stand, its text as the engine reads it, and how that was folded if it was."""

    units: list[Unit]
    closed: list[list[tuple[int, int]]]
    texts: list[str]
    folds: list[Folded | None]


def _visible(units_of: Callable[[], list[Unit]], rules: Profile) -> _Read:
    """Read units for the engine: without placeholders, in plain characters."""
    units = units_of()
    texts = [unit.text for unit in units]
    whole = "".join(texts)
    closed: list[list[tuple[int, int]]] = [[]] * len(texts)
    if "<" in whole:
        closed = [protected_spans(text, rules.actions) for text in texts]
        texts = list(map(mask, texts, closed))
    if whole.isascii():
        return _Read(units, closed, texts, [None] * len(texts))
    folds = list(map(fold, texts))
    texts = [plain(text if folded is None else folded.text) for text, folded in zip(texts, folds, strict=True)]
    return _Read(units, closed, texts, folds)


def _unfolded(findings: tuple[Finding, ...], folded: Folded) -> tuple[Finding, ...]:
    """Return the findings in a folded text where they stand in the text itself."""
    places = (folded.span(finding.start, finding.end) for finding in findings)
    return tuple(replace(one, start=start, end=end) for one, (start, end) in zip(findings, places, strict=True))


def _redacted(request: ChatRequest, document: JsonObject, found: _Found, rules: Profile, vault: Vault) -> Redacted:
    """Return the request without what was found in it."""
    spans = found.spans(rules, vault)
    if not any(spans):
        return Redacted(request, vault, {})
    _refuse_blocked(spans, rules)
    entities = dict(Counter([span.entity_type for own in spans for span in own]))
    edits = _edits(found.units, spans, rules.actions, vault)
    if not edits:
        return Redacted(request, vault, entities)
    root = rewrite(document, edits)
    return Redacted(request.but(**root), vault, entities)


def _redacted_answer(
    document: Callable[[], JsonObject], found: _Found, rules: Profile, vault: Vault
) -> JsonObject | None:
    """Return an answer, or what holds one, without what was found in it; None if that is nothing."""
    spans = found.spans(rules, vault, [(entry.entity_type, entry.text) for entry in vault.entries()])
    if not any(spans):
        return None
    actions: dict[str, Action] = {
        entity_type: "hide" if action == "block" else action for entity_type, action in rules.actions.items()
    }
    edits = _edits(found.units, spans, actions, vault.fork())
    return rewrite(document(), edits) if edits else None


def _without_secrets(
    answer: list[JsonObject], found: _Found, rules: Profile, vault: Vault, *, stream: bool
) -> list[JsonObject]:
    """Return the chunks of a stream, or a chat.completion, without the secrets that were found in it."""
    secrets = [[span for span in own if span.entity_type in _SECRETS] for own in found.spans(rules, vault)]
    if not any(secrets):
        return answer
    edits = _edits(found.units, secrets, dict.fromkeys(_SECRETS, "drop"), vault.fork())
    if not stream:
        return [rewrite(body, edits) for body in answer]
    rewritten: list[JsonObject] = rewrite({"chunks": answer}, edits)["chunks"]
    return rewritten


def _edits(
    units: Sequence[Unit], spans: Sequence[Sequence[Span]], actions: Mapping[str, Action], vault: Vault
) -> dict[Field, list[Edit]]:
    """Return what is replaced in each field, giving the vault what it brings back."""
    acted = [
        (unit, span, actions.get(span.entity_type, "hide"))
        for unit, own in zip(units, spans, strict=True)
        for span in own
    ]
    names = [
        unit.text[span.start : span.end]
        for unit, span, action in acted
        if action == "hide" and span.entity_type == PERSON
    ]
    vault.expect([unit.text for unit in units], names)
    edits: dict[Field, list[Edit]] = {}
    for unit, span, action in acted:
        if action != "report":
            edit = _edit(unit, span, vault if action == "hide" else None)
            edits.setdefault(span.slot.field, []).append(edit)
    return edits


def _edit(unit: Unit, span: Span, vault: Vault | None) -> Edit:
    """Return how one span is replaced: by a placeholder of the vault, without one by its type."""
    slot, form = span.slot, span.slot.form
    if slot.places is None and slot.raw_end - slot.raw_start != slot.end - slot.start:
        # Once for all spans of the slot: a long JSON string with one escape may hold thousands.
        slot.places = [slot.raw_start + place for place in positions(slot.field.source[slot.raw_start : slot.raw_end])]
    start, end = slot.raw_span(span.start, span.end)
    if vault is None:
        replacement = spell_dropped(span.entity_type)
    elif form == "plain":
        replacement = vault.hide(span.entity_type, unit.text[span.start : span.end])
    else:
        written = slot.field.source[start:end]
        raw = written if form != "number" and slot.field.kind == "text" else None
        value = written if form == "escaped" else unit.text[span.start : span.end]
        replacement = vault.hide(span.entity_type, value, raw=raw, number=form == "number")
    if form == "number" and slot.field.kind == "text":  # a number in a JSON text becomes a string there
        replacement = f'"{replacement}"'
    return Edit(start, end, replacement)


def _refuse_blocked(spans: Sequence[Sequence[Span]], rules: Profile) -> None:
    if "block" not in rules.actions.values():
        return
    blocked = [span for own in spans for span in own if rules.actions.get(span.entity_type) == "block"]
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
