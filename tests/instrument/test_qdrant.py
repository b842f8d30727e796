"""qdrant-client: local mode and a server, synchronous and not, one span per query."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import pytest
import qdrant_client
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode
from qdrant_client import AsyncQdrantClient, QdrantClient, models

import backspan.instrument
from backspan import context
from backspan.instrument.qdrant import split_version

DOCUMENTS = {1: "cats purr", 2: "dogs bark", 3: "birds sing"}
POINTS = [models.PointStruct(id=number, vector=[1.0, number / 10], payload={"document": text, "source": "zoo.md"})
          for number, text in DOCUMENTS.items()]
PARAMS = models.VectorParams(size=2, distance=models.Distance.COSINE)


@pytest.fixture
def patched(seen):
    backspan.instrument.imported(qdrant_client)
    yield seen
    backspan.instrument.uninstrument()


@pytest.fixture
def local(patched):
    client = QdrantClient(":memory:")
    client.create_collection("animals-v2", vectors_config=PARAMS)
    client.upsert("animals-v2", POINTS)
    yield client
    client.close()


def test_a_query_is_a_retrieval_span(local, patched):
    found = local.query_points("animals-v2", query=[1.0, 0.1], limit=2).points
    span = patched.one()
    got = dict(span.attributes)
    assert (span.name, span.kind) == ("retrieval animals-v2", SpanKind.CLIENT)
    expected = {
        "gen_ai.operation.name": "retrieval", "gen_ai.provider.name": "qdrant", "gen_ai.retrieval.top_k": 2,
        "gen_ai.data_source.id": "animals-v2", "backspan.index.name": "animals-v2", "backspan.index.version": "v2",
        "backspan.retrieval.document.count": 2, "backspan.retrieval.score.max": found[0].score,
        "backspan.retrieval.document.ids": tuple(str(point.id) for point in found),
        "backspan.retrieval.document.scores": tuple(point.score for point in found),
    }
    assert {key: got.get(key) for key in expected} == expected
    assert patched.metrics()["gen_ai.client.operation.duration"][0].count == 1


def test_documents_follow_the_schema_and_content_is_off(local, patched, schema):
    local.query_points("animals-v2", query=[1.0, 0.1], limit=2)
    documents = json.loads(patched.attributes()["gen_ai.retrieval.documents"])
    jsonschema.validate(documents, schema("gen-ai-retrieval-documents"))
    assert "purr" not in patched.everything() and "zoo" not in patched.everything()


def test_content_on(local, patched, content):
    local.query_points("animals-v2", query=[1.0, 0.1], limit=1)
    documents = json.loads(patched.attributes()["gen_ai.retrieval.documents"])
    assert documents[0]["content"] == "cats purr" and documents[0]["source"] == "zoo.md"


def test_batch_and_groups(local, patched):
    local.query_batch_points("animals-v2", requests=[
        models.QueryRequest(query=[1.0, 0.1], limit=2), models.QueryRequest(query=[1.0, 0.2], limit=1)])
    local.query_points_groups("animals-v2", group_by="source", query=[1.0, 0.1], group_size=2)
    counts = [span.attributes["backspan.retrieval.document.count"] for span in patched.spans]
    assert counts == [3, 2]
    assert patched.spans[0].attributes["gen_ai.retrieval.top_k"] == 2


def test_error(local, patched):
    with pytest.raises(ValueError, match="nothing"):
        local.query_points("nothing", query=[1.0])
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ValueError"


def test_async_and_current_span(patched):
    async def main():
        client = AsyncQdrantClient(":memory:")
        await client.create_collection("animals", vectors_config=PARAMS)
        await client.upsert("animals", POINTS)
        await asyncio.gather(*(client.query_points("animals", query=[1.0, 0.1]) for _ in range(5)))
        assert not trace.get_current_span().get_span_context().is_valid
        await client.close()

    asyncio.run(main())
    assert [span.name for span in patched.spans] == ["retrieval animals"] * 5


def test_the_answer_of_a_turn_carries_the_index(local, patched):
    with context.turn() as turn:
        local.query_points("animals-v2", query=[1.0, 0.1])
        assert turn.index == ("animals-v2", "v2")


def test_suppressed_and_off(local, patched, monkeypatch):
    with suppress_instrumentation():
        local.query_points("animals-v2", query=[1.0, 0.1])
    backspan.instrument.uninstrument()
    local.query_points("animals-v2", query=[1.0, 0.1])
    assert patched.spans == ()


def test_same_result_and_our_faults_are_ours(local, patched, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")
    with_us = local.query_points("animals-v2", query=[1.0, 0.1])
    monkeypatch.setattr("backspan.instrument.qdrant._points", lambda result: 1 / 0)
    broken = local.query_points("animals-v2", query=[1.0, 0.1])
    monkeypatch.setattr("backspan.instrument.qdrant.retrieval", lambda *a, **k: 1 / 0)
    unstarted = local.query_points("animals-v2", query=[1.0, 0.1])
    backspan.instrument.uninstrument()
    assert with_us == broken == unstarted == local.query_points("animals-v2", query=[1.0, 0.1])


@pytest.mark.parametrize("collection, said", [
    ("docs-v3", ("docs", "v3")), ("docs_2026-11-01", ("docs", "2026-11-01")), ("docs@v1.2", ("docs", "v1.2")),
    ("docs", ("docs", None)), ("docs-2", ("docs-2", None)), ("v3", ("v3", None)),
])
def test_version_in_a_collections_name(collection, said):
    assert split_version(collection) == said


# --- a server -------------------------------------------------------------------------------------------------------
class _Qdrant(BaseHTTPRequestHandler):
    """Answers ``points/query`` as a Qdrant server does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self._answer({"title": "qdrant", "version": "1.15.0"})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        points = [{"id": 1, "version": 1, "score": 0.9, "payload": {"document": "cats purr"}}]
        self._answer({"result": {"points": points}, "status": "ok", "time": 0.1})

    def _answer(self, body):
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def port():
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Qdrant)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield httpd.server_address[1]
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_a_server(patched, port):
    client = QdrantClient(host="127.0.0.1", port=port, check_compatibility=False)
    assert client.query_points("animals", query=[1.0, 0.1]).points[0].id == 1
    client.close()

    async def main():
        remote = AsyncQdrantClient(host="127.0.0.1", port=port, check_compatibility=False)
        await remote.query_points("animals", query=[1.0, 0.1])
        await remote.close()

    asyncio.run(main())
    for span in patched.spans:
        assert span.attributes["backspan.retrieval.document.ids"] == ("1",)
        assert (span.attributes["server.address"], span.attributes["server.port"]) == ("127.0.0.1", port)
    assert len(patched.spans) == 2
