"""Votes set against outcomes, and work with a model against work without: tables of four counts, with intervals.

Shares carry Wilson's interval, their difference Newcombe's hybrid score interval (R. G. Newcombe, *Statistics in
Medicine* 17 (1998), method 10), the odds ratio Woolf's with a half added to each count (B. Woolf, 1955; J. B. S.
Haldane, 1956). Phi is the correlation of the two yes-or-no answers. All intervals are of 95 %. These are observations:
who votes, and who is helped by a model, was not drawn by lot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.spc.pchart import wilson
from backspan.store.guards import held
from backspan.store.model import LIVE
from backspan.store.outcomes import outcomes
from backspan.store.schema import votes

ENOUGH = 30
"""Least number in either row for a difference to be worth a word."""
_Z = 1.959963984540054


@dataclass(frozen=True)
class Four:
    """Two rows (``first``, ``second``) of good and bad outcomes."""

    first_good: int = 0
    first_bad: int = 0
    second_good: int = 0
    second_bad: int = 0

    @property
    def rows(self) -> tuple[int, int]:
        """How many are in each row."""
        return self.first_good + self.first_bad, self.second_good + self.second_bad


def compare(four: Four, first: str, second: str) -> dict[str, Any]:
    """What the table says: a share of good ones for each row, their difference, phi, the odds ratio, and a verdict.

    ``verdict``: ``too_few`` (a row has fewer than `ENOUGH`), ``no_difference`` (the interval holds 0), ``better`` or
    ``worse`` (of the first row).
    """
    (n1, n2), difference = four.rows, _difference(four)
    verdict = "too_few" if min(n1, n2) < ENOUGH else "no_difference"
    if verdict != "too_few" and difference is not None and (difference["low"] > 0 or difference["high"] < 0):
        verdict = "better" if difference["low"] > 0 else "worse"
    return {
        first: _share(four.first_good, four.first_bad), second: _share(four.second_good, four.second_bad),
        "n": n1 + n2, "difference": difference, "phi": phi(four), "odds_ratio": odds_ratio(four), "verdict": verdict,
    }


def _share(good: int, bad: int) -> dict[str, Any]:
    n = good + bad
    low, high = wilson(good, n) if n else (None, None)
    return {"good": good, "bad": bad, "n": n, "share": good / n if n else None, "low": low, "high": high}


def _difference(four: Four) -> dict[str, float] | None:
    n1, n2 = four.rows
    if not n1 or not n2:
        return None
    p1, p2 = four.first_good / n1, four.second_good / n2
    low1, high1 = wilson(four.first_good, n1)
    low2, high2 = wilson(four.second_good, n2)
    value = p1 - p2
    return {"value": value, "low": value - sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2),
            "high": value + sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2)}


def phi(four: Four) -> float | None:
    """Correlation of row and outcome, -1 to 1; None where one of them does not vary."""
    n1, n2 = four.rows
    good, bad = four.first_good + four.second_good, four.first_bad + four.second_bad
    if not (n1 and n2 and good and bad):
        return None
    return (four.first_good * four.second_bad - four.first_bad * four.second_good) / sqrt(n1 * n2 * good * bad)


def odds_ratio(four: Four) -> dict[str, float] | None:
    """Odds of a good outcome in the first row over those in the second; None for an empty row."""
    if not all(four.rows):
        return None
    a, b, c, d = (count + 0.5 for count in (four.first_good, four.first_bad, four.second_good, four.second_bad))
    middle, half = log(a * d / (b * c)), _Z * sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return {"value": exp(middle), "low": exp(middle - half), "high": exp(middle + half)}


# --- the counts -----------------------------------------------------------------------------------------------------
def report(
    conn: Connection, since: float, until: float | None = None, *, vote: str = semconv.USER_THUMBS,
    name: str | None = None,
) -> dict[str, Any]:
    """Every outcome told from ``since`` to ``until`` (Unix seconds), by name; only ``name`` if it is given.

    A vote and an outcome are a pair if they judge the same turn; a turn with several voters has several pairs.
    """
    against, helped = _pairs(conn, since, until, vote), _helped(conn, since, until)
    waiting = _waiting(conn, since, until)
    names = sorted(name_ for name_ in {*against, *helped, *waiting} if name in (None, name_))
    return {
        "since": since, "until": until, "vote": vote, "enough": ENOUGH,
        "outcomes": [{
            "name": one, "votes": compare(against.get(one, Four()), "up", "down"),
            "assistance": compare(helped.get(one, Four()), "assisted", "unassisted"), "waiting": waiting.get(one, 0),
        } for one in names],
    }


def _between(column: Any, since: float, until: float | None) -> Any:
    return column >= since if until is None else sa.and_(column >= since, column < until)


def _four(rows: Any, first: Any) -> dict[str, Four]:
    """Counts by name from rows of (name, which row, polarity, number); ``first`` marks the first row."""
    found: dict[str, dict[str, int]] = {}
    for name, which, polarity, number in rows:
        key = f"{'first' if which == first else 'second'}_{'good' if polarity == semconv.POSITIVE else 'bad'}"
        counts = found.setdefault(name, {})
        counts[key] = counts.get(key, 0) + number
    return {name: Four(**counts) for name, counts in found.items()}


_SIDES = (semconv.POSITIVE, semconv.NEGATIVE)


def _pairs(conn: Connection, since: float, until: float | None, vote: str) -> dict[str, Four]:
    told, judged = votes.alias("told"), votes.alias("judged")
    query = sa.select(told.c.name, judged.c.polarity, told.c.polarity, sa.func.count()).select_from(
        told.join(judged, sa.and_(judged.c.turn_id == told.c.turn_id, judged.c.name == vote,
                                  judged.c.source == semconv.END_USER, judged.c.op.in_(LIVE),
                                  judged.c.polarity.in_(_SIDES), ~held(judged.c.id)))).where(
        told.c.source == semconv.OUTCOME, told.c.op.in_(LIVE), told.c.polarity.in_(_SIDES),
        _between(told.c.time, since, until)).group_by(told.c.name, judged.c.polarity, told.c.polarity)
    return _four(conn.execute(query).all(), semconv.POSITIVE)


def _helped(conn: Connection, since: float, until: float | None) -> dict[str, Four]:
    """With a model: an answer is known, or the teller said so. Without: the teller said so. Else nobody knows."""
    assisted = sa.case((outcomes.c.assisted.is_not(None), outcomes.c.assisted),
                       (outcomes.c.vote_id.is_not(None), sa.true()), else_=None)
    query = sa.select(outcomes.c.name, assisted, outcomes.c.polarity, sa.func.count()).where(
        assisted.is_not(None), outcomes.c.polarity.in_(_SIDES), _between(outcomes.c.time, since, until),
    ).group_by(outcomes.c.name, assisted, outcomes.c.polarity)
    return _four(((name, bool(which), side, number) for name, which, side, number in conn.execute(query)), True)


def _waiting(conn: Connection, since: float, until: float | None) -> Mapping[str, int]:
    query = sa.select(outcomes.c.name, sa.func.count()).where(
        outcomes.c.waiting.is_(True), _between(outcomes.c.time, since, until)).group_by(outcomes.c.name)
    return {row[0]: row[1] for row in conn.execute(query)}
