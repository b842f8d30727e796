"""A retrieval says what was masked in its query and its documents, and keeps to the budget."""

from __future__ import annotations

import json

import pytest

import backspan
from backspan import config
from backspan import redact as redacting
from backspan.redact import parts


@pytest.fixture(autouse=True)
def recording(monkeypatch):
    monkeypatch.setenv("BACKSPAN", "content")
    config.reload()
    parts.take()
    redacting.reload()
    yield
    redacting.reload()


def _found(spans, contents, query="who is bob@example.com?"):
    with backspan.retrieval(query, index="docs") as found:
        for at, content in enumerate(contents):
            found.add(str(at), score=1.0, content=content)
    return dict(spans.get_finished_spans()[-1].attributes)


def test_query_and_documents_are_counted_together(spans):
    got = _found(spans, ["bob@example.com", "al@example.com, 10.0.0.1", "nobody"])
    assert got["gen_ai.retrieval.query.text"] == "who is [email]?"
    assert {key.rpartition(".")[2]: value for key, value in got.items() if "entities" in key} == {"email": 3, "ip": 1}
    assert got["backspan.redaction.policy"] == redacting.policy()
    assert "backspan.content.truncated" not in got


def test_off_says_nothing(spans, monkeypatch):
    monkeypatch.setenv("BACKSPAN", "1")
    config.reload()
    assert not [key for key in _found(spans, ["bob@example.com"]) if "redaction" in key or "query" in key]


def test_contents_of_the_last_go_first(spans, monkeypatch):
    monkeypatch.setenv("BACKSPAN_CONTENT_LIST", "1000")
    monkeypatch.setenv("BACKSPAN_CONTENT_PART", "300")
    config.reload()
    got = _found(spans, ["a" * 400, "b" * 200, "c" * 300, "d" * 300])
    documents = json.loads(got["gen_ai.retrieval.documents"])
    assert len(got["gen_ai.retrieval.documents"]) <= 1000
    assert [document["id"] for document in documents] == ["0", "1", "2", "3"]
    assert ["content" in document for document in documents] == [True, True, True, False]
    assert documents[0]["content"] == "a" * 300 + "…[100 more]"
    assert got["backspan.content.truncated"] == ("gen_ai.retrieval.documents: 1 contents, 100 characters",)
