"""Searches of a vector store: asked for by the application, or made by the provider while it answered (`file_search`).

Both become a retrieval span of the same shape as any other retriever's. A search of the provider's is a child of the
answer's span; when it began and ended nobody is told, so it has the time at which its results came, and no length.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import SpanKind

from backspan import context, semconv, telemetry
from backspan._retrieval import Document, content_redactor, document_attributes, span_name
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, each, field, peek
from backspan.instrument._openai_common import text_or_none, texts
from backspan.redact.parts import mark, redacted

OPERATION = Operation(semconv.RETRIEVAL, answers=False)
_WHERE = (semconv.PROVIDER_NAME, semconv.SERVER_ADDRESS, semconv.SERVER_PORT)


# --- asked for by the application -----------------------------------------------------------------------------------
def asked(body: Json, content: bool) -> Asked:
    """Read a request body; the path has said ``vector_store_id``."""
    store, most = str(body.get("vector_store_id") or ""), body.get("max_num_results")
    attributes = _index(store)
    if isinstance(most, int):
        attributes[semconv.RETRIEVAL_TOP_K] = most
    recorded: Json = {}
    if content:
        _put_query(recorded, body.get("query"))
    return Asked(None, attributes, None, recorded, subject=store)


def _index(store: str) -> Json:
    said = {semconv.DATA_SOURCE_ID: store, semconv.INDEX_NAME: store,
            semconv.INDEX_VERSION: context.current().index_version}
    return {key: value for key, value in said.items() if value}


def _put_query(attributes: Json, query: Any) -> None:
    said = "\n".join([query] if isinstance(query, str) else texts(query))
    if said:
        attributes[semconv.RETRIEVAL_QUERY] = redacted(said)
        mark(attributes, semconv.RETRIEVAL_QUERY)


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a page of search results, or a `Bag` of one."""
    found = [_document(row, content) for row in each(peek(answer, "data"))]
    call.attributes.update(document_attributes(found, content_redactor(), call.attributes))
    said = call.asked.attributes
    context.note_index(said.get(semconv.INDEX_NAME), said.get(semconv.INDEX_VERSION))


def _document(row: Any, content: bool) -> Document:
    """One result. Its file's name and what the application noted of it may hold anything, so only with content on."""
    score, version = field(row, "score"), field(field(row, "attributes"), "version")
    parts = field(row, "text") or "\n".join(texts(field(row, "content")))
    return Document(
        str(field(row, "file_id") or ""), float(score) if isinstance(score, int | float) else None,
        source=text_or_none(field(row, "filename")) if content else None,
        version=str(version) if content and isinstance(version, str | int | float) else None,
        content=text_or_none(parts) if content else None)


# --- made by the provider -------------------------------------------------------------------------------------------
def record_searches(call: Call, answer: Any, output: list[Any], content: bool) -> None:
    """Record each `file_search_call` in the output of a response as a span below that of ``call``."""
    for item in output:
        if field(item, "type") == "file_search_call":
            _record(call, answer, item, content)


def _record(call: Call, answer: Any, item: Any, content: bool) -> None:
    stores = [str(store) for tool in each(peek(answer, "tools")) if field(tool, "type") == "file_search"
              for store in each(field(tool, "vector_store_ids"))]
    store = stores[0] if len(stores) == 1 else ""  # of several, nobody says which one was searched
    service = call.service.attributes
    attributes: Json = {
        semconv.OPERATION_NAME: semconv.RETRIEVAL, **{key: service[key] for key in _WHERE if key in service},
        **call.scope.attributes, **_index(store), semconv.RETRIEVAL_SERVER_SIDE: True}
    if content:
        _put_query(attributes, field(item, "queries"))
    if field(item, "results") is not None:  # the application has to ask for them
        found = [_document(row, content) for row in each(field(item, "results"))]
        attributes.update(document_attributes(found, content_redactor(), attributes))
    span = telemetry.get_tracer().start_span(
        span_name(store or None), context=call.context, kind=SpanKind.CLIENT, attributes=attributes)
    if field(item, "status") == "failed":
        span.set_attribute(semconv.ERROR_TYPE, "failed")
    span.end()
