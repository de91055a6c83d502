"""Step 8, structured answers: what was asked as JSON is JSON and follows its schema, or the app is told that it is not.

Providers promise it; not all keep it, and an app that parses the answer finds out too late. What is checked is the
restored answer against the schema as the app sent it: with placeholders in place of values neither would fit.
"""

from typing import Any, Final

import jsonschema_rs
import msgspec

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import Fault, Refusal
from llmguard.gateway.answer import Answer
from llmguard.providers.usage import choices_of

STRUCTURE: Final = "response_format"  # the parameter that asks for one
_LARGEST_SCHEMA_BYTES: Final = 256 * 1024
_BACKTRACK_LIMIT: Final = 100_000  # of a `pattern`, which comes from an app and runs over what a model wrote
_WHOLE: Final = "stop"  # an answer that was cut off or refused follows no schema, and says so itself


class Structure:
    """What an answer has to be."""

    def __init__(self, asked: JsonObject, param: str) -> None:
        """Read a `response_format`.

        Raises:
            Refusal: invalid_request: its schema is none.
        """
        given = asked.get("json_schema")
        named: JsonObject = given if isinstance(given, dict) else {}
        schema = named.get("schema")
        self._is_object = asked.get("type") == "json_object"
        self._validator: Any = None  # jsonschema_rs.Validator has no type of its own
        if schema is not None:
            validator = _validator(schema, param)
            self._validator = validator if named.get("strict") is True else None

    def check(self, text: str) -> None:
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
        if self._validator is not None and not self._validator.is_valid(value):
            raise _broken("does not follow the JSON schema that was asked for")


class StructuredAnswer:
    """An answer that is checked when it is complete, and passes as it comes until then."""

    def __init__(self, answer: Answer, structure: Structure) -> None:
        """Pass on what `answer` lets through."""
        self._answer = answer
        self._structure = structure
        self._texts: dict[int, list[str]] = {}
        self._ended: dict[int, Any] = {}  # finish reasons, as the provider sent them

    def feed(self, chunk: JsonObject) -> list[JsonObject]:
        """Return what the app can have now."""
        return self._read(self._answer.feed(chunk))

    def close(self) -> list[JsonObject]:
        """Return the rest.

        Raises:
            Fault: provider_error: the answer is not what was asked for.
        """
        last = self._read(self._answer.close())
        for index, texts in self._texts.items():
            if self._ended.get(index) == _WHOLE:
                self._structure.check("".join(texts))
        return last

    def _read(self, chunks: list[JsonObject]) -> list[JsonObject]:
        for chunk in chunks:
            for index, choice in choices_of(chunk):
                spoken = choice.get("message") or choice.get("delta") or {}
                if isinstance(spoken.get("content"), str):
                    self._texts.setdefault(index, []).append(spoken["content"])
                self._ended[index] = choice.get("finish_reason") or self._ended.get(index)
        return chunks


def structured(answer: Answer, request: ChatRequest) -> Answer:
    """Return the answer with a check of what was asked for, or as it is where that may be any text.

    Raises:
        Refusal: invalid_request: the schema cannot be used.
    """
    asked = request.parameters[STRUCTURE]
    if not isinstance(asked, dict) or asked.get("type") not in ("json_object", "json_schema"):
        return answer
    return StructuredAnswer(answer, Structure(asked, request.spoken.get(STRUCTURE, STRUCTURE)))


def _validator(schema: Any, param: str) -> Any:  # Any: JSON of any shape; jsonschema_rs.Validator
    if len(msgspec.json.encode(schema)) > _LARGEST_SCHEMA_BYTES:
        raise _unusable(param, f"is larger than {_LARGEST_SCHEMA_BYTES // 1024} KiB")
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT)
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=options)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError):
        raise _unusable(param, "is not valid, or refers to a schema elsewhere") from None


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
