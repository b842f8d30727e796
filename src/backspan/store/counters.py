"""Exact counts of what was answered and judged: one row per series, changed in the transaction that stores the cause.

Histograms are stored as one row per bucket (not cumulative, label ``le``) and one row for the sum.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.store.schema import chunks, counters, dumps, insert

SHOWN_AS_ZERO = 2
"""Scrapes that show a new series as 0, so that its first event is an increase for Prometheus and not a birth."""
SUM = "sum"
"""Value of ``le`` in the row that holds a histogram's sum."""
_BUCKETS = {semconv.PROM_FEEDBACK_SCORE: semconv.SCORE_BUCKETS, semconv.PROM_FEEDBACK_DELAY: semconv.DELAY_BUCKETS}


@dataclass
class Increments:
    """What one transaction adds to the counters, gathered so that each series is written once."""

    added: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    exemplars: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict[tuple[str, str], dict[str, Any]])
    _canonical: dict[frozenset[tuple[str, str]], str] = field(default_factory=dict[frozenset[tuple[str, str]], str])

    def add(
        self, metric: str, labels: Mapping[str, str], amount: float = 1.0, exemplar: Mapping[str, Any] | None = None
    ) -> None:
        """Add ``amount`` to a series (0 makes it exist). ``exemplar`` replaces the one shown before."""
        said = frozenset(labels.items())
        if said not in self._canonical:
            self._canonical[said] = dumps(labels)
        key = (metric, self._canonical[said])
        self.added[key] = self.added.get(key, 0.0) + amount
        if exemplar is not None:
            self.exemplars[key] = {**exemplar, "value": amount}

    def observe(self, metric: str, labels: Mapping[str, str], value: float) -> None:
        """Record ``value`` in a histogram."""
        bounds = _BUCKETS[metric]
        place = bisect_left(bounds, value)
        self.add(metric, {**labels, "le": repr(float(bounds[place])) if place < len(bounds) else "+Inf"})
        self.add(metric, {**labels, "le": SUM}, value)

    def write(self, conn: Connection) -> None:
        """Add everything to the table."""
        if not self.added:
            return
        rows = [
            {"metric": metric, "labels": labels, "value": amount, "exposed": 0,
             "exemplar": self.exemplars.get((metric, labels))}
            for (metric, labels), amount in self.added.items()
        ]
        conn.execute(_statement(conn.dialect.name), rows)


@lru_cache
def _statement(dialect: str) -> Any:
    statement = insert(dialect, counters)
    changed = {
        "value": counters.c.value + statement.excluded.value,
        "exemplar": sa.func.coalesce(statement.excluded.exemplar, counters.c.exemplar),
    }
    return statement.on_conflict_do_update(index_elements=["metric", "labels"], set_=changed)


@dataclass(frozen=True)
class Series:
    """One row as it may be shown now: ``value`` is 0 while the series is new, then the exact count."""

    metric: str
    labels: dict[str, str]
    value: float
    exemplar: dict[str, Any] | None
    fresh: bool
    exact: float


def scrape(conn: Connection) -> list[Series]:
    """All series as this scrape shows them; counts the scrape for those that are new."""
    rows = conn.execute(sa.select(counters).order_by(counters.c.metric, counters.c.labels)).all()
    new = [(row.metric, row.labels) for row in rows if row.exposed < SHOWN_AS_ZERO]
    for part in chunks(new, 200):
        conn.execute(
            sa.update(counters).where(sa.tuple_(counters.c.metric, counters.c.labels).in_(part))
            .values(exposed=counters.c.exposed + 1)
        )
    return [_series(row) for row in rows]


def _series(row: Any) -> Series:
    fresh = row.exposed < SHOWN_AS_ZERO
    labels: dict[str, str] = json.loads(row.labels)
    return Series(row.metric, labels, 0.0 if fresh else row.value, None if fresh else row.exemplar, fresh, row.value)


def totals(conn: Connection) -> dict[tuple[str, str], float]:
    """Exact counts by (metric, canonical labels), new or not."""
    return {(row.metric, row.labels): row.value for row in conn.execute(sa.select(counters))}


def open_cohort(increments: Increments, dims: Mapping[str, str]) -> None:
    """Make the feedback series that the pager reads exist at 0, before the first vote."""
    for name in (semconv.USER_THUMBS, semconv.USER_STARS):
        for polarity in (semconv.NEGATIVE, semconv.POSITIVE):
            for age in semconv.AGES:
                said = (name, polarity, semconv.ADD, semconv.END_USER, age)
                labels = dict(zip(semconv.FEEDBACK_LABELS, said, strict=True))
                increments.add(semconv.PROM_FEEDBACK, {**labels, **dims}, 0.0)


