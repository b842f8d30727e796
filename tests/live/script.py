"""What happens to the applications of a test, tick by tick: votes, silences, restarts, series that come and go.

A `Play` is a generator that yields once a tick; what it yields says whether it could end there, with nothing hidden,
muted or down. Two kinds. A *careful* one rests on either side of what only a scrape at the right moment would see (a
restart, a series that appears with a past), and goes on when everybody has seen it: then every rule group must count
the same, whenever in its second it is evaluated. A *wild* one does not rest: then what can be counted depends on the
moment, and only the oracle knows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from random import Random
from typing import Protocol

from tests.live.apps import App, vote

TICK_S = 0.25
PAST = 37
Play = Generator[bool, None, None]
Apps = Sequence[App]
"""One role, as every cast plays it: scraped and pushing."""


class Watch(Protocol):
    """Who knows what all the servers have seen; both take a Unix time."""

    def stored(self, instance: str, since: float) -> bool:
        """Whether every series of an instance has a sample that is younger."""

    def evaluated(self, since: float) -> bool:
        """Whether every rule group has begun an evaluation since, and ended it."""




def run(plays: Iterable[Play], done: Callable[[], bool]) -> None:
    """Let all plays go on, in real time, until ``done``, which is asked once a tick; then to where each could end."""
    running, at, over = list(plays), time.monotonic(), False
    while running:
        over = over or done()
        running = [play for play in running if not (next(play) and over)]
        at += TICK_S
        time.sleep(max(0.0, at - time.monotonic()))


def careful(random: Random, apps: Apps, versions: Sequence[str], watch: Watch) -> Play:
    """Votes on prompts of ``versions``, which appear one by one, half of them with a past."""
    waiting = [vote(polarity, version) for version in versions for polarity in ("positive", "negative")]
    known: list[dict[str, str]] = []
    while True:
        if waiting and (not known or random.random() < 0.5):
            known.append(waiting.pop(0))
            if random.random() < 0.5:
                _past(apps, known[-1])
            _each(apps, known[-1:], 0)
            yield from _settle(apps, watch)
        yield from _busy(random, apps, known, random.randrange(6, 30))
        kind = random.choice(["mute", "mute", "hide", "restart", "restart"])
        if kind == "restart":
            yield from _settle(apps, watch)
        yield from _INCIDENTS[kind](random, apps, known)
        if kind == "restart":
            yield from _settle(apps, watch)
        yield True


def _each(apps: Apps, series: Iterable[dict[str, str]], events: int) -> None:
    for labels in series:
        for app in apps:
            app.count(labels, events)


def _past(apps: Apps, labels: dict[str, str]) -> None:
    for app in apps:
        app.recall(labels, PAST)


def _rest(ticks: int) -> Play:
    for _ in range(ticks):
        yield False


def _settle(apps: Apps, watch: Watch) -> Play:
    """Rest until all have seen what there is; on a busy machine that takes longer."""
    since = time.time()
    yield from _rest(4)
    while not watch.stored(apps[0].instance, since):
        yield from _rest(2)
    since = time.time() + 0.5  # an evaluation may begin later than the moment that it is for
    yield from _rest(6)
    while not watch.evaluated(since):
        yield from _rest(2)


def _busy(random: Random, apps: Apps, known: Sequence[dict[str, str]], ticks: int) -> Play:
    for _ in range(ticks):
        if random.random() < 0.6:
            _each(apps, [random.choice(known)], random.randrange(1, 3))
        yield False


def _mute(random: Random, apps: Apps, known: Sequence[dict[str, str]]) -> Play:
    """Scrapes fail and pushes are lost, but the counting goes on."""
    for app in apps:
        app.mute(True)
    yield from _busy(random, apps, known, random.choice([1, 3, 20]))
    for app in apps:
        app.mute(False)


def _hide(random: Random, apps: Apps, known: Sequence[dict[str, str]]) -> Play:
    labels = random.choice(known)
    for app in apps:
        app.hide(labels)
    yield from _busy(random, apps, known, random.choice([2, 10]))
    for app in apps:
        app.show(labels)


def _restart(random: Random, apps: Apps, known: Sequence[dict[str, str]]) -> Play:
    for app in apps:
        app.end()
    yield from _rest(random.choice([0, 1, 8]))
    for app in apps:
        app.begin()
    _each(apps, known, 0)


_INCIDENTS: dict[str, Callable[[Random, Apps, Sequence[dict[str, str]]], Play]] = {
    "mute": _mute, "hide": _hide, "restart": _restart,
}


def wild(random: Random, apps: Apps) -> Play:
    """Anything at any tick: bursts, restarts in a row, a lost scrape in the middle of one."""
    known = [vote("negative", "1"), vote("positive", "1"), vote("positive", "2")]
    while True:
        if random.random() < 0.6:
            _each(apps, [random.choice(known)], random.choice([1, 2, 30]))
        muted = random.random() < 0.06
        for app in apps:
            app.mute(muted)
        yield not muted
        if random.random() < 0.05:
            for app in apps:
                app.end()
            yield from _rest(random.choice([0, 0, 1, 4]))
            for app in apps:
                app.begin()


def worst(apps: Apps) -> Play:
    """Every vote is bad, for twenty seconds at a time; nobody votes in between for long enough to be forgotten."""
    yield from scheduled(apps, [vote("negative")], 1, busy=20, quiet=45)


def scheduled(apps: Apps, series: Sequence[dict[str, str]], events: int, *, busy: float, quiet: float) -> Play:
    """``busy`` seconds in which each of ``series`` counts ``events`` a tick, then ``quiet`` seconds, and again."""
    _each(apps, series, 0)
    yield from _rest(12)
    while True:
        for _ in range(round(busy / TICK_S)):
            _each(apps, series, events)
            yield True
        yield from _rest(round(quiet / TICK_S))


def noise(apps: Apps) -> Play:
    """What must not count: changed votes, and stars."""
    yield from scheduled(
        apps, [vote("negative", op="change"), vote("negative", name="user_stars")], 5, busy=3600, quiet=0
    )
