"""How many values a label may have: what is past the limit is counted under one value for the rest.

A label value makes a series, and series cost memory here, in Prometheus and in every rule. A user's browser can make up
names and reasons, and an application may put an id where a version belongs. So each label of the counters has a limited
number of places; the first values get them, and keep them until nobody has used them for `KEPT` seconds. What comes
when all are taken is counted as `OVERFLOW`, and `semconv.LABEL_OVERFLOW_METRIC` says for which label. Spans keep the
true value. The places are in the database, so that replicas and restarts agree, and what a vote adds is taken away from
the same series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, String, Table

from backspan import semconv
from backspan.config import settings
from backspan.store.schema import metadata, upsert

OVERFLOW = semconv.LABEL_REST
KEPT = 30 * 86400.0
_DAY = 86400.0
_WHOLE = 4096

places = Table(
    "label_values", metadata, Column("label", String, primary_key=True), Column("value", String, primary_key=True),
    Column("seen", Float, nullable=False),
)
"""Values that have a place, and when (to the day) they were last used."""

Pairs = tuple[tuple[str, str], ...]


class Labels:
    """The places, with those that are known to be taken in memory.

    ``limit``: values of one label; None is the setting ``BACKSPAN_LABEL_VALUES``.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = settings().label_values if limit is None else limit
        self._known: dict[str, dict[str, float]] = {}
        self._whole: dict[Pairs, float] = {}
        """Label sets whose values all have a place, and until when that need not be looked up."""

    def of(self, conn: Connection, labels: Pairs, now: float) -> Pairs:
        """The labels as they are counted; the same tuple, if all of them have a place."""
        until = self._whole.get(labels)
        if until is not None and now < until:
            return labels
        found = tuple((label, self.value(conn, label, value, now)) for label, value in labels)
        if found != labels:  # an overflow may find a place later
            return found
        if len(self._whole) >= _WHOLE:
            self._whole.clear()
        if all(value == "" or value in self._known.get(label, ()) for label, value in labels):
            self._whole[labels] = now + _DAY / 24
        return labels

    def value(self, conn: Connection, label: str, value: str, now: float) -> str:
        """The value as it is counted: itself, if it has or gets a place, else `OVERFLOW`. ``""`` takes no place."""
        if value in ("", OVERFLOW):
            return value
        seen = self._known.get(label, {}).get(value)
        if seen is not None and now - seen < _DAY:
            return value
        taken = {row.value: row.seen for row in conn.execute(sa.select(places).where(places.c.label == label))}
        self._known[label] = dict(taken)
        live = sum(1 for last in taken.values() if last > now - KEPT)
        if value not in taken and live >= self._limit:
            return OVERFLOW
        if now - taken.get(value, 0.0) >= _DAY:  # not kept in memory before it is committed: the next one reads it
            upsert(conn, places, [{"label": label, "value": value, "seen": now}])
        return value

    def judged(self, conn: Connection, row: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """A revision with its name and its reasons as they are counted; itself, if they all have a place."""
        name = self.value(conn, "name", row["name"], now)
        given = row["reasons"] or ()
        reasons = [self.value(conn, "reason", one, now) for one in given]
        if name == row["name"] and all(one == other for one, other in zip(reasons, given, strict=True)):
            return row
        return {**row, "name": name, "reasons": sorted(set(reasons))}
