"""``backspan.satisfaction.estimated``: what the signals say of every turn, by weights of `backspan.loop.calibrate`.

A turn is estimated once, an hour after it ended, when most of its signals are there. The estimates are a histogram of
their own and never enter a vote. How well they rank is measured on votes about turns that ended after the weights were
made, so the votes that the weights come from are not among them.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.feedback.signals import Catalogue, catalogue
from backspan.loop.calibrate import Labelled, Weights, WeightsError, auc, key_of, priors, read
from backspan.store import Policy, estimates, signals, turns
from backspan.store.retention import DAY, Retention, told
from backspan.store.votes import Batch

logger = logging.getLogger("backspan.loop")
SETTLED = 3600.0
"""Seconds after its end that a turn is estimated."""
MEASURED_EVERY = 3600.0
WINDOW = 30 * DAY
"""Seconds that the AUC looks back."""
MOST = 50_000
"""Votes that are read at most."""


def labelled(conn: Connection, known: Catalogue, since: float, vote: str) -> list[Labelled]:
    """Judged answers with their signals, of people who agreed that there be any."""
    rows = [row for row in estimates.judged(conn, since, vote, MOST) if known.agreed(row["consent"])]
    found = estimates.signals_of(conn, sorted({row["turn_id"] for row in rows}))
    return [Labelled(row["turn_id"], row["polarity"] == semconv.POSITIVE,
                     frozenset(key_of(*one) for one in found.get(row["turn_id"], ()))) for row in rows]


@dataclass
class Estimated:
    """What one step did: turns estimated, left out for want of consent, forgotten; ``more``: there is more to do."""

    estimated: int = 0
    no_consent: int = 0
    forgotten: int = 0
    more: bool = False


@dataclass
class Satisfaction:
    """The job of the estimates. ``file``: weights; the priors of the catalogue where it is not there, or is none."""

    file: Path
    every: float = 60.0
    at_once: int = 200
    name: str = "satisfaction"
    vote: str = semconv.USER_THUMBS
    known: Catalogue = field(default_factory=catalogue)
    _weights: Weights | None = None
    _changed: float | None = None

    def begin(self, conn: Connection) -> None:
        """Nothing has to be made ready."""

    def step(self, conn: Connection, now: float) -> Estimated:
        """Estimate some of the turns that are due."""
        batch = Batch(conn, now, Policy(count_spans=False, emit=False))
        done = self.apply(batch)
        batch.write()
        return done

    def apply(self, batch: Batch) -> Estimated:
        """Estimate some of the turns that are due; their counts are in ``batch``."""
        weights = self.weights()
        rows, at = estimates.due(batch.conn, batch.now - SETTLED, self.at_once)
        found = estimates.signals_of(batch.conn, [row["turn_id"] for row in rows])
        agreed = [row for row in rows if self.known.agreed(row["consent"])]
        kept: list[dict[str, Any]] = []
        for row in agreed:
            there = found.get(row["turn_id"], ())
            value = weights.estimate(key_of(*one) for one in there)
            kept.append({"turn_id": row["turn_id"], "signals": len(there), "weights": weights.version, "value": value,
                         "ended": row["ended"], "time": batch.now})
            labels = {semconv.LABEL_WEIGHTS: weights.version, **turns.dims_of(row)}
            signals.observe(
                batch.increments, semconv.PROM_SATISFACTION, labels, value, semconv.SATISFACTION_BUCKETS)
        if at is not None:
            estimates.keep(batch.conn, kept, at)
        self._measure(batch.conn, weights, batch.now)
        return Estimated(len(kept), len(rows) - len(agreed), _forget(batch, self.at_once), at is not None)

    def weights(self) -> Weights:
        """The weights in force; the file is read again when it changed."""
        changed = self.file.stat().st_mtime if self.file.is_file() else None
        if self._weights is None or changed != self._changed:
            self._changed = changed
            try:
                self._weights = priors(self.known) if changed is None else read(self.file)
            except WeightsError as error:
                logger.error("estimates go by the weights they had before: %s", error)
                self._weights = self._weights or priors(self.known)
        return self._weights

    def _measure(self, conn: Connection, weights: Weights, now: float) -> None:
        last = estimates.told_auc(conn)
        if last is not None and last["weights"] == weights.version and now - last["time"] < MEASURED_EVERY:
            return
        ranked = estimates.ranked(conn, weights.version, max(weights.made, now - WINDOW), self.vote, MOST)
        found = auc(ranked)
        estimates.tell_auc(conn, weights.version, None if found is None else asdict(found), now)


def _forget(batch: Batch, most: int) -> int:
    """Forget estimates when the turns of their time are forgotten."""
    keep = told(batch.conn) or Retention()
    return 0 if keep.turns is None else estimates.forget(batch.conn, batch.now - keep.turns, most)
