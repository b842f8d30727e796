"""What is called: a client whose model answers inside this process, and the calls that are measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

CHUNKS = 200
SHORT, LONG, STREAM, FIRST, RESPONSES, EMBEDDINGS = (
    "chat short", "chat long", "chat stream", "first chunk", "responses short", "embeddings 100")
TIMES = {SHORT: 40, LONG: 40, STREAM: 4, FIRST: 20, RESPONSES: 40, EMBEDDINGS: 10}
"""Calls in one round."""
_WORDS = {name: {"type": "string", "description": "What to look for."} for name in ("query", "place", "time")}
_TOOLS = [
    {"type": "function", "function": {
        "name": f"tool_{number}", "description": "Looks something up. " * 8,
        "parameters": {"type": "object", "properties": _WORDS, "required": ["query"]}}}
    for number in range(4)
]


def _answers() -> dict[str, bytes]:
    from tests.support import openai_bodies as bodies

    chat = {"model": "gpt-x", "messages": [{"role": "user", "content": "word " * CHUNKS}],
            "stream_options": {"include_usage": True}}
    chunks = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in bodies.chat_chunks(chat, 1))
    short = {"model": "gpt-x", "messages": [{"role": "user", "content": "what is the weather in Paris?"}]}
    embed = {"model": "e", "input": ["text"] * 100, "dimensions": 256, "encoding_format": "base64"}
    return {
        "stream": f"{chunks}data: [DONE]\n\n".encode(), "chat": json.dumps(bodies.chat(short, 1)).encode(),
        "embeddings": json.dumps(bodies.embeddings(embed)).encode(),
        "responses": json.dumps(bodies.response({"model": "gpt-x", "input": "what is it?"}, 1)).encode(),
    }


def client() -> Any:
    """An `openai.OpenAI` without a network."""
    import openai

    try:
        import httpx2 as transport
    except ImportError:
        import httpx as transport
    said = _answers()

    def answer(request: Any) -> Any:
        if b'"stream":true' in request.content:
            return transport.Response(200, content=said["stream"], headers={"content-type": "text/event-stream"})
        kind = request.url.path.rstrip("/").rpartition("/")[2]
        return transport.Response(200, content=said["chat" if kind == "completions" else kind],
                                  headers={"content-type": "application/json"})

    http = transport.Client(transport=transport.MockTransport(answer))
    return openai.OpenAI(base_url="https://api.openai.com/v1", api_key="k", http_client=http)


def calls(client: Any) -> dict[str, Callable[[], Any]]:
    """What is measured, by name: each makes one call."""
    short = [{"role": "system", "content": "You are a helpful assistant."},
             {"role": "user", "content": "what is the weather in Paris?"}]
    text = "The quick brown fox jumps over the lazy dog while the band plays on. " * 12
    long = [{"role": ("user", "assistant")[number % 2], "content": f"{number}: {text}"} for number in range(12)]
    asked = {"model": "gpt-x", "temperature": 0.5, "max_tokens": 100}
    streamed = {"stream": True, "stream_options": {"include_usage": True}, **asked}
    chat = client.chat.completions  # `create` is looked up at each call, as it is patched between rounds

    def first() -> None:
        with chat.create(messages=short, **streamed) as stream:
            next(iter(stream))

    return {
        SHORT: lambda: chat.create(messages=short, **asked),
        LONG: lambda: chat.create(messages=long, tools=_TOOLS, **asked),
        STREAM: lambda: sum(1 for _ in chat.create(messages=short, **streamed)),
        FIRST: first,
        RESPONSES: lambda: client.responses.create(model="gpt-x", input="what is it?"),
        EMBEDDINGS: lambda: client.embeddings.create(model="e", input=["text"] * 100, dimensions=256),
    }
