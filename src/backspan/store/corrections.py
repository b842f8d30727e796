"""What a correction changes: how far it is from the answer that is stored."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.context import Target
from backspan.store.schema import calls, turns


def answer_of(conn: Connection, target: Target) -> str | None:
    """The text of a judged answer; None if it is not stored (yet), or without its content."""
    if target.trace_id is not None:
        where = [calls.c.trace_id == target.trace_id, calls.c.span_id == target.span_id]
    elif target.response_id is not None:
        where = [calls.c.response_id == target.response_id]
    else:
        return None
    told = sa.select(calls.c.answer, turns.c.answer).join_from(calls, turns, calls.c.turn_id == turns.c.turn_id,
                                                               isouter=True).where(*where).limit(1)
    row = conn.execute(told).first()
    if row is None and target.turn_id is not None:
        return conn.execute(sa.select(turns.c.answer).where(turns.c.turn_id == target.turn_id)).scalar() or None
    return None if row is None else row[0] or row[1] or None


def edit_ratio(answer: str, correction: str) -> float:
    """Levenshtein distance over the length of the longer text, 0 (equal) to 1; white space counts as one blank.

    V. I. Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", 1966.
    """
    from rapidfuzz.distance import Levenshtein  # of the extra `server`

    return round(Levenshtein.normalized_distance(" ".join(answer.split()), " ".join(correction.split())), 4)
