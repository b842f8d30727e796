"""Every operation by the conventions: names, kinds, required attributes, types, content and metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import openai
import pytest
from opentelemetry.trace import SpanKind, Status, StatusCode

import backspan
from backspan import config
from tests.instrument.conftest import MESSAGES
from tests.instrument.openai_calls import ROWS
from tests.instrument.test_content import EVERYTHING, ITEMS, TOOL
from tests.support.conventions import FOLDER, OPERATIONS, OTHER, SCHEMAS, content_problems, span_problems

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|Sora API):DeprecationWarning")


def _retrieval(client):
    with backspan.retrieval("what is it?", index="docs", version="3", top_k=2, provider="mine") as found:
        found.add("a", score=0.5, source="s", content="the content of a")
        found.add("b", content="of b")


def _failing(model: str):
    def call(client):
        with pytest.raises(openai.APIError):
            list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))

    return call


CALLS: dict[str, Any] = {
    "chat": lambda c: c.chat.completions.create(
        model="m", messages=EVERYTHING, tools=[TOOL], temperature=1, top_p=1, stop=["x"], seed=1, n=2, max_tokens=9,
        frequency_penalty=0, presence_penalty=0, response_format={"type": "json_object"}),
    "chat stream": lambda c: list(c.chat.completions.create(
        model="tool-call", messages=EVERYTHING, tools=[TOOL], stream=True, stream_options={"include_usage": True})),
    "chat odd": lambda c: c.chat.completions.create(model="content-filter", messages=[{"role": "user", "content": ""}]),
    "chat 429": _failing("error-429"), "chat cut": _failing("cut-after-2"),
    "chat error event": _failing("error-after-2"),
    "responses": lambda c: c.responses.create(
        model="m", input=ITEMS, instructions="Be kind.", tools=[{"type": "web_search"}],
        previous_response_id="resp_0", reasoning={"effort": "low"}),
    "responses stream": lambda c: list(c.responses.create(model="m", input="x", stream=True)),
    "responses fetched": lambda c: c.responses.retrieve(c.responses.create(model="m", input="x", background=True).id),
    "embeddings": lambda c: c.embeddings.create(model="m", input=["a", "b"], encoding_format="float", dimensions=8),
    "retrieval": _retrieval,
    **{row.id: lambda c, row=row: row.on(c)(**row.asked()) for row in ROWS},
    **{f"{row.id} stream": lambda c, row=row: list(row.on(c)(**row.asked(stream=True))) for row in ROWS
       if row.streams and row.resource in ("completions", "images")},
}


@pytest.mark.parametrize("setting", ["1", "content"])
@pytest.mark.parametrize("name", CALLS)
def test_spans(client, patched, monkeypatch, name, setting):
    monkeypatch.setenv("BACKSPAN", setting)
    config.reload()
    CALLS[name](client)
    assert patched.spans
    assert [(span.name, span_problems(span)) for span in patched.spans if span_problems(span)] == []
    if setting == "1":
        assert not [key for span in patched.spans for key in span.attributes
                    if key in SCHEMAS and key != "gen_ai.retrieval.documents"]


@pytest.mark.parametrize("name", CALLS)
def test_metrics(client, patched, name):
    CALLS[name](client)
    metrics = patched.metrics()
    for span in patched.spans:
        operation = span.attributes["gen_ai.operation.name"]
        wanted = OPERATIONS.get(operation, OTHER)
        assert wanted.metrics <= metrics.keys(), operation
        for metric in wanted.metrics:
            labels = [dict(point.attributes) for point in metrics[metric]]
            mine = [one for one in labels if one.get("gen_ai.operation.name") == operation]
            assert mine, (metric, operation)
            if metric.endswith("duration") and "error.type" in span.attributes:
                assert any(one.get("error.type") == span.attributes["error.type"] for one in mine)
    assert not [name for name in metrics if not name.startswith(("gen_ai.client.", "backspan."))]


def test_every_operation_is_called(client, patched):
    for call in CALLS.values():
        call(client)
    said = {span.attributes["gen_ai.operation.name"] for span in patched.spans}
    assert said >= OPERATIONS.keys() - {"invoke_workflow"}


# --- twins ----------------------------------------------------------------------------------------------------------
GOOD = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m",
        "server.address": "h", "gen_ai.usage.input_tokens": 1, "gen_ai.output.messages": "[]"}


def _span(name="chat m", kind=SpanKind.CLIENT, status=StatusCode.UNSET, **changes):
    attributes = {**GOOD, **{key.replace("__", "."): value for key, value in changes.items()}}
    return SimpleNamespace(name=name, kind=kind, status=Status(status), attributes={
        key: value for key, value in attributes.items() if value is not None})


def test_twin_a_good_span_has_no_problem():
    assert span_problems(_span()) == []


@pytest.mark.parametrize("span", [
    _span(name="chat"), _span(kind=SpanKind.INTERNAL), _span(status=StatusCode.ERROR), _span(server__address=None),
    _span(gen_ai__usage__input_tokens=1.0), _span(gen_ai__usage__input_tokens=True), _span(gen_ai__system="openai"),
    _span(gen_ai__request__temperature=1), _span(gen_ai__response__finish_reasons="stop"),
    _span(gen_ai__output__type="audio"), _span(gen_ai__output__messages="[{"),
    _span(name="fetch_response", gen_ai__operation__name="fetch_response"),
])
def test_twin_a_wrong_span_has_one(span):
    assert span_problems(span)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the conventions' schemas are not beside the checkout")
@pytest.mark.parametrize("key", ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions",
                                 "gen_ai.tool.definitions"])
def test_twin_the_schemas_refuse_what_openai_sends(key):
    assert list(content_problems({key: '[{"role": "user", "content": "hi"}]'}))
    assert not list(content_problems({key: "[]"}))
