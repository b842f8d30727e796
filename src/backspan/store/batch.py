"""The votes of one transaction: loaded once, changed in memory by the rules of `backspan.store.votes`, written once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.store import bulk, first, revisions, series
from backspan.store import turns as turn_table
from backspan.store.counters import Increments
from backspan.store.labels import OVERFLOW
from backspan.store.model import FEEDBACK, LIVE, Event, Receipt, Vote, age_of, full_dims
from backspan.store.policy import Policy
from backspan.store.schema import chunks, outbox, vote_log, votes
from backspan.store.sealing import sealed

MOST_REVISIONS = 100
"""Revisions of one vote; past it the vote is refused."""
TOO_MANY = "too_many"
"""Status of a vote that was refused because it had changed `MOST_REVISIONS` times."""

_JUDGED = ("name", *revisions.KEPT)
_judged_of: Callable[[Vote], tuple[Any, ...]] = attrgetter(*_JUDGED)
_LOG = bulk.Shape(vote_log, (
    "seq", "id", "version", "op", *_JUDGED, "digest", "delay", "time", "received", "counted", "origin"))
_STATE = bulk.Shape(votes, ("id", "version", "op", *_JUDGED, *revisions.TARGET, "time", "received"))
_OVER = bulk.overwrite(votes, _STATE.names)
# Made once: building a statement costs more than running it.
_IDS = cast("Any", sa.bindparam("ids", expanding=True))
_STATES = sa.select(votes).where(votes.c.id.in_(_IDS))
_LOGS = sa.select(vote_log).where(vote_log.c.id.in_(_IDS))
_COUNT_LATE = sa.update(vote_log).where(vote_log.c.seq == sa.bindparam("row")).values(
    counted=True, delay=sa.bindparam("delay"))


@dataclass
class Batch:
    """The votes of one transaction, with the rows they touch loaded once and written once."""

    conn: Connection
    now: float
    policy: Policy
    watched: bool = True
    """Somebody is told of ``events``."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    logs: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict[str, dict[int, dict[str, Any]]])
    increments: Increments = field(default_factory=Increments)
    events: list[Event] = field(default_factory=list[Event])
    _changed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    _added: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _counted: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    _firsts: dict[str, first.First] = field(default_factory=dict[str, first.First])
    """Votes that went the short way; they are among ``states`` and ``logs`` only if something more is said of them."""
    _outbox: list[int] = field(default_factory=list[int])
    _next: int = 0

    def load(self, ids: Iterable[str]) -> None:
        """Read the state and the log of the given votes. Most are new, so it is asked first which ones are there."""
        there = bulk.present(self.conn, votes.c.id, set(ids) - self.states.keys())
        for part in chunks(sorted(there)):
            for row in self.conn.execute(_STATES, {"ids": part}).mappings():
                self.states[row["id"]] = dict(row)
        known = [key for key in self.states if key not in self.logs]
        for part in chunks(known):
            for row in self.conn.execute(_LOGS, {"ids": part}).mappings():
                self.logs.setdefault(row["id"], {})[row["version"]] = dict(row)

    # --- accept ---
    def accept(self, vote: Vote, found: turn_table.Found | None) -> Receipt:
        """Apply one vote to its state; returns what became of it."""
        if vote.id in self._firsts:
            self._unfold(vote.id)
        state = self.states.get(vote.id)
        if state is None and found is None and first.plain(vote):
            receipt = self._accept_first(vote)
            if receipt is not None:
                return receipt
        digest = revisions.digest(vote)
        if vote.revision is not None and self._free(vote.id, vote.revision[0]):
            version, op = vote.revision
        else:
            version, op = (state["version"] if state else 0), revisions.op_of(state, vote)
            if op == semconv.UNCHANGED or (vote.revision is not None and self._seen(vote.id, digest)):
                return self._receipt(vote.id, version, semconv.UNCHANGED)
            version += 1
        if len(self.logs.get(vote.id, ())) >= MOST_REVISIONS:
            return self._receipt(vote.id, version - 1, TOO_MANY)
        self._append(vote, version, op, digest)
        self._know(vote, found)
        return self._receipt(vote.id, version, op)

    def _accept_first(self, vote: Vote) -> Receipt | None:
        """The short way; None if a label of the vote has no place, so that it must go the long one."""
        labels, dims = self.policy.labels, first.dims_of(vote)
        if labels.of(self.conn, dims, self.now) is not dims or OVERFLOW in (
                labels.value(self.conn, "name", vote.name, self.now),
                *[labels.value(self.conn, "reason", reason, self.now) for reason in vote.reasons]):
            return None
        one = self._firsts[vote.id] = first.First(self._sequence(), vote, first.delay_of(vote), dims)
        if self.policy.emit:
            self._outbox.append(one.seq)
        said = first.count(self.increments, one)
        if self.watched:
            self.events.append(Event(FEEDBACK, said, vote.time, vote.reasons, trace_id=vote.trace_id or "",
                                     span_id=vote.span_id or "", rater=vote.rater))
        return Receipt(vote.id, 1, semconv.ADD, one.resolved)

    def _unfold(self, key: str) -> None:
        """Have a vote that went the short way as if it had gone the long one."""
        one = self._firsts.pop(key)
        self._append(one.vote, 1, semconv.ADD, "", one.seq)
        self.logs[key][1].update(counted=True, delay=one.delay)
        self.states[key]["dims"] = dict(one.dims)

    def _free(self, key: str, version: int) -> bool:
        return version not in self.logs.get(key, {})

    def _seen(self, key: str, digest: str) -> bool:
        return any(row["digest"] == digest for row in self.logs.get(key, {}).values())

    def _receipt(self, key: str, version: int, status: str) -> Receipt:
        state = self.states.get(key)
        return Receipt(key, version, status, bool(state["resolved"]) if state else False)

    def _append(self, vote: Vote, version: int, op: str, digest: str, seq: int | None = None) -> None:
        state = self.states.get(vote.id)
        judged: dict[str, Any] = dict(zip(_JUDGED, _judged_of(vote), strict=True))
        judged["reasons"] = list(vote.reasons)
        if op == semconv.RETRACT and vote.revision is None and state is not None:
            judged = {name: state[name] for name in judged}
        row = {
            "seq": seq or self._sequence(), "id": vote.id, "version": version, "op": op, **judged, "digest": digest,
            "delay": vote.delay, "time": vote.time, "received": self.now, "counted": False,
            "origin": revisions.origin(vote, judged["details"]),
        }
        self._added.append(row)
        self.logs.setdefault(vote.id, {})[version] = row
        stands = {"id": vote.id, "version": version, "op": op, **judged, "time": vote.time, "received": self.now}
        if state is None:
            self.states[vote.id] = {**revisions.target_columns(vote), **stands}
        elif version > state["version"]:
            state.update(stands)
        self._changed[vote.id] = self.states[vote.id]

    def _sequence(self) -> int:
        if not self._next:
            self._next = self.conn.exec_driver_sql("SELECT max(seq) FROM vote_log").scalar() or 0
        self._next += 1
        return self._next

    def _know(self, vote: Vote, found: turn_table.Found | None) -> None:
        state = self.states[vote.id]
        if found is not None:
            self.resolve(vote.id, found)
        if state["at"] is None:
            state["at"] = vote.at
        if (found is not None and found.whole) or (vote.dims is not None and semconv.SERVICE_NAME in vote.dims):
            said = {key: value for key, value in (vote.dims or {}).items() if value}  # a token may be made early
            self.freeze(vote.id, {**(found.dims if found is not None else {}), **said})
        elif vote.dims is not None and state["dims"] is None:
            state["said"] = dict(vote.dims)
        self.count(vote.id)

    @property
    def emitting(self) -> bool:
        """Tell whether something goes to the outbox."""
        return bool(self._outbox)

    def resolve(self, key: str, found: turn_table.Found) -> None:
        """Tell a vote which turn it judges."""
        state = self.states[key]
        state["turn_id"] = state["turn_id"] or found.turn_id or None
        state["trace_id"] = state["trace_id"] or found.trace_id
        state["span_id"] = state["span_id"] or found.span_id
        state["at"] = found.at if state["at"] is None else state["at"]
        state["resolved"] = True
        self._changed[key] = state

    def freeze(self, key: str, dims: Mapping[str, str]) -> None:
        """Fix the label dimensions of a vote, unless they are fixed."""
        state = self.states[key]
        if state["dims"] is None:
            state["dims"] = full_dims({**dims, **(state["said"] or {})})
            self._changed[key] = state

    # --- count ---
    def count(self, key: str) -> None:
        """Count the revisions of one vote that were not counted, if its dimensions are known."""
        state, log = self.states[key], self.logs[key]
        if state["dims"] is None:
            return
        for version in sorted(log):
            row = log[version]
            if not row["counted"]:
                if row["delay"] is None and state["at"] is not None:
                    row["delay"] = max(0.0, row["time"] - state["at"])
                row["counted"] = True
                self._counted[row["seq"]] = {"row": row["seq"], "delay": row["delay"]}
                self._publish(row, log, state)

    def _publish(self, row: Mapping[str, Any], log: Mapping[int, Mapping[str, Any]], state: Mapping[str, Any]) -> None:
        if row["origin"] == "http" and self.policy.emit:
            self._outbox.append(row["seq"])
        if row["origin"] == "span" and not self.policy.count_spans:
            return
        dims = self.bounded(state["dims"])
        row = self._bounded(row)
        for label, said in ((semconv.LABEL_NAME, [row["name"]]), (semconv.LABEL_REASON, row["reasons"] or ())):
            if OVERFLOW in said:
                self.increments.add(semconv.PROM_LABEL_OVERFLOW, {semconv.LABEL_LABEL: label})
        beside = (log.get(row["version"] - 1), log.get(row["version"] + 1))
        before, after = (one and self._bounded(one) for one in beside)
        if before is not None and before["counted"] and revisions.takes_away(row, before):
            self._add(before, semconv.RETRACT, row, state, dims)
        if row["op"] in LIVE:
            self._add(row, row["op"], row, state, dims)
            if row["value"] is not None:
                self._observe(semconv.PROM_FEEDBACK_SCORE, row, dims, row["value"])
        if row["op"] == semconv.ADD:
            self._first(row, state, dims)
        if after is not None and after["counted"] and revisions.takes_away(after, row):
            self._add(row, semconv.RETRACT, after, state, dims)

    def bounded(self, labels: Mapping[str, str]) -> series.Dims:
        """Labels as they are counted: values past the limit are one; see `backspan.store.labels`."""
        asked = tuple(labels.items())
        found = self.policy.labels.of(self.conn, asked, self.now)
        if found is not asked:
            for (label, value), (_, said) in zip(found, asked, strict=True):
                if value != said:
                    self.increments.add(semconv.PROM_LABEL_OVERFLOW, {semconv.LABEL_LABEL: label})
        return found

    def _bounded(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A revision with its name and reasons as they are counted."""
        return self.policy.labels.judged(self.conn, row, self.now)

    def _add(
        self, judged: Mapping[str, Any], op: str, cause: Mapping[str, Any], state: Mapping[str, Any],
        dims: series.Dims,
    ) -> None:
        reasons = tuple(judged["reasons"] or ())
        said = (judged["name"], judged["polarity"], op, judged["source"], age_of(judged["delay"]))
        labels, (counted, *because) = series.judged(said, reasons, dims)
        self.increments.count(counted, exemplar=revisions.exemplar(state, cause))
        for key in because:
            self.increments.count(key)
        if judged["details"]:
            self._count_pairs(judged, op, dict(dims))
        if self.watched:
            self.events.append(Event(
                FEEDBACK, labels, cause["time"], reasons, trace_id=state["trace_id"] or "",
                span_id=state["span_id"] or "", turn_id=state["turn_id"] or "", rater=state["rater"]))

    def _count_pairs(self, judged: Mapping[str, Any], op: str, dims: Mapping[str, str]) -> None:
        for winner, loser, result in series.pairs(judged["details"].get("comparison")):
            pair = self._variant(winner), self._variant(loser), result
            self.increments.count(series.compared(judged["name"], pair, op, tuple(dims.items())))

    def _variant(self, said: str) -> str:
        return dict(self.bounded({semconv.VARIANT: said}))[semconv.VARIANT]

    def _first(self, row: Mapping[str, Any], state: Mapping[str, Any], dims: series.Dims) -> None:
        name, polarity, source, solicited = row["name"], row["polarity"], row["source"], row["solicited"]
        if source == semconv.END_USER and solicited is not None:
            key = series.asked(name, polarity, solicited, dims)
            self.increments.count(key, exemplar=revisions.exemplar(state, row))
        if source == semconv.IMPLICIT:
            key = series.signalled(name, polarity, dims)
            self.increments.count(key, exemplar=revisions.exemplar(state, row))
        if row["delay"] is not None:
            self._observe(semconv.PROM_FEEDBACK_DELAY, row, dims, row["delay"])

    def _observe(self, metric: str, row: Mapping[str, Any], dims: series.Dims, value: float) -> None:
        bucket, total = series.observed(metric, row["name"], row["source"], dims, value)
        self.increments.count(bucket)
        self.increments.count(total, value)

    # --- write ---
    def write(self) -> None:
        """Write everything that changed."""
        first.write(self.conn, self._firsts.values(), self.now)
        bulk.insert(self.conn, vote_log, _LOG.names, [_LOG.values(sealed("vote_log", row)) for row in self._added])
        new = {row["seq"] for row in self._added}
        late = [entry for seq, entry in self._counted.items() if seq not in new]
        if late:
            self.conn.execute(_COUNT_LATE, late)
        standing = [_STATE.values(sealed("votes", row)) for row in self._changed.values()]
        bulk.insert(self.conn, votes, _STATE.names, standing, _OVER)
        bulk.insert(self.conn, outbox, ("seq",), [(seq,) for seq in self._outbox])
        self.increments.write(self.conn)
