"""Votes by the document that the judged answer rested on.

A vote is on an answer, not on a document: it goes to every document that a retrieval of the answer's turn found. So the
share of one document says less than its lift: how often answers with it are bad, against those of the same index
version without it. Documents are told apart by service, environment, index, index version and id.

Everything is read when it is asked for, from a bounded number of rows over indexes; nothing here is a counter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.spc.pchart import wilson
from backspan.spc.ratio import ratio
from backspan.store.comparison import with_and_without
from backspan.store.guards import held
from backspan.store.model import LIVE
from backspan.store.reads import BadCursor
from backspan.store.schema import calls, votes

MOST_VOTES = 20_000
"""Votes that one answer reads: the newest ones."""
MOST_CALLS = 50_000
"""Calls among which retrievals are counted: the newest ones."""
PLACE = ("service", "environment", "index_name", "index_version")
"""What, beside its id, tells a document from another."""
_KEY = (*PLACE, "document")
Order = Literal["negative", "excess"]
NEGATIVE, EXCESS = "negative", "excess"
EVERYBODY = "any"


@dataclass(frozen=True)
class Asked:
    """What to read. Times are Unix seconds of the votes; ``source`` is who judged, or `EVERYBODY`.

    ``order`` says what comes first: ``negative`` the most negative votes, which a document that is shown often has
    anyway, or ``excess`` the most bad answers beyond those that the share of the others predicts.
    """

    since: float
    until: float | None = None
    source: str = semconv.END_USER
    index_name: str | None = None
    index_version: str | None = None
    document: str | None = None
    order: Order = NEGATIVE


def page(
    conn: Connection, asked: Asked, limit: int, cursor: str | None = None, *, centred: bool = False
) -> dict[str, Any]:
    """What `worst` finds, as the API answers it, with the bounds of the time that was read (`reach`).

    With ``centred``, which takes as long again, each document also has ``centring``: the share of its *votes* that are
    negative and its difference from the votes on answers without it, raw and without the habits of those who voted
    (`backspan.store.comparison`).
    """
    rows, after = worst(conn, asked, limit=limit, cursor=cursor)
    if centred:
        beside = _beside(conn, asked, [tuple(one[name] for name in _KEY) for one in rows])
        rows = [{**one, "centring": beside.get(tuple(one[name] for name in _KEY))} for one in rows]
    return {"documents": rows, "cursor": after, "since": asked.since, "until": asked.until, **reach(conn, asked)}


def worst(
    conn: Connection, asked: Asked, *, limit: int = 20, cursor: str | None = None, shown: bool = True
) -> tuple[list[dict[str, Any]], str | None]:
    """The worst documents first, and the cursor of the next page (None at the end).

    Each has its key, ``votes`` by polarity, ``judged`` answers that showed it and how many of them were ``bad`` (at
    least half of their votes are negative), ``share`` (bad of judged, with Wilson's 95 % interval), ``lift`` (that
    share against the one of the judged answers of the same index version that did not show it, None if there are none;
    `backspan.spc.ratio`: its bounds hold for all documents at once) and ``position`` (mean rank, 1 is the first). With
    ``shown``, also in how many answers it was ``shown``, judged or not.

    Raises:
        BadCursor: if ``cursor`` was not made here.
    """
    start = _start(cursor)
    compared = _compared(conn, asked)
    page = sa.select(compared).where(*_wanted(compared.c, asked)).order_by(compared.c[f"by_{asked.order}"])
    rows = conn.execute(page.offset(start).limit(limit + 1)).mappings().all()
    found = [_document(row) for row in rows[:limit]]
    if shown and found:
        counted = _shown(conn, asked, [tuple(one[name] for name in _KEY) for one in found])
        for one in found:
            one["shown"] = counted.get(tuple(one[name] for name in _KEY), 0)
    return found, str(start + limit) if len(rows) > limit else None


def top(conn: Connection, since: float, number: int) -> list[dict[str, Any]]:
    """The ``number`` worst documents by each order, 2 ``number`` at most, judged by end users; see `worst`."""
    compared = _compared(conn, Asked(since))
    ranks = compared.c[f"by_{NEGATIVE}"], compared.c[f"by_{EXCESS}"]
    first = sa.select(compared).where(sa.or_(*(rank <= number for rank in ranks)), compared.c.negative > 0)
    return [_document(row) for row in conn.execute(first.order_by(ranks[0])).mappings()]


def reach(conn: Connection, asked: Asked) -> dict[str, float]:
    """From when on votes and answers are read: ``asked.since``, or later where there are too many."""
    oldest = {
        "votes_since": _nth(conn, votes.c.time, asked, MOST_VOTES),
        "answers_since": _nth(conn, calls.c.ended, asked, MOST_CALLS),
    }
    return {name: asked.since if time is None else time for name, time in oldest.items()}


def of_votes(conn: Connection, ids: Sequence[str], most: int = 20) -> dict[str, tuple[str, ...]]:
    """By the id of a vote's turn, the ids of the documents found for it, best first, ``most`` at most.

    ``ids`` are a few hundred votes at most. Turns without a document, and those that are not stored, are left out.
    """
    documents: dict[str, list[str]] = {}
    for row in conn.execute(_of_votes(conn.dialect.name), {"ids": ids}):
        documents.setdefault(row.turn_id, []).append(row.document)
    return {turn: tuple(known[:most]) for turn, known in documents.items()}


@lru_cache
def _of_votes(dialect: str) -> Any:
    """Made once: building a statement costs more than running it."""
    ids = cast("Any", sa.bindparam("ids", expanding=True))
    asked = sa.select(votes.c.turn_id, votes.c.trace_id).where(votes.c.id.in_(ids)).distinct().cte("asked")
    found = _found(dialect, asked).subquery()
    return sa.select(found.c.turn_id, found.c.document).group_by(found.c.turn_id, found.c.document).order_by(
        found.c.turn_id, sa.func.min(found.c.position), found.c.document)


def _start(cursor: str | None) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 9):
        raise BadCursor("not a cursor of this server")
    return int(cursor)


def _document(row: Mapping[Any, Any]) -> dict[str, Any]:
    bad, judged = int(row["bad"]), int(row["judged"])
    rest, their_bad = int(row["place_judged"]) - judged, int(row["place_bad"]) - bad
    low, high = wilson(bad, judged)
    lift = None if rest <= 0 else ratio(bad, judged, their_bad, rest, groups=row["documents"])
    return {
        **{name: row[name] for name in _KEY}, "votes": {name: int(row[name]) for name in semconv.POLARITIES},
        "judged": judged, "bad": bad, "share": {"value": bad / judged, "low": low, "high": high},
        "lift": None if lift is None else _finite(*lift), "position": float(row["position"]) + 1,
    }


def _finite(value: float, low: float, high: float) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high if isfinite(high) else None}


# --- statements -----------------------------------------------------------------------------------------------------
def _compared(conn: Connection, asked: Asked) -> Any:
    """All documents with their ranks from 1; the number of ``documents`` that are compared is in each row."""
    judged = _judged(asked).cte("judged")
    found = _found(conn.dialect.name, judged).subquery()
    key = [found.c[name] for name in _KEY]
    shown = sa.select(found.c.turn_id, *key, sa.func.min(found.c.position).label("position")).group_by(
        found.c.turn_id, *key).cte("shown")
    tallies, places = _tallies(shown, judged).subquery(), _places(shown, judged).subquery()
    same = sa.and_(*(tallies.c[name] == places.c[name] for name in PLACE))
    others, their_bad = places.c.place_judged - tallies.c.judged, places.c.place_bad - tallies.c.bad
    expected = 1.0 * tallies.c.judged * their_bad / sa.func.nullif(others, 0)
    excess = sa.func.coalesce(tallies.c.bad - expected, 0)
    ties = [tallies.c.bad.desc(), *(tallies.c[name] for name in _KEY)]
    ranks = {NEGATIVE: tallies.c.negative, EXCESS: excess}
    return sa.select(
        tallies, places.c.place_judged, places.c.place_bad, sa.func.count().over().label("documents"),
        *(sa.func.row_number().over(order_by=[by.desc(), *ties]).label(f"by_{name}") for name, by in ranks.items()),
    ).join_from(tallies, places, same).subquery()


def _judged(asked: Asked) -> Any:
    """Judged turns: their standing votes by polarity, and whether they count as bad."""
    newest = sa.select(votes.c.turn_id, votes.c.trace_id, votes.c.polarity, votes.c.op, votes.c.source).where(
        *_between(votes.c.time, asked), ~held(votes.c.id)).order_by(votes.c.time.desc()).limit(MOST_VOTES).subquery()
    where: list[Any] = [newest.c.turn_id.is_not(None), newest.c.op.in_(sorted(LIVE))]
    if asked.source != EVERYBODY:
        where.append(newest.c.source == asked.source)
    number = {name: sa.func.sum(sa.case((newest.c.polarity == name, 1), else_=0)) for name in semconv.POLARITIES}
    bad = sa.case((2 * number[semconv.NEGATIVE] >= sa.func.count(), 1), else_=0)
    return sa.select(newest.c.turn_id, sa.func.min(newest.c.trace_id).label("trace_id"), bad.label("bad"),
                     *(count.label(name) for name, count in number.items())).where(*where).group_by(newest.c.turn_id)


def _found(dialect: str, turns: Any) -> Any:
    """One row per document that a retrieval found for one of ``turns``, with its place from 0.

    Retrievals of the same trace that name no turn belong to it, as in `reads.get_turn`.
    """
    mine = sa.and_(calls.c.turn_id == turns.c.turn_id, calls.c.turn_id != "")
    # not as turn_id = '': where nobody names turns, the index on it would find every retrieval there is
    loose = sa.and_(calls.c.trace_id == turns.c.trace_id, sa.func.length(calls.c.turn_id) == 0,
                    calls.c.operation == semconv.RETRIEVAL)
    id, position, each = _documents(dialect)
    parts = [
        sa.select(turns.c.turn_id, *(calls.c[name] for name in PLACE), id.label("document"),
                  position.label("position")).select_from(turns.join(calls, on).join(each, sa.true()))
        .where(id.is_not(None)) for on in (mine, loose)
    ]
    return sa.union_all(*parts)


def _documents(dialect: str) -> tuple[Any, Any, Any]:
    """Id and place from 0 of each document of a call, and the function in FROM that yields them."""
    if dialect == "postgresql":
        each = sa.func.json_array_elements(calls.c.documents).table_valued(
            sa.column("value", sa.JSON), with_ordinality="key", name="each").render_derived()
        return each.c.value.op("->>")(sa.literal_column("'id'")), each.c.key - 1, each
    # what Python writes for a score that is no number is no JSON to SQLite
    sound: Any = sa.func.iif(sa.func.json_valid(calls.c.documents), calls.c.documents, sa.literal("[]", sa.Text))
    each = sa.func.json_each(sa.type_coerce(sound, sa.Text)).table_valued("key", "value", name="each")
    id = sa.func.json_extract(each.c.value, "$.id")
    return sa.cast(id, sa.Text), each.c.key, each


def _tallies(shown: Any, judged: Any) -> Any:
    """One row per document."""
    key = [shown.c[name] for name in _KEY]
    sums = [sa.func.sum(judged.c[name]).label(name) for name in (*semconv.POLARITIES, "bad")]
    return sa.select(*key, *sums, sa.func.count().label("judged"), sa.func.avg(shown.c.position).label("position")
                     ).join_from(shown, judged, shown.c.turn_id == judged.c.turn_id).group_by(*key)


def _places(shown: Any, judged: Any) -> Any:
    """One row per index version: how many judged answers rest on it, and how many of them are bad."""
    once = sa.select(shown.c.turn_id, *(shown.c[name] for name in PLACE)).distinct().subquery()
    key = [once.c[name] for name in PLACE]
    return sa.select(*key, sa.func.count().label("place_judged"), sa.func.sum(judged.c.bad).label("place_bad")
                     ).join_from(once, judged, once.c.turn_id == judged.c.turn_id).group_by(*key)


def _wanted(row: Any, asked: Asked) -> list[Any]:
    given = {"index_name": asked.index_name, "index_version": asked.index_version, "document": asked.document}
    return [row[name] == value for name, value in given.items() if value is not None]


def _between(time: Any, asked: Asked) -> list[Any]:
    return [time >= asked.since, *([] if asked.until is None else [time < asked.until])]


def _beside(conn: Connection, asked: Asked, keys: Sequence[tuple[Any, ...]]) -> dict[Any, dict[str, Any]]:
    """For each of ``keys``, its votes against those of its index version without it."""
    if not keys:
        return {}
    judged = _judged(asked).cte("judged")
    found = _found(conn.dialect.name, judged).subquery()
    key, place = ([found.c[name] for name in names] for names in (_KEY, PLACE))
    shown: dict[Any, set[str]] = {}
    for turn, *rest in conn.execute(sa.select(found.c.turn_id, *key).where(sa.tuple_(*key).in_(keys)).distinct()):
        shown.setdefault(tuple(rest), set()).add(turn)
    places: dict[Any, set[str]] = {one[:-1]: set() for one in keys}
    for turn, *rest in conn.execute(
            sa.select(found.c.turn_id, *place).where(sa.tuple_(*place).in_(list(places))).distinct()):
        places[tuple(rest)].add(turn)
    one_by_one = sa.select(votes.c.turn_id, votes.c.rater, votes.c.polarity).where(
        *_between(votes.c.time, asked), ~held(votes.c.id), votes.c.turn_id.is_not(None), votes.c.op.in_(sorted(LIVE)),
        *([] if asked.source == EVERYBODY else [votes.c.source == asked.source]))
    rows = conn.execute(one_by_one.order_by(votes.c.time.desc()).limit(MOST_VOTES)).all()
    return with_and_without(rows, shown, places, {one: one[:-1] for one in shown})


# --- answers that showed them ---------------------------------------------------------------------------------------
def _shown(conn: Connection, asked: Asked, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], int]:
    """In how many answers each document was shown: turns, and where a retrieval names none, traces."""
    newest = sa.select(calls.c.trace_id, calls.c.span_id).where(*_between(calls.c.ended, asked)).order_by(
        calls.c.ended.desc()).limit(MOST_CALLS).subquery()
    same = sa.and_(calls.c.trace_id == newest.c.trace_id, calls.c.span_id == newest.c.span_id)
    id, _, each = _documents(conn.dialect.name)
    key = [*(calls.c[name] for name in PLACE), id]
    answer = sa.func.coalesce(sa.func.nullif(calls.c.turn_id, ""), calls.c.trace_id)
    counted = sa.select(*key, sa.func.count(answer.distinct())).select_from(
        newest.join(calls, same).join(each, sa.true())).where(
        calls.c.operation == semconv.RETRIEVAL, sa.tuple_(*key).in_(keys)).group_by(*key)
    return {tuple(row[:-1]): row[-1] for row in conn.execute(counted)}


def _nth(conn: Connection, time: Any, asked: Asked, number: int) -> float | None:
    """Time of the ``number``-th newest row, if there are more."""
    order = sa.select(time).where(*_between(time, asked)).order_by(time.desc()).offset(number).limit(1)
    return conn.execute(order).scalar()
