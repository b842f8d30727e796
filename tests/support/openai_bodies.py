"""What the OpenAI look-alike answers: pure functions from a request body to response bodies and stream events.

Everything is a function of the request, so two runs of a test see the same bytes. The model's name selects odd
behaviour; `openai_server` lists the names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
CREATED = 1_700_000_000
DIMENSIONS = 8


def words(text: str) -> int:
    """The look-alike's tokenizer: one token per word."""
    return len(text.split())


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _messages(body: Json) -> list[Json]:
    given = body.get("messages", body.get("input", []))
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def prompt_text(body: Json) -> str:
    """All the text that the caller sent, system instructions included."""
    said = [_text(message.get("content")) for message in _messages(body)]
    return " ".join([str(body.get("instructions") or ""), *said])


def _schema(body: Json) -> Json | None:
    chat = (body.get("response_format") or {}).get("json_schema") or {}
    responses = (body.get("text") or {}).get("format") or {}
    return chat.get("schema") or responses.get("schema")


def _example(schema: Json) -> Any:
    kind = schema.get("type")
    if kind == "object":
        return {name: _example(part) for name, part in schema.get("properties", {}).items()}
    return {"integer": 7, "number": 0.5, "boolean": True, "array": [], "null": None}.get(str(kind), "seven")


def answer(body: Json) -> str:
    """The text of the model's answer: an example of the schema asked for, else an echo of the last message."""
    schema = _schema(body)
    if schema:
        return json.dumps(_example(schema))
    messages = _messages(body)
    return "You said: " + (_text(messages[-1].get("content")) if messages else "nothing")


def served_model(body: Json) -> str:
    """The name of the model in the answer, which differs from the one asked for, as OpenAI's does."""
    return f"{body.get('model')}-2026-01-01"


def _tool_call(body: Json) -> Json | None:
    if body.get("model") != "tool-call" or not body.get("tools"):
        return None
    tool = body["tools"][0]
    name = tool.get("function", tool).get("name", "tool")
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": '{"city": "Paris"}'}}


def _finish(body: Json) -> str:
    if _tool_call(body):
        return "tool_calls"
    return {"length": "length", "content-filter": "content_filter"}.get(str(body.get("model")), "stop")


def _chat_usage(body: Json) -> Json:
    told, said = words(prompt_text(body)), words(answer(body)) * int(body.get("n") or 1)
    return {
        "prompt_tokens": told,
        "completion_tokens": said,
        "total_tokens": told + said,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def chat(body: Json, number: int) -> Json:
    """A `chat.completion` object."""
    call = _tool_call(body)
    message: Json = {"role": "assistant", "content": None if call else answer(body), "refusal": None}
    if call:
        message["tool_calls"] = [call]
    choices = [
        {"index": index, "message": message, "finish_reason": _finish(body), "logprobs": None}
        for index in range(int(body.get("n") or 1))
    ]
    done: Json = {
        "id": f"chatcmpl-{number:06d}",
        "object": "chat.completion",
        "created": CREATED,
        "model": served_model(body),
        "choices": None if body.get("model") == "null-choices" else choices,
        "usage": _chat_usage(body),
        "system_fingerprint": "fp_1",
        "service_tier": "default",
    }
    if body.get("model") == "no-usage":
        del done["usage"]
    return done


def chat_chunks(body: Json, number: int) -> Iterator[Json]:
    """The `chat.completion.chunk` objects of a stream: role, one per word, finish, and usage if it was asked for."""
    base: Json = {
        "id": f"chatcmpl-{number:06d}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": served_model(body),
        "system_fingerprint": "fp_1",
    }

    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**base, "choices": None if body.get("model") == "null-choices" else [choice]}

    yield chunk({"role": "assistant", "content": ""})
    yield from (chunk(delta) for delta in _deltas(body))
    yield chunk({}, _finish(body))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**base, "choices": [], "usage": _chat_usage(body)}


def _deltas(body: Json) -> Iterator[Json]:
    call = _tool_call(body)
    if call is None:
        for index, word in enumerate(answer(body).split(" ")):
            yield {"content": word if index == 0 else f" {word}"}
        return
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    yield {"tool_calls": [{"index": 0, **call, "function": {"name": name, "arguments": ""}}]}
    for half in (arguments[:5], arguments[5:]):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": half}}]}


def _vector(text: str, size: int) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[index % len(digest)] / 255 for index in range(size)]


def _encoded(vector: list[float], encoding: str | None) -> Any:
    if encoding != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def embeddings(body: Json) -> Json:
    """A list of `embedding` objects; equal texts have equal vectors."""
    given = body.get("input", "")
    texts = [given] if isinstance(given, str) else [str(text) for text in given]
    size = int(body.get("dimensions") or DIMENSIONS)
    total = sum(words(text) for text in texts)
    rows = [
        {"object": "embedding", "index": index, "embedding": _encoded(_vector(text, size), body.get("encoding_format"))}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": total, "total_tokens": total}
    return {"object": "list", "data": rows, "model": served_model(body), "usage": usage}


def _message_item(text: str, status: str) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}] if text else []
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content}


def _call_item(call: Json) -> Json:
    function = call["function"]
    return {"id": "fc_1", "type": "function_call", "call_id": call["id"], "status": "completed", **function}


def response(body: Json, number: int, status: str | None = None) -> Json:
    """A `response` object of the Responses API; `status` defaults to the one that the model's name asks for."""
    unfinished = {"incomplete": "incomplete", "failed": "failed"}.get(str(body.get("model")), "completed")
    status, call = status or unfinished, _tool_call(body)
    told, said = words(prompt_text(body)), words(answer(body))
    running = status == "in_progress"
    output = [_call_item(call) if call else _message_item(answer(body), "completed")]
    usage = {
        "input_tokens": told,
        "output_tokens": said,
        "total_tokens": told + said,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": f"resp_{number:06d}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": {"code": "server_error", "message": "it broke"} if status == "failed" else None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "model": served_model(body),
        "output": [] if running else output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "usage": None if running else usage,
        "service_tier": "default",
    }


def response_events(body: Json, number: int) -> Iterator[Json]:
    """The events of a streamed response, in the order in which OpenAI sends them."""
    events = _numberless_events(body, number)
    yield from ({**event, "sequence_number": index} for index, event in enumerate(events))


def _numberless_events(body: Json, number: int) -> Iterator[Json]:
    started = response(body, number, "in_progress")
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    call = _tool_call(body)
    yield from _call_events(call) if call else _text_events(answer(body))
    final = response(body, number)
    yield {"type": f"response.{final['status']}", "response": final}


def _call_events(call: Json) -> Iterator[Json]:
    item, place = _call_item(call), {"item_id": "fc_1", "output_index": 0}
    kind = "response.function_call_arguments"
    yield {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}}
    yield {"type": f"{kind}.delta", **place, "delta": item["arguments"]}
    yield {"type": f"{kind}.done", **place, "name": item["name"], "arguments": item["arguments"]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}


def _text_events(text: str) -> Iterator[Json]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": _message_item("", "in_progress")}
    yield {"type": "response.content_part.added", **place, "part": part}
    for index, word in enumerate(text.split(" ")):
        delta = word if index == 0 else f" {word}"
        yield {"type": "response.output_text.delta", **place, "delta": delta, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": {**part, "text": text}}
    yield {"type": "response.output_item.done", "output_index": 0, "item": _message_item(text, "completed")}
