"""Erasing what one person said, and what was kept of her questions. Counters hold no persons and stay.

What the back end and earlier exports hold is not ours to change from here: `tempo_command` says how spans go, and a
tombstone stays, so that exports leave out whoever was erased.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from backspan import semconv
from backspan.store import audit
from backspan.store.consent import erased, erased_traces, hash_of
from backspan.store.guards import flags
from backspan.store.outcomes import outcomes
from backspan.store.schema import calls, chunks, metadata, outbox, turns, upsert, vote_log, votes
from backspan.store.sealing import sealed


def votes_of(conn: Connection, rater: str) -> list[str]:
    """Ids of a person's votes. It reads the whole table: not for the writing thread of a busy gateway."""
    return list(conn.execute(sa.select(votes.c.id).where(votes.c.rater == rater)).scalars())


def erase(conn: Connection, rater: str, ids: Collection[str], who: str, now: float) -> dict[str, int]:
    """Erase a person's votes (``ids``, see `votes_of`), with all revisions, and her turns, with what rules, outcomes
    and the texts of others have made of them; note it.

    Args:
        rater: the pseudonym.
        who: who asked for it, for the audit log.
        now: Unix seconds.

    Returns:
        Rows erased, by table.
    """
    gone: dict[str, int] = dict.fromkeys(("votes", "revisions", "turns", "calls", "outcomes", "texts"), 0)
    _note_traces(conn, rater, now)
    _erase_turns(conn, rater, gone)
    _erase_votes(conn, rater, ids, gone)
    for name, table in metadata.tables.items():  # what other parts keep of persons
        if "rater" in table.c and name not in ("votes", erased.name):
            gone[name] = _delete(conn, table, table.c.rater == rater)
    upsert(conn, erased, [{"rater": rater, "time": now}])
    audit.note(conn, who, "erase", {"rater": rater, **gone}, now)
    return gone


def _note_traces(conn: Connection, rater: str, now: float) -> None:
    """A span of hers that does not say whose it is may still be on its way."""
    of_turns = sa.select(turns.c.trace_id).where(turns.c.user_id == rater)
    hers = conn.execute(of_turns.union(sa.select(calls.c.trace_id).where(calls.c.user_id == rater))).scalars()
    upsert(conn, erased_traces, [{"hash": hash_of(trace), "time": now} for trace in hers])


def _erase_votes(conn: Connection, rater: str, ids: Collection[str], gone: dict[str, int]) -> None:
    for part in chunks(sorted(ids)):
        mine = sa.select(votes.c.id).where(votes.c.id.in_(part), votes.c.rater == rater)
        sure = list(conn.execute(mine).scalars())
        seqs = sa.select(vote_log.c.seq).where(vote_log.c.id.in_(sure))
        conn.execute(sa.delete(outbox).where(outbox.c.seq.in_(seqs)))
        conn.execute(sa.delete(flags).where(flags.c.id.in_(sure)))
        gone["revisions"] += _delete(conn, vote_log, vote_log.c.id.in_(sure))
        gone["votes"] += _delete(conn, votes, votes.c.id.in_(sure))


def _erase_turns(conn: Connection, rater: str, gone: dict[str, int]) -> None:
    hers = conn.execute(sa.select(turns.c.turn_id, turns.c.trace_id, turns.c.join_key).where(
        turns.c.user_id == rater)).all()
    for part in chunks(hers):
        ids, traces = [row.turn_id for row in part], [row.trace_id for row in part]
        keys = [row.join_key for row in part if row.join_key]
        gone["texts"] += _forget_texts(conn, rater, ids)
        gone["outcomes"] += _delete(conn, outcomes, sa.or_(outcomes.c.join_key.in_(keys),
                                                           outcomes.c.trace_id.in_(traces)))
        gone["calls"] += _delete(conn, calls, sa.or_(
            calls.c.turn_id.in_(ids), sa.and_(calls.c.trace_id.in_(traces), calls.c.turn_id == "")))
        for name, table in metadata.tables.items():  # what rules have made of her turns
            if "turn_id" in table.c and name not in ("votes", "calls", "turns"):
                gone[name] = gone.get(name, 0) + _delete(conn, table, table.c.turn_id.in_(ids))
    gone["turns"] += _delete(conn, turns, turns.c.user_id == rater)
    gone["calls"] += _delete(conn, calls, calls.c.user_id == rater)


def _forget_texts(conn: Connection, rater: str, ids: Sequence[str]) -> int:
    """What others wrote about her turns goes; what they judged stays."""
    theirs = sa.select(votes.c.id).where(votes.c.turn_id.in_(ids), votes.c.rater.is_distinct_from(rater))
    changed = 0
    for table in (votes, vote_log):
        texts = sa.or_(*(table.c[name].is_not(None) for name in ("comment", "correction", "details")))
        primary = tuple(table.primary_key)
        found = sa.select(*primary, table.c.id, table.c.details, *([vote_log.c.version] if table is vote_log else []))
        for row in conn.execute(found.where(table.c.id.in_(theirs), texts)).mappings().all():
            details: dict[str, Any] = row["details"] or {}
            kept = {name: one for name, one in details.items() if name != "quote"}
            new = sealed(table.name, {**row, "details": kept or None})
            where = [column == row[column.name] for column in primary]
            conn.execute(sa.update(table).where(*where).values(
                comment=None, correction=None, details=new["details"]))
            changed += table is votes
    return changed


def _delete(conn: Connection, table: Table, where: Any) -> int:
    return conn.execute(sa.delete(table).where(where)).rowcount


def tombstones(conn: Connection) -> dict[str, float]:
    """Who was erased, and when (Unix seconds): an export leaves out what these said before."""
    return {row.rater: row.time for row in conn.execute(sa.select(erased))}


def tempo_command(rater: str, scheduler: str = "127.0.0.1:9095", tenant: str = "single-tenant") -> str:
    """The shell command that takes a person's spans out of Tempo 3.1 or newer.

    Args:
        rater: the pseudonym, on spans as `semconv.ENDUSER_PSEUDO_ID`.
        scheduler: gRPC address of Tempo's backend scheduler.
        tenant: Tempo's tenant.
    """
    quoted = rater.replace("\\", "\\\\").replace('"', '\\"')
    query = f'{{ span.{semconv.ENDUSER_PSEUDO_ID} = "{quoted}" }}'
    return shlex.join(["tempo-cli", "redact", scheduler, "--tenant", tenant, "--query", query])
