"""Doing a request once, however often it is sent: what was answered is stored in the transaction of the work.

A key is taken before the work is done and the answer stored with it, all in one transaction. Whoever is killed in
between has done nothing; whoever sends the request again after the commit gets the first answer. Two servers on one
database that are asked at the same moment wait for each other at the key, by the database's own unique index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, Index, String, Table

from backspan.store.schema import JSON, chunks, insert, metadata

T = TypeVar("T")
KEPT_SECONDS = 86400.0
"""How long an answer can be had again."""
_STEP = 2000

idempotency = Table(
    "idempotency", metadata,
    Column("key", String, primary_key=True), Column("digest", String, nullable=False),
    Column("answer", JSON), Column("time", Float, nullable=False),
    Index("idempotency_time", "time"),
)
"""What was answered to the requests that came with an idempotency key, for `KEPT_SECONDS`."""

_KEYS = cast("Any", sa.bindparam("keys", expanding=True))
_FOUND = sa.select(idempotency).where(idempotency.c.key.in_(_KEYS))
_ANSWER = sa.update(idempotency).where(idempotency.c.key == sa.bindparam("of")).values(
    answer=sa.bindparam("said", type_=JSON))


@dataclass(frozen=True)
class Claim:
    """A request that is to be done once: ``key`` says which it is, ``digest`` what it asks for."""

    key: str
    digest: str


@dataclass(frozen=True)
class Done(Generic[T]):
    """What became of it. ``again``: it had been done before. ``result`` is None if it had been asked otherwise then."""

    result: T | None
    again: bool


class Once(Generic[T]):
    """Makes ``run`` of a `Writer` job one that does each claimed item once.

    Args:
        run: ``run(conn, items)`` returns one result per item.
        pack: a result as JSON.
        unpack: the result again.
        clock: Unix seconds.
    """

    def __init__(
        self, run: Callable[[Connection, Sequence[Any]], Sequence[T]], pack: Callable[[T], Any],
        unpack: Callable[[Any], T], clock: Callable[[], float],
    ) -> None:
        self._run = run
        self._pack = pack
        self._unpack = unpack
        self._clock = clock

    def __call__(self, conn: Connection, items: Sequence[tuple[Claim, Any]]) -> list[Done[T]]:
        """Do what was not done; items are (claim, item). Of equal claims in one call the first is done."""
        first = {claim.key: number for number, (claim, _) in reversed(list(enumerate(items)))}
        taken = self._take(conn, [items[number][0] for number in first.values()])
        results = self._work(conn, items, sorted(number for key, number in first.items() if key in taken))
        before = _found(conn, [claim.key for number, (claim, _) in enumerate(items) if number not in results])
        return [Done(results[number], False) if number in results else self._again(before[claim.key], claim)
                for number, (claim, _) in enumerate(items)]

    def _work(self, conn: Connection, items: Sequence[tuple[Claim, Any]], fresh: Sequence[int]) -> dict[int, T]:
        if not fresh:
            return {}
        results = self._run(conn, [items[number][1] for number in fresh])
        conn.execute(_ANSWER, [{"of": items[number][0].key, "said": self._pack(result)}
                               for number, result in zip(fresh, results, strict=True)])
        return dict(zip(fresh, results, strict=True))

    def _take(self, conn: Connection, claims: Sequence[Claim]) -> set[str]:
        """The keys that are taken by this: an answer past its time is none."""
        now = self._clock()
        old = sa.and_(idempotency.c.key.in_([claim.key for claim in claims]), idempotency.c.time <= now - KEPT_SECONDS)
        conn.execute(sa.delete(idempotency).where(old))
        in_order = sorted(claims, key=lambda claim: claim.key)  # or two servers could block each other
        rows = [{"key": claim.key, "digest": claim.digest, "time": now} for claim in in_order]
        return set(conn.execute(_taking(conn.dialect.name), rows).scalars())

    def _again(self, row: Any, claim: Claim) -> Done[T]:
        return Done(self._unpack(row.answer) if row.digest == claim.digest else None, True)


@lru_cache
def _taking(dialect: str) -> Any:
    return insert(dialect, idempotency).on_conflict_do_nothing(index_elements=["key"]).returning(idempotency.c.key)


def _found(conn: Connection, keys: Sequence[str]) -> dict[str, Any]:
    return {row.key: row for part in chunks(keys) for row in conn.execute(_FOUND, {"keys": part})}


def expire(conn: Connection, now: float) -> None:
    """Forget answers past their time, some thousand at once."""
    old = sa.select(idempotency.c.key).where(idempotency.c.time <= now - KEPT_SECONDS).limit(_STEP)
    conn.execute(sa.delete(idempotency).where(idempotency.c.key.in_(old)))
