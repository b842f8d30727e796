"""Retrieval spans: one shape for the retrievers we patch and for the application's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, use_span

from backspan import context, semconv, telemetry
from backspan._guard import guarded
from backspan.config import settings
from backspan.redact.parts import mark, redacted

_MOST_DOCUMENTS = 100
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


@dataclass(frozen=True)
class Document:
    """One retrieved document. ``age`` is in seconds at retrieval; ``content`` leaves only when content is recorded."""

    id: str
    score: float | None = None
    source: str | None = None
    version: str | None = None
    age: float | None = None
    content: str | None = None

    def said(self, redact: Callable[[str], str] | None) -> dict[str, Any]:
        """The document as the conventions' JSON, with what was said of it; its content only through ``redact``."""
        fields = {"id": self.id, "score": self.score, "source": self.source, "version": self.version, "age": self.age}
        if redact is not None and self.content is not None:
            fields["content"] = redact(self.content)
        return {key: value for key, value in fields.items() if value is not None}


def document_attributes(
    documents: Sequence[Document], redact: Callable[[str], str] | None = None, before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Span attributes for ``documents``: count, ids, scores and best score always, contents only with ``redact``.

    At most 100 documents are listed; the count is of all. Contents of the last go first when the attribute is over its
    budget. ``before``: attributes that the span has already, whose counts of what was masked these go on from.
    """
    listed = documents[:_MOST_DOCUMENTS]
    scores = [float(document.score) for document in listed if document.score is not None]
    attributes: dict[str, Any] = {
        semconv.RETRIEVAL_DOCUMENT_COUNT: len(documents),
        semconv.RETRIEVAL_DOCUMENT_IDS: [document.id for document in listed],
    }
    _put_documents(attributes, [document.said(redact) for document in listed], redact is not None, before or {})
    if scores:
        attributes[semconv.RETRIEVAL_DOCUMENT_SCORES] = scores
        attributes[semconv.RETRIEVAL_SCORE_MAX] = max(scores)
    return attributes


def _put_documents(
    attributes: dict[str, Any], said: list[dict[str, Any]], content: bool, before: Mapping[str, Any]
) -> None:
    text, left_out, most = _encode(said), 0, settings().content_list
    over = len(text) - most
    for document in reversed(said):
        if over > 0 and "content" in document:
            over -= len(f',"content":{_encode(document.pop("content"))}')
            left_out += 1
    attributes[semconv.RETRIEVAL_DOCUMENTS] = _encode(said) if left_out else text
    if content:
        attributes.update(_counts(before))
        mark(attributes, semconv.RETRIEVAL_DOCUMENTS, left_out, "contents")


def _counts(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What `mark` has written into ``attributes``."""
    return {key: list(value) if key == semconv.CONTENT_TRUNCATED else value for key, value in attributes.items()
            if key.startswith(semconv.REDACTION_ENTITIES) or key == semconv.CONTENT_TRUNCATED}


def request_attributes(
    index: str | None, version: str | None, top_k: int | None, scope: context.Scope
) -> dict[str, Any]:
    """Span attributes known before a retrieval runs."""
    said: dict[str, Any] = {
        semconv.OPERATION_NAME: semconv.RETRIEVAL, **scope.attributes, semconv.DATA_SOURCE_ID: index,
        semconv.INDEX_NAME: index, semconv.INDEX_VERSION: version, semconv.RETRIEVAL_TOP_K: top_k,
    }
    return {key: value for key, value in said.items() if value is not None}


def span_name(index: str | None) -> str:
    """``retrieval {index}``, as the conventions say."""
    return f"{semconv.RETRIEVAL} {index}" if index else semconv.RETRIEVAL


def content_redactor() -> Callable[[str], str] | None:
    """The function that content must pass before it may leave, or None while content is off."""
    if not settings().content:
        return None
    return redacted


class Retrieval:
    """What a retriever of the application found, reported inside ``with backspan.retrieval(...) as found``."""

    def __init__(self) -> None:
        self._documents: list[Document] = []

    def add(
        self, id: str | int, *, score: float | None = None, source: str | None = None,
        version: str | int | None = None, age: float | None = None, content: str | None = None,
    ) -> None:
        """Report one document. ``age`` is in seconds; ``content`` is recorded only when content is on."""
        said_version = None if version is None else str(version)
        self._documents.append(Document(str(id), score, source, said_version, age, content))

    def documents(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Report several documents, each a mapping with the arguments of `add`."""
        for document in documents:
            self.add(**document)

    @property
    def found(self) -> tuple[Document, ...]:
        """The documents reported so far."""
        return tuple(self._documents)


class retrieval:
    """Record a retrieval by the application's own retriever as a span.

    Yields a `Retrieval`; report what was found with its ``add``. An exception from the block marks the span and
    goes on.

    Args:
        query: what was searched for; recorded only when content is on.
        index: name of the index, also the span's name.
        version: version of the index; becomes a metric label of the answer of the same turn.
        top_k: how many documents were asked for.
        provider: ``gen_ai.provider.name`` of the retriever, if it has one.
    """

    def __init__(
        self, query: str | None = None, *, index: str | None = None, version: str | int | None = None,
        top_k: int | None = None, provider: str | None = None,
    ) -> None:
        self._query, self._index, self._top_k, self._provider = query, index, top_k, provider
        self._version = None if version is None else str(version)
        self._result = Retrieval()
        self._counts: dict[str, Any] = {}
        self._span: Span | None = None
        self._current: Any = None
        self._started = 0.0

    def __enter__(self) -> Retrieval:
        if settings().enabled and not telemetry.suppressed():
            self._open()
        return self._result

    @guarded
    def _open(self) -> None:
        scope, parent = context.calling()
        attributes = request_attributes(self._index, self._version, self._top_k, scope)
        if self._provider:
            attributes[semconv.PROVIDER_NAME] = self._provider
        redact = content_redactor()
        if redact is not None and self._query is not None:
            attributes[semconv.RETRIEVAL_QUERY] = redact(self._query)
            mark(attributes, semconv.RETRIEVAL_QUERY)
            self._counts = _counts(attributes)
        span = telemetry.get_tracer().start_span(
            span_name(self._index), context=parent, kind=SpanKind.CLIENT, attributes=attributes)
        self._current = use_span(span, record_exception=False, set_status_on_exception=False)
        self._current.__enter__()
        self._span, self._started = span, time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._span is not None:
            self._close(kind)

    @guarded
    def _close(self, kind: type[BaseException] | None) -> None:
        assert self._span is not None
        self._current.__exit__(None, None, None)
        labels: dict[str, Any] = {semconv.OPERATION_NAME: semconv.RETRIEVAL, semconv.DATA_SOURCE_ID: self._index or ""}
        if kind is not None:
            self._span.set_status(Status(StatusCode.ERROR))
            self._span.set_attribute(semconv.ERROR_TYPE, kind.__qualname__)
            labels[semconv.ERROR_TYPE] = kind.__qualname__
        self._span.set_attributes(document_attributes(self._result.found, content_redactor(), self._counts))
        telemetry.instruments().operation_duration.record(time.perf_counter() - self._started, labels)
        context.note_index(self._index, self._version)
        self._span.end()
