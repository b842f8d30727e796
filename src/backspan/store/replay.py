"""Who was erased and who took her consent back, as lines to keep beside the backups: a database that is restored from
before has these persons again, until the lines are carried out on it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store import erasure, signals, withdrawal
from backspan.store.batch import Batch
from backspan.store.consent import erased, withdrawals
from backspan.store.policy import Policy

ERASE, WITHDRAW = "erase", "withdraw"
_TABLES = {ERASE: erased, WITHDRAW: withdrawals}


class WrongLine(ValueError):
    """A line is not one that `Wish.line` wrote."""


@dataclass(frozen=True)
class Wish:
    """What a person wanted: ``what`` is `ERASE` or `WITHDRAW`, ``rater`` her pseudonym, ``time`` in Unix seconds."""

    what: str
    rater: str
    time: float

    @property
    def line(self) -> str:
        """As JSON, without texts or names: the pseudonym is a keyed hash."""
        return json.dumps(asdict(self))


def known(conn: Connection) -> list[Wish]:
    """Those that a database knows of, the oldest first."""
    found = [Wish(what, row.rater, row.time) for what, table in _TABLES.items()
             for row in conn.execute(sa.select(table))]
    return sorted(found, key=lambda one: (one.time, one.rater))


def read(lines: Iterable[str]) -> list[Wish]:
    """The wishes of lines, the oldest first; the last one of each kind and person.

    Raises:
        WrongLine: for a line that is none; empty ones are passed over.
    """
    found: dict[tuple[str, str], Wish] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            one = _wish(line, number)
            key = one.what, one.rater
            found[key] = max(one, found.get(key, one), key=lambda each: each.time)
    return sorted(found.values(), key=lambda one: (one.time, one.rater))


def _wish(line: str, number: int) -> Wish:
    try:
        said: Any = json.loads(line)
    except ValueError:
        said = None
    given = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    what, rater, time = (given.get(name) for name in ("what", "rater", "time"))
    known_one = what in _TABLES and isinstance(rater, str) and rater
    if not known_one or isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise WrongLine(f"line {number} is none that `backspan store erasures` writes")
    return Wish(cast("str", what), cast("str", rater), float(time))


def missing(conn: Connection, wishes: Sequence[Wish]) -> list[Wish]:
    """Those of ``wishes`` that the database does not know of."""
    there = {(one.what, one.rater): one.time for one in known(conn)}
    return [one for one in wishes if there.get((one.what, one.rater), -math.inf) < one.time]


def carry_out(conn: Connection, one: Wish, who: str) -> dict[str, int]:
    """Do it once more, as of its own time; noted in the audit log as asked for by ``who``. Returns rows by table."""
    if one.what == ERASE:
        return erasure.erase(conn, one.rater, erasure.votes_of(conn, one.rater), who, one.time)
    batch = Batch(conn, one.time, Policy(count_spans=False, emit=signals.emits(conn)))
    done = withdrawal.carry_out(batch, one.rater, who)
    batch.write()
    return done
