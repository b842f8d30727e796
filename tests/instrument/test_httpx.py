"""The HTTP child span, and the trace headers that must not reach a model provider."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest
from opentelemetry import baggage, context
from opentelemetry.instrumentation import httpx as contrib

import backspan.instrument
from backspan import config, telemetry
from backspan.instrument import _call
from backspan.instrument.httpx import may_propagate
from tests.instrument.conftest import MESSAGES, async_client

TRANSPORT = __import__(openai._base_client.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The library that this openai talks HTTP through: httpx or httpx2."""
PROPAGATED = ("traceparent", "tracestate", "baggage")


@pytest.fixture(params=["none", "allowed"])
def hosts(request, monkeypatch):
    if request.param == "allowed":
        monkeypatch.setenv("BACKSPAN_PROPAGATE_HOSTS", "example.com,127.*")
        config.reload()
    return request.param


@pytest.fixture
def both(patched):
    backspan.instrument.imported(TRANSPORT)
    return patched


def _headers(server) -> dict[str, str]:
    return {name: value for name, value in server.requests[-1].headers if name in PROPAGATED}


def test_http_span_inside_the_model_span(server, both, hosts):
    token = context.attach(baggage.set_baggage("session", "s1"))
    with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    context.detach(token)
    http, chat = both.spans
    assert (http.name, chat.name) == ("POST", "chat m")
    assert http.parent.span_id == chat.context.span_id
    assert set(_headers(server)) == (set() if hosts == "none" else {"traceparent", "baggage"})


def test_async_and_headers_of_the_apps_own(server, both, hosts):
    async def main():
        async with async_client(server) as client:
            await client.chat.completions.create(
                model="m", messages=MESSAGES, extra_headers={"traceparent": "mine", "baggage": "a=b"})

    asyncio.run(main())
    assert len(both.spans) == 2
    got = _headers(server)
    assert got["baggage"].startswith("a=b")
    assert hosts == "allowed" or got == {"traceparent": "mine", "baggage": "a=b"}


def test_twin_the_contrib_instrumentation_alone_tells_everybody(server, seen):
    instrumentor = getattr(contrib, {"httpx": "HTTPXClientInstrumentor", "httpx2": "HTTPX2ClientInstrumentor"}[
        TRANSPORT.__name__])()
    instrumentor.instrument(tracer_provider=seen.provider)
    try:
        backspan.instrument.imported(TRANSPORT)  # somebody else switched it on: not our guard
        with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
            client.models.list()
    finally:
        backspan.instrument.uninstrument()
        instrumentor.uninstrument()
    assert "traceparent" in _headers(server)


def test_taken_back_whole(server, both):
    backspan.instrument.uninstrument()
    with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert both.spans == ()
    assert type(contrib._inject_propagation_headers).__name__ == "function"


def test_httpx_of_the_apps_own(server, seen, hosts):
    backspan.instrument.imported(httpx)
    try:
        with httpx.Client() as client:
            client.get(f"{server.base_url}/models")
    finally:
        backspan.instrument.uninstrument()
    assert seen.one().name == "GET"
    assert ("traceparent" in _headers(server)) is (hosts == "allowed")


def test_provider_set_later_gets_the_spans(server, both):
    from tests.instrument.conftest import Seen

    later = Seen()
    telemetry._state.tracer_provider = later.provider
    with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert both.spans == () and [span.name for span in later.spans] == ["POST", "chat m"]
    assert not _call._open


@pytest.mark.parametrize("host, allowed", [
    ("api.example.com", True), ("API.EXAMPLE.COM", True), ("a.internal", True), ("example.com", False),
    ("api.example.com.evil.org", False), ("", False)])
def test_patterns(monkeypatch, host, allowed):
    monkeypatch.setenv("BACKSPAN_PROPAGATE_HOSTS", "api.example.com, *.internal")
    config.reload()
    assert may_propagate(host) is allowed
