"""Consent taken back: a person's turns lose their content, and what was found in them. Her votes are hers and stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.store import audit, consent
from backspan.store.batch import Batch
from backspan.store.model import LIVE, Vote
from backspan.store.schema import calls, chunks, metadata, turns, upsert, votes
from backspan.store.sealing import sealed
from backspan.store.votes import put


def carry_out(batch: Batch, rater: str, who: str) -> dict[str, int]:
    """Take the content out of a person's turns, forget what rules made of them, and take her standing signals back.

    It is noted in the audit log, as asked for by ``who``. Returns rows that were changed or deleted, by table.
    """
    done, back = _withdraw(batch.conn, rater, batch.now)
    if back:
        put(batch, [[vote] for vote in back])
    audit.note(batch.conn, who, "withdraw", {"rater": rater, **done}, batch.now)
    return done


def _withdraw(conn: Connection, rater: str, now: float) -> tuple[dict[str, int], list[Vote]]:
    hers = list(conn.execute(sa.select(turns.c.turn_id).where(turns.c.user_id == rater)).scalars())
    done, back = dict.fromkeys(("turns", "calls", "evidence", "estimates"), 0), list[Vote]()
    for part in chunks(hers):
        rows = [dict(row) for row in conn.execute(sa.select(turns).where(turns.c.turn_id.in_(part))).mappings()]
        traces = [row["trace_id"] for row in rows]
        none = {"consent": consent.REFUSED, "touched": now}
        upsert(conn, turns, [sealed("turns", {**consent.bare(row), **none}) for row in rows])
        of_hers = sa.or_(calls.c.turn_id.in_(part), sa.and_(calls.c.trace_id.in_(traces), calls.c.turn_id == ""))
        done["turns"] += len(rows)
        done["calls"] += consent.strip(conn, of_hers)
        conn.execute(sa.update(calls).where(of_hers).values(consent=consent.REFUSED))
        for name in ("evidence", "estimates"):
            table = metadata.tables[name]
            done[name] += conn.execute(sa.delete(table).where(table.c.turn_id.in_(part))).rowcount
        standing = sa.select(votes).where(
            votes.c.turn_id.in_(part), votes.c.source == semconv.IMPLICIT, votes.c.op.in_(LIVE))
        back += [_back(row, now) for row in conn.execute(standing).mappings()]
    upsert(conn, consent.withdrawals, [{"rater": rater, "time": now}])
    return {**done, "signals": len(back)}, back


def _back(row: Mapping[Any, Any], now: float) -> Vote:
    return Vote(id=row["id"], name=row["name"], time=now, source=row["source"], rater=row["rater"], retract=True,
                trace_id=row["trace_id"], span_id=row["span_id"], polarity=row["polarity"])
