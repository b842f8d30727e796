"""Scrapes beside one another, one that fails, and one that takes long."""

import asyncio
import threading

import pytest
from starlette.requests import Request

from backspan.feedback.model import feedback_id
from backspan.server import asking
from backspan.server.metrics import MetricsApi
from backspan.server.rejections import Rejections
from backspan.store import Policy, Store
from tests.support import databases


@pytest.fixture
def store(tmp_path):
    made = Store(databases.at(tmp_path / "s.db"), identify=feedback_id, policy=Policy(count_spans=False, emit=False))
    yield made
    made.close()
    databases.drop(tmp_path / "s.db")


class Hasty(asking.Gauges):
    """Takes for granted that nobody else has waited for the same reading."""

    async def families(self):
        if self._task is None:
            self._task = asyncio.create_task(asyncio.to_thread(self._read))
        await asyncio.wait({self._task})
        self._found, self._task = self._task.result(), None
        return self._found


async def two_at_once(gauges, go):
    both = [asyncio.create_task(gauges.families()) for _ in range(2)]
    while not all(task.get_coro().cr_await for task in both):  # until both wait for the reading
        await asyncio.sleep(0)
    go.set()
    return await asyncio.gather(*both, return_exceptions=True)


def test_two_scrapes_at_once_get_the_same(store, monkeypatch):
    monkeypatch.setattr(asking, "_PATIENCE", 60.0)
    go = threading.Event()
    gauges = asking.Gauges(store, lambda conn: [go.wait(60)])
    assert asyncio.run(two_at_once(gauges, go)) == [[True], [True]]


def test_one_that_does_not_expect_the_other_is_noticed(store):
    go = threading.Event()
    found = asyncio.run(two_at_once(Hasty(store, lambda conn: [go.wait(60)]), go))
    assert [type(one) for one in found] == [list, AttributeError]


def test_a_reading_that_failed_is_read_again(store, monkeypatch):
    monkeypatch.setattr(asking, "_PATIENCE", 60.0)
    monkeypatch.setattr(asking, "PAUSE", 0.0)
    results = iter([KeyError("no"), ["a family"]])

    def read(conn):
        found = next(results)
        if isinstance(found, Exception):
            raise found
        return found

    async def twice():
        gauges = asking.Gauges(store, read)
        with pytest.raises(KeyError):
            await gauges.families()
        return await gauges.families()

    assert asyncio.run(twice()) == ["a family"]


class Where(Rejections):
    """Tells in which thread a scrape is written."""

    def family(self):
        self.thread = threading.get_ident()
        return super().family()


def test_the_event_loop_goes_on_while_a_scrape_is_written(store):
    rejections = Where()
    answer = asyncio.run(MetricsApi(store, rejections).show(Request({"type": "http", "headers": []})))
    assert b"backspan_feedback_rejected_total" in answer.body
    assert rejections.thread != threading.get_ident()
