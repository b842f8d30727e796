"""Which answers were asked about, with what probability; and the estimates that come of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Connection, Float, Index, String, Table

from backspan import semconv
from backspan.spc.weighted import hajek, horvitz_thompson, raw, stability
from backspan.store.guards import held
from backspan.store.model import LIVE
from backspan.store.schema import chunks, insert, metadata, turns, votes

asks = Table(
    "asks", metadata,
    Column("id", String, primary_key=True), Column("stratum", String, nullable=False), Column("rater", String),
    Column("trace_id", String), Column("span_id", String), Column("response_id", String),
    Column("asked", Boolean, nullable=False), Column("probability", Float, nullable=False),
    Column("time", Float, nullable=False),
    Index("asks_time", "time"), Index("asks_stratum", "stratum", "time"), Index("asks_rater", "rater", "time"),
    Index("asks_trace", "trace_id"),
)
"""One row per answer and person of which it was decided; a decision is never changed."""

MOST = 100_000
"""Decisions that one estimate reads: the newest ones."""


def decided(conn: Connection, id: str) -> tuple[bool, float, str] | None:
    """The decision of an answer and person, with its stratum; None if there is none yet."""
    row = conn.execute(sa.select(asks.c.asked, asks.c.probability, asks.c.stratum).where(asks.c.id == id)).first()
    return None if row is None else (row.asked, row.probability, row.stratum)


def seen(conn: Connection, stratum: str, rater: str | None, since: float, cap_since: float) -> tuple[int, int, int]:
    """Decisions of a stratum, answers given to what was asked there, and how often the person was asked."""
    count = sa.select(sa.func.count()).select_from(asks)
    here = count.where(asks.c.stratum == stratum, asks.c.time >= since)
    answered = here.where(asks.c.asked.is_(True), sa.exists().where(*_answers()))
    person = 0 if rater is None else conn.execute(
        count.where(asks.c.rater == rater, asks.c.asked.is_(True), asks.c.time >= cap_since)).scalar_one()
    return conn.execute(here).scalar_one(), conn.execute(answered).scalar_one(), person


def _answers() -> list[Any]:
    """Conditions for a vote that answers an ask."""
    return [votes.c.trace_id == asks.c.trace_id, votes.c.span_id == asks.c.span_id,
            votes.c.rater.is_not_distinct_from(asks.c.rater), votes.c.op.in_(LIVE),
            votes.c.source == semconv.END_USER, ~held(votes.c.id)]


def note(conn: Connection, row: Mapping[str, Any]) -> None:
    """Keep a decision; the first one stands."""
    conn.execute(insert(conn.dialect.name, asks).values(**row).on_conflict_do_nothing(index_elements=["id"]))


def probabilities(conn: Connection, votes_of: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Probability with which the raters of these votes (rows) were asked, by the vote's id."""
    wanted = {(one["trace_id"], one["span_id"], one["rater"]): one["id"] for one in votes_of if one["trace_id"]}
    found: dict[str, float] = {}
    for part in chunks(sorted({trace for trace, _, _ in wanted})):
        for row in conn.execute(sa.select(asks).where(asks.c.trace_id.in_(part), asks.c.asked.is_(True))):
            id = wanted.get((row.trace_id, row.span_id, row.rater))
            if id is not None:
                found[id] = row.probability
    return found


def forget(conn: Connection, before: float, most: int) -> int:
    """Forget decisions made before a Unix second; at most so many."""
    old = sa.select(asks.c.id).where(asks.c.time < before).order_by(asks.c.time).limit(most)
    return conn.execute(sa.delete(asks).where(asks.c.id.in_(old))).rowcount


# --- estimates ------------------------------------------------------------------------------------------------------
def estimates(conn: Connection, name: str, since: float) -> dict[str, Any]:
    """The share of negative judgements ``name``, raw and weighted to all answers that could be asked about.

    Those who were asked and said nothing are taken to be like those of their stratum who answered: the probability of
    an answer is that of being asked times the share of the stratum's asked ones who answered (weighting classes: H. L.
    Oh and F. J. Scheuren, 1983). Answers of people past their cap are not of the population.

    Returns ``name``, ``population`` (answers), ``asked``, ``answered``, and ``raw``, ``hajek`` and
    ``horvitz_thompson``, each with ``value``, ``low`` and ``high`` (95 %) or None.
    """
    verdict = sa.select(asks.c.stratum, asks.c.asked, asks.c.probability, votes.c.polarity).join_from(
        asks, votes, sa.and_(*_answers(), votes.c.name == name), isouter=True)
    rows = conn.execute(verdict.where(asks.c.time >= since, asks.c.probability > 0).order_by(
        asks.c.time.desc()).limit(MOST)).all()
    asked: dict[str, int] = {}
    answered: dict[str, int] = {}
    for row in rows:
        if row.asked:
            asked[row.stratum] = asked.get(row.stratum, 0) + 1
            answered[row.stratum] = answered.get(row.stratum, 0) + (row.polarity is not None)
    said = [row for row in rows if row.asked and row.polarity is not None]
    values = [float(row.polarity == semconv.NEGATIVE) for row in said]
    weights = [row.probability * answered[row.stratum] / asked[row.stratum] for row in said]
    shown = {"raw": raw(values), "hajek": hajek(values, weights),
             "horvitz_thompson": horvitz_thompson(values, weights, len(rows)) if rows else None}
    return {"name": name, "population": len(rows), "asked": sum(asked.values()), "answered": len(said),
            **{key: None if one is None else vars(one) for key, one in shown.items()}}


def coverage(conn: Connection, since: float) -> dict[str, float]:
    """Of the answers since a Unix second: how many there are (``answers``), the share that users judged (``coverage``),
    and how far the segments of the judged ones are from those of all (``stability``, see `backspan.spc.weighted`)."""
    recent = [turns.c.ended >= since, turns.c.answered.is_(True)]
    per_segment = sa.select(turns.c.segment, sa.func.count()).where(*recent).group_by(turns.c.segment)
    judged = sa.exists().where(votes.c.turn_id == turns.c.turn_id, votes.c.op.in_(LIVE),
                               votes.c.source == semconv.END_USER, ~held(votes.c.id))
    everybody = {segment: float(n) for segment, n in conn.execute(per_segment)}
    voters = {segment: float(n) for segment, n in conn.execute(per_segment.where(judged))}
    total, some = sum(everybody.values()), sum(voters.values())
    return {"answers": total, "coverage": some / total if total else 0.0,
            "stability": stability(voters, everybody) if some else 0.0}
