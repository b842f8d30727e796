"""Spans to turns. A turn is a pure function of its calls, so spans may arrive in any order, in parts, or twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store import bulk, consent
from backspan.store.model import ANSWER, INFERENCE, LABELS, ROOTS, Call, Event, full_dims
from backspan.store.schema import SAID, calls, chunks, turns, upsert
from backspan.store.sealing import sealed

QUIET_SECONDS = 5.0
"""A turn whose own span did not come is taken as complete this long after its last call came."""

_DIM_COLUMNS = ("model", "prompt_name", "prompt_version", "variant", "segment", "index_version", "environment",
                "service")


def dims_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Label dimensions of a call or a turn."""
    return full_dims({key: row[column] for key, column in zip(LABELS, _DIM_COLUMNS, strict=True)})


def put_calls(conn: Connection, received: Sequence[Call], now: float) -> list[dict[str, Any]]:
    """Store calls and bring the turns they belong to up to date; returns those turns."""
    unique = {(call.trace_id, call.span_id): call for call in received}
    rows: list[dict[str, Any]] = [
        {**asdict(call), "turn_id": call.turn_key, "received": now}
        for call in consent.allowed(conn, list(unique.values()))]
    upsert(conn, calls, [sealed("calls", row) for row in rows], keep=("received",))
    keys = sorted({row["turn_id"] for row in rows if row["turn_id"]})
    folded = [_kept(conn, fold(key, members, now), members) for key, members in _members(conn, keys).items()]
    upsert(conn, turns, [sealed("turns", row) for row in folded], keep=("received", "counted"))
    silent = consent.silenced(conn, (row["trace_id"] for row in rows))
    if silent:
        consent.strip(conn, sa.and_(calls.c.trace_id.in_(silent), calls.c.turn_id == ""))
    return _stored(conn, keys)


def _kept(conn: Connection, turn: dict[str, Any], members: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A turn as it may be kept. Its calls say what it says: without its consent they lose their content too."""
    if not consent.refused(turn["consent"]):
        return turn
    if any(map(consent.full, members)):
        consent.strip(conn, calls.c.turn_id == turn["turn_id"])
    return consent.bare(turn)


def unseen(conn: Connection, received: Sequence[Call]) -> list[Call]:
    """The calls among ``received`` that are not stored yet, each once; to be asked before `put_calls`."""
    known: set[Any] = set()
    for part in chunks(sorted({call.trace_id for call in received})):
        known.update((row.trace_id, row.span_id) for row in conn.execute(_KNOWN, {"keys": part}))
    unique = {(call.trace_id, call.span_id): call for call in received}
    return [call for key, call in unique.items() if key not in known]


def answer_event(turn: Mapping[str, Any]) -> Event:
    """The event that an answered turn is."""
    return Event(ANSWER, dims_of(turn), turn["ended"], trace_id=turn["trace_id"], span_id=turn["span_id"],
                 turn_id=turn["turn_id"])


def _members(conn: Connection, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for part in chunks(keys):
        for row in conn.execute(sa.select(calls).where(calls.c.turn_id.in_(part))).mappings():
            found.setdefault(row["turn_id"], []).append(dict(row))
    return found


def _stored(conn: Connection, keys: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in chunks(keys):
        found += map(dict, conn.execute(sa.select(turns).where(turns.c.turn_id.in_(part))).mappings())
    return found


def fold(turn_id: str, members: Iterable[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """The turn that ``members`` (rows of calls) make up, whatever their order.

    What the user saw is the turn's own span and, within it, the model call that ended last.
    """
    ordered = sorted(members, key=lambda row: (row["started"], row["span_id"]))
    roots = [row for row in ordered if row["operation"] in ROOTS]
    answers = sorted((row for row in ordered if row["operation"] in INFERENCE),
                     key=lambda row: (-row["ended"], row["span_id"]))
    speakers = roots[:1] + answers + ordered
    first = speakers[0]
    started, ended = min(row["started"] for row in ordered), max(row["ended"] for row in ordered)
    return {
        "turn_id": turn_id, "trace_id": first["trace_id"], "span_id": first["span_id"],
        **{name: _first(speakers, name) for name in SAID},
        "input_tokens": _sum(answers, "input_tokens"), "output_tokens": _sum(answers, "output_tokens"),
        "started": started, "ended": ended,
        "duration": roots[0]["ended"] - roots[0]["started"] if roots else ended - started,
        "outcome": _first(answers, "outcome"), "finish": _first(answers, "finish"),
        "error": _first((roots[:1] + answers[:1]) or ordered, "error"),
        "query": _first(speakers, "query"), "answer": _first(speakers, "answer"),
        "documents": [document for row in ordered for document in row["documents"] or ()],
        "calls": len(ordered), "rooted": bool(roots), "answered": any(row["answered"] for row in answers),
        "counted": False, "received": now, "touched": now,
    }


def _first(rows: Iterable[Mapping[str, Any]], name: str) -> str:
    return next((row[name] for row in rows if row[name]), "")


def _sum(rows: Iterable[Mapping[str, Any]], name: str) -> int | None:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None


def complete(turn: Mapping[str, Any]) -> bool:
    """Tell whether the turn was answered and its label dimensions are final: it has its own span, or is one call."""
    alone = turn["turn_id"] == f"{turn['trace_id']}-{turn['span_id']}"
    return bool(turn["answered"] and (turn["rooted"] or alone))


def uncounted(conn: Connection, now: float) -> list[dict[str, Any]]:
    """Answered turns never counted to which nothing came for `QUIET_SECONDS`."""
    quiet = sa.select(turns).where(
        turns.c.counted.is_(False), turns.c.answered.is_(True), turns.c.touched <= now - QUIET_SECONDS)
    return list(map(dict, conn.execute(quiet.order_by(turns.c.started, turns.c.turn_id).limit(1000)).mappings()))


def mark_counted(conn: Connection, ids: Sequence[str]) -> None:
    """Note that these turns have been counted as answers."""
    for part in chunks(ids):
        conn.execute(sa.update(turns).where(turns.c.turn_id.in_(part)).values(counted=True))


@dataclass(frozen=True)
class Found:
    """A judged call that is known here: where it is, when it answered and the dimensions of its turn.

    ``whole``: these are final, as the turn's own span and that of its model are both there.
    """

    trace_id: str
    span_id: str
    turn_id: str
    at: float
    dims: Mapping[str, str]
    whole: bool


def find(conn: Connection, spans: Iterable[tuple[str, str]], responses: Iterable[str]) -> dict[Any, Found]:
    """Known calls by (trace id, span id) and by response id; not those whose turn has said too little yet."""
    wanted, found = set(spans), dict[Any, Found]()
    for part in chunks(sorted(bulk.present(conn, calls.c.trace_id, {trace for trace, _ in wanted}))):
        for row in conn.execute(_BY_TRACE, {"keys": part}):
            if (row.call_trace_id, row.call_span_id) in wanted:
                _note(found, (row.call_trace_id, row.call_span_id), row)
    for part in chunks(sorted(bulk.present(conn, calls.c.response_id, set(responses)))):
        for row in conn.execute(_BY_RESPONSE, {"keys": part}):
            _note(found, row.call_response_id, row)
    return found


_CALLS_AND_TURNS = sa.select(
    *(calls.c[name].label(f"call_{name}") for name in ("trace_id", "span_id", "turn_id", "response_id", "ended")),
    *(calls.c[name].label(f"call_{name}") for name in _DIM_COLUMNS),
    turns.c.trace_id, turns.c.span_id, turns.c.answered, turns.c.rooted, turns.c.ended,
    *(turns.c[name] for name in _DIM_COLUMNS),
).join_from(calls, turns, calls.c.turn_id == turns.c.turn_id, isouter=True)


_KEYS = cast("Any", sa.bindparam("keys", expanding=True))
_KNOWN = sa.select(calls.c.trace_id, calls.c.span_id).where(calls.c.trace_id.in_(_KEYS))
_BY_TRACE = _CALLS_AND_TURNS.where(calls.c.trace_id.in_(_KEYS))
_BY_RESPONSE = _CALLS_AND_TURNS.where(calls.c.response_id.in_(_KEYS)).order_by(
    turns.c.turn_id.is_not(None), calls.c.ended)  # what only fetched a response is not what asked for it


def _note(found: dict[Any, Found], key: Any, row: Any) -> None:
    in_turn = row.ended is not None
    if in_turn and not (row.answered or row.rooted):
        return
    prefix = "" if in_turn else "call_"
    dims = full_dims({key: getattr(row, prefix + column) for key, column in zip(LABELS, _DIM_COLUMNS, strict=True)})
    at = row.ended if in_turn else row.call_ended
    found[key] = Found(row.call_trace_id, row.call_span_id, row.call_turn_id, at, dims,
                       not in_turn or _whole(row))


def _whole(row: Any) -> bool:
    """Tell whether the label dimensions of a call's turn are final: spans of one turn come in any order."""
    alone = row.call_turn_id == f"{row.trace_id}-{row.span_id}" and row.answered
    return bool(alone or (row.rooted and (row.answered or row.model)))
