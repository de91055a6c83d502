"""Answers of OpenAI's Responses API, whole and as the events that stream them.

Source: OpenAI API reference, "Responses" and "Streaming events" (read 2026-11); `openai.types.responses` reads them.
"""

import json
from itertools import count

USAGE = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 16},
    "total_tokens": 123,
}


def a_response(output, *, status="completed", reason=None):
    """Return a response object."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1795435200.0,
        "status": status,
        "error": {"code": "server_error", "message": "secret"} if status == "failed" else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "gpt-4o-mini",
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": USAGE,
        "user": None,
        "metadata": {},
    }


def a_message(text):
    """Return an output item that says something."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}


def a_refusal(text):
    """Return an output item that refuses."""
    part = {"type": "refusal", "refusal": text}
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}


def a_call(name, arguments, *, number):
    """Return an output item that calls a function."""
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{number}",
        "name": name,
        "arguments": json.dumps(arguments, ensure_ascii=False),
        "status": "completed",
    }


def a_reasoning(*texts):
    """Return an output item with a summary of what was thought."""
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text} for text in texts]}


def events_of(response, *, size=7):
    """Return the events that stream a response, in pieces of a few characters."""
    numbers = count()
    begun = response | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for index, item in enumerate(response["output"]):
        events += [event | {"output_index": index} for event in _events_of_item(item, size)]
    last = "response.incomplete" if response["status"] == "incomplete" else "response.completed"
    events.append({"type": last, "response": response})
    return [{**event, "sequence_number": next(numbers)} for event in events]


def _events_of_item(item, size):
    match item["type"]:
        case "function_call":
            empty = item | {"arguments": "", "status": "in_progress"}
            pieces = _deltas("response.function_call_arguments", item["arguments"], size, {"item_id": item["id"]})
            ends = {"arguments": item["arguments"], "name": item["name"], "item_id": item["id"]}
            inside = [*pieces, {"type": "response.function_call_arguments.done", **ends}]
        case "reasoning":
            empty = item | {"summary": []}
            inside = [
                event for index, part in enumerate(item["summary"]) for event in _summary(item, index, part, size)
            ]
        case _:
            empty = item | {"content": [], "status": "in_progress"}
            inside = [event for index, part in enumerate(item["content"]) for event in _part(item, index, part, size)]
    return [
        {"type": "response.output_item.added", "item": empty},
        *inside,
        {"type": "response.output_item.done", "item": item},
    ]


def _summary(item, index, part, size):
    place = {"item_id": item["id"], "summary_index": index}
    return [
        {"type": "response.reasoning_summary_part.added", "part": part | {"text": ""}, **place},
        *_deltas("response.reasoning_summary_text", part["text"], size, place),
        {"type": "response.reasoning_summary_text.done", "text": part["text"], **place},
        {"type": "response.reasoning_summary_part.done", "part": part, **place},
    ]


def _part(item, index, part, size):
    place = {"item_id": item["id"], "content_index": index}
    field = "refusal" if part["type"] == "refusal" else "text"
    kind = "response.refusal" if field == "refusal" else "response.output_text"
    more = {} if field == "refusal" else {"logprobs": []}
    return [
        {"type": "response.content_part.added", "part": part | {field: ""}, **place},
        *_deltas(kind, part[field], size, place | more),
        {"type": f"{kind}.done", field: part[field], **place, **more},
        {"type": "response.content_part.done", "part": part, **place},
    ]


def _deltas(kind, text, size, place):
    return [
        {"type": f"{kind}.delta", "delta": text[start : start + size], **place} for start in range(0, len(text), size)
    ]
