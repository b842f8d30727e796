"""openai over a WebSocket, against a real one: one span per response, however it ended, and no sound anywhere."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import threading

import openai
import pytest
import websockets.exceptions
from opentelemetry.trace import SpanKind, StatusCode

import backspan.instrument
from backspan import context
from backspan.instrument import _openai_socket as sockets
from tests.support.openai_socket import SOUND, SocketServer

ITEM = {"type": "message", "role": "user", "content": [
    {"type": "input_text", "text": "marker of mine"}, {"type": "input_audio", "audio": SOUND}]}
DONE = "response.done"
# The SDK opens sockets in a way that websockets 17 calls legacy; its beta is one itself.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*deprecated:DeprecationWarning", r"ignore:connect\(\) must be used:DeprecationWarning")


@pytest.fixture(scope="module")
def peer():
    with SocketServer() as running:
        yield running


@pytest.fixture
def talker(peer, patched):
    with openai.OpenAI(base_url=peer.base_url, websocket_base_url=peer.base_url.replace("http", "ws"),
                       api_key="sk-test", max_retries=0) as made:
        yield made


@pytest.fixture(params=["realtime", "beta.realtime"])
def realtime(request, talker):
    resource = talker
    for name in request.param.split("."):
        resource = getattr(resource, name, None)
    if resource is None:
        pytest.skip(f"the installed SDK has no {request.param}")
    return resource


def _until(connection, kind=DONE):
    seen = []
    for event in connection:
        seen.append(event.type)
        if event.type == kind:
            return seen
    return seen


def _answers(patched):
    return sum(point.value for point in patched.metrics().get("backspan.answers", []))


def test_one_response(realtime, patched):
    with realtime.connect(model="rt") as connection:
        connection.conversation.item.create(item=ITEM)
        connection.response.create(response={"max_output_tokens": 9})
        seen = _until(connection)
        assert patched.one()  # ended while the connection is still open
    span = patched.one()
    got = dict(span.attributes)
    assert (span.name, span.kind, span.status.status_code) == ("chat rt", SpanKind.CLIENT, StatusCode.UNSET)
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "openai.api.type": "realtime",
        "gen_ai.request.model": "rt", "gen_ai.response.model": "rt-2026-01-01", "gen_ai.request.max_tokens": 9,
        "gen_ai.conversation.id": "conv_1", "gen_ai.response.finish_reasons": ("stop",), "gen_ai.output.type": "text",
        "gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 10, "gen_ai.usage.audio.input_tokens": 8,
        "gen_ai.usage.audio.output_tokens": 7, "gen_ai.usage.cache_read.input_tokens": 4,
        "backspan.stream.outcome": "complete", "server.address": "127.0.0.1",
        "backspan.prompt.hash": context.prompt_hash("Be kind."),
    }
    assert {key: got.get(key) for key in expected} == expected
    assert got["backspan.stream.chunks"] == sum(kind.startswith("response.") for kind in seen)
    assert got["backspan.stream.time_to_first_content"] >= got["gen_ai.response.time_to_first_chunk"]
    assert _answers(patched) == 1
    everything = patched.everything()
    for secret in ("marker of mine", SOUND, "a-secret-key", "you said"):
        assert secret not in everything


def test_content(realtime, patched, content, schema):
    import jsonschema

    with realtime.connect(model="rt") as connection:
        connection.session.update(session={"instructions": "Be brief."})
        connection.conversation.item.create(item=ITEM)
        connection.response.create()
        _until(connection)
        connection.response.create()
        _until(connection)
    first, second = (dict(span.attributes) for span in patched.spans)
    told, said = json.loads(first["gen_ai.input.messages"]), json.loads(first["gen_ai.output.messages"])
    jsonschema.validate(told, schema("gen-ai-input-messages"))
    jsonschema.validate(said, schema("gen-ai-output-messages"))
    assert told[0]["parts"][0]["content"] == "marker of mine"
    assert (told[0]["parts"][1]["type"], told[0]["parts"][1]["content"]) == ("blob", "")
    assert said[0]["parts"] == [{"type": "text", "content": "you said it"}]
    assert json.loads(first["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert first["backspan.prompt.hash"] == context.prompt_hash("Be brief.")
    assert "gen_ai.input.messages" not in second
    assert SOUND not in patched.everything()


def test_an_answer_that_begins_by_itself(realtime, patched, content):
    with realtime.connect(model="rt") as connection:
        connection.input_audio_buffer.append(audio=SOUND)
        connection.input_audio_buffer.commit()
        _until(connection)
    got = patched.attributes()
    assert json.loads(got["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "what I said aloud"}]}]
    assert got["gen_ai.request.model"] == "rt"
    assert SOUND not in patched.everything()


@pytest.mark.parametrize("model, outcome, reasons, error", [
    ("failed", "failed", ("error",), "broke"), ("incomplete", "incomplete", ("length",), None),
    ("tool-call", "complete", ("tool_call",), None),
])
def test_how_it_ended(realtime, patched, model, outcome, reasons, error):
    with realtime.connect(model=model) as connection:
        connection.response.create()
        _until(connection)
    got = patched.attributes()
    assert (got["backspan.stream.outcome"], got["gen_ai.response.finish_reasons"]) == (outcome, reasons)
    assert got.get("error.type") == error


def test_interrupted(realtime, patched):
    with realtime.connect(model="wait") as connection:
        connection.response.create()
        _until(connection, "response.output_audio_transcript.delta")
        connection.response.cancel()
        _until(connection)
    span = patched.one()
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["backspan.stream.outcome"] == "cancelled"
    assert span.attributes["backspan.stream.interrupted_by"] == "client_cancelled"
    assert span.attributes["gen_ai.usage.output_tokens"] == 10
    assert "gen_ai.response.finish_reasons" not in span.attributes


def test_refused(realtime, patched):
    with realtime.connect(model="refuse") as connection:
        connection.response.create(event_id="event_7")
        _until(connection, "error")
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes["error.type"], span.attributes["backspan.stream.outcome"]) == ("bad_wish", "failed")
    assert _answers(patched) == 0


def test_closed_by_the_client(realtime, patched, content):
    with realtime.connect(model="wait") as connection:
        connection.response.create()
        _until(connection, "response.output_audio_transcript.delta")
    got = patched.attributes()
    assert got["backspan.stream.outcome"] == "closed"
    assert json.loads(got["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "you"}]


def test_dropped(realtime, patched):
    with realtime.connect(model="drop") as connection:
        connection.response.create()
        with pytest.raises(websockets.exceptions.ConnectionClosedError):
            _until(connection)
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["backspan.stream.outcome"] == "disconnected"
    assert span.attributes["error.type"] == "websockets.exceptions.ConnectionClosedError"


def test_closed_by_the_provider(realtime, patched):
    with realtime.connect(model="quit") as connection:
        connection.response.create()
        _until(connection)
    assert patched.attributes()["backspan.stream.outcome"] == "incomplete"


def test_forgotten(realtime, patched):
    connection = realtime.connect(model="wait").enter()
    connection.response.create()
    _until(connection, "response.output_audio_transcript.delta")
    socket = connection._connection
    del connection
    gc.collect()
    assert patched.attributes()["backspan.stream.outcome"] == "abandoned"
    socket.close()


def test_events_that_the_application_reads_itself(realtime, patched):
    with realtime.connect(model="rt") as connection:
        connection.response.create()
        while DONE.encode() not in connection.recv_bytes():
            pass
        assert not patched.spans  # it may still have the SDK read them
    assert patched.attributes()["backspan.stream.outcome"] == "complete"
    assert patched.attributes()["gen_ai.usage.output_tokens"] == 10


def test_a_message_is_sent_between_anothers_coming_and_its_being_read(realtime, patched):
    """As a thread does that sends what a microphone hears while another receives."""
    with realtime.connect(model="rt") as connection:
        connection.response.create()
        raw = b""
        while DONE.encode() not in raw:
            raw = connection.recv_bytes()
            connection.input_audio_buffer.append(audio=SOUND)
            connection.parse_event(raw)
    assert patched.attributes()["backspan.stream.chunks"] == 8


def test_one_thread_sends_and_another_receives(realtime, patched):
    with realtime.connect(model="rt") as connection:
        stop = threading.Event()

        def send():
            while not stop.is_set():
                connection.input_audio_buffer.append(audio=SOUND)

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(5):
            connection.response.create()
            _until(connection)
        stop.set()
        sender.join()
    assert [span.attributes["backspan.stream.chunks"] for span in patched.spans] == [8] * 5


def test_suppressed(realtime, patched):
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with realtime.connect(model="rt") as connection, suppress_instrumentation():
        connection.response.create()
        _until(connection)
    assert not patched.spans


def test_asynchronous_and_two_at_once(peer, patched):
    async def talk(client, model, last):
        async with client.realtime.connect(model=model) as connection:
            await connection.response.create()
            async for event in connection:
                if event.type == last:
                    break
            if model == "wait":
                await connection.response.cancel()
                async for event in connection:
                    if event.type == DONE:
                        break

    async def main():
        async with openai.AsyncOpenAI(base_url=peer.base_url, api_key="k") as client:
            await asyncio.gather(*(talk(client, model, last) for model, last in (
                ("rt", DONE), ("wait", "response.output_audio.delta"), ("tool-call", DONE))))
            async with client.realtime.connect(model="drop") as connection:
                await connection.response.create()
                with pytest.raises(websockets.exceptions.ConnectionClosedError):
                    async for _ in connection:
                        pass

    asyncio.run(main())
    assert sorted((span.name, span.attributes["backspan.stream.outcome"]) for span in patched.spans) == [
        ("chat drop", "disconnected"), ("chat rt", "complete"), ("chat tool-call", "complete"),
        ("chat wait", "cancelled")]


# --- the Responses API ----------------------------------------------------------------------------------------------
needs_responses = pytest.mark.skipif(
    not hasattr(importlib.import_module("openai.resources.responses.responses").Responses, "connect"),
    reason="the installed SDK has no responses.connect")


@needs_responses
@pytest.mark.parametrize("beta", [False, True])
def test_responses(talker, patched, content, beta):
    resource = talker.beta if beta else talker
    if not hasattr(getattr(resource, "responses", None), "connect"):
        pytest.skip("the installed SDK has no beta.responses.connect")
    with resource.responses.connect() as connection:
        for text in ("one two", "three"):
            connection.response.create(model="m", input=text, instructions="Be kind.")
            _until(connection, "response.completed")
    first, second = patched.spans
    got = dict(first.attributes)
    expected = {"gen_ai.request.model": "m", "openai.api.type": "responses", "gen_ai.usage.input_tokens": 4,
                "gen_ai.response.finish_reasons": ("stop",), "backspan.stream.outcome": "complete"}
    assert {key: got.get(key) for key in expected} == expected
    assert json.loads(got["gen_ai.input.messages"])[0]["parts"][0]["content"] == "one two"
    assert "You said: three" in second.attributes["gen_ai.output.messages"]
    assert _answers(patched) == 2


@needs_responses
@pytest.mark.parametrize("model, last, outcome, error", [
    ("refuse", "error", "failed", "bad_wish"), ("failed", "response.failed", "failed", "server_error"),
    ("drop", None, "disconnected", "websockets.exceptions.ConnectionClosedError"),
])
def test_responses_that_end_badly(talker, patched, model, last, outcome, error):
    with talker.responses.connect() as connection:
        connection.response.create(model=model, input="x")
        try:
            _until(connection, last)
        except websockets.exceptions.ConnectionClosedError:
            assert model == "drop"
    got = patched.attributes()
    assert (got["backspan.stream.outcome"], got["error.type"]) == (outcome, error)


@needs_responses
def test_responses_asynchronously_and_raw(peer, patched):
    async def main():
        async with openai.AsyncOpenAI(base_url=peer.base_url, api_key="k") as client, \
                client.responses.connect() as connection:
            await connection.send_raw(json.dumps({"type": "response.create", "model": "m", "input": "x"}))
            async for event in connection:
                if event.type == "response.completed":
                    break

    asyncio.run(main())
    assert patched.one().name == "chat m"


@needs_responses
def test_two_responses_share_a_connection(talker, patched, content):
    try:
        lanes = importlib.import_module("openai.lib.responses_websocket")
    except ImportError:
        pytest.skip("the installed SDK has no lanes")
    limits = lanes.ResponsesWebSocketLimits(
        max_lanes=9, max_events_per_lane=99, max_events=99, max_bytes_per_lane=10**6, max_bytes=10**6)
    with talker.responses.connect() as connection, \
            lanes.ResponsesWebSocketSession(connection, limits=limits) as session:
        one, other = session.lane("first"), session.lane("second")
        for lane, text in ((one, "one"), (other, "two three four")):
            lane.send({"type": "response.create", "model": "together", "input": text})
        assert other.get_final_response(timeout=60).output_text == "You said: two three four"
        assert one.get_final_response(timeout=60).output_text == "You said: one"
    said = sorted((span.attributes["gen_ai.output.messages"], span.attributes["gen_ai.input.messages"],
                   span.attributes["backspan.stream.chunks"]) for span in patched.spans)
    assert len(said) == 2
    for (output, given, chunks), text in zip(said, ("one", "two three four"), strict=True):
        assert f"You said: {text}" in output and text in given
        assert chunks == 8 + len(f"You said: {text}".split())


# --- the contract ---------------------------------------------------------------------------------------------------
def test_the_application_sees_what_it_sees_without_us(peer, seen):
    def once():
        peer.received.clear()
        events = []
        with openai.OpenAI(base_url=peer.base_url, api_key="k") as client, \
                client.realtime.connect(model="rt") as connection:
            connection.conversation.item.create(item=ITEM)
            connection.response.create()
            for event in connection:
                events.append((type(event), event.model_dump()))
                if event.type == DONE:
                    break
            kind = type(connection)
        return kind, events, list(peer.received)

    bare = once()
    backspan.instrument.imported(openai)
    try:
        assert once() == bare
        assert len(seen.spans) == 1
    finally:
        backspan.instrument.uninstrument()
    assert once() == bare
    assert len(seen.spans) == 1


@pytest.mark.parametrize("broken", ["sent", "came", "received", "closed", "lost"])
def test_our_faults_are_not_the_applications(realtime, patched, broken, monkeypatch):
    from backspan.instrument import _openai_session

    monkeypatch.setenv("BACKSPAN_RAISE", "0")
    monkeypatch.setattr(_openai_session.Session, broken, lambda *args: 1 / 0)
    with realtime.connect(model="rt") as connection:
        connection.response.create()
        assert _until(connection)[-1] == DONE


def test_methods_are_put_back(patched):
    owner = importlib.import_module("openai.resources.realtime.realtime").RealtimeConnection
    assert hasattr(owner.__dict__["send"], "__wrapped__")
    sockets.uninstrument()
    assert not hasattr(owner.__dict__["send"], "__wrapped__")
