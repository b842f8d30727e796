"""Which traces were judged bad although they had not been sampled: what applications that keep such traces ask for."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from backspan import semconv
from backspan.store.schema import vote_log, votes

MOST = 1000
"""Revisions that one answer looks at, at most."""
_NEWEST = 10_000
"""Revisions that the first question of an application looks back over, at most."""


@dataclass(frozen=True)
class Promotions:
    """``trace_ids``: 32 hex digits each, the earliest judged first. ``after``: where to go on from."""

    trace_ids: tuple[str, ...]
    after: int


def judged_bad(conn: Connection, *, after: int | None = None, since: float = 0.0) -> Promotions:
    """Traces judged bad after the revision ``after``; without it, those since ``since`` (Unix seconds).

    A judgement that was taken back or changed since is among them: what is sent twice is sent once too often, what is
    not sent is lost.
    """
    last = conn.execute(select(func.coalesce(func.max(vote_log.c.seq), 0))).scalar_one()
    begin = max(0, last - _NEWEST) if after is None else after
    rows = conn.execute(
        select(vote_log.c.seq, votes.c.trace_id)
        .join(votes, votes.c.id == vote_log.c.id)
        .where(vote_log.c.seq > begin, vote_log.c.polarity == semconv.NEGATIVE, vote_log.c.op != semconv.RETRACT,
               vote_log.c.received >= (since if after is None else 0.0),
               votes.c.trace_id.is_not(None), votes.c.trace_flags % 2 == 0)
        .order_by(vote_log.c.seq).limit(MOST)
    ).all()
    reached = rows[-1].seq if len(rows) == MOST else last
    return Promotions(tuple(dict.fromkeys(row.trace_id for row in rows)), int(reached))
