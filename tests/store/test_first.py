"""First votes go a short way through the store; what it stores, counts and tells is what the long way does."""

import random

import pytest
import sqlalchemy as sa

from backspan import semconv
from backspan.store import Policy, bulk, first
from backspan.store.labels import Labels
from backspan.store.schema import counters, outbox, vote_log, votes

from .conftest import DIMS, NOW, chat, put, put_spans, thumb

TRACES = [f"{number:032x}" for number in range(1, 60)]


class Watcher:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def observe(self, conn, events, now):
        self.told += events

    def tick(self, conn, now):
        pass


def _vote(draw, number):
    trace = draw.choice(TRACES)
    fields = {
        "id": f"{trace[-3:]}-{draw.choice('ab')}", "trace_id": trace,
        "name": draw.choice(["user_thumbs", "user_stars"]),
        "reasons": tuple(draw.sample(["inaccurate", "too_long", "other"], draw.choice([0, 0, 1, 2]))),
        "rater": draw.choice([None, "r1"]), "solicited": draw.choice([None, True, False]),
        "source": draw.choice([semconv.END_USER, semconv.END_USER, semconv.IMPLICIT, semconv.SOURCES[-1]]),
        "time": NOW + number, "at": draw.choice([None, NOW - 60, NOW - 5000, NOW + 10_000]),
        "circumstances": draw.choice([None, None, {"surface": "chat"}, {"trust": "verified", "probability": 0.5}]),
        "dims": draw.choice([DIMS, dict(reversed(DIMS.items())), {**DIMS, semconv.PROMPT_VERSION: str(number)}, {},
                             None, {semconv.REQUEST_MODEL: "m-2"}]),
        "comment": draw.choice([None] * 6 + ["why"]), "retract": draw.random() < 0.1,
        "details": draw.choice([None] * 6 + [{"scale": "stars"}]),
        "revision": draw.choice([None] * 9 + [(2, "change")]),
    }
    if draw.random() < 0.1:
        fields |= {"trace_id": None, "span_id": None, "response_id": f"resp-{trace}"}
    if draw.random() < 0.1:
        fields["value"] = None
    return thumb(draw.random() < 0.5, **fields)


def _outcome(make, name, seed, limit):
    """All that is left of three hundred votes in small groups, with answers that came before some of them."""
    draw, watcher = random.Random(seed), Watcher()
    store = make(name, policy=Policy(count_spans=True, emit=True, labels=Labels(limit)), watch=watcher)
    put_spans(store, [chat(trace_id=trace) for trace in TRACES[:5]])
    given = [_vote(draw, number) for number in range(300)]
    receipts = []
    while given:
        size = draw.choice([1, 3, 40])
        receipts += put(store, *given[:size])
        del given[:size]
    with store.reading() as conn:
        tables = {table.name: [tuple(row) for row in conn.execute(sa.select(table).order_by(*table.primary_key))]
                  for table in (votes, vote_log, outbox, counters)}
    return receipts, tables, watcher.told


@pytest.fixture
def short(monkeypatch):
    """Which votes went the short way."""
    taken, whole = [], first.count
    monkeypatch.setattr(first, "count", lambda increments, one: taken.append(one) or whole(increments, one))
    return taken


def _both(make, monkeypatch, seed, limit=1000):
    short = _outcome(make, f"short-{seed}.db", seed, limit)
    with monkeypatch.context() as here:
        here.setattr(first, "plain", lambda _vote: False)
        return short, _outcome(make, f"long-{seed}.db", seed, limit)


@pytest.mark.parametrize(("seed", "limit"), [(1, 1000), (2, 1000), (3, 6)])
def test_the_short_way_and_the_long_one_end_at_the_same(make, monkeypatch, short, seed, limit):
    ours, theirs = _both(make, monkeypatch, seed, limit)
    assert len(short) > 10
    assert ours == theirs


def _forgotten_delay(vote):
    return None


def _uncounted(increments, one, whole=first.count):
    labels = whole(increments, one)
    increments.added.popitem()
    return labels


@pytest.mark.parametrize(("part", "broken"), [("delay_of", _forgotten_delay), ("count", _uncounted)])
def test_a_short_way_that_loses_something_is_noticed(make, monkeypatch, part, broken):
    """The twin of the test above."""
    monkeypatch.setattr(first, part, broken)
    ours, theirs = _both(make, monkeypatch, 1)
    assert ours != theirs


@pytest.mark.parametrize("number", [1, 5, 13, 64, 255, 256, 257, 600])
def test_rows_that_fill_up_a_statement_are_not_stored(store, number):
    def job(conn):
        bulk.insert(conn, outbox, ("seq", "emitted"), [(seq, None) for seq in range(1, number + 1)])
        return conn.execute(sa.select(outbox.c.seq).order_by(outbox.c.seq)).scalars().all()

    assert store.write(job).result() == list(range(1, number + 1))
