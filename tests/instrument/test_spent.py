"""What we take of the application's threads: measured at one run in so many, and added up for all of them."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle

import pytest

from backspan import _guard, semconv
from backspan._guard import EVERY, measured, spent
from backspan.instrument import _stream, openai
from backspan.instrument._openai_session import Session
from tests.instrument.conftest import MESSAGES, async_client


@pytest.fixture
def clock(monkeypatch):
    """A processor clock that says one second more each time it is asked."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(ticks)))
    monkeypatch.setattr(_stream, "_processor_time", lambda: float(next(ticks)))
    monkeypatch.setattr(_stream, "_CLOCK", 0.0)
    monkeypatch.setattr(_stream, "_turn", cycle(_guard.MEASURED).__next__)
    _guard.forget()
    yield
    _guard.forget()


def test_one_run_in_so_many_stands_for_all(clock):
    done = []
    work = measured(lambda one: done.append(one))
    for _ in range(EVERY - 1):
        work(1)
    assert spent == [0.0]
    work(1)
    assert (spent, len(done)) == ([float(EVERY)], EVERY)
    for _ in range(2 * EVERY):
        work(1)
    assert spent == [3.0 * EVERY]


def test_a_fault_is_swallowed_and_its_time_counts(clock, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")

    @measured
    def broken():
        raise ValueError

    for _ in range(EVERY):
        assert broken() is None
    assert spent == [float(EVERY)]
    assert sum(_guard.failures().values()) == EVERY


def test_a_fault_is_raised_where_that_is_asked_for(clock):
    @measured
    def broken():
        raise ValueError

    for _ in range(EVERY):
        with pytest.raises(ValueError):
            broken()


def _chunks(client):
    return len(list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True)))


def test_each_chunk_of_one_stream_in_so_many(client, patched, clock):
    chunks = {_chunks(client) for _ in range(EVERY - 1)}
    before = spent[0]
    assert {_chunks(client)} == chunks  # what the application gets is the same
    assert (spent[0] - before) / EVERY >= next(iter(chunks)) + 1  # each chunk, and the end
    assert len(patched.spans) == EVERY
    assert len({tuple(sorted(k for k in s.attributes)) for s in patched.spans}) == 1  # and so is what is recorded


def test_it_is_a_metric_once_there_is_something_to_say(client, patched, clock):
    assert semconv.PLUGIN_TIME not in patched.metrics()
    for _ in range(2 * EVERY):  # what others called before us has moved the turns
        client.chat.completions.create(model="m", messages=MESSAGES)
    (point,) = patched.metrics()[semconv.PLUGIN_TIME]
    assert point.value == spent[0] >= 3 * EVERY  # the request, the response, and what came back
    assert not point.attributes


def test_asynchronous_calls(server, patched, clock):
    async def main():
        async with async_client(server) as client:
            for _ in range(2 * EVERY):
                await client.chat.completions.create(model="m", messages=MESSAGES)

    asyncio.run(main())
    assert spent[0] >= 3 * EVERY


def test_what_is_measured():
    """Whoever adds a door through which calls come in thinks of this."""
    for door in (openai._begin, openai._received, openai._failed, _stream.Hold._closed, _stream.Hold._whole,
                 Session.sent, Session.received, Session.came):
        assert "turn" in door.__code__.co_freevars, door
    assert "turn" not in _guard.guarded(print).__code__.co_freevars


def test_a_clock_that_takes_longer_than_the_work_adds_nothing(monkeypatch):
    monkeypatch.setattr(_stream, "_CLOCK", 10.0)
    _guard.forget()

    class Fold:
        seen = []
        see = seen.append

    _stream._Measured(Fold()).see(1)
    assert (spent, Fold.seen) == ([0.0], [1])
