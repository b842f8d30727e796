"""Sessions in which a model hears and talks without a pause, against a real socket: one span each, however they end."""

from __future__ import annotations

import asyncio
import gc
import json

import openai
import pytest
import websockets.exceptions
from opentelemetry.trace import SpanKind, StatusCode

from backspan.instrument import _openai_common as common
from backspan.instrument import _openai_continuous as continuous
from tests.support.openai_socket import SOUND, SocketServer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*deprecated:DeprecationWarning", r"ignore:connect\(\) must be used:DeprecationWarning")
LAST = "session.output_audio.delta"


@pytest.fixture(scope="module")
def peer():
    with SocketServer() as running:
        yield running


def _wants(resource, *names):
    for name in names:
        resource = getattr(resource, name, None)
    if resource is None:
        pytest.skip(f"the installed SDK has no {'.'.join(names)}")
    return resource


def _talker(peer, kind=openai.OpenAI):
    return kind(base_url=peer.base_url, websocket_base_url=peer.base_url.replace("http", "ws"), api_key="sk-test",
                max_retries=0)


@pytest.fixture
def talker(peer, patched):
    if openai.__version__ < "3.":
        pytest.skip("the installed SDK has no such sessions")
    with _talker(peer) as made:
        yield made


def _until(connection, kind):
    seen = []
    for event in connection:
        seen.append(event.type)
        if event.type == kind:
            break
    return seen


def _translate(connection, pieces=3):
    for _ in range(pieces):
        connection.send({"type": "session.input_audio_buffer.append", "audio": SOUND})
        _until(connection, LAST)


def _talk(connection, model="rt", pieces=3, kind=LAST):
    connection.send({"type": "session.start", "session": {
        "model": model, "instructions": "Be kind.", "delegation": {"type": "responses", "responses": {
            "model": "backend"}}}})
    for _ in range(pieces):
        connection.send({"type": "session.input_audio.append", "audio": SOUND})
        _until(connection, kind)


def _close(connection):
    connection.send({"type": "session.close"})
    return _until(connection, "session.closed")


def _messages(patched, which):
    return json.loads(patched.attributes()[f"gen_ai.{which}.messages"])


# --- translations -----------------------------------------------------------------------------------------------------
def test_a_translation(talker, patched, content):
    with _wants(talker, "realtime", "translations").connect(model="rt") as connection:
        _translate(connection)
        assert not patched.spans
        _close(connection)
        assert patched.one()  # ended while the connection is still open
    span = patched.one()
    assert (span.name, span.kind, span.status.status_code) == ("translation rt", SpanKind.CLIENT, StatusCode.UNSET)
    expected = {
        "gen_ai.operation.name": "translation", "gen_ai.provider.name": "openai", "openai.api.type": "realtime",
        "gen_ai.request.model": "rt", "gen_ai.response.model": "rt-2026-01-01", "gen_ai.output.type": "speech",
        "gen_ai.response.finish_reasons": ("stop",), "backspan.stream.outcome": "complete",
        "backspan.stream.chunks": 11, "server.address": "127.0.0.1", "gen_ai.conversation.id": "sess_1",
    }
    assert {key: span.attributes.get(key) for key in expected} == expected
    assert span.attributes["backspan.stream.time_to_first_content"] > 0
    assert _messages(patched, "input")[0]["parts"] == [{"type": "text", "content": "YOU SAID IT"}]
    assert _messages(patched, "output")[0]["parts"] == [{"type": "text", "content": "you said it"}]
    assert SOUND not in patched.everything() and "backspan.answers" not in patched.metrics()


# --- live -------------------------------------------------------------------------------------------------------------
def test_a_live_session_and_what_it_delegates(talker, patched, content):
    with _wants(talker, "live").connect() as connection:
        _talk(connection, kind="session.usage.updated")
        connection.send({"type": "response.create"})
        seen = _until(connection, "response.event")
        while len(patched.spans) < 1:
            connection.recv()
        _close(connection)
    inner, outer = patched.spans
    assert seen and (inner.name, outer.name) == ("chat backend", "chat rt")
    assert inner.parent.span_id == outer.context.span_id
    assert inner.attributes["gen_ai.usage.output_tokens"] > 0
    expected = {
        "openai.api.type": "live", "gen_ai.response.model": "rt-2026-01-01", "gen_ai.conversation.id": "live_1",
        "backspan.audio.seconds": 1.5, "backspan.stream.outcome": "complete",
    }
    assert {key: outer.attributes.get(key) for key in expected} == expected
    assert outer.attributes["backspan.prompt.hash"] and "Be kind." in outer.attributes["gen_ai.system_instructions"]
    assert SOUND not in patched.everything()
    assert sum(point.value for point in patched.metrics()["backspan.answers"]) == 1  # the conversation


def test_a_fork(talker, patched):
    with _wants(talker, "live", "forks").connect(session_id="live_0") as connection:
        _talk(connection)
        _close(connection)
    assert patched.one().name == "chat rt"


@pytest.mark.parametrize("model, outcome, error", [
    ("expired", "incomplete", None), ("content", "incomplete", None),
    ("connection_lost", "disconnected", "connection_lost")])
def test_why_it_was_closed(talker, patched, model, outcome, error):
    with _wants(talker, "live").connect() as connection:
        _talk(connection, model)
        _close(connection)
    got = patched.attributes()
    assert (got["backspan.stream.outcome"], got.get("error.type")) == (outcome, error)


@pytest.mark.parametrize("model, outcome", [("drop", "disconnected"), ("quit", "incomplete")])
def test_the_connection_ends_before_the_session(talker, patched, model, outcome):
    connection = _wants(talker, "live").connect().enter()
    _talk(connection, model, 1)
    with pytest.raises(websockets.exceptions.ConnectionClosed):
        connection.recv()
    assert patched.attributes()["backspan.stream.outcome"] == outcome
    connection.close()
    assert patched.one()


def test_the_application_closes_the_connection(talker, patched):
    with _wants(talker, "live").connect() as connection:
        _talk(connection)
    assert patched.attributes()["backspan.stream.outcome"] == "closed"


@pytest.mark.parametrize("goes_on", [False, True])
def test_an_error_that_is_followed_by_words_is_none(talker, patched, goes_on):
    with _wants(talker, "live").connect() as connection:
        _talk(connection)
        connection.send({"type": "session.update", "session": {}})
        _until(connection, "error")
        if goes_on:
            connection.send({"type": "session.input_audio.append", "audio": SOUND})
            _until(connection, LAST)
    assert patched.attributes().get("error.type") == (None if goes_on else "bad_wish")


def test_a_session_that_nobody_closes_is_abandoned(talker, patched):
    connection = _wants(talker, "live").connect().enter()
    _talk(connection)
    inner = connection._connection
    del connection
    gc.collect()
    assert patched.attributes()["backspan.stream.outcome"] == "abandoned"
    inner.close()


def test_no_session_no_span(talker, patched):
    with _wants(talker, "live").connect() as connection:
        connection.send({"type": "session.update", "session": {}})
        _until(connection, "error")
    assert patched.spans == ()


def test_content_is_off_by_default(talker, patched):
    with _wants(talker, "live").connect() as connection:
        _talk(connection)
        _close(connection)
    said = patched.everything()
    assert "you said" not in said and "Be kind" not in said and "YOU" not in said


def test_long_sessions_take_no_more_memory(talker, patched, content, monkeypatch):
    monkeypatch.setattr(common, "MOST_CHARACTERS", 10)
    with _wants(talker, "realtime", "translations").connect(model="rt") as connection:
        _translate(connection)
        _close(connection)
    said = [_messages(patched, which)[0]["parts"][0]["content"] for which in ("input", "output")]
    assert sum(map(len, said)) == 10


def test_asynchronously(peer, patched):
    if openai.__version__ < "3.":
        pytest.skip("the installed SDK has no such sessions")

    async def main():
        async with _talker(peer, openai.AsyncOpenAI) as client, client.realtime.translations.connect(
                model="rt") as connection:
            await connection.send({"type": "session.input_audio_buffer.append", "audio": SOUND})
            await connection.send({"type": "session.close"})
            async for event in connection:
                if event.type == "session.closed":
                    break

    asyncio.run(main())
    assert patched.attributes()["backspan.stream.outcome"] == "complete"


def test_twin_a_session_that_is_not_followed_makes_no_span(talker, patched, monkeypatch):
    monkeypatch.setattr(continuous.Live, "start", "never")
    with _wants(talker, "live").connect() as connection:
        _talk(connection)
        _close(connection)
    assert patched.spans == ()
