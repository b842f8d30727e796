"""Random raw series that do everything counters do in production, for tests against promtool."""

from __future__ import annotations

from random import Random

from backspan.rules.oracle_counting import STALE, Labels, labels_of

STEP = 10
"""Seconds between scrapes."""

Samples = list[tuple[float, float | None]]


def random_streams(seed: int, *, slots: int, interval: int) -> dict[Labels, Samples]:
    """Series of two services, three prompt versions and two instances, each with both polarities.

    They appear late (at 0 or with a past), grow in bursts, restart (sometimes twice in a row), miss scrapes, end with
    and without a stale marker, and come back. No gap begins at the moment of an evaluation: Prometheus 2 and 3
    disagree about a sample that is exactly five minutes old, and both are right.
    """
    random = Random(seed)
    streams: dict[Labels, Samples] = {}
    for service, version, instance in [("chat", v, i) for v in ("1", "2", "") for i in "ab"] + [("search", "", "c")]:
        begin = random.choice([0, 1, slots // 7 + 1, slots // 3 + 1])
        for polarity, pace in (("negative", random.choice([0.05, 0.3])), ("positive", 0.9)):
            labels = {"service_name": service, "gen_ai_prompt_version": version, "instance": instance}
            key = {**labels, "name": "user_thumbs", "op": "add", "source": "end_user", "polarity": polarity}
            streams[labels_of(key)] = _samples(random, range(begin, slots), pace, interval)
    streams.update(_certain(slots))
    noise = {"name": "user_thumbs", "op": "change", "polarity": "negative", "service_name": "chat"}
    streams[labels_of(noise)] = _samples(random, range(slots), 3.0, interval)
    stars = {"name": "user_stars", "op": "add", "polarity": "negative", "service_name": "chat"}
    streams[labels_of(stars)] = _samples(random, range(slots), 3.0, interval)
    return streams


def _certain(slots: int) -> dict[Labels, Samples]:
    """What chance may leave out: silence for more than an hour, a beginning between evaluations, and the worst case."""
    votes = {"name": "user_thumbs", "op": "add", "source": "end_user", "polarity": "negative"}
    rare = [0, 6, *[6] * 400, 9]
    soon = [0, 4, 5]
    return {
        labels_of({**votes, "service_name": "rare"}): _every_scrape(rare, 2, slots),
        labels_of({**votes, "service_name": "worst"}): _every_scrape([2 * i for i in range(slots)], 0, slots),
        labels_of({**votes, "service_name": "soon"}): _every_scrape(soon, 40, slots),
    }


def _every_scrape(values: list[int], begin: int, slots: int) -> Samples:
    held = [*values, *[values[-1]] * slots][: slots - begin]
    return [((begin + i) * STEP, value) for i, value in enumerate(held)]


def _samples(random: Random, slots: range, pace: float, interval: int) -> Samples:
    samples: Samples = []
    value, resume, busy = random.choice([0, 0, 0, 37]), slots.start, True
    for slot in slots:
        if slot < resume:
            continue
        if random.random() < 0.01:
            busy = not busy
        if slot > slots.start and busy:
            value += int(pace * random.random() * 2 + random.random() * 0.5)
        if random.random() < 0.02:
            value = int(random.random() * 3)
        samples.append((slot * STEP, value))
        if slot * STEP % interval and random.random() < 0.02:
            resume = slot + _gap(random)
            if random.random() < 0.5 and resume > slot + 2:
                samples.append(((slot + 1) * STEP, STALE))
    return samples


def _gap(random: Random) -> int:
    """Slots missed: a scrape or two, minutes, or longer than the look-back."""
    return random.choice([2, 3, 10, 45, 45, 90])
