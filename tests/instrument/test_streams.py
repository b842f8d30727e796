"""Streams end exactly once, and say how."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import textwrap
import threading

import openai
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from backspan.instrument import _call
from tests.instrument.conftest import MESSAGES, async_client

USAGE = {"include_usage": True}


def _stream(client, model="gpt-x", **more):
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **more)


def _texts(chunks) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_read_to_the_end(client, patched):
    chunks = list(_stream(client, stream_options=USAGE))
    got = patched.attributes()
    assert _texts(chunks) == "You said: one two three"
    assert got["backspan.stream.outcome"] == "complete"
    assert got["backspan.stream.chunks"] == len(chunks) == 8
    assert got["gen_ai.request.stream"] is True
    assert got["gen_ai.response.finish_reasons"] == ("stop",)
    assert (got["gen_ai.usage.input_tokens"], got["gen_ai.usage.output_tokens"]) == (5, 5)
    assert 0 < got["gen_ai.response.time_to_first_chunk"] <= got["backspan.stream.time_to_first_content"]
    metrics = patched.metrics()
    assert metrics["gen_ai.client.inference.time_to_first_chunk"][0].count == 1
    assert metrics["backspan.answers"][0].value == 1


def test_no_usage_is_unknown_not_zero(client, patched):
    list(_stream(client))
    assert "gen_ai.usage.input_tokens" not in patched.attributes()


def test_the_stream_is_a_native_one(client, patched):
    stream = _stream(client)
    with stream as same:
        assert same is stream and isinstance(stream, openai.Stream)
        assert (type(stream).__name__, type(stream).__module__) == ("Stream", openai.Stream.__module__)
        assert stream.response.headers["x-request-id"] == "req_1"
        assert next(stream).choices[0].delta.role == "assistant"
        assert type(_stream(client)) is type(stream)


def _whole(stream):
    list(stream)
    return stream


def _break_in_with(stream):
    with stream:
        for _ in stream:
            break
    return stream


def _break_and_close(stream):
    for _ in stream:
        break
    stream.close()
    return stream


def _close_response(stream):
    stream.response.close()
    return stream


def _error_in_with(stream):
    with contextlib.suppress(ZeroDivisionError), stream:
        for _ in stream:
            raise ZeroDivisionError
    return stream


def _interrupted(stream):
    with contextlib.suppress(KeyboardInterrupt), stream:
        for _ in stream:
            raise KeyboardInterrupt
    return stream


def _after_the_last_word(stream):
    with stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
    return stream


@pytest.mark.parametrize("consume, outcome", [
    (_whole, "complete"), (_break_in_with, "closed"), (_break_and_close, "closed"), (_close_response, "closed"),
    (_error_in_with, "closed"), (_interrupted, "cancelled"), (_after_the_last_word, "complete"),
])
def test_how_the_consumer_ends_it(client, patched, quiet, consume, outcome):
    stream = consume(_stream(client))
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == outcome
    assert span.status.status_code is StatusCode.UNSET
    stream.close()
    del stream
    gc.collect()
    assert len(patched.spans) == 1


def test_never_read_and_dropped(client, patched, quiet):
    _stream(client)
    gc.collect()
    assert patched.attributes()["backspan.stream.outcome"] == "abandoned"
    assert patched.attributes()["backspan.stream.chunks"] == 0


def test_half_read_and_dropped(client, patched, quiet):
    for _ in _stream(client):
        break
    gc.collect()
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "abandoned"
    assert span.attributes["backspan.stream.chunks"] == 1
    assert span.status.status_code is StatusCode.UNSET


def test_twin_a_stream_that_is_held_is_still_open(client, patched):
    stream = _stream(client)
    gc.collect()
    assert patched.spans == ()
    assert len(_call._open) == 1
    stream.close()
    assert not _call._open


def test_connection_lost(client, patched):
    with pytest.raises(Exception) as raised:
        list(_stream(client, "cut-after-3"))
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "disconnected"
    assert span.attributes["backspan.stream.chunks"] == 3
    assert span.attributes["error.type"].endswith(type(raised.value).__name__)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["gen_ai.response.finish_reasons"] == ("error",)


def test_error_event(client, patched):
    with pytest.raises(openai.APIError):
        list(_stream(client, "error-after-2"))
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "failed"
    assert span.attributes["error.type"] == "server_error"
    assert span.status.status_code is StatusCode.ERROR


def test_refused_stream(client, patched):
    with pytest.raises(openai.RateLimitError):
        _stream(client, "error-429")
    assert patched.attributes()["error.type"] == "openai.RateLimitError"
    assert patched.attributes()["backspan.stream.outcome"] == "failed"


def test_null_choices(client, patched):
    assert len(list(_stream(client, "null-choices"))) == 7
    assert patched.attributes()["backspan.stream.outcome"] == "incomplete"


@pytest.mark.parametrize("model", ["tool-call"])
def test_tool_calls(client, patched, content, model):
    from tests.instrument.test_chat import TOOLS

    list(_stream(client, model, tools=TOOLS))
    got = patched.attributes()
    assert got["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert '"arguments":{"city":"Paris"},"id":"call_1"' in got["gen_ai.output.messages"]


def test_raw_response(client, patched):
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-x", messages=MESSAGES, stream=True, stream_options=USAGE)
    assert raw.headers["x-request-id"] == "req_1"
    stream = raw.parse()
    assert isinstance(stream, openai.Stream) and raw.parse() is stream
    assert _texts(list(stream)) == "You said: one two three"
    assert patched.attributes()["backspan.stream.outcome"] == "complete"
    assert patched.attributes()["gen_ai.usage.input_tokens"] == 5


@pytest.mark.parametrize("how, outcome", [("parse", "complete"), ("lines", "complete"), ("some", "closed"),
                                          ("nothing", "closed")])
def test_streaming_response(client, patched, how, outcome):
    with client.chat.completions.with_streaming_response.create(
        model="gpt-x", messages=MESSAGES, stream=True
    ) as response:
        if how == "parse":
            assert len(list(response.parse())) == 7
        elif how == "lines":
            assert [line for line in response.iter_lines() if line][-1] == "data: [DONE]"
        elif how == "some":
            next(response.iter_lines())
    assert patched.attributes()["backspan.stream.outcome"] == outcome


@pytest.mark.parametrize("whole", [True, False])
def test_stream_helper(client, patched, whole):
    with client.chat.completions.stream(model="gpt-x", messages=MESSAGES) as helper:
        if whole:
            assert helper.get_final_completion().choices[0].message.content == "You said: one two three"
        else:
            next(helper)
    assert patched.attributes()["backspan.stream.outcome"] == ("complete" if whole else "closed")


# --- asynchronous ---------------------------------------------------------------------------------------------------
def _run(server, consume, model="gpt-x", **more):
    async def main():
        async with async_client(server) as client:
            return await consume(await _stream(client, model, **more))

    return asyncio.run(main())


async def _awhole(stream):
    return [chunk async for chunk in stream]


async def _abreak_in_with(stream):
    async with stream:
        async for _ in stream:
            break


async def _aclose(stream):
    async for _ in stream:
        break
    await stream.close()


async def _adrop(stream):
    async for _ in stream:
        break


async def _acancel(stream):
    started = asyncio.Event()

    async def read():
        async for _ in stream:
            started.set()
            await asyncio.sleep(0)

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _acancel_in_with(stream):
    started = asyncio.Event()

    async def read():
        async with stream:
            async for _ in stream:
                started.set()
                await asyncio.sleep(60)

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("consume, model, outcome", [
    (_awhole, "gpt-x", "complete"), (_abreak_in_with, "gpt-x", "closed"), (_aclose, "gpt-x", "closed"),
    (_acancel_in_with, "gpt-x", "cancelled"),
])
def test_async_ends(server, patched, quiet, consume, model, outcome):
    _run(server, consume, model)
    assert patched.attributes()["backspan.stream.outcome"] == outcome
    assert patched.one().status.status_code is StatusCode.UNSET


def test_async_cancelled_while_waiting_for_a_chunk(server, patched, quiet):
    _run(server, _acancel, "slow-50")
    assert patched.attributes()["backspan.stream.outcome"] in ("cancelled", "closed", "abandoned")


def test_async_dropped(server, patched, quiet):
    _run(server, _adrop)
    gc.collect()
    assert patched.attributes()["backspan.stream.outcome"] == "abandoned"


def test_async_connection_lost(server, patched):
    with pytest.raises(Exception):  # noqa: B017  the SDK's own error, or the transport's in older versions
        _run(server, _awhole, "cut-after-3")
    assert patched.attributes()["backspan.stream.outcome"] == "disconnected"


def test_async_raw_and_native(server, patched):
    async def main():
        async with async_client(server) as client:
            raw = await client.chat.completions.with_raw_response.create(model="gpt-x", messages=MESSAGES, stream=True)
            stream = raw.parse()
            assert isinstance(stream, openai.AsyncStream)
            return [chunk async for chunk in stream]

    assert len(asyncio.run(main())) == 7
    assert patched.attributes()["backspan.stream.outcome"] == "complete"


def test_async_generator_of_the_apps_closed_from_another_task(server, patched, quiet):
    async def main():
        async with async_client(server) as client:
            async def answer():
                async for chunk in await _stream(client):
                    yield chunk

            words = answer()
            await words.__anext__()
            await asyncio.create_task(words.aclose())
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    gc.collect()
    assert len(patched.spans) == 1
    assert patched.attributes()["backspan.stream.outcome"] in ("closed", "abandoned")


# --- the caller's context, threads, the end of the process ----------------------------------------------------------
def test_spans_between_chunks_belong_to_the_caller(client, patched):
    tracer = patched.provider.get_tracer("app")
    with tracer.start_as_current_span("request") as outer:
        for index, _ in enumerate(_stream(client)):
            with tracer.start_as_current_span(f"chunk {index}"):
                assert trace.get_current_span().parent.span_id == outer.get_span_context().span_id
    assert {span.parent.span_id for span in patched.spans if span.parent} == {outer.get_span_context().span_id}


def test_twenty_threads_of_five_streams(client, patched, quiet):
    tracer, wrong = patched.provider.get_tracer("app"), []

    def work(number):
        with tracer.start_as_current_span(f"thread {number}"):
            for turn in range(5):
                said = f"{number}-{turn}"
                message = [{"role": "user", "content": said}]
                stream = client.chat.completions.create(model=f"m{number}", messages=message, stream=True)
                if _texts(list(stream)) != f"You said: {said}":
                    wrong.append(said)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parents = {span.context.span_id: span.name.split()[1] for span in patched.spans if span.name.startswith("thread")}
    calls = [span for span in patched.spans if span.name.startswith("chat")]
    assert not wrong and len(calls) == 100
    assert all(span.name == f"chat m{parents[span.parent.span_id]}" for span in calls)
    assert {span.attributes["backspan.stream.outcome"] for span in calls} == {"complete"}


def test_fifty_tasks(server, patched, quiet):
    async def main():
        async with async_client(server) as client:
            async def ask(number):
                with patched.provider.get_tracer("app").start_as_current_span(f"task {number}"):
                    return await _awhole(await _stream(client, f"m{number}"))

            return await asyncio.gather(*(ask(number) for number in range(50)))

    assert {len(chunks) for chunks in asyncio.run(main())} == {7}
    parents = {span.context.span_id: span.name.split()[1] for span in patched.spans if span.name.startswith("task")}
    calls = [span for span in patched.spans if span.name.startswith("chat")]
    assert len(calls) == 50
    assert all(span.name == f"chat m{parents[span.parent.span_id]}" for span in calls)


def test_a_stream_collected_inside_telemetry_is_ended_at_the_next_call(client, patched):
    """A collection may start while this thread holds a lock of the SDK's; ending a span there could wait for ever."""
    streams = [_stream(client)]

    class Processor:
        def on_start(self, span, parent_context=None):
            streams.clear()
            gc.collect()

        def on_end(self, span):
            pass

        _on_ending = on_end

        def shutdown(self):
            pass

    patched.provider.add_span_processor(Processor())
    with patched.provider.get_tracer("app").start_as_current_span("other"):
        assert patched.spans == () and len(_call.orphans) == 1
    list(_stream(client))
    outcomes = [span.attributes.get("backspan.stream.outcome") for span in patched.spans]
    assert sorted(filter(None, outcomes)) == ["abandoned", "complete"]


SCRIPT = """
    import os, sys
    os.environ.update(BACKSPAN="1", BACKSPAN_RAISE="1", OTEL_METRICS_EXPORTER="none")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, BatchSpanProcessor
    import openai
    import backspan.instrument
    backspan.instrument.imported(openai)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(
        formatter=lambda span: f"{os.getpid() == int(MAIN)} {span.attributes.get('backspan.stream.outcome')}\\n")))
    MAIN = os.getpid()
    trace.set_tracer_provider(provider)
    client = openai.OpenAI(base_url=sys.argv[1], api_key="k")
    stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    next(stream)
"""


def _process(server, more=""):
    script = textwrap.dedent(SCRIPT) + textwrap.dedent(more)
    done = subprocess.run([sys.executable, "-c", script, server.base_url], capture_output=True, text=True, timeout=60)
    return done.stdout.split("\n")[:-1], done.stderr


def test_open_stream_at_exit(server):
    assert _process(server) == (["True abandoned"], "")


def test_a_forked_child_leaves_the_parents_stream_alone(server):
    said, errors = _process(server, """
        pid = os.fork()
        if pid == 0:
            del stream
            import gc; gc.collect()
            sys.exit(0)
        os.waitpid(pid, 0)
        list(stream)
    """)
    assert (said, errors) == (["True complete"], "")


def test_nothing_is_kept(client, patched):
    def use():
        list(_stream(client))
        for _ in _stream(client):
            break

    for _ in range(10):
        use()
    gc.collect()
    patched.exporter.clear()
    before = sum(isinstance(thing, _call.Call) for thing in gc.get_objects())
    for _ in range(30):
        use()
        patched.exporter.clear()
    gc.collect()
    assert sum(isinstance(thing, _call.Call) for thing in gc.get_objects()) == before
    assert not _call._open and not _call.orphans
