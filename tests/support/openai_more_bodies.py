"""What the OpenAI look-alike answers on the resources beside chat, responses and embeddings: pure functions too."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator

from tests.support.openai_bodies import CREATED, Json, response, response_events, served_model, words

PIXELS = base64.b64encode(b"pixels-of-a-picture").decode()
SOUND = b"RIFF-sound-bytes" * 64
HEARD = "you were heard"


def fields(raw: bytes, kind: str) -> Json:
    """The fields of a request body, JSON or multipart; files are left out."""
    import json

    if not kind.startswith("multipart/"):
        return json.loads(raw) if raw else {}
    parts = re.findall(rb'name="([^"]+)"\r\n\r\n(.*?)\r\n--', raw, re.DOTALL)
    said: Json = {name.decode(): value.decode() for name, value in parts}
    return {**said, "stream": said.get("stream") == "true"}


def _media_usage(body: Json, modality: str) -> Json:
    told = words(str(body.get("prompt") or "")) + 2
    return {"type": "tokens", "input_tokens": told, "output_tokens": 7, "total_tokens": told + 7,
            "input_tokens_details": {"text_tokens": told - 2, "image_tokens": 2},
            "input_token_details": {"text_tokens": told - 2, f"{modality}_tokens": 2}}


def completion(body: Json, number: int) -> Json:
    """A `text_completion` object."""
    texts = [body["prompt"]] if isinstance(body.get("prompt"), str) else list(body.get("prompt") or [])
    told = sum(words(text) if isinstance(text, str) else 1 for text in texts)
    choices = [{"index": index, "text": f" and {text}", "finish_reason": "stop", "logprobs": None}
               for index, text in enumerate(texts)]
    usage = {"prompt_tokens": told, "completion_tokens": told + 1, "total_tokens": 2 * told + 1}
    return {"id": f"cmpl-{number:06d}", "object": "text_completion", "created": CREATED, "model": served_model(body),
            "choices": choices, "usage": usage, "system_fingerprint": "fp_1"}


def completion_chunks(body: Json, number: int) -> Iterator[Json]:
    """A chunk for each word, a finish for each choice, and the usage if it was asked for."""
    whole = completion(body, number)
    usage = whole.pop("usage")
    for choice in whole["choices"]:
        for word in choice["text"].split(" ")[1:]:
            yield {**whole, "choices": [{**choice, "text": f" {word}", "finish_reason": None}]}
    for choice in whole["choices"]:
        yield {**whole, "choices": [{**choice, "text": ""}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**whole, "choices": [], "usage": usage}


def images(body: Json, number: int) -> Json:
    """An images response: pixels, or addresses if ``response_format`` asks for them."""
    one = {"url": "https://img.example/1.png?sig=secret"} if body.get("response_format") == "url" else {
        "b64_json": PIXELS, "revised_prompt": f"a fine {body.get('prompt')}"}
    return {"created": CREATED, "data": [one] * int(body.get("n") or 1), "output_format": "png", "size": "1024x1024",
            "quality": "low", "background": "opaque", "usage": _media_usage(body, "image")}


def image_events(body: Json, number: int) -> Iterator[Json]:
    """Two partial pictures and the whole one."""
    kind = "image_edit" if "image" in str(body.get("_path")) and "edits" in str(body["_path"]) else "image_generation"
    said = {"b64_json": PIXELS, "created_at": CREATED, "size": "1024x1024", "quality": "low", "background": "opaque",
            "output_format": "png"}
    for index in range(2):
        yield {"type": f"{kind}.partial_image", "partial_image_index": index, **said}
    yield {"type": f"{kind}.completed", "usage": _media_usage(body, "image"), **said}


def transcription(body: Json, number: int) -> Json:
    """A transcription."""
    said: Json = {"text": HEARD}
    if body.get("response_format") == "verbose_json":
        return {**said, "duration": 2.5, "language": "english", "segments": [], "words": []}
    return {**said, "usage": {"type": "duration", "seconds": 3} if body.get("model") == "whisper-1"
            else _media_usage(body, "audio")}


def transcription_events(body: Json, number: int) -> Iterator[Json]:
    """A delta for each word, and the whole."""
    for word in HEARD.split(" "):
        yield {"type": "transcript.text.delta", "delta": word}
    yield {"type": "transcript.text.done", "text": HEARD, "usage": _media_usage(body, "audio")}


def moderation(body: Json, number: int) -> Json:
    """A verdict: what holds the word "harm" is harassment."""
    given = body.get("input")
    several = [given] if isinstance(given, str) else list(given or [])
    results = [{"flagged": "harm" in str(text), "categories": {"harassment/threatening": "harm" in str(text),
                                                               "violence": False},
                "category_scores": {"harassment/threatening": 0.5, "violence": 0.1},
                "category_applied_input_types": {}} for text in several]
    return {"id": f"modr-{number:06d}", "model": served_model(body), "results": results}


def decision(body: Json, number: int) -> Json:
    """A decision that answers each question with the same probability."""
    usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}
    answers = [{"type": "predicate", "name": "q", "probability": 0.9} for _ in body.get("questions") or []]
    return {"object": "decision", "model": served_model(body), "answers": answers, "usage": usage}


def search(body: Json, number: int) -> Json:
    """A page of two search results."""
    rows = [{"file_id": f"file-{index}", "filename": f"secret-{index}.md", "score": 0.9 - index / 10,
             "attributes": {"version": "v2"}, "content": [{"type": "text", "text": f"found text {index}"}]}
            for index in range(2)]
    return {"object": "vector_store.search_results.page", "search_query": [str(body.get("query"))], "data": rows,
            "has_more": False, "next_page": None}


def video(body: Json, number: int) -> Json:
    """A video job."""
    return {"id": f"video_{number}", "object": "video", "model": body.get("model") or "sora", "status": "queued",
            "progress": 0, "created_at": CREATED, "seconds": "4", "size": "720x1280"}


def run(body: Json, number: int, status: str = "queued") -> Json:
    """A run of an assistant."""
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    return {"id": f"run_{number}", "object": "thread.run", "created_at": CREATED, "status": status,
            "thread_id": "thread_1", "assistant_id": body.get("assistant_id") or "asst_1", "model": "gpt-served",
            "instructions": "", "tools": [], "metadata": {}, "parallel_tool_calls": True,
            "last_error": {"code": "server_error", "message": "it broke"} if status == "failed" else None,
            "usage": usage if status in ("completed", "failed") else None}


def run_events(body: Json, number: int) -> Iterator[Json]:
    """The events of a streamed run; ``type`` is the name of the event."""
    failed = "failed" in str(body.get("model"))
    for status in ("created", "in_progress"):
        yield {"type": f"thread.run.{status}", "data": run(body, number, "queued")}
    yield {"type": "thread.message.created", "data": {
        "id": "msg_1", "object": "thread.message", "created_at": CREATED, "thread_id": "thread_1", "role": "assistant",
        "status": "in_progress", "content": [], "metadata": {}}}
    for index, word in enumerate(("the", "answer")):
        content = [{"index": 0, "type": "text", "text": {"value": word if index == 0 else f" {word}"}}]
        yield {"type": "thread.message.delta",
               "data": {"id": "msg_1", "object": "thread.message.delta", "delta": {"content": content}}}
    status = "failed" if failed else "completed"
    yield {"type": f"thread.run.{status}", "data": run(body, number, status)}


def agent_session(body: Json, number: int, status: str = "in_progress") -> Json:
    """A session of an agent."""
    agent = {"id": body.get("agent_id") or "agent_1", "model": f"{(body.get('agent') or {}).get('model', 'm')}-served",
             "name": None, "instructions": None, "tools": []}
    return {"id": f"sess_{number}", "object": "agent.session", "agent": agent, "created_at": CREATED, "status": status,
            "last_active_at": CREATED, "metadata": {}, "required_actions": [], "vault_ids": [], "environment": {}}


def agent_events(body: Json, number: int, turns: int = 1) -> Iterator[Json]:
    """The events of a streamed session: so many turns, and then it is idle."""
    name, failed = f"sess_{number}", "failed" in str((body.get("agent") or {}).get("model"))
    yield {"type": "agent.session.created", "event_id": "e", "session": agent_session(body, number)}
    for index in range(turns):
        about = {"event_id": "e", "session_id": name, "turn_id": f"turn_{index}"}
        turn = {"id": f"turn_{index}", "agent_id": "agent_1", "object": "agent.session.turn", "created_at": CREATED,
                "session_id": name, "status": "failed" if failed else "completed",
                "error": {"code": "usage_limit_exceeded", "message": "no"} if failed else None}
        usage = {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 3,
                 "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 8}
        yield {"type": "agent.session.turn.created", "turn": {**turn, "status": "queued"}, **about}
        for word in ("the", " answer"):
            yield {"type": "agent.session.turn.output_text.delta", "delta": word, "content_index": 0, "item_id": "i",
                   "output_index": 0, **about}
        yield {"type": f"agent.session.turn.{turn['status']}", "turn": turn, "usage": usage, **about}
    yield {"type": "agent.session.idle", "event_id": "e", "session": agent_session(body, number, "idle")}


def file_search(body: Json, whole: Json) -> Json:
    """``whole`` with what a search of the provider's found, if the request has that tool."""
    tools = [tool for tool in body.get("tools") or [] if tool.get("type") == "file_search"]
    if not tools:
        return whole
    results = [{"file_id": "file-7", "filename": "secret-7.md", "score": 0.7, "text": "found text 7", "attributes": {}}]
    item = {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["what to find"],
            "results": results if "file_search_call.results" in (body.get("include") or []) else None}
    return {**whole, "tools": tools, "output": [item, *whole["output"]] if whole["output"] else []}


def fetched(body: Json, number: int, status: str) -> Json:
    """A background response at some time."""
    running = status in ("queued", "in_progress")
    whole = response(body, number, "in_progress" if running else status)
    return file_search(body, {**whole, "status": status, "background": bool(body.get("background"))})


def fetched_events(body: Json, number: int, after: int) -> Iterator[Json]:
    """The events of a background response after the one that was seen last."""
    for event in response_events(body, number):
        if event["sequence_number"] > after:
            yield {**event, "response": {**event["response"], "background": True}} if "response" in event else event


Answer = Callable[[Json, int], Json]
PLAIN: tuple[tuple[str, Answer], ...] = (
    ("images/generations", images), ("images/edits", images), ("images/variations", images),
    ("audio/transcriptions", transcription), ("audio/translations", transcription), ("moderations", moderation),
    ("decisions", decision), ("search", search), ("videos", video), ("remix", video),
    ("submit_tool_outputs", run), ("runs", run), ("agents/sessions", agent_session),
    ("events", lambda _body, _number: {}),
)
"""End of a path -> its answer; "completions" is told from chat by the server."""
STREAMED: tuple[tuple[str, Callable[[Json, int], Iterator[Json]]], ...] = (
    ("images/generations", image_events), ("images/edits", image_events),
    ("audio/transcriptions", transcription_events), ("runs", run_events), ("submit_tool_outputs", run_events),
    ("agents/sessions", agent_events),
)
