"""The parts of OpenTelemetry that an application brings are made to raise; the application is unharmed."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

import backspan.instrument
from backspan import _guard, redact, telemetry
from backspan.telemetry import instruments
from tests.contract.calls import CASES, observe
from tests.contract.conftest import MESSAGES, make_client
from tests.contract.scenarios import shows

CALLS = ("chat", "chat 429", "chat raw", "stream", "stream lines", "stream cut", "stream first", "embeddings")


def boom(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("a fault that quotes xyzzy")


def _broken(kind: type, *names: str) -> Any:
    """A `kind` of which the methods ``names`` raise."""
    return type("Broken", (kind,), dict.fromkeys(names, boom))


class _Deciding(Sampler):
    should_sample = boom

    def get_description(self) -> str:
        return "broken"


def _processor(name: str) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_broken(SpanProcessor, name)())
    return provider


def _exporter() -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(_broken(SpanExporter, "export")()))
    return provider


PROVIDERS = {
    "on_start": lambda: _processor("on_start"),
    "on_end": lambda: _processor("on_end"),
    "_on_ending": lambda: _processor("_on_ending"),
    "export": _exporter,
    "sampler": lambda: TracerProvider(sampler=_Deciding(), shutdown_on_exit=False),
    "ids": lambda: TracerProvider(
        id_generator=_broken(RandomIdGenerator, "generate_span_id")(), sampler=ALWAYS_ON, shutdown_on_exit=False),
    "get_tracer": lambda: _broken(TracerProvider, "get_tracer")(shutdown_on_exit=False),
}
SPAN = ("set_attribute", "set_attributes", "set_status", "end", "is_recording", "get_span_context")
METRICS = ("inference_duration", "operation_duration", "input_tokens", "output_tokens", "time_to_first_chunk")


def _unharmed(server, monkeypatch, spoil):
    """Make the calls without us, then with us and ``spoil`` done, and compare."""
    monkeypatch.delenv("BACKSPAN_RAISE")
    without = {(name, kind): observe(server, CASES[name], kind) for name in CALLS for kind in (False, True)}
    spoil()
    backspan.instrument.imported(openai)
    try:
        assert {way: observe(server, CASES[way[0]], way[1]) for way in without} == without
    finally:
        backspan.instrument.uninstrument()


def _said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "backspan"]


@shows("their-faults")
@pytest.mark.parametrize("part", PROVIDERS)
def test_parts_of_the_tracer_provider_that_raise(server, seen, monkeypatch, caplog, part):
    def spoil():
        telemetry._state.tracer_provider = PROVIDERS[part]()

    _unharmed(server, monkeypatch, spoil)
    assert len(_said(caplog)) == len(_guard.failures())
    assert bool(_said(caplog)) is (part != "export")  # the SDK swallows and logs those itself
    assert "xyzzy" not in "".join(_said(caplog))


@shows("their-faults")
@pytest.mark.parametrize("method", SPAN)
def test_methods_of_the_span_that_raise(server, seen, monkeypatch, caplog, method):
    monkeypatch.setattr("opentelemetry.sdk.trace.Span." + method, getattr(trace.Span, method, None) and boom)
    _unharmed(server, monkeypatch, lambda: None)
    assert len(_said(caplog)) == len(_guard.failures())


@shows("their-faults")
@pytest.mark.parametrize("instrument", METRICS)
def test_instruments_that_raise(server, seen, monkeypatch, caplog, instrument):
    _unharmed(server, monkeypatch, lambda: monkeypatch.setattr(
        "backspan.telemetry.instruments", lambda real=instruments: _Without(real(), instrument)))
    assert sum(_guard.failures().values()) >= 1
    assert len(_said(caplog)) == len(_guard.failures())


class _Without:
    """Our instruments, of which one raises."""

    def __init__(self, real: Any, broken: str) -> None:
        self._real, self._broken = real, broken

    def __getattr__(self, name: str) -> Any:
        return _Broken() if name == self._broken else getattr(self._real, name)


class _Broken:
    def __getattr__(self, name: str) -> Any:
        return boom


@shows("mask-raises")
def test_a_redactor_that_raises_loses_the_content_and_not_the_span(server, patched, content, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")
    redact.redactor(boom)
    with make_client(server) as client:
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert answer.choices[0].message.content == "You said: one two three"
    span = patched.one()
    assert span.attributes["gen_ai.usage.input_tokens"] == 5
    assert "one two three" not in patched.everything() and "xyzzy" not in patched.everything()


def test_twin_faults_are_seen_when_they_are_raised(server, seen, monkeypatch):
    telemetry._state.tracer_provider = PROVIDERS["on_end"]()
    backspan.instrument.imported(openai)
    try:
        with make_client(server) as client, pytest.raises(RuntimeError, match="xyzzy"):
            client.chat.completions.create(model="m", messages=MESSAGES)
    finally:
        backspan.instrument.uninstrument()
