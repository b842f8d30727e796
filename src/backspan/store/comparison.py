"""Votes side by side, by what their answers came from (the variant, the prompt's version, ...) or by document; as they
were cast, and without the habits of those who cast them (`backspan.spc.raters`).

Read when it is asked for, from the newest votes: no counter, no chart and no pager knows of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.spc.raters import Cell, Comparison, cells, compare
from backspan.store.guards import held
from backspan.store.model import LIVE
from backspan.store.schema import votes

By = Literal["variant", "prompt_name", "prompt_version", "model", "segment", "index_version"]
SIDES: Final[Mapping[str, str]] = {
    "variant": semconv.VARIANT, "prompt_name": semconv.PROMPT_NAME, "prompt_version": semconv.PROMPT_VERSION,
    "model": semconv.REQUEST_MODEL, "segment": semconv.SEGMENT, "index_version": semconv.INDEX_VERSION,
}
"""What votes may be compared by -> the dimension that it is."""
Measure = Literal["negative", "value"]
NEGATIVE, VALUE = "negative", "value"
MOST_VOTES = 20_000
"""Votes that one comparison reads: the newest ones."""
MOST_SIDES = 50
"""Sides that are compared: those with the most votes."""


@dataclass(frozen=True)
class Wanted:
    """What to compare. Times are Unix seconds of the votes.

    Attributes:
        control: the side that the others are set against; None: the one with the most votes.
        measure: ``negative``, the share of negative votes, or ``value``, their mean value (stars).
        prompt_name: only votes on answers of this prompt.
    """

    since: float
    until: float | None = None
    name: str = semconv.USER_THUMBS
    by: By = "variant"
    control: str | None = None
    measure: Measure = NEGATIVE
    prompt_name: str | None = None


def sides(conn: Connection, wanted: Wanted) -> dict[str, Any]:
    """Each side with its votes ``n``, ``raters``, and ``raw`` and ``centred`` means (``value``, ``low``, ``high``), and
    the ``difference`` of both from the control (None for the control itself); the most votes first.

    Votes that are held, taken back, or of answers without a value of ``by`` are left out. ``votes_since`` is from when
    on votes were read, ``between`` and ``within`` are the variances of raters' habits and of their single ratings,
    ``left_out`` the sides beyond `MOST_SIDES`.
    """
    rows = _votes(conn, wanted)
    ratings = [(row.rater, side, _value(row, wanted)) for row in rows if (side := _side(row, wanted))]
    given = cells(ratings)
    sizes: dict[str, int] = defaultdict(int)
    for cell in given:
        sizes[cell.group] += cell.n
    order = sorted(sizes, key=lambda side: (-sizes[side], side))
    kept = order[:MOST_SIDES]
    control = wanted.control if wanted.control is not None else next(iter(kept), None)
    found = compare([cell for cell in given if cell.group in set(kept)], control, shares=wanted.measure == NEGATIVE)
    return {
        "name": wanted.name, "by": wanted.by, "measure": wanted.measure, "control": control,
        "since": wanted.since, "until": wanted.until,
        "votes_since": rows[-1].time if len(rows) == MOST_VOTES else wanted.since,
        "sides": [{"side": one, **_shown(found, one)} for one in kept], "left_out": len(order) - len(kept),
        "between": found.between, "within": found.within,
    }


def _votes(conn: Connection, wanted: Wanted) -> Sequence[Any]:
    where = [votes.c.time >= wanted.since, votes.c.name == wanted.name, votes.c.op.in_(sorted(LIVE)),
             votes.c.source == semconv.END_USER, ~held(votes.c.id)]
    if wanted.until is not None:
        where.append(votes.c.time < wanted.until)
    if wanted.measure == VALUE:
        where.append(votes.c.value.is_not(None))
    query = sa.select(votes.c.rater, votes.c.polarity, votes.c.value, votes.c.dims, votes.c.time).where(*where)
    return conn.execute(query.order_by(votes.c.time.desc()).limit(MOST_VOTES)).all()


def _value(row: Any, wanted: Wanted) -> float:
    return float(row.value) if wanted.measure == VALUE else float(row.polarity == semconv.NEGATIVE)


def _side(row: Any, wanted: Wanted) -> str:
    dims: Mapping[str, str] = row.dims or {}
    if wanted.prompt_name is not None and dims.get(semconv.PROMPT_NAME) != wanted.prompt_name:
        return ""
    return dims.get(SIDES[wanted.by], "")


def _shown(found: Comparison, side: str) -> dict[str, Any]:
    one, apart = found.groups[side], found.differences.get(side)
    bounds = ("value", "low", "high")
    return {
        "n": one.n, "raters": one.raters,
        **{kind: {key: getattr(getattr(one, kind), key) for key in bounds} for kind in ("raw", "centred")},
        "difference": None if apart is None else {
            kind: dict(zip(bounds, getattr(apart, kind), strict=True)) for kind in ("raw", "centred")},
    }


# --- by document ----------------------------------------------------------------------------------------------------
WITH, WITHOUT = "with", "without"


def with_and_without(
    judged: Iterable[Any], shown: Mapping[Any, set[str]], places: Mapping[Any, set[str]], place_of: Mapping[Any, Any]
) -> dict[Any, dict[str, Any]]:
    """For each key of ``shown``, votes on the answers (turns) that showed it against those of its place that did not.

    ``judged`` are votes with ``turn_id``, ``rater`` and ``polarity``; ``places`` says which turns are of a place.
    Each has what `sides` says of one; its ``difference`` is from the answers without it.
    """
    of_turn: dict[str, list[tuple[Any, float]]] = defaultdict(list)
    for row in judged:
        of_turn[row.turn_id].append((row.rater, float(row.polarity == semconv.NEGATIVE)))
    totals = {place: _cells(of_turn, turns, WITHOUT) for place, turns in places.items()}
    alike = {place: Counter((cell.n, cell.total) for cell in all_of.values()) for place, all_of in totals.items()}
    found: dict[Any, dict[str, Any]] = {}
    for key, turns in shown.items():
        mine = _cells(of_turn, turns, WITH)
        if mine:
            rest = _rest(totals[place_of[key]], alike[place_of[key]], mine)
            found[key] = _shown(compare([*mine.values(), *rest], WITHOUT), WITH)
    return found


def _cells(of_turn: Mapping[str, Sequence[tuple[Any, float]]], turns: Iterable[str], group: str) -> dict[Any, Cell]:
    sums: dict[Any, list[float]] = {}
    for turn in turns:
        for number, (rater, value) in enumerate(of_turn.get(turn, ())):
            one = sums.setdefault((turn, number) if rater is None else rater, [0, 0.0])
            one[0] += 1
            one[1] += value
    return {rater: Cell(rater, group, int(n), total, total) for rater, (n, total) in sums.items()}


def _rest(all_of: Mapping[Any, Cell], alike: Counter[tuple[int, float]], mine: Mapping[Any, Cell]) -> list[Cell]:
    """What is left of a place's votes without those of one document; raters who said as much as others are one cell."""
    others, left = alike.copy(), list[Cell]()
    for rater, own in mine.items():
        whole = all_of[rater]
        others[whole.n, whole.total] -= 1
        n, total = whole.n - own.n, whole.total - own.total
        if n:
            left.append(Cell(rater, WITHOUT, n, total, total))
    return left + [Cell(("others", *said), WITHOUT, *said, said[1], times) for said, times in others.items() if times]
