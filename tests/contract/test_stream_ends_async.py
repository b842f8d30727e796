"""Asynchronous streams end exactly once, and say how, whoever ends them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import warnings

import anyio
import openai
import pytest
from opentelemetry.trace import StatusCode

import backspan.instrument
from backspan.instrument import _call
from tests.contract.conftest import MESSAGES, async_client, stream_of
from tests.contract.scenarios import shows
from tests.contract.versions import needs_timeout

pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'openai:ResourceWarning")
"""trio says that of the client's own generators, with and without us."""


def _run(server, consume, model="gpt-x", backend="asyncio"):
    async def main():
        async with async_client(server) as client:
            return await consume(await stream_of(client, model))

    return anyio.run(main, backend=backend)


async def _whole(stream):
    return [chunk async for chunk in stream]


async def _break_in_with(stream):
    async with stream:
        async for _ in stream:
            break


async def _close(stream):
    async for _ in stream:
        break
    await stream.close()
    assert stream.response.is_closed


async def _aclose(stream):
    await stream.__anext__()
    await getattr(stream, "aclose", stream.close)()


async def _unread(stream):
    await stream.close()


async def _cancel_in_with(stream):
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(stream)
        with anyio.CancelScope() as scope:
            async with stream:
                async for _ in stream:
                    scope.cancel()
                    await anyio.sleep(60)
        assert scope.cancel_called


@shows("left-in-async-with", "closed")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("consume, outcome", [
    (_whole, "complete"), (_break_in_with, "closed"), (_close, "closed"), (_aclose, "closed"), (_unread, "closed"),
    (_cancel_in_with, "cancelled"),
])
def test_how_the_consumer_ends_it(server, patched, quiet, consume, outcome, backend):
    _run(server, consume, backend=backend)
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == outcome
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("consume", [_whole, _break_in_with, _close])
def test_no_more_is_said_of_generators_than_without_us(server, patched, consume, backend):
    def said():
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            gc.collect()
            gc.disable()  # when it runs is chance, and what it finds in the middle of a run is said there
            try:
                _run(server, consume, backend=backend)
            finally:
                gc.enable()
            gc.collect()
        return {(warning.category, str(warning.message)) for warning in heard}

    with_us, without = said(), set()
    backspan.instrument.uninstrument()
    try:
        for _ in range(30):  # trio runs its tasks in an order of chance, and with it names one more generator or not
            without |= said()
            if with_us <= without:
                break
    finally:
        backspan.instrument.imported(openai)
    assert with_us <= without


@shows("left-without-close")
def test_dropped(server, patched, quiet):
    async def drop(stream):
        async for _ in stream:
            break

    _run(server, drop)
    gc.collect()
    assert patched.attributes()["backspan.stream.outcome"] == "abandoned"


@shows("cut")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_connection_lost(server, patched, backend):
    with pytest.raises(Exception):  # noqa: B017  the SDK's own error, or the transport's in older versions
        _run(server, _whole, "cut-after-3", backend)
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "disconnected"
    assert span.status.status_code is StatusCode.ERROR


# --- cancelled ------------------------------------------------------------------------------------------------------
async def _until_asked(server, count):
    while len(server.requests) < count:
        await anyio.sleep(0.005)


@shows("cancelled-reading")
def test_a_task_cancelled_while_it_waits_for_a_chunk(server, patched, quiet):
    async def main():
        read = asyncio.Event()

        async def work(client):
            async for _ in await stream_of(client, "stall-after-1"):
                read.set()

        async with async_client(server) as client:
            task = asyncio.create_task(work(client))
            await read.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()

    asyncio.run(main())
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "cancelled"
    assert span.attributes["backspan.stream.chunks"] == 1
    assert span.status.status_code is StatusCode.UNSET


@shows("cancelled-reading")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_scope_cancelled_while_it_waits_for_a_chunk(server, patched, quiet, backend):
    async def main():
        async with async_client(server) as client:
            with anyio.CancelScope() as scope:
                async for _ in await stream_of(client, "stall-after-1"):
                    scope.cancel()
            assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    assert patched.attributes()["backspan.stream.outcome"] == "cancelled"


@shows("cancelled-waiting")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("stream", [False, True])
def test_cancelled_before_the_answer(server, patched, quiet, backend, stream):
    async def ask(client):
        await client.chat.completions.create(model="hang", messages=MESSAGES, stream=stream)

    async def main():
        asked = len(server.requests) + 1
        async with async_client(server) as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, client)
                    await _until_asked(server, asked)
                    scope.cancel()
            assert scope.cancelled_caught

    anyio.run(main, backend=backend)
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"].rpartition(".")[2] in ("CancelledError", "Cancelled")
    assert span.attributes.get("backspan.stream.outcome") == ("cancelled" if stream else None)
    assert not _call._open


@shows("wait-for", "cancelled-waiting")
def test_wait_for(server, patched, quiet):
    async def main():
        async with async_client(server) as client:
            answer = await asyncio.wait_for(client.chat.completions.create(model="m", messages=MESSAGES), 30)
            raw = await asyncio.wait_for(
                client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, stream=True), 30)
            chunks = [chunk async for chunk in raw.parse()]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.chat.completions.create(model="hang", messages=MESSAGES), 0.1)
            return answer, chunks

    answer, chunks = asyncio.run(main())
    assert answer.choices[0].message.content == "You said: one two three" and len(chunks) == 7
    assert [span.status.status_code for span in patched.spans] == [StatusCode.UNSET] * 2 + [StatusCode.ERROR]


@shows("wait-for")
@needs_timeout
def test_timeout_block(server, patched, quiet):
    async def main():
        async with async_client(server) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    async for _ in await stream_of(client, "slow-60000"):
                        pass

    asyncio.run(main())
    assert patched.attributes()["backspan.stream.outcome"] == "cancelled"


# --- ended elsewhere ------------------------------------------------------------------------------------------------
@shows("other-context")
@pytest.mark.parametrize("how", ["closed in another task", "left to the collector", "left to the loop"])
def test_a_generator_of_the_applications_own(server, patched, quiet, how):
    async def main():
        async with async_client(server) as client:
            async def answer():
                with patched.provider.get_tracer("app").start_as_current_span("outer", attributes={"how": how}):
                    pass
                async for chunk in await stream_of(client):
                    yield chunk

            words = answer()
            await words.__anext__()
            if how == "closed in another task":
                await asyncio.create_task(words.aclose())
            elif how == "left to the collector":
                del words
                gc.collect()
                await asyncio.sleep(0)
            return locals().get("words") if how == "left to the loop" else None

    asyncio.run(main())
    gc.collect()
    call = [span for span in patched.spans if span.name.startswith("chat")]
    assert len(call) == 1
    assert call[0].attributes["backspan.stream.outcome"] in ("closed", "abandoned")
    assert not _call._open


@shows("other-context")
def test_a_coroutine_closed_in_another_context(server, patched, quiet):
    async def main():
        async with async_client(server) as client:
            call = client.chat.completions.create(model="hang", messages=MESSAGES)
            contextvars.copy_context().run(call.send, None)
            contextvars.copy_context().run(call.close)

    asyncio.run(main())
    assert patched.attributes()["error.type"] == "GeneratorExit"


@shows("other-context")
def test_a_stream_read_by_one_task_and_closed_by_another(server, patched, quiet):
    async def main():
        async with async_client(server) as client:
            stream = await stream_of(client)
            await asyncio.create_task(stream.__anext__())
            await asyncio.create_task(stream.close())

    asyncio.run(main())
    assert patched.attributes()["backspan.stream.outcome"] == "closed"
