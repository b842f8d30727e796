"""The short way of most votes: a first one, whose dimensions are known, and which says nothing in words.

Such a vote meets no state, so what becomes of it is known beforehand: its rows need no mapping, and the series that
count it are looked up at once. `backspan.store.batch` has the whole way; a test shows that both do the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from backspan import semconv
from backspan.store import bulk, series
from backspan.store.counters import Increments
from backspan.store.model import Vote, age_of, full_dims
from backspan.store.schema import vote_log, votes

_LOG = ("seq", "id", "version", "op", "name", "value", "label", "polarity", "source", "solicited", "digest", "delay",
        "time", "received", "counted", "origin", "reasons", "circumstances")
_STATE = ("id", "version", "op", "name", "value", "label", "polarity", "source", "solicited", "rater", "trace_id",
          "span_id", "trace_flags", "response_id", "conversation_id", "at", "resolved", "time", "received", "reasons",
          "circumstances", "dims")


class First(NamedTuple):
    """A first vote that was accepted, by the number of its revision."""

    seq: int
    vote: Vote
    delay: float | None
    dims: series.Dims

    @property
    def resolved(self) -> bool:
        """Tell whether it is known which call is judged."""
        return self.vote.trace_id is not None or self.vote.response_id is None


def plain(vote: Vote) -> bool:
    """Tell whether ``vote`` may go the short way, if nobody has voted before it and its turn is not known here."""
    return (vote.dims is not None and semconv.SERVICE_NAME in vote.dims and vote.revision is None and not vote.retract
            and vote.details is None and vote.comment is None and vote.correction is None)


def dims_of(vote: Vote) -> series.Dims:
    """The label dimensions of a `plain` vote; the same object for the same dimensions."""
    return _full(tuple((vote.dims or {}).items()))


@lru_cache(maxsize=4096)
def _full(said: series.Dims) -> series.Dims:
    return tuple(full_dims(dict(said)).items())


def delay_of(vote: Vote) -> float | None:
    """Seconds from the answer to its judgement; None if nobody knows."""
    if vote.delay is not None or vote.at is None:
        return vote.delay
    return max(0.0, vote.time - vote.at)


# --- count ----------------------------------------------------------------------------------------------------------
def count(increments: Increments, one: First) -> Mapping[str, str]:
    """Count a first vote; returns the labels by which it is counted."""
    vote, delay = one.vote, one.delay
    where = series.place(semconv.PROM_FEEDBACK_SCORE, vote.value), series.place(semconv.PROM_FEEDBACK_DELAY, delay)
    told = _series((vote.name, vote.polarity, semconv.ADD, vote.source, age_of(delay)), vote.solicited, vote.reasons,
                   where, one.dims)
    added = increments.added
    for key in told.counted:
        added[key] = added.get(key, 0.0) + 1.0
    for key, amount in ((told.score, vote.value), (told.delay, delay)):
        if key is not None and amount is not None:
            added[key] = added.get(key, 0.0) + amount
    if vote.trace_id:
        shown = {"trace_id": vote.trace_id, "span_id": vote.span_id, "time": vote.time, "value": 1.0}
        for key in told.shown:
            increments.exemplars[key] = shown
    return told.labels


class _Series(NamedTuple):
    labels: Mapping[str, str]
    counted: tuple[series.Key, ...]
    shown: tuple[series.Key, ...]
    """Those that have an exemplar."""
    score: series.Key | None
    delay: series.Key | None


@lru_cache(maxsize=8192)
def _series(said: tuple[str, ...], solicited: bool | None, reasons: tuple[str, ...],
            where: tuple[int | None, int | None], dims: series.Dims) -> _Series:
    """The series of a first vote. ``where``: the buckets of its score and its delay."""
    name, polarity, _, source, _ = said
    labels, (shown, *counted) = series.judged(said, reasons, dims)
    marked = [shown]
    if source == semconv.END_USER and solicited is not None:
        marked.append(series.asked(name, polarity, solicited, dims))
    if source == semconv.IMPLICIT:
        marked.append(series.signalled(name, polarity, dims))
    sums: list[series.Key | None] = []
    for metric, place in zip((semconv.PROM_FEEDBACK_SCORE, semconv.PROM_FEEDBACK_DELAY), where, strict=True):
        bucket, total = (None, None) if place is None else series.placed(metric, name, source, dims, place)
        counted += [] if bucket is None else [bucket]
        sums.append(total)
    return _Series(labels, (*marked, *counted), tuple(marked), *sums)


# --- write ----------------------------------------------------------------------------------------------------------
def write(conn: Connection, firsts: Iterable[First], now: float) -> None:
    """Write the votes and their revisions."""
    rows = [(one, bulk.array(one.vote.reasons), bulk.text(one.vote.circumstances)) for one in firsts]
    bulk.insert(conn, vote_log, _LOG, [_revision(*row, now) for row in rows])
    bulk.insert(conn, votes, _STATE, [_standing(*row, now) for row in rows])


def _revision(one: First, reasons: str, circumstances: str | None, now: float) -> tuple[Any, ...]:
    vote = one.vote
    return (one.seq, vote.id, 1, semconv.ADD, vote.name, vote.value, vote.label, vote.polarity, vote.source,
            vote.solicited, "", one.delay, vote.time, now, True, "http", reasons, circumstances)


def _standing(one: First, reasons: str, circumstances: str | None, now: float) -> tuple[Any, ...]:
    vote = one.vote
    return (vote.id, 1, semconv.ADD, vote.name, vote.value, vote.label, vote.polarity, vote.source, vote.solicited,
            vote.rater, vote.trace_id, vote.span_id, vote.trace_flags, vote.response_id, vote.conversation_id, vote.at,
            one.resolved, vote.time, now, reasons, circumstances, bulk.items(one.dims))
