"""Limits: how they are counted, by whom, and within what memory."""

import asyncio
import random

import pytest
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from backspan.server.limits import InvalidRates, Limiter, Windows, neighbourhood, networks, sender
from backspan.server.problems import Problem

PLACES = (None, "async+memory://")


@pytest.fixture
def clock(monkeypatch):
    """The clock of the limits, at the beginning of an hour."""
    class Clock:
        now = 3600.0 * 500_000

    found = Clock()
    monkeypatch.setattr("time.time", lambda: found.now)
    return found


def _hits(limiter, kind, keys):
    async def all_of():
        return [await _hit(limiter, kind, key) for key in keys]

    return asyncio.run(all_of())


async def _hit(limiter, kind, key):
    try:
        await limiter.hit(kind, key)
    except Problem as problem:
        assert problem.status == 429 and int(problem.headers["Retry-After"]) >= 1
        return False
    return True


@pytest.mark.parametrize("at", PLACES)
def test_so_many_and_no_more(at):
    limiter = Limiter({"token": "3/year", "subject": "off"}, at)
    assert _hits(limiter, "token", ["a"] * 4 + ["b"]) == [True] * 3 + [False, True]
    assert _hits(limiter, "subject", ["a"] * 50) == [True] * 50


def test_a_window_slides(clock):
    limiter = Limiter({"token": "10/hour"})
    assert _hits(limiter, "token", ["a"] * 11) == [True] * 10 + [False]
    clock.now += 3600  # the window before still counts in full
    assert _hits(limiter, "token", ["a"]) == [False]
    clock.now += 1800  # half of it
    assert _hits(limiter, "token", ["a"] * 6) == [True] * 5 + [False]
    clock.now += 7200
    assert _hits(limiter, "token", ["a"] * 11) == [True] * 10 + [False]


def test_what_is_said_to_wait_is_enough(clock):
    limiter = Limiter({"token": "2/minute"})

    async def wait():
        for _ in range(2):
            await limiter.hit("token", "a")
        with pytest.raises(Problem) as refused:
            await limiter.hit("token", "a")
        return int(refused.value.headers["Retry-After"])

    clock.now += asyncio.run(wait()) + 1
    assert _hits(limiter, "token", ["a"]) == [True]


def test_memory_has_a_bound():
    windows = Windows(1, 60, most=100)
    for number in range(1000):
        assert windows.take(str(number))
    assert len(windows) == 100


@pytest.mark.parametrize("rate", ["7/minute", "3/10 second", "40/hour"])
def test_the_same_is_let_in_as_by_the_library(rate, clock):
    """The windows of this process and those of the library, at the same moments."""
    assert _agree(rate, clock)


def test_windows_that_do_not_slide_are_noticed(clock, monkeypatch):
    """The twin of the test above."""
    slides = Windows._of
    monkeypatch.setattr(Windows, "_of", lambda *given: (0, slides(*given)[1]))
    assert not _agree("7/minute", clock)


def _agree(rate, clock):
    item, draw, window = parse(rate), random.Random(rate), parse(rate).get_expiry()
    ours, theirs = Windows(item.amount, window), SlidingWindowCounterRateLimiter(MemoryStorage())
    for _ in range(600):
        clock.now += draw.expovariate(1) * window / item.amount / 2
        if ours.take("a") != theirs.hit(item, "a"):
            return False
    return True


def test_a_storage_that_is_away_lets_in_and_says_so(caplog):
    limiter = Limiter({"token": "1/hour"}, "async+redis://127.0.0.1:1")
    assert _hits(limiter, "token", ["a"] * 2) == [True] * 2
    assert "not counted" in caplog.text


@pytest.mark.parametrize("rates", [{"token": "often"}, {"everything": "1/hour"}, {"token": ""}])
def test_a_limit_that_means_nothing(rates):
    with pytest.raises(InvalidRates):
        Limiter(rates)


def test_a_storage_that_means_nothing():
    with pytest.raises(InvalidRates, match="BACKSPAN_LIMITS_STORAGE"):
        Limiter(at="nowhere://x")


@pytest.mark.parametrize(("address", "counted"), [
    ("203.0.113.77", "203.0.113.0"), ("::ffff:203.0.113.77", "203.0.113.0"), ("2001:db8:0:1ff::9", "2001:db8:0:100::"),
    ("unknown", "unknown"), ("x" * 500, "x" * 64), ("", ""), ("203.0.113", "203.0.113"), ("1.2.3.4\0", "1.2.3.4\0"),
    ("::1", "::"), ("é", "é")])
def test_neighbourhoods(address, counted):
    assert neighbourhood(address) == counted


@pytest.mark.parametrize(("peer", "forwarded", "found"), [
    ("10.0.0.1", "203.0.113.7", "203.0.113.7"), ("10.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "203.0.113.7, 10.0.0.2", "203.0.113.7"), ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.1"),
    ("198.51.100.1", "203.0.113.7", "198.51.100.1"), ("10.0.0.1", "", "10.0.0.1"), ("", "203.0.113.7", ""),
    ("10.0.0.1", "203.0.113.7, unknown", "unknown")])
def test_who_sent_it(peer, forwarded, found):
    assert sender(peer, forwarded, networks(["10.0.0.0/8"])) == found
