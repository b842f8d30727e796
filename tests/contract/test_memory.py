"""Thousands of calls and streams, in all their endings, leave no object and no memory behind."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from abc import ABCMeta
from collections import Counter

import pytest

from backspan import _turns
from backspan.instrument import _call
from tests.contract.conftest import MESSAGES, make_client, stream_of
from tests.contract.scenarios import shows

ROUNDS = int(os.environ.get("CONTRACT_ROUNDS", "60"))
"""How often the ten calls of a round are made: the matrix makes fewer, a drill more."""


def _plain(client):
    client.chat.completions.create(model="gpt-x", messages=MESSAGES)


def _refused(client):
    with pytest.raises(Exception):  # noqa: B017  which it is depends on the version
        client.chat.completions.create(model="error-400", messages=MESSAGES)


def _read(client):
    list(stream_of(client))


def _closed(client):
    with stream_of(client) as stream:
        next(stream)


def _dropped(client):
    """With a client of its own: the pool of the other one would keep the connection for ever."""
    with make_client(client.base_url) as own:
        next(stream_of(own))


def _cut(client):
    with pytest.raises(Exception):  # noqa: B017  as above
        list(stream_of(client, "cut-after-2"))


def _raw(client):
    list(client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, stream=True).parse())


def _lines(client):
    with client.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES, stream=True) as response:
        list(response.iter_lines())


def _embedded(client):
    client.embeddings.create(model="e", input="one", encoding_format="float")


ENDINGS = (_plain, _refused, _read, _closed, _dropped, _cut, _raw, _lines, _embedded, _plain)


@pytest.fixture(autouse=True)
def short_memory(monkeypatch):
    """What is kept on purpose, for feedback that comes later, is full from the start."""
    monkeypatch.setattr(_turns, "_REMEMBERED", 20)


def _round(client, patched):
    for ending in ENDINGS:
        ending(client)
    patched.exporter.clear()


def _grown(server, patched, rounds: int) -> tuple[Counter[str], int]:
    """What ``rounds`` rounds leave behind: objects by type, and blocks of memory."""
    with make_client(server) as client:
        for _ in range(5):
            _round(client, patched)
        server.requests.clear()
        before, blocks = _held(), sys.getallocatedblocks()
        for _ in range(rounds):
            _round(client, patched)
            server.requests.clear()
        after, more = _held(), sys.getallocatedblocks()
    return after - before, more - blocks


@shows("memory")
@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(1000, marks=pytest.mark.drill)])
def test_calls_and_streams_leave_nothing(server, patched, rounds):
    """The interpreter and the client keep a few hundred objects more or less (whenever some class is registered with an
    ABC, all ABCs ask again what they had noted, two objects each); one of ours a call would be ten a round.
    """
    objects, blocks = _grown(server, patched, rounds)
    assert sum(objects.values()) < 300 + rounds / 10, objects.most_common(10)
    assert blocks < 2500 + rounds
    assert not _call._open


def _settle() -> None:
    """Let the server's threads end whose connections are closed: each holds some fifty objects until it has noticed."""
    end = time.monotonic() + 30
    while sum("process_request_thread" in one.name for one in threading.enumerate()) > 1 and time.monotonic() < end:
        time.sleep(0.01)


def _held() -> Counter[str]:
    """The objects that live, by type, after everything that can be collected was."""
    _settle()
    for kind in [one for one in gc.get_objects() if issubclass(type(one), ABCMeta)]:  # isinstance() would ask a proxy
        kind._abc_caches_clear()  # what it has noted of classes, two objects each: filled anew when chance has it
    for _ in range(3):
        gc.collect()
        _call.reap()  # a collection inside OpenTelemetry's code leaves the end of a stream to the next call
    return Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())


@pytest.mark.parametrize("what", [list, bytes])
def test_twin_what_is_kept_of_a_call_is_noticed(server, patched, monkeypatch, what):
    """An object that the collector knows, and a block of memory that it does not."""
    kept: list[object] = []
    original = _call.Call.end

    def end(self, *args, **kwargs):
        kept.extend([[self.response_id] for _ in range(5)] if what is list else (bytes(size) for size in range(50, 80)))
        original(self, *args, **kwargs)

    monkeypatch.setattr(_call.Call, "end", end)
    objects, blocks = _grown(server, patched, 20)
    assert (sum(objects.values()) >= 300 + 2) is (what is list)
    assert what is list or blocks >= 2500 + 20
