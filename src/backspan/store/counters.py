"""Exact counts of what was answered and judged: one row per series, changed in the transaction that stores the cause.

Histograms are stored as one row per bucket (not cumulative, label ``le``) and one row for the sum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring as _quoted
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.store import bulk
from backspan.store.schema import chunks, counters, dumps
from backspan.store.series import SUM, Key, key_of

__all__ = ["SHOWN_AS_ZERO", "SUM", "Increments", "Series", "open_cohort", "scrape", "totals"]

SHOWN_AS_ZERO = 2
"""Scrapes that show a new series as 0, so that its first event is an increase for Prometheus and not a birth."""
_EXEMPLAR = ("trace_id", "span_id", "time", "value")
_NAMES = ("metric", "labels", "value", "exposed", "exemplar")
_ADD = ("ON CONFLICT (metric, labels) DO UPDATE SET value = counters.value + excluded.value, "
        "exemplar = coalesce(excluded.exemplar, counters.exemplar)")


@dataclass
class Increments:
    """What one transaction adds to the counters, gathered so that each series is written once."""

    added: dict[Key, float] = field(default_factory=dict[Key, float])
    exemplars: dict[Key, dict[str, Any]] = field(default_factory=dict[Key, dict[str, Any]])
    opened: set[frozenset[tuple[str, str]]] = field(default_factory=set[frozenset[tuple[str, str]]])
    """Cohorts whose zeros are among ``added``."""

    def add(
        self, metric: str, labels: Mapping[str, str], amount: float = 1.0, exemplar: Mapping[str, Any] | None = None
    ) -> None:
        """`count` for a series by its metric and its labels."""
        self.count(key_of(metric, labels), amount, exemplar)

    def count(self, key: Key, amount: float = 1.0, exemplar: Mapping[str, Any] | None = None) -> None:
        """Add ``amount`` to a series (0 makes it exist). ``exemplar`` replaces the one shown before."""
        self.added[key] = self.added.get(key, 0.0) + amount
        if exemplar is not None:
            self.exemplars[key] = {**exemplar, "value": amount}

    def write(self, conn: Connection) -> None:
        """Add everything to the table, in an order of its own, so that no two writers wait for each other."""
        said = {key: _text(exemplar) for key, exemplar in self.exemplars.items()}
        rows = [(*key, self.added[key], 0, said.get(key)) for key in sorted(self.added)]
        bulk.insert(conn, counters, _NAMES, rows, _ADD)


def _text(exemplar: Mapping[str, Any]) -> str:
    """Canonical JSON of an exemplar, in a fraction of the time that an encoder takes."""
    trace_id, span_id, time, value = (exemplar.get(name) for name in _EXEMPLAR)
    if len(exemplar) == len(_EXEMPLAR) and type(time) is type(value) is float and trace_id and span_id:
        return f'{{"span_id":{_quoted(span_id)},"time":{time!r},"trace_id":{_quoted(trace_id)},"value":{value!r}}}'
    return dumps(exemplar)


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
    """Make the series of first votes, which the pager reads, exist at 0 before the first one."""
    cohort = frozenset(dims.items())
    if cohort in increments.opened:
        return
    increments.opened.add(cohort)
    for name in (semconv.USER_THUMBS, semconv.USER_STARS):
        for polarity in (semconv.NEGATIVE, semconv.POSITIVE):
            for age in semconv.AGES:
                said = (name, polarity, semconv.ADD, semconv.END_USER, age)
                labels = dict(zip(semconv.FEEDBACK_LABELS, said, strict=True))
                increments.add(semconv.PROM_FEEDBACK, {**labels, **dims}, 0.0)
            for solicited in semconv.SOLICITED:
                labels = dict(zip(semconv.SOLICITED_LABELS, (name, polarity, solicited), strict=True))
                increments.add(semconv.PROM_FEEDBACK_SOLICITED, {**labels, **dims}, 0.0)


