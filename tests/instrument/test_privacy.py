"""Content off means nowhere; headers, keys and cookies never; media by hash and size; a failing hook costs a text."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
from typing import Any

import openai
import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import backspan
import backspan.redact
from backspan import config, telemetry
from tests.instrument.openai_calls import ROWS
from tests.instrument.openai_calls import SECRET as ROW_MARK

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|Sora API):DeprecationWarning")
MARK = "xyzzy-marker"
KEY = "sk-marker-of-the-key"
HEADERS = {"Authorization": f"Bearer {MARK}-header", "Cookie": f"session={MARK}-header", "X-Api-Key": f"{MARK}-header",
           "X-Customer": f"{MARK}-header"}
TOOL: Any = {"type": "function", "function": {"name": f"{MARK}-tool", "description": MARK, "parameters": {
    "type": "object", "properties": {MARK: {"type": "string", "description": MARK}}}}}
WORDS: Any = [
    {"role": "system", "content": f"sys {MARK}"},
    {"role": "user", "name": MARK, "content": [
        {"type": "text", "text": MARK}, {"type": "image_url", "image_url": {"url": f"https://example.com/{MARK}.png"}},
        {"type": "file", "file": {"filename": f"{MARK}.pdf", "file_data": f"data:text/plain;base64,{MARK}"}}]},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": json.dumps({MARK: MARK})}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": MARK},
    {"role": "user", "content": f"last {MARK}"},
]


def _chat(client, model="m", **more):
    return client.chat.completions.create(
        model=model, messages=WORDS, tools=[TOOL], metadata={"k": MARK}, user=MARK, extra_headers=HEADERS,
        extra_query={"q": MARK}, extra_body={"prompt_cache_key": MARK}, **more)


def _retrieval(client):
    with contextlib.suppress(KeyError), backspan.retrieval(MARK, index="docs") as found:
        found.add("a", score=0.5, content=MARK)
        raise KeyError(MARK)


def _feedback(client):
    client.chat.completions.create(model="m", messages=WORDS)
    backspan.record_feedback(thumbs="down", comment=MARK, correction=MARK)


CALLS: dict[str, Any] = {
    "chat": _chat,
    "chat stream": lambda c: list(_chat(c, stream=True)),
    "chat tools": lambda c: _chat(c, "tool-call"),
    "chat tools stream": lambda c: list(_chat(c, "tool-call", stream=True)),
    "chat json": lambda c: _chat(c, response_format={"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"title": MARK}}}),
    **{f"chat {model}": lambda c, model=model: _chat(c, model) for model in (
        "error-400", "error-429", "error-500", "garbage", "null-choices", "content-filter")},
    **{f"chat {model} stream": lambda c, model=model: list(_chat(c, model, stream=True)) for model in (
        "error-400", "cut-after-2", "error-after-2")},
    "chat raw": lambda c: c.chat.completions.with_raw_response.create(
        model="m", messages=WORDS, extra_headers=HEADERS).parse(),
    "responses": lambda c: c.responses.create(
        model="m", input=MARK, instructions=MARK, metadata={"k": MARK}, extra_headers=HEADERS),
    "responses stream": lambda c: list(c.responses.create(model="m", input=MARK, instructions=MARK, stream=True)),
    "responses prompt": lambda c: c.responses.create(
        model="m", input=MARK, prompt={"id": "p", "version": "1", "variables": {"v": MARK}}),
    "embeddings": lambda c: c.embeddings.create(model="m", input=[MARK], user=MARK, extra_headers=HEADERS),
    "retrieval": _retrieval,
    "feedback": _feedback,
    **{row.id: lambda c, row=row: row.on(c)(**row.asked(extra_headers=HEADERS)) for row in ROWS},
}


class Everything:
    """All ways out of the process: spans with their events and statuses, metrics, log events, and what is logged."""

    def __init__(self, seen, caplog) -> None:
        self._seen, self._caplog, self.logs = seen, caplog, InMemoryLogRecordExporter()

    def __str__(self) -> str:
        events = [one.log_record.to_json() if hasattr(one.log_record, "to_json") else str(one.log_record)
                  for one in self.logs.get_finished_logs()]
        said = [record.getMessage() for record in self._caplog.records if record.name.startswith("backspan")]
        return "\n".join([self._seen.everything(), *events, *said])


@pytest.fixture
def everything(patched, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    every = Everything(patched, caplog)
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(every.logs))
    monkeypatch.setattr(telemetry, "get_logger_provider", lambda: loggers)
    return every


@pytest.fixture
def keyed(server, patched):
    with openai.OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0, default_headers={
            "X-Default": f"{MARK}-header"}) as made:
        yield made


def _call(name, client):
    with contextlib.suppress(openai.APIError, ValueError, AttributeError):  # how it ends is for others to judge
        CALLS[name](client)


@pytest.mark.parametrize("name", CALLS)
def test_off_means_nowhere(keyed, patched, everything, name):
    _call(name, keyed)
    said = str(everything)
    assert patched.spans
    for mark in (MARK, ROW_MARK, KEY, base64.b64encode(MARK.encode()).decode()):
        assert mark not in said


@pytest.mark.parametrize("name", CALLS)
def test_on_means_no_header_all_the_same(keyed, patched, everything, content, name):
    _call(name, keyed)
    said = str(everything)
    assert patched.spans
    for mark in (f"{MARK}-header", KEY):
        assert mark not in said


def test_twin_on_means_somewhere(keyed, everything, content):
    quiet = []
    for name in CALLS:
        before = str(everything).count(MARK) + str(everything).count(ROW_MARK)
        _call(name, keyed)
        if str(everything).count(MARK) + str(everything).count(ROW_MARK) == before:
            quiet.append(name)
    assert set(quiet) <= {"embeddings", "images.create_variation", "beta.threads.runs.submit_tool_outputs"}


@pytest.mark.parametrize("name", ["chat", "chat stream", "responses", "chat error-400"])
def test_the_standard_switch_means_it_too(keyed, everything, monkeypatch, name):
    monkeypatch.setenv("BACKSPAN", "content")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    config.reload()
    _call(name, keyed)
    assert MARK not in str(everything)


# --- a hook that fails ----------------------------------------------------------------------------------------------
def test_a_hook_that_raises_costs_its_text_and_not_the_batch(client, patched, content, monkeypatch):
    monkeypatch.setenv("BACKSPAN_RAISE", "0")
    exporter = InMemorySpanExporter()
    batch = BatchSpanProcessor(exporter, schedule_delay_millis=60_000)
    patched.provider.add_span_processor(batch)

    def hook(text):
        if "second" in text:
            raise RuntimeError(text)
        return text

    backspan.redact.redactor(hook)
    for word in ("first", "second", "third"):
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"the {word}"}])
        assert answer.choices[0].message.content
    assert batch.force_flush()
    batch.shutdown()
    sent = [json.loads(span.attributes["gen_ai.input.messages"])[0]["parts"][0]["content"]
            for span in exporter.get_finished_spans()]
    assert sent == ["the first", "[redacted]", "the third"]
    assert not any("second" in span.to_json() for span in exporter.get_finished_spans())


# --- media ----------------------------------------------------------------------------------------------------------
SOUND = bytes(range(256)) * 8192


def test_media_leave_as_type_size_and_hash(client, patched, content):
    text = base64.b64encode(SOUND).decode()
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}},
        {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{text}"}}]}])
    said = patched.attributes()["gen_ai.input.messages"]
    parts = json.loads(said)[0]["parts"]
    assert len(said) < 1000
    assert [part["mime_type"] for part in parts] == ["image/png", "audio/wav", "application/pdf"]
    assert {(part["size"], part["sha256"]) for part in parts} == {(len(SOUND), hashlib.sha256(SOUND).hexdigest())}


def test_what_is_no_base64_leaves_as_a_hash_too(client, patched, content):
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": [
        {"type": "input_audio", "input_audio": {"data": "é☃ not base64", "format": "wav"}}]}])
    part = json.loads(patched.attributes()["gen_ai.input.messages"])[0]["parts"][0]
    assert part["content"] == "" and len(part["sha256"]) == 64
    assert "not base64" not in patched.everything()
