"""The real openai SDK, patched, against the look-alike over real sockets; spans and metrics kept in memory."""

from __future__ import annotations

import contextlib
import json
import logging

import openai
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import backspan.instrument
import backspan.redact
from backspan import _guard, config, context, telemetry
from backspan.instrument import _call, _content, _outcome
from tests.support.conventions import FOLDER, attribute_problems, content_problems
from tests.support.openai_server import OpenAIServer

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "one two three"}]


class Seen:
    """What left the process: spans and metrics."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def one(self):
        """The only span."""
        assert [span.name for span in self.spans] and len(self.spans) == 1, [span.name for span in self.spans]
        return self.spans[0]

    def attributes(self) -> dict:
        return dict(self.one().attributes)

    def metrics(self) -> dict[str, list]:
        """Data points by instrument name."""
        self.reader.collect()  # a new series of ours is 0 the first time
        data = self.reader.get_metrics_data()
        found: dict[str, list] = {}
        for resource in data.resource_metrics if data else []:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found.setdefault(metric.name, []).extend(metric.data.data_points)
        return found

    def everything(self) -> str:
        """All that was recorded, as one text, for looking for what must not be there."""
        return json.dumps([json.loads(span.to_json()) for span in self.spans], ensure_ascii=False) + str(self.metrics())


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in ("BACKSPAN_INSTRUMENT", "BACKSPAN_TOKEN_KEYS", "BACKSPAN_SEMCONV", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BACKSPAN", "1")
    monkeypatch.setenv("BACKSPAN_RAISE", "1")
    monkeypatch.setenv("BACKSPAN_DATA_DIR", str(tmp_path / "data"))
    config.reload()
    _guard.forget()
    telemetry.reset_for_tests()
    _outcome._versions.clear()
    _content.limit.cache_clear()
    backspan.redact.redactor(None)
    yield
    _call.end_all()
    telemetry.reset_for_tests()
    config.reload()


@pytest.fixture
def seen():
    """What the test records; whatever that is, its names, types and contents are the conventions'."""
    kept = Seen()
    telemetry._state.tracer_provider = kept.provider
    telemetry._state.meter_provider = kept.meters
    yield kept
    found = [problem for span in kept.spans for check in (attribute_problems, content_problems)
             for problem in check(dict(span.attributes))]
    assert found == []


@pytest.fixture
def patched(seen):
    backspan.instrument.imported(openai)
    yield seen
    backspan.instrument.uninstrument()


@pytest.fixture
def content(monkeypatch):
    """Content on."""
    monkeypatch.setenv("BACKSPAN", "content")
    config.reload()


@pytest.fixture(scope="session")
def server():
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def client(server, patched):
    with openai.OpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0) as made:
        yield made


@contextlib.asynccontextmanager
async def async_client(server, **more):
    """An asynchronous client; each test runs a loop of its own."""
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0, **more) as made:
        yield made


@pytest.fixture
def schema():
    """The conventions' JSON schema of a content attribute, read where the environment says they are."""
    def read(name: str) -> dict:
        return json.loads((FOLDER / f"{name}.json").read_text())

    return read


@pytest.fixture
def quiet(caplog):
    """Fails the test if we or OpenTelemetry (its context!) log anything at WARNING or above.

    asyncio complains by itself about asynchronous generators that are dropped half read, with and without us.
    """
    caplog.set_level(logging.WARNING)
    yield caplog
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING and record.name != "asyncio"]
    assert [record.getMessage() for record in loud] == []


__all__ = ["MESSAGES", "async_client", "context"]
