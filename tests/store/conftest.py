"""A real store in a database of its own, with a clock that only the test moves."""

import json

import pytest

from backspan import semconv
from backspan.feedback.model import feedback_id
from backspan.store import Policy, Retention, Store, Vote
from backspan.store.counters import totals
from backspan.store.model import Call
from tests.support import databases

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
NOW = 1_795_000_000.0
DIMS = {semconv.REQUEST_MODEL: "m-1", semconv.PROMPT_NAME: "support", semconv.PROMPT_VERSION: "7",
        semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "prod"}
KEEP_ALL = Retention(None, None, None)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    """Open a store; further ones with another ``name`` are other databases."""
    stores = []

    def build(name="s.db", *, emit=False, count_spans=True, **more):
        store = Store(databases.at(tmp_path / name), identify=feedback_id, clock=clock,
                      **{"policy": Policy(count_spans=count_spans, emit=emit), "keep": KEEP_ALL, **more})
        stores.append(store)
        return store

    yield build
    for store in stores:
        store.close()
    databases.drop(*databases.under(tmp_path))


@pytest.fixture
def store(make):
    return make()


def thumb(up=True, **fields):
    """A vote by token: what it says of the answer is complete."""
    given = {"id": "f1", "name": semconv.USER_THUMBS, "time": NOW, "value": float(up),
             "label": "pass" if up else "fail", "polarity": semconv.POSITIVE if up else semconv.NEGATIVE,
             "trace_id": TRACE, "span_id": SPAN, "at": NOW - 60, "dims": DIMS}
    return Vote(**{**given, **fields})


def chat(span_id=SPAN, trace_id=TRACE, **fields):
    given = {"trace_id": trace_id, "span_id": span_id, "operation": semconv.CHAT, "started": NOW - 61,
             "ended": NOW - 60, "model": "m-1", "prompt_name": "support", "prompt_version": "7", "service": "chat",
             "environment": "prod", "response_id": f"resp-{span_id}", "query": "why?", "answer": "because",
             "input_tokens": 10, "output_tokens": 5}
    return Call(**{**given, **fields})


def put(store, *votes):
    return store.put_votes(list(votes)).result()


def put_each(store, votes):
    """Accept votes one after the other without waiting for each commit."""
    futures = [store.put_votes([vote]) for vote in votes]
    return [future.result()[0] for future in futures]


def put_spans(store, calls=(), votes=(), **more):
    store.put_spans(list(calls), list(votes), **more).result()


def counts(store, metric=semconv.PROM_FEEDBACK, *, zeros=False):
    """{(name, polarity, op, ...): count} of one metric, dimensions dropped unless they differ from `DIMS`."""
    with store.reading() as conn:
        rows = totals(conn)
    found = {}
    for (name, labels), value in rows.items():
        said = json.loads(labels)
        if name == metric and (value or zeros):
            key = tuple(said.get(label) for label in (*semconv.FEEDBACK_LABELS, semconv.LABEL_REASON)
                        if label in said)
            found[key] = found.get(key, 0) + value
    return found
