"""What was counted, read again from the rows: events of a time range, or the newest ones.

Answers, calls and judgements come out as the `Event` that the charts were given when they were stored, with one label
more: the model that served the answer. What retention has dropped is not there any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.store.model import ANSWER, CALL, FEEDBACK, INFERENCE, Event, call_event, labels_of
from backspan.store.schema import calls, turns, vote_log, votes
from backspan.store.turns import answer_event

LATE = 3600.0
"""Seconds by which the clock of a sender may be ahead of ours, where rows are looked up by the time they came."""
_SERVED = semconv.RESPONSE_MODEL
_STREAMED = {"yield_per": 1000}


def events(conn: Connection, kind: str, since: float, until: float) -> Iterator[Event]:
    """Events of one kind with ``since <= time < until``, oldest first as far as the clocks of their senders agree."""
    query, made, time, received = _SOURCES[kind]
    found = query.where(time >= since, time < until)
    if received is not None:  # there is an index on it, and none on the time
        found = found.where(received >= since - LATE).order_by(vote_log.c.seq)
    else:
        found = found.order_by(time)
    for row in conn.execute(found, execution_options=_STREAMED).mappings():
        yield made(row)


def newest(conn: Connection, kind: str, limit: int, name: str | None = None) -> list[Event]:
    """The newest events of one kind, newest first; of judgements those of ``name``, if it is given."""
    query, made, time, received = _SOURCES[kind]
    order = time.desc() if received is None else vote_log.c.seq.desc()
    if name and kind == FEEDBACK:
        query = query.where(vote_log.c.name == name)
    return [made(row) for row in conn.execute(query.order_by(order).limit(limit)).mappings()]


def _answered(row: Mapping[Any, Any]) -> Event:
    event = answer_event(row)
    return _served(event, row["response_model"])


def _judged(row: Mapping[Any, Any]) -> Event:
    event = Event(
        FEEDBACK, labels_of(row, row["op"], row["dims"] or {}), row["time"], tuple(row["reasons"] or ()),
        trace_id=row["trace_id"] or "", span_id=row["span_id"] or "", turn_id=row["turn_id"] or "", rater=row["rater"])
    return _served(event, row["served"] or "")


def _served(event: Event, model: str) -> Event:
    return Event(event.kind, {**event.labels, _SERVED: model}, event.time, event.reasons, event.amounts, event.seconds,
                 event.trace_id, event.span_id, event.turn_id, event.rater)


_JUDGEMENTS = sa.select(
    vote_log.c.name, vote_log.c.polarity, vote_log.c.op, vote_log.c.source, vote_log.c.delay, vote_log.c.time,
    vote_log.c.reasons, votes.c.dims, votes.c.trace_id, votes.c.span_id, votes.c.turn_id, votes.c.rater,
    turns.c.response_model.label("served"),
).select_from(
    vote_log.join(votes, vote_log.c.id == votes.c.id).join(turns, votes.c.turn_id == turns.c.turn_id, isouter=True)
).where(vote_log.c.counted.is_(True), vote_log.c.op == semconv.ADD)
_ANSWERS = sa.select(turns).where(turns.c.counted.is_(True))
_CALLS = sa.select(calls).where(calls.c.operation.in_(sorted(INFERENCE)))

Source = tuple[Any, Callable[[Mapping[Any, Any]], Event], Any, Any]
_SOURCES: Mapping[str, Source] = {
    FEEDBACK: (_JUDGEMENTS, _judged, vote_log.c.time, vote_log.c.received),
    ANSWER: (_ANSWERS, _answered, turns.c.ended, None),
    CALL: (_CALLS, call_event, calls.c.ended, None),
}


# --- what belongs to them -------------------------------------------------------------------------------------------
def turns_between(conn: Connection, since: float, until: float) -> Iterator[dict[str, Any]]:
    """Answered turns that ended in a range: dimensions, index and documents, no content."""
    wanted = ("turn_id", "trace_id", "span_id", "ended", "index_name", "index_version", "response_model", "documents",
              "model", "prompt_name", "prompt_version", "variant", "segment", "environment", "service", "input_tokens")
    query = sa.select(*(turns.c[name] for name in wanted)).where(
        turns.c.answered.is_(True), turns.c.ended >= since, turns.c.ended < until)
    for row in conn.execute(query.order_by(turns.c.ended), execution_options=_STREAMED).mappings():
        yield dict(row)


def calls_between(conn: Connection, since: float, until: float) -> Iterator[tuple[Event, Mapping[str, Any]]]:
    """Calls of models that ended in a range, with how each ended: ``outcome`` and ``finish``."""
    query = _CALLS.where(calls.c.ended >= since, calls.c.ended < until).order_by(calls.c.ended)
    for row in conn.execute(query, execution_options=_STREAMED).mappings():
        yield call_event(row), {"outcome": row["outcome"], "finish": row["finish"]}


def kinds_of(stores: Sequence[str]) -> tuple[str, ...]:
    """Kinds of events that hold what ``stores`` (`backspan.rules.indicators`) count: reasons come with judgements."""
    return tuple(dict.fromkeys(FEEDBACK if store == "reason" else store for store in stores if store))
