"""Step 0, parse: bytes to `ChatRequest`, and answers back to bytes. Knows OpenAI's shapes, and no rule of ours.

Chat completions are here, since they need no translation; the other endpoints have a file each.
"""

import codecs
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import GuardError, Refusal
from llmguard.domain.pieces import Pieces, with_content
from llmguard.providers.tokens import TokenCounter
from llmguard.web.connection import MOST_BODY_BYTES
from llmguard.web.exchange import Arrival

CHAT_COMPLETIONS = "/v1/chat/completions"
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_OWN_FIELDS = frozenset({"model", "messages", "stream", "stream_options"})
_MOST_TOKENS = 10_000_000
_LONGEST_MODEL = 256
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # Source: OpenAI API reference, chat completions, function names
_TOOL_CHOICES = frozenset({"none", "auto", "required"})
_TOOL_FIELDS = frozenset({"tools", "functions", "tool_choice", "function_call", "parallel_tool_calls"})
_CHOICE_FIELDS = frozenset({"type", "function", "custom", "name", "allowed_tools", "mode", "tools"})
_DEEPEST_CHOICE = 8  # allowed_tools holds a list of tools, each with a function that has a name: five
_FORM = re.compile(rb"--[^\r\n]*\r?\n|[\w.%+-]{1,64}(?:\[[\w%]*\])*=")
_EMPTY_MESSAGE: JsonObject = {"role": "assistant", "content": None, "refusal": None}
_EMPTY_DELTA: JsonObject = {"index": 0, "delta": {}, "finish_reason": None}
_MOST_COMMAS = 400_000  # in a body; prose of 10 MB has half of that, and the tokens of texts to embed a little less
_MOST_MESSAGES = 10_000
_MOST_CHOICES = 128  # Source: OpenAI API reference, chat completions, `n`
_COUNTS = {"n": _MOST_CHOICES, "max_tokens": _MOST_TOKENS, "max_completion_tokens": _MOST_TOKENS}
# Source: OpenAI API reference, embeddings, `input`: at most 300,000 tokens summed across all inputs.
_MOST_GIVEN_TOKENS = 300_000

DONE = b"data: [DONE]\n\n"
_NOT_SAID = secrets.token_hex()  # by no provider
encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


class ChatExchange:
    """`POST /v1/chat/completions`: what the pipeline speaks itself."""

    def __init__(self, arrival: Arrival) -> None:
        """Take what came in."""
        self._body = arrival.body
        self._envelope: JsonObject = {"id": f"chatcmpl-{arrival.trace_id}", "created": int(time.time())}
        self._like: JsonObject = {}  # what the last pieces were like, and what is said around their texts
        self._before = self._after = b""

    def parse(self) -> ChatRequest:
        """Return the request, as `parse_chat`."""
        request = parse_chat(self._body, CHAT_COMPLETIONS)
        self._envelope["model"] = request.model
        return request

    def whole(self, answer: JsonObject) -> JsonObject:
        """Return the completion, with what OpenAI's schema has and a provider left out."""
        choices = [
            {"index": index, **choice}
            | {"message": _EMPTY_MESSAGE | (choice.get("message") or {}), "logprobs": _logprobs(choice)}
            for index, choice in enumerate(answer.get("choices") or ())
        ]
        return {**self._envelope, "object": "chat.completion", **answer, "choices": choices}

    def events(self, chunks: list[JsonObject]) -> bytes:
        """Return each chunk as one event, likewise."""
        return b"".join(
            [self._events_of(chunk) if isinstance(chunk, Pieces) else self._event(chunk) for chunk in chunks]
        )

    def _events_of(self, pieces: Pieces) -> bytes:
        if pieces.like is not self._like:
            said = self._event(with_content(pieces.like, _NOT_SAID))
            self._like = pieces.like
            self._before, _, self._after = said.partition(encode_json(_NOT_SAID))
        between = self._after + self._before
        return self._before + between.join(map(encode_json, pieces.texts)) + self._after

    def _event(self, chunk: JsonObject) -> bytes:
        choices = [
            {**_EMPTY_DELTA, **choice} | ({"logprobs": _logprobs(choice)} if choice.get("logprobs") else {})
            for choice in chunk.get("choices") or ()
        ]
        return sse({**self._envelope, "object": "chat.completion.chunk", **chunk, "choices": choices})

    def end(self) -> bytes:
        """Return OpenAI's end mark."""
        return DONE

    def broken(self, body: JsonObject) -> bytes:
        """Return one `error` event."""
        return b"event: error\n" + sse(body)


def _logprobs(choice: JsonObject) -> JsonObject | None:
    logprobs = choice.get("logprobs")
    return {"content": None, "refusal": None} | logprobs if isinstance(logprobs, dict) else None


def parse_chat(body: bytes, endpoint: str) -> ChatRequest:
    """Return the chat request of a body in OpenAI's shape.

    Nulls count as not sent. What a preset may forbid is not judged here.

    Raises:
        Refusal: invalid_request, naming the field and what it must be.
    """
    fields = read_object(body)
    model, stream = read_model(fields), read_flag(fields, "stream")
    check_parameters(fields)
    return ChatRequest(
        endpoint=endpoint,
        model=model,
        messages=_messages(fields.get("messages")),
        stream=stream,
        include_usage=read_include_usage(fields.get("stream_options")),
        parameters={name: value for name, value in fields.items() if name not in _OWN_FIELDS and value is not None},
        body_bytes=len(body),
    )


def sse(chunk: JsonObject) -> bytes:
    """Return one server-sent event."""
    return b"data: " + encode_json(chunk) + b"\n\n"


def error_body(error: GuardError, trace_id: str, why: str) -> JsonObject:
    """Return the error body of the contract: OpenAI's four fields, then ours."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
            "hint": error.hint,
            "trace_id": trace_id,
            "why": why,
        }
    }


def read_object(body: bytes) -> JsonObject:
    """Return the JSON object of a body.

    Raises:
        Refusal: invalid_request, without quoting any of it; request_too_large, when it has too many members.
    """
    if body.count(b",") > _MOST_COMMAS:
        raise Refusal(
            "request_too_large",
            "The request has too many parts: each of them is looked at, and that would hold up everybody else.",
            hint="Send fewer and larger texts, in several requests.",
        )
    try:
        fields = _decode_json(body.removeprefix(codecs.BOM_UTF8))  # spreadsheets and PowerShell write one
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the decoder's own message may quote the body
        raise invalid(None, *_no_json(body)) from None
    if not isinstance(fields, dict):
        raise invalid(None, "the body is not a JSON object", 'Send an object such as {"model": …, "messages": […]}.')
    return fields


def _no_json(body: bytes) -> tuple[str, str]:
    """Return what a body that is no JSON seems to be, and what to do about it."""
    if not body.strip():
        return "the body is empty", 'Send a JSON object such as {"model": …, "messages": […]}.'
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "the body is text in UTF-16", "Send it in UTF-8."
    if _FORM.match(body):
        return "the body is a form, and must be JSON", "Choose JSON as the type of the body, not form or multipart."
    if body.startswith((b"'", b"\\", b"{\\", b"{model")):
        words = "Windows' command line takes quotes away: put the JSON into a file and send it with --data @file.json."
        return "the body is not valid JSON: its quotes were lost on the way", words
    return "the body is not valid JSON", "Send a JSON object in UTF-8."


def read_model(fields: JsonObject) -> str:
    """Return what the app put into `model`."""
    model = fields.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= _LONGEST_MODEL:
        raise invalid(
            "model", "`model` is missing", "Put the name of a preset into `model`; GET /v1/models lists them."
        )
    return model


def read_flag(fields: JsonObject, name: str) -> bool:
    """Return a field that is true, false or not sent."""
    flag = fields.get(name)
    if flag is not None and not isinstance(flag, bool):
        raise invalid(name, f"`{name}` must be true or false", "Send true, false or nothing.")
    return bool(flag)


def read_texts(fields: JsonObject, name: str, tokens: TokenCounter, *, most: int) -> list[str]:
    """Return a field that is a text, texts, the tokens of a text, or of texts; `most` of them.

    Tokens are read by cl100k_base, the encoding of OpenAI's embedding models and of its last completion model, because
    what is hidden in a text has to be found in it first.
    """
    given = fields.get(name)
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        given = [given]
    hint = "Send a text, or a list of texts."
    if not isinstance(given, list) or not given:
        raise invalid(name, f"`{name}` must be a text or a list of texts", hint)
    if len(given) > most:
        raise invalid(name, f"`{name}` holds more than {most} texts", "Send them in several requests.")
    if sum(len(one) for one in given if isinstance(one, list)) > _MOST_GIVEN_TOKENS:
        words = f"`{name}` holds more than {_MOST_GIVEN_TOKENS:,} tokens"
        raise invalid(name, words, "Send them in several requests.")
    texts = [one if isinstance(one, str) else tokens.decode(one) for one in given]
    if not all(texts):
        raise invalid(name, f"`{name}` holds an empty text, or something that is no text", hint)
    if sum(len(text) for text in texts if text) > MOST_BODY_BYTES:  # one token may be 128 blanks
        raise invalid(name, f"`{name}` holds more than 10 MiB of text", "Send it in several requests.")
    return [text for text in texts if text]


def _messages(messages: Any) -> list[JsonObject]:
    if not isinstance(messages, list) or not messages:
        raise invalid(
            "messages",
            "`messages` must be a list with at least one message",
            'Send [{"role": "user", "content": "…"}].',
        )
    if len(messages) > _MOST_MESSAGES:
        raise invalid("messages", f"`messages` holds more than {_MOST_MESSAGES}", "Leave the oldest out.")
    for index, message in enumerate(messages):
        _check_message(index, message)
    return messages


def _check_message(index: int, message: Any) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        place, roles = f"messages[{index}]", ", ".join(sorted(_ROLES))
        raise invalid(place, f"{place} must be an object with a `role`, one of {roles}", "Correct the message.")
    content = message.get("content")
    if isinstance(content, list):
        if not all(map(_is_part, content)):
            place = f"messages[{index}]"
            words = f"{place}.content holds a part without a `type`, or whose `text` is no string"
            raise invalid(place, words, 'Send {"type": "text", "text": "…"}.')
    elif not (content is None or isinstance(content, str)):
        place = f"messages[{index}].content"
        raise invalid(place, f"{place} must be a string or a list of parts", "Correct the message.")
    if "tool_calls" in message:
        check_objects(f"messages[{index}].tool_calls", message["tool_calls"])


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str) and isinstance(part.get("text"), str | None)


def check_parameters(fields: JsonObject) -> None:
    """Check what every endpoint passes on by the names of chat completions: counts, tools, and ids of what is kept.

    Quota is reckoned with the counts, and redaction does not read the ids: neither may be anything else.
    """
    for name, most in _COUNTS.items():
        if name in fields:
            check_count(fields, name, most)
    _check_tools(fields)
    wanted = fields.get("response_format")
    if wanted is not None and not (isinstance(wanted, dict) and isinstance(wanted.get("type"), str)):
        words = "`response_format` must be an object with a `type`"
        raise invalid("response_format", words, 'Send {"type": "json_object"}, or a schema.')
    if fields.get("previous_response_id") is not None:
        words = "`previous_response_id` goes on with a response, which this endpoint does not"
        raise invalid("previous_response_id", words, "Use POST /v1/responses, or send the earlier messages again.")


def _check_tools(fields: JsonObject) -> None:
    """Check tools and choices of tools as chat completions have them.

    They stand outside of the texts that redaction reads: names and choices have no room for anything else.
    """
    if _TOOL_FIELDS.isdisjoint(fields):
        return
    for name in ("tools", "functions"):
        check_objects(name, fields.get(name))
        for index, tool in enumerate(fields.get(name) or ()):
            _check_names(f"{name}[{index}]", tool)
    if not isinstance(fields.get("parallel_tool_calls"), bool | None):
        raise invalid(
            "parallel_tool_calls", "`parallel_tool_calls` must be true or false", "Correct it, or leave it out."
        )
    for name in ("tool_choice", "function_call"):
        choice = fields.get(name)
        if choice is None or (isinstance(choice, str) and choice in _TOOL_CHOICES):
            continue
        if not isinstance(choice, dict) or not set(choice) <= _CHOICE_FIELDS:
            raise invalid(
                name, f"`{name}` must be none, auto, required, or name a tool", "Correct it, or leave it out."
            )
        _check_choice(name, choice)


def _check_choice(place: str, choice: Any, depth: int = 0) -> None:
    """Check that every text in a choice is a name; choices may list tools."""
    if depth > _DEEPEST_CHOICE:
        raise invalid(place, f"`{place}` is nested too deeply", "Name one tool, or list those that are allowed.")
    if isinstance(choice, dict):
        for key, value in choice.items():
            _check_choice(place, key, depth + 1)
            _check_choice(place, value, depth + 1)
    elif isinstance(choice, list):
        for value in choice:
            _check_choice(place, value, depth + 1)
    elif not (isinstance(choice, str) and _NAME.fullmatch(choice)):
        raise invalid(place, f"`{place}` holds something that is no name of a tool", "Correct it, or leave it out.")


def _check_names(place: str, tool: JsonObject) -> None:
    for holder in (tool, tool.get("function"), tool.get("custom")):
        name = holder.get("name") if isinstance(holder, dict) else None
        if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
            words = f"{place} has a name that is not made of letters, digits, _, . and - (64 at most)"
            raise invalid(place, words, "Rename the tool.")
    if not isinstance(tool.get("type"), str | None) or not isinstance(tool.get("function"), dict | None):
        raise invalid(place, f"{place} is not shaped like a tool", 'Send {"type": "function", "function": {…}}.')


def check_objects(place: str, value: Any) -> None:
    """Check that a value, if there is one, is a list of objects."""
    if value is not None and not (isinstance(value, Sequence) and all(isinstance(item, dict) for item in value)):
        raise invalid(place, f"{place} must be a list of objects", "Correct it, or leave it out.")


def check_count(fields: JsonObject, name: str, most: int = _MOST_TOKENS) -> None:
    """Check that a field, if there is one, counts something."""
    value = fields.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise invalid(name, f"`{name}` must be a whole number from 1 to {most}", "Correct it, or leave it out.")


def read_include_usage(options: Any) -> bool:
    """Return whether a stream's usage was asked for."""
    if options is None:
        return False
    if not isinstance(options, dict):
        raise invalid(
            "stream_options", "`stream_options` must be an object", 'Send {"include_usage": true} or nothing.'
        )
    return options.get("include_usage") is True


def invalid(param: str | None, message: str, hint: str) -> Refusal:
    """Return the refusal of a body that is not in OpenAI's shape; the message is a clause without its full stop."""
    return Refusal("invalid_request", f"{message[0].upper()}{message[1:]}.", hint=hint, param=param)
