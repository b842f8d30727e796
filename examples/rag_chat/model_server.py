"""A local server that speaks OpenAI's HTTP API: chat completions, responses and embeddings, plain and streamed.

    python model_server.py --port 9100 [--seed 7] [--pace 0.4] [--failures 0.01]

**Every answer is simulated** and says so: models `sim-small-1` and `sim-large-1`, `system_fingerprint` "simulated",
header `x-simulated: true`. The transport is real: HTTP and server-sent events, so a client, an instrumentation and a
trace see what they would see in production. What the model says is in `sim_model.py`.
"""

import argparse
import asyncio
import base64
import json
import random
import re
import struct
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sim_model import DIMENSIONS, Message, answer, embed

CHAT_MODEL = "sim-small-1"
LARGE_MODEL = "sim-large-1"  # says the same, more slowly
EMBEDDING_MODEL = "sim-embed-1"
MODELS = (CHAT_MODEL, LARGE_MODEL, EMBEDDING_MODEL)
HEADERS = {"x-simulated": "true"}
Json = dict[str, Any]

app = FastAPI(title="Simulated model server", docs_url=None, redoc_url=None, openapi_url=None)
app.state.seed = 0
app.state.pace = 0.0  # seconds that an answer takes in the middle
app.state.failures = 0.0  # share of answers that fail


@app.exception_handler(HTTPException)
async def openai_error(request: Request, error: HTTPException) -> Response:
    """Errors in the shape the official clients parse."""
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    body = {"error": {"message": error.detail, "type": kind, "param": None, "code": None}}
    return JSONResponse(body, status_code=error.status_code, headers={**HEADERS, **(error.headers or {})})


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/v1/models")
async def models() -> Response:
    data = [{"id": m, "object": "model", "created": 0, "owned_by": "simulated"} for m in MODELS]
    return JSONResponse({"object": "list", "data": data}, headers=HEADERS)


@app.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    body = await _body(request, CHAT_MODEL, LARGE_MODEL)
    messages = _messages(body.get("messages"))
    await _take_time(body["model"], messages)
    text = answer(messages, app.state.seed)
    usage = _chat_usage(messages, text)
    head = {"id": f"chatcmpl-sim-{uuid.uuid4().hex}", "created": int(time.time()), "model": body["model"],
            "system_fingerprint": "simulated", "service_tier": "default"}  # fmt: skip
    if body.get("stream"):
        with_usage = (body.get("stream_options") or {}).get("include_usage")
        return _events(_chat_chunks(head, text, usage if with_usage else None))
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return JSONResponse({"object": "chat.completion", **head, "choices": [choice], "usage": usage}, headers=HEADERS)


def _chat_chunks(head: Json, text: str, usage: Json | None) -> Iterator[str]:
    head = {"object": "chat.completion.chunk", **head}
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": part} for part in _parts(text)), {}]
    for place, delta in enumerate(deltas, start=1):
        finish = "stop" if place == len(deltas) else None
        yield json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    if usage is not None:
        yield json.dumps({**head, "choices": [], "usage": usage})
    yield "[DONE]"


@app.post("/v1/responses")
async def responses(request: Request) -> Response:
    body = await _body(request, CHAT_MODEL, LARGE_MODEL)
    given = body.get("input")
    messages = _messages([{"role": "user", "content": given}] if isinstance(given, str) else given)
    if body.get("instructions"):
        messages.insert(0, {"role": "system", "content": str(body["instructions"])})
    text = answer(messages, app.state.seed)
    response = _response(messages, text, body)
    return _events(_response_events(response, text)) if body.get("stream") else JSONResponse(response, headers=HEADERS)


def _response(messages: list[Message], text: str, body: Json) -> Json:
    content = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"id": f"msg_sim_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "status": "completed",
               "content": [content]}  # fmt: skip
    used = _chat_usage(messages, text)
    usage = {"input_tokens": used["prompt_tokens"], "output_tokens": used["completion_tokens"],
             "total_tokens": used["total_tokens"],
             "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    return {"id": f"resp_sim_{uuid.uuid4().hex}", "object": "response", "created_at": time.time(),
            "status": "completed", "model": body["model"], "output": [message], "usage": usage, "error": None,
            "incomplete_details": None, "instructions": body.get("instructions"), "tools": [],
            "metadata": {**(body.get("metadata") or {}), "simulated": "true"}, "tool_choice": "auto",
            "parallel_tool_calls": True}  # fmt: skip


def _response_events(response: Json, text: str) -> Iterator[str]:
    started = {**response, "status": "in_progress", "output": [], "usage": None}
    message = response["output"][0]
    where = {"output_index": 0, "content_index": 0, "item_id": message["id"]}
    events: list[Json] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
        {"type": "response.output_item.added", "output_index": 0,
         "item": {**message, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **where, "part": {**message["content"][0], "text": ""}},
        *({"type": "response.output_text.delta", **where, "delta": p, "logprobs": []} for p in _parts(text)),
        {"type": "response.output_text.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": message["content"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {"type": "response.completed", "response": response},
    ]  # fmt: skip
    for number, event in enumerate(events):
        yield json.dumps({**event, "sequence_number": number})


@app.post("/v1/embeddings")
async def embeddings(request: Request) -> Response:
    body = await _body(request, EMBEDDING_MODEL)
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise HTTPException(400, "'input' must be a string or a list of strings.")
    vectors = [embed(text, body.get("dimensions") or DIMENSIONS) for text in texts]
    shape = _base64 if body.get("encoding_format") == "base64" else list
    data = [{"object": "embedding", "index": i, "embedding": shape(vector)} for i, vector in enumerate(vectors)]
    tokens = sum(_tokens(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "data": data, "model": EMBEDDING_MODEL, "usage": usage}, headers=HEADERS)


async def _take_time(model: str, messages: list[Message]) -> None:
    """Wait as long as a model would, or fail as one would; the same messages always fare alike."""
    chance = random.Random(f"{app.state.seed}:{model}:{json.dumps(messages, sort_keys=True)}:fate")
    slower = 2.5 if model == LARGE_MODEL else 1.0
    await asyncio.sleep(app.state.pace * slower * chance.lognormvariate(0, 0.5))
    if chance.random() < app.state.failures:
        raise HTTPException(500, "The simulated model is overloaded.", {"x-should-retry": "false"})


async def _body(request: Request, *models: str) -> Json:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise HTTPException(400, "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    if body.get("model") not in models:
        known = " and ".join(map(repr, models))
        raise HTTPException(404, f"The model {body.get('model')!r} does not exist here; this server has {known}.")
    return body


def _messages(given: Any) -> list[Message]:
    if not isinstance(given, list) or not given:
        raise HTTPException(400, "A non-empty list of messages is required.")
    if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in given):
        raise HTTPException(400, "Every message needs a 'role'.")
    return [{"role": m["role"], "content": _text(m.get("content"))} for m in given]


def _text(content: Any) -> str:
    """A message's text; of content given as parts, the text parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _parts(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def _tokens(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


def _chat_usage(messages: list[Message], text: str) -> Json:
    prompt, completion = sum(_tokens(m["content"]) for m in messages), _tokens(text)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _events(payloads: Iterator[str]) -> Response:
    async def stream() -> AsyncIterator[str]:
        for payload in payloads:
            name = "" if payload == "[DONE]" else json.loads(payload).get("type", "")
            yield (f"event: {name}\n" if name else "") + f"data: {payload}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers=HEADERS)


def main() -> None:
    parser = argparse.ArgumentParser(description="A simulated model behind OpenAI's HTTP API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other answers (default 0)")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds that half of the answers take (default 0)")
    parser.add_argument("--failures", type=float, default=0.0, help="share of answers that fail (default 0)")
    args = parser.parse_args()
    app.state.seed, app.state.pace, app.state.failures = args.seed, args.pace, args.failures
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
