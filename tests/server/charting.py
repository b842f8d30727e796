"""Charts of the tests: a spec with a given standard and one that learns quickly, a store with a clock, and votes."""

from __future__ import annotations

from contextlib import contextmanager

import yaml

from backspan import semconv
from backspan.feedback.model import feedback_id
from backspan.rules.spec import parse
from backspan.server.charts import ChartBook, views
from backspan.store import Policy, Store, Vote
from tests.support import databases

DIMS = {semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "test", semconv.PROMPT_NAME: "support",
        semconv.REQUEST_MODEL: "m-1"}
NOW = 1_795_003_200.0
"""A whole number of hours."""
SERVICE = [semconv.SERVICE_NAME, semconv.ENVIRONMENT]
PROMPT = [*SERVICE, semconv.PROMPT_NAME, semconv.PROMPT_VERSION]
GIVEN = """
version: 1
charts:
  - name: thumbs_down
    indicator: thumbs_down
    cohorts:
      service: [service.name, deployment.environment.name]
      prompt: [service.name, deployment.environment.name, gen_ai.prompt.name, gen_ai.prompt.version]
    false_alarm_every: 100000
    baseline: {kind: given, p0: 0.10}
    runbook: docs/how-to/quality-alert.md
"""
NO_TICKETS = f"{GIVEN.rstrip()}\n    tickets: false\n"
"""The same for a server by the clock of the machine: a ticket would come if an hour, its window, ends during a test."""


def given(**more):
    """The spec above, its chart changed by ``more``."""
    document = yaml.safe_load(GIVEN)
    document["charts"][0].update(more)
    return parse(document)


def learnt(indicator="thumbs_down", ratings=100, windows=5, **more):
    """A chart that learns from little, a window of ten minutes each."""
    return given(indicator=indicator, baseline={"kind": "learnt", "ratings": ratings, "windows": windows},
                 window="10m", **more)


class Clock:
    """Unix time that only the test moves."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


class House:
    """A store with charts. `reopen` is what a restart does."""

    def __init__(self, path, spec, clock=None):
        self.path, self.spec, self.clock = path, spec, clock or Clock()
        self.open()

    def open(self):
        self.book = ChartBook(self.spec)
        self.store = Store(databases.at(self.path), identify=feedback_id, policy=Policy(True, False),
                           watch=self.book, clock=self.clock)

    def reopen(self, spec=None):
        self.store.close()
        self.spec = spec or self.spec
        self.open()

    def rate(self, ratings, first=0, **fields):
        """Vote without waiting in between: some are committed together."""
        futures = [self.store.put_votes([vote(first + n, bad, version, **{"time": self.clock.now, **fields})])
                   for n, (bad, version) in enumerate(ratings)]
        return [future.result() for future in futures]

    def tick(self):
        """What the writing thread does twice a second."""
        self.store.write(lambda conn: self.book.tick(conn, self.clock.now)).result()

    def shown(self, name="thumbs_down"):
        with self.store.reading() as conn:
            return views.detail(conn, self.book, self.book.charts[name], self.clock.now)

    def cohort(self, partition="service", name="thumbs_down", **labels):
        found = [c for c in self.shown(name)["cohorts"] if c["partition"] == partition
                 and all(c["labels"][key] == value for key, value in labels.items())]
        assert len(found) == 1, found
        return found[0]


@contextmanager
def house(path, spec=None, clock=None):
    """A `House` that is closed at the end."""
    made = House(path, spec or given(), clock)
    try:
        yield made
    finally:
        made.store.close()
        databases.drop(path)


def vote(n, bad, version, **fields):
    """A thumb of a rater of its own on an answer of its own."""
    said = {"id": f"v{n}", "name": semconv.USER_THUMBS, "time": NOW + n, "value": 1.0 - bad,
            "polarity": "negative" if bad else "positive", "trace_id": f"{n + 1:032x}", "span_id": f"{n + 1:016x}",
            "dims": {**DIMS, semconv.PROMPT_VERSION: version}}
    return Vote(**{**said, **fields})
