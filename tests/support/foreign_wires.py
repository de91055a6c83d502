"""Anthropic's and Gemini's wire formats for `ProviderServer(wires=WIRES)`: what LiteLLM has to translate."""

import json

from tests.support.provider_server import Behaviour, Exchange, _head, vector_of

ANTHROPIC_USAGE = {"input_tokens": 12, "output_tokens": 7, "cache_read_input_tokens": 4}


async def anthropic(exchange: Exchange) -> bool:
    """Answer `POST /v1/messages`. Source: Anthropic API reference, "Messages" and "Streaming messages"."""
    body = exchange.request.json
    exchange.how = how = Behaviour.parse(exchange.server._standing)
    await exchange.pause(how.number("delay"))
    if "never" in how:
        await exchange.pause(3600)
    if "status" in how:
        kind = how.get("code", "invalid_request_error")
        text = how.get("error_text", f"{exchange.request.headers.get('x-api-key')} sent {exchange.request.body!r}")
        error = {"type": "error", "error": {"type": kind, "message": text}}
        await exchange.send_json(int(how["status"]), error)
        return True
    block = _anthropic_block(body)
    stop_reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}
    if body.get("stream"):
        return await _send_events(exchange, _anthropic_events(message, block, stop_reason))
    content = {**message, "content": [block], "stop_reason": stop_reason, "usage": ANTHROPIC_USAGE}
    await exchange.send_json(200, {} if "garbage" in how else content)
    return True


def _anthropic_block(body: dict) -> dict:
    text = _anthropic_text(body)
    if body.get("tools"):
        return {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": {"query": text}}
    return {"type": "text", "text": text}


def _anthropic_text(body: dict) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _anthropic_events(message: dict, block: dict, stop_reason: str) -> list[tuple[str, dict]]:
    if block["type"] == "text":
        start, deltas = {"type": "text", "text": ""}, [{"type": "text_delta", "text": one} for one in block["text"]]
    else:
        start = {**block, "input": {}}
        arguments = json.dumps(block["input"], ensure_ascii=False)
        deltas = [{"type": "input_json_delta", "partial_json": one} for one in arguments]
    usage = {**ANTHROPIC_USAGE, "output_tokens": 1}
    begun = {**message, "content": [], "stop_reason": None, "usage": usage}
    events = [{"type": "message_start", "message": begun}]
    events.append({"type": "content_block_start", "index": 0, "content_block": start})
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events.append({"type": "content_block_stop", "index": 0})
    ended = {"stop_reason": stop_reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 7}})
    events.append({"type": "message_stop"})
    return [(event["type"], event) for event in events]


async def gemini(exchange: Exchange) -> bool:
    """Answer `:generateContent` and `:streamGenerateContent`. Source: Gemini API reference, "Generating content"."""
    body = exchange.request.json
    exchange.how = Behaviour.parse(exchange.server._standing)
    text = body["contents"][-1]["parts"][-1]["text"]
    if body.get("tools"):
        name = body["tools"][0]["function_declarations"][0]["name"]
        parts = [{"functionCall": {"name": name, "args": {"query": text}}}]
    else:
        parts = [{"text": text[:5]}, {"text": text[5:]}]
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 7, "totalTokenCount": 19}

    def answer(parts: list[dict], finish: str | None) -> dict:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], "usageMetadata": usage}

    if "streamGenerateContent" in exchange.request.path:
        pieces = [answer([part], "STOP" if part is parts[-1] else None) for part in parts]
        return await _send_events(exchange, [("", piece) for piece in pieces])
    await exchange.send_json(200, answer(parts, "STOP"))
    return True


async def ollama_embed(exchange: Exchange) -> bool:
    """Answer `POST /api/embed`. Source: Ollama API reference, "Generate Embeddings"."""
    body = exchange.request.json
    vectors = [vector_of(text, 3) for text in body["input"]]
    words = sum(len(text.split()) for text in body["input"])
    await exchange.send_json(200, {"model": body["model"], "embeddings": vectors, "prompt_eval_count": words})
    return True


async def _send_events(exchange: Exchange, events: list[tuple[str, dict]]) -> bool:
    await exchange.write(_head(200, ["content-type: text/event-stream", "transfer-encoding: chunked"]))
    for number, (name, data) in enumerate(events):
        if number == len(events) // 2 and exchange.how.get("close") == "half":
            await exchange.write(b"0\r\n\r\n" if "politely" in exchange.how else b"")
            return await exchange.break_off()
        named = f"event: {name}\n" if name else ""
        await exchange.write_event(f"{named}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())
        exchange.request.chunks_sent += 1
        await exchange.pause(exchange.how.number("pause"))
    exchange.request.outcome = "answered"
    await exchange.write(b"0\r\n\r\n")
    return True


WIRES = {"/messages": anthropic, "enerateContent": gemini, "/api/embed": ollama_embed}
