"""Quarantine: votes that are held do not count, are kept, and can be let go.

Counters only grow, and a vote that was counted was cast: its ``add`` stays. Holding a vote counts its value as
``retract``, under the labels it was counted under, and letting it go counts it as ``change``, which is what a vote
after a retract is. So the net (add + change - retract), which charts show, leaves held votes out, in every series, and
comes back exactly. The pager, which reads ``op="add"`` only, has seen the vote as the event that it was.
`semconv.FEEDBACK_QUARANTINED` counts what is held and let go, by rule.

While a vote is held its rater may still change it or take it back; `settle` moves the hold to what stands now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, Index, String, Table

from backspan import semconv
from backspan.store import leases, series
from backspan.store.counters import Increments
from backspan.store.labels import Labels
from backspan.store.model import LIVE, age_of
from backspan.store.schema import BIG, chunks, insert, metadata, turns, vote_log, votes
from backspan.store.suspicion import BY_HAND, Rules, Suspicion

flags = Table(
    "vote_flags", metadata,
    Column("id", String, primary_key=True), Column("rule", String, nullable=False),
    Column("state", String, nullable=False), Column("taken", BIG), Column("since", Float, nullable=False),
    Index("vote_flags_state", "state", "since"),
)
"""Votes that are or were held. ``taken`` is the revision whose value the hold has taken away, None if none is."""

HELD, RELEASED = "held", "released"
LEASE, LEASE_S, EVERY = "guards", 15.0, 5.0
"""The lease of whoever looks for suspects, its length, and seconds from one look to the next."""
_AT_ONCE, _HOLDS, _REMEMBERED = 500, 50, 20_000
"""Votes that one look reads and holds, and votes that the first look begins before the newest one."""


# --- by rule or by hand ---------------------------------------------------------------------------------------------
def hold(conn: Connection, suspects: Mapping[str, str], now: float) -> int:
    """Hold votes (id -> rule) that were never held or let go by a person; returns how many are new."""
    there = set[str]()
    for part in chunks(sorted(suspects)):
        there |= set(conn.execute(sa.select(votes.c.id).where(votes.c.id.in_(part))).scalars())
    new, told = 0, Counter[str]()
    for id in sorted(there):
        made = insert(conn.dialect.name, flags).values(id=id, rule=suspects[id], state=HELD, taken=None, since=now)
        if suspects[id] == BY_HAND:
            again = made.on_conflict_do_update(
                index_elements=["id"], set_={"rule": BY_HAND, "state": HELD, "since": now}, where=flags.c.state != HELD)
        else:
            again = made.on_conflict_do_nothing(index_elements=["id"])
        if conn.execute(again, execution_options={"preserve_rowcount": True}).rowcount == 1:
            new += 1
            told[suspects[id]] += 1
    _tell(conn, told, "hold")
    if new:
        settle(conn, sorted(there), now)
    return new


def release(conn: Connection, ids: Sequence[str], now: float) -> int:
    """Let held votes go; no rule will hold them again. Returns how many were held."""
    done = 0
    for part in chunks(sorted(set(ids))):
        rows = conn.execute(
            sa.select(flags.c.id, flags.c.rule).where(flags.c.id.in_(part), flags.c.state == HELD)).all()
        found = [row.id for row in rows]
        conn.execute(sa.update(flags).where(flags.c.id.in_(found)).values(state=RELEASED, since=now))
        _tell(conn, Counter(row.rule for row in rows), "release")
        settle(conn, found, now)
        done += len(found)
    return done


def quarantine(conn: Connection, state: str = HELD, limit: int = 100) -> list[dict[str, Any]]:
    """Votes that are held (or were let go), the newest first, with what they say; never their texts."""
    shown = ("name", "polarity", "value", "reasons", "rater", "trace_id", "span_id", "time", "op", "circumstances")
    query = sa.select(flags.c.id, flags.c.rule, flags.c.state, flags.c.since, *(votes.c[name] for name in shown))
    found = query.join_from(flags, votes, flags.c.id == votes.c.id).where(flags.c.state == state)
    rows = [dict(row) for row in conn.execute(found.order_by(flags.c.since.desc(), flags.c.id).limit(limit)).mappings()]
    return [{**{key: row[key] for key in row if key != "circumstances"}, "trust": trust_of(row)} for row in rows]


def rules_of(conn: Connection, ids: Sequence[str]) -> dict[str, str]:
    """By what rule votes are held, for those that are."""
    found: dict[str, str] = {}
    for part in chunks(ids):
        held_now = sa.select(flags.c.id, flags.c.rule).where(flags.c.id.in_(part), flags.c.state == HELD)
        found.update({row.id: row.rule for row in conn.execute(held_now)})
    return found


def held(id: Any) -> Any:
    """The condition that the vote of column ``id`` is held."""
    return sa.exists().where(flags.c.id == id, flags.c.state == HELD)


# --- counting -------------------------------------------------------------------------------------------------------
def settle(conn: Connection, ids: Iterable[str], now: float) -> None:
    """Make the counters say of these votes what their flags say."""
    increments, labels = Increments(), Labels()
    for part in chunks(list(ids)):
        flagged = sa.select(flags.c.id, flags.c.state, flags.c.taken, votes.c.version, votes.c.op, votes.c.dims)
        for row in conn.execute(flagged.join_from(flags, votes, flags.c.id == votes.c.id).where(flags.c.id.in_(part))):
            _move(conn, increments, row, labels, now)
    increments.write(conn)


def _move(conn: Connection, increments: Increments, row: Any, labels: Labels, now: float) -> None:
    log = {one["version"]: one for one in
           conn.execute(sa.select(vote_log).where(vote_log.c.id == row.id)).mappings()}
    stands = row.op in LIVE and row.version in log and log[row.version]["counted"]
    wanted = row.version if row.state == HELD and stands else None
    if wanted == row.taken:
        return
    for version, op in ((row.taken, semconv.CHANGE), (wanted, semconv.RETRACT)):
        if version is not None and version in log:
            judged = labels.judged(conn, {key: log[version][key] for key in log[version]}, now)
            _count(increments, judged, op, labels.of(conn, tuple(row.dims.items()), now))
    conn.execute(sa.update(flags).where(flags.c.id == row.id).values(taken=wanted))


def _count(increments: Increments, judged: Mapping[str, Any], op: str, pairs: series.Dims) -> None:
    said = (judged["name"], judged["polarity"], op, judged["source"], age_of(judged["delay"]))
    for key in series.judged(said, tuple(judged["reasons"] or ()), pairs)[1]:
        increments.count(key)
    details: dict[str, Any] = judged["details"] or {}
    for pair in series.pairs(details.get("comparison")):
        increments.count(series.compared(judged["name"], pair, op, pairs))


def _tell(conn: Connection, rules: Mapping[str, int], action: str) -> None:
    increments = Increments()
    for rule, number in rules.items():
        labels = {semconv.LABEL_RULE: rule, semconv.LABEL_ACTION: action}
        increments.add(semconv.PROM_FEEDBACK_QUARANTINED, labels, number)
    increments.write(conn)


# --- looking --------------------------------------------------------------------------------------------------------
class Guard:
    """Looks at new votes every `EVERY` seconds, in the writer's own transactions; of replicas one does.

    A look is short, because votes wait for it: what it does not get done it does in the writer's next ones.
    """

    def __init__(self, rules: Rules) -> None:
        self._suspicion = Suspicion(rules)
        self._holder = leases.new_holder()
        self._seen: int | None = None
        self._waiting: dict[str, str] = {}
        """Suspects that are not held yet."""
        self._done: set[str] = set()
        self._due = 0.0

    def tick(self, conn: Connection, now: float) -> int:
        """Look, if it is time; returns how many votes were held."""
        if now < self._due:
            return 0
        self._due = now + EVERY
        if not leases.acquire(conn, LEASE, self._holder, now, LEASE_S):
            self._seen = None  # somebody else looks; begin anew when it is our turn
            return 0
        behind = self._look(conn)
        some = dict(islice(self._waiting.items(), _HOLDS))
        new = hold(conn, some, now)
        if len(self._done) > _REMEMBERED:
            self._done.clear()
        for id in some:
            del self._waiting[id]
            self._done.add(id)
        if behind or self._waiting:
            self._due = now
            return new
        moved = sa.select(flags.c.id).join(votes, votes.c.id == flags.c.id).where(
            flags.c.state == HELD, flags.c.taken.is_distinct_from(votes.c.version),
            sa.or_(votes.c.op.in_(LIVE), flags.c.taken.is_not(None))).limit(_HOLDS)
        settle(conn, conn.execute(moved).scalars().all(), now)
        return new

    def _look(self, conn: Connection) -> bool:
        """Take in votes that came since the last look; tells whether there may be more."""
        if self._seen is None:
            newest = conn.execute(sa.select(sa.func.max(vote_log.c.seq))).scalar() or 0
            self._seen = max(0, newest - _REMEMBERED)
        result = conn.execute(_NEW, {"after": self._seen})
        names, rows = tuple(result.keys()), result.all()  # a mapping of SQLAlchemy costs as much as the rules
        for row in (dict(zip(names, one, strict=True)) for one in rows):
            if trust_of(row) != VERIFIED:
                found = self._suspicion.observe(row)
                self._waiting.update({id: rule for id, rule in found.items() if id not in self._done})
            self._seen = row["seq"]
        return len(rows) == _AT_ONCE


VERIFIED, KNOWN, ANONYMOUS = "verified", "known", "anonymous"


def trust_of(row: Mapping[Any, Any]) -> str:
    """How far it is known who voted: ``verified`` was said by a caller with a key (or on this machine), ``known`` is
    sealed in a token, of ``anonymous`` votes nobody knows. Rules look at the last two; those without a rater pass."""
    circumstances: dict[str, Any] = row["circumstances"] or {}
    return circumstances.get("trust") or (KNOWN if row["rater"] is not None else ANONYMOUS)


_NEW = sa.select(
    vote_log.c.seq, vote_log.c.id, vote_log.c.time, vote_log.c.polarity, vote_log.c.comment, votes.c.rater,
    vote_log.c.circumstances,
    sa.func.coalesce(turns.c.started, votes.c.at).label("began"),
).join_from(vote_log, votes, vote_log.c.id == votes.c.id).outerjoin(turns, turns.c.turn_id == votes.c.turn_id).where(
    vote_log.c.seq > sa.bindparam("after"), vote_log.c.origin == "http", vote_log.c.source == semconv.END_USER,
    vote_log.c.op.in_(sorted(LIVE)),
).order_by(vote_log.c.seq).limit(_AT_ONCE)
