"""Step 8, structured answers: what was asked as JSON is JSON and follows its schema, or the app is told that it is not.

Providers promise it; not all keep it, and an app that parses the answer finds out too late. What is checked is the
restored answer against the schema as the app sent it: with placeholders in place of values neither would fit.
"""

import asyncio
import sys
from typing import Any, Final

import msgspec

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import Fault, Refusal
from llmguard.gateway import schema_check
from llmguard.gateway.answer import Answer
from llmguard.providers.usage import choices_of

STRUCTURE: Final = "response_format"  # the parameter that asks for one
_LARGEST_SCHEMA_BYTES: Final = 256 * 1024
_WHOLE: Final = "stop"  # an answer that was cut off or refused follows no schema, and says so itself

# What is checked at once, on the event loop: schemas whose whole check costs little, whatever the answer is. Each
# reference may double the work of the one before, each pattern may be a huge one, and lists of choices are searched.
_SMALL_SCHEMA_BYTES: Final = 64 * 1024
_FEW_REFERENCES: Final = 20
_FEW_CHOICES: Final = 200
_COSTLY_WORDS: Final = frozenset({"pattern", "patternProperties", "$id", "$anchor", "$dynamicRef", "$recursiveRef"})

_AT_ONCE: Final = 2
_PATIENCE_SECONDS: Final = 10.0  # waiting for one's turn included; the work itself ends much earlier


class SchemaChecks:
    """Checks what may take long, in processes that are ended when they do; a few at once."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._few = asyncio.Semaphore(_AT_ONCE)

    async def verdict(self, schema: Any, text: str | None) -> int | None:  # Any: JSON of any shape
        """Return the verdict of `schema_check` on a schema, and on a text if there is one; None if it cannot be had."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._few:
                code = await _run_apart(msgspec.json.encode([schema, text]))
        except (TimeoutError, OSError):  # the latter: no process can be started now
            return None
        known = (schema_check.FOLLOWS, schema_check.UNUSABLE, schema_check.DIFFERS)
        return code if code in known else None


class Structure:
    """What an answer has to be."""

    def __init__(self, asked: JsonObject, param: str, checks: SchemaChecks) -> None:
        """Read a `response_format`; `param` is what the app calls it."""
        given = asked.get("json_schema")
        named: JsonObject = given if isinstance(given, dict) else {}
        self._schema = named.get("schema")
        self._is_strict = named.get("strict") is True
        self._is_object = asked.get("type") == "json_object"
        self._param = param
        self._checks = checks
        self._validator: Any = None  # of a strict schema that is checked at once

    async def prepare(self) -> None:
        """Look at the schema, before anything is asked of a model.

        Raises:
            Refusal: invalid_request: it cannot be used.
        """
        if self._schema is None:
            return
        verdict: int | None
        size = len(msgspec.json.encode(self._schema))
        if size > _LARGEST_SCHEMA_BYTES:
            raise _unusable(self._param, f"is larger than {_LARGEST_SCHEMA_BYTES // 1024} KiB")
        if size <= _SMALL_SCHEMA_BYTES and _is_simple(self._schema):
            validator = schema_check.validator_of(self._schema)
            verdict = schema_check.UNUSABLE if validator is None else schema_check.FOLLOWS
            self._validator = validator if self._is_strict else None
        elif self._is_strict:
            verdict = await self._checks.verdict(self._schema, None)
        else:
            verdict = schema_check.FOLLOWS  # a wish: it is the provider's to read it
        if verdict is None:
            raise _unusable(self._param, "takes too long to check")
        if verdict != schema_check.FOLLOWS:
            raise _unusable(self._param, "is not valid, or refers to a schema elsewhere")

    async def check(self, text: str) -> None:
        """Check one whole answer.

        Raises:
            Fault: provider_error: it is no JSON, or does not follow the schema.
        """
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _broken("is not valid JSON") from None
        if self._is_object and not isinstance(value, dict):
            raise _broken("is not a JSON object")
        if self._schema is None or not self._is_strict:
            return
        if self._validator is not None:
            follows = self._validator.is_valid(value)
        else:
            verdict = await self._checks.verdict(self._schema, text)
            if verdict is None:
                raise _broken("could not be checked in time against the JSON schema that was asked for")
            follows = verdict == schema_check.FOLLOWS
        if not follows:
            raise _broken("does not follow the JSON schema that was asked for")


class StructuredAnswer:
    """An answer that is checked when it is complete, and passes as it comes until then."""

    def __init__(self, answer: Answer, structure: Structure) -> None:
        """Pass on what `answer` lets through."""
        self._answer = answer
        self._structure = structure
        self._texts: dict[int, list[str]] = {}
        self._ended: dict[int, Any] = {}  # finish reasons, as the provider sent them

    def feed(self, chunks: list[JsonObject]) -> list[JsonObject]:
        """Return what the app can have now."""
        return self._read(self._answer.feed(chunks))

    async def close(self) -> list[JsonObject]:
        """Return the rest.

        Raises:
            Fault: provider_error: the answer is not what was asked for.
        """
        last = self._read(await self._answer.close())
        for index, texts in self._texts.items():
            if self._ended.get(index) == _WHOLE:
                await self._structure.check("".join(texts))
        return last

    def _read(self, chunks: list[JsonObject]) -> list[JsonObject]:
        for chunk in chunks:
            for index, choice in choices_of(chunk):
                spoken = choice.get("message") or choice.get("delta") or {}
                if isinstance(spoken.get("content"), str):
                    self._texts.setdefault(index, []).append(spoken["content"])
                self._ended[index] = choice.get("finish_reason") or self._ended.get(index)
        return chunks


async def structured(answer: Answer, request: ChatRequest, checks: SchemaChecks) -> Answer:
    """Return the answer with a check of what was asked for, or as it is where that may be any text.

    Raises:
        Refusal: invalid_request: the schema cannot be used.
    """
    asked = request.parameters[STRUCTURE]
    if not isinstance(asked, dict) or asked.get("type") not in ("json_object", "json_schema"):
        return answer
    structure = Structure(asked, request.spoken.get(STRUCTURE, STRUCTURE), checks)
    await structure.prepare()
    return StructuredAnswer(answer, structure)


def _is_simple(schema: Any) -> bool:
    """Tell whether a schema is checked fast, whatever the answer."""
    references = choices = 0
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if not _COSTLY_WORDS.isdisjoint(node):
                return False
            references += "$ref" in node
            listed = node.get("enum")
            choices += len(listed) if isinstance(listed, list) else 0
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return references <= _FEW_REFERENCES and choices <= _FEW_CHOICES


async def _run_apart(question: bytes) -> int | None:
    """Return the exit code of `schema_check`; the process has no environment and says nothing."""
    silent = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        schema_check.__name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=silent,
        stderr=silent,
        env={},
    )
    try:
        await process.communicate(question)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode


def _unusable(param: str, why: str) -> Refusal:
    return Refusal(
        "invalid_request", f"The schema in `{param}` {why}.", hint="Correct the schema, or leave it out.", param=param
    )


def _broken(why: str) -> Fault:
    return Fault(
        "provider_error",
        f"The model's answer {why}. It is charged, since the provider worked for it.",
        hint="Try again, with a higher max_tokens if the answer is long. If it stays, use another model.",
    )
