"""Votes: the state of each key, the append-only log, and what each revision adds to the counters.

Rules (order of arrival never matters):

- A first vote counts as ``add``, a new value as ``change``.
- A ``change`` and a ``retract`` take away the value before: it counts as ``retract`` under the labels it was counted
  under, as soon as both revisions are known.
- Nothing is counted before the label dimensions are known: they come with a token, or from the judged turn (what the
  caller says of them wins). If they are not there `GRACE_SECONDS` after the vote, the unknown ones are empty. The first
  count freezes them for the vote's life, so that what is added and what is taken away meet in the same series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.store import revisions
from backspan.store import turns as turn_table
from backspan.store.counters import Increments
from backspan.store.model import LIVE, Event, Receipt, Vote, age_of, full_dims
from backspan.store.schema import chunks, outbox, upsert, vote_log, votes

GRACE_SECONDS = 10.0
"""How long a vote that names only ids waits for its turn before it is counted without dimensions."""
MOST_REVISIONS = 100
"""Revisions of one vote; past it the vote is refused."""
TOO_MANY = "too_many"
"""Status of a vote that was refused because it had changed `MOST_REVISIONS` times."""



# Made once: building a statement costs more than running it.
_IDS = cast("Any", sa.bindparam("ids", expanding=True))
_STATES = sa.select(votes).where(votes.c.id.in_(_IDS))
_LOGS = sa.select(vote_log).where(vote_log.c.id.in_(_IDS))
_LAST = sa.select(sa.func.max(vote_log.c.seq))
_TO_LOG, _TO_OUTBOX = vote_log.insert(), outbox.insert()
_COUNT_LATE = sa.update(vote_log).where(vote_log.c.seq == sa.bindparam("row")).values(
    counted=True, delay=sa.bindparam("delay"))


@dataclass
class Policy:
    """What a deployment does with what it stores."""

    count_spans: bool
    """Feedback spans of applications reach our counters (embedded server) or were counted by their SDK (gateway)."""
    emit: bool
    """Accepted votes go to the outbox."""


@dataclass
class Batch:
    """The votes of one transaction, with the rows they touch loaded once and written once."""

    conn: Connection
    now: float
    policy: Policy
    states: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    logs: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict[str, dict[int, dict[str, Any]]])
    increments: Increments = field(default_factory=Increments)
    events: list[Event] = field(default_factory=list[Event])
    _changed: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    _added: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _counted: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    _outbox: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _next: int = 0

    def load(self, ids: Iterable[str]) -> None:
        """Read the state and the log of the given votes."""
        for part in chunks(sorted(set(ids) - self.states.keys())):
            for row in self.conn.execute(_STATES, {"ids": part}).mappings():
                self.states[row["id"]] = dict(row)
        known = [key for key in self.states if key not in self.logs]
        for part in chunks(known):
            for row in self.conn.execute(_LOGS, {"ids": part}).mappings():
                self.logs.setdefault(row["id"], {})[row["version"]] = dict(row)

    # --- accept ---
    def accept(self, vote: Vote, found: turn_table.Found | None) -> Receipt:
        """Apply one vote to its state; returns what became of it."""
        state = self.states.get(vote.id)
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

    def _free(self, key: str, version: int) -> bool:
        return version not in self.logs.get(key, {})

    def _seen(self, key: str, digest: str) -> bool:
        return any(row["digest"] == digest for row in self.logs.get(key, {}).values())

    def _receipt(self, key: str, version: int, status: str) -> Receipt:
        state = self.states.get(key)
        return Receipt(key, version, status, bool(state["resolved"]) if state else False)

    def _append(self, vote: Vote, version: int, op: str, digest: str) -> None:
        state = self.states.get(vote.id)
        judged = {name: getattr(vote, name) for name in ("name", *revisions.CONTENT)}
        judged["reasons"] = list(vote.reasons)
        if op == semconv.RETRACT and vote.revision is None and state is not None:
            judged = {name: state[name] for name in judged}
        row = {
            "seq": self._sequence(), "id": vote.id, "version": version, "op": op, **judged, "digest": digest,
            "delay": vote.delay, "time": vote.time, "received": self.now, "counted": False,
            "origin": "span" if vote.revision is not None else "http",
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
            self._next = self.conn.execute(_LAST).scalar() or 0
        self._next += 1
        return self._next

    def _know(self, vote: Vote, found: turn_table.Found | None) -> None:
        state = self.states[vote.id]
        if found is not None:
            self.resolve(vote.id, found)
        if state["at"] is None:
            state["at"] = vote.at
        if found is not None:
            self.freeze(vote.id, {**found.dims, **(vote.dims or {})})
        elif vote.dims is not None and semconv.SERVICE_NAME in vote.dims:
            self.freeze(vote.id, vote.dims)
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
            self._outbox.append({"seq": row["seq"], "emitted": None})
        if row["origin"] == "span" and not self.policy.count_spans:
            return
        before, after = log.get(row["version"] - 1), log.get(row["version"] + 1)
        if before is not None and before["counted"] and revisions.takes_away(row, before):
            self._add(before, semconv.RETRACT, row, state)
        if row["op"] in LIVE:
            self._add(row, row["op"], row, state)
            self._measure(row, state)
        if after is not None and after["counted"] and revisions.takes_away(after, row):
            self._add(row, semconv.RETRACT, after, state)

    def _add(
        self, judged: Mapping[str, Any], op: str, cause: Mapping[str, Any], state: Mapping[str, Any]
    ) -> None:
        event = Event(judged["name"], judged["polarity"], op, judged["source"], age_of(judged["delay"]),
                      state["dims"], cause["time"], state["trace_id"] or "")
        labels = {**{key: event.get(key) for key in semconv.FEEDBACK_LABELS}, **state["dims"]}
        self.increments.add(semconv.PROM_FEEDBACK, labels, exemplar=revisions.exemplar(state, cause))
        for reason in judged["reasons"] or ():
            self.increments.add(semconv.PROM_FEEDBACK_REASONS, {**labels, semconv.LABEL_REASON: reason})
        self.events.append(event)

    def _measure(self, row: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        labels = {semconv.LABEL_NAME: row["name"], semconv.LABEL_SOURCE: row["source"], **state["dims"]}
        if row["value"] is not None:
            self.increments.observe(semconv.PROM_FEEDBACK_SCORE, labels, row["value"])
        if row["delay"] is not None and row["op"] == semconv.ADD:
            self.increments.observe(semconv.PROM_FEEDBACK_DELAY, labels, row["delay"])

    # --- write ---
    def write(self) -> None:
        """Write everything that changed."""
        if self._added:
            self.conn.execute(_TO_LOG, self._added)
        new = {row["seq"] for row in self._added}
        late = [entry for seq, entry in self._counted.items() if seq not in new]
        if late:
            self.conn.execute(_COUNT_LATE, late)
        upsert(self.conn, votes, list(self._changed.values()))
        if self._outbox:
            self.conn.execute(_TO_OUTBOX, self._outbox)
        self.increments.write(self.conn)


def put(batch: Batch, received: Sequence[Sequence[Vote]]) -> list[list[Receipt]]:
    """Apply groups of votes in order; returns a receipt for each."""
    flat = [vote for group in received for vote in group]
    batch.load(vote.id for vote in flat)
    unknown = [vote for vote in flat if not (batch.states.get(vote.id) or {}).get("turn_id")]
    found = turn_table.find(
        batch.conn, ((vote.trace_id or "", vote.span_id or "") for vote in unknown if vote.trace_id),
        (vote.response_id for vote in unknown if vote.response_id and not vote.trace_id))
    return [[batch.accept(vote, _match(found, vote)) for vote in group] for group in received]


def _match(found: Mapping[Any, turn_table.Found], vote: Vote) -> turn_table.Found | None:
    return found.get((vote.trace_id, vote.span_id)) if vote.trace_id else found.get(vote.response_id)


def settle(batch: Batch, traces: Iterable[str], responses: Iterable[str]) -> None:
    """Give votes that wait for their turn what arrived for it."""
    open_votes: list[dict[str, Any]] = []
    for column, keys in ((votes.c.trace_id, sorted(set(traces))), (votes.c.response_id, sorted(set(responses)))):
        for part in chunks([key for key in keys if key]):
            waiting = sa.select(votes).where(votes.c.turn_id.is_(None), column.in_(part))
            open_votes += map(dict, batch.conn.execute(waiting).mappings())
    if not open_votes:
        return
    batch.load(row["id"] for row in open_votes)
    found = turn_table.find(
        batch.conn, ((row["trace_id"], row["span_id"]) for row in open_votes if row["trace_id"]),
        (row["response_id"] for row in open_votes if row["response_id"] and not row["trace_id"]))
    for row in sorted(open_votes, key=lambda row: (row["received"], row["id"])):
        match = found.get((row["trace_id"], row["span_id"])) if row["trace_id"] else found.get(row["response_id"])
        if match is not None:
            batch.resolve(row["id"], match)
            batch.freeze(row["id"], match.dims)
            batch.count(row["id"])


def expire(batch: Batch) -> None:
    """Count votes whose turn did not come in time."""
    late = sa.select(vote_log.c.id).where(
        vote_log.c.counted.is_(False), vote_log.c.received <= batch.now - GRACE_SECONDS)
    ids = list(dict.fromkeys(batch.conn.execute(late.order_by(vote_log.c.seq).limit(1000)).scalars()))
    batch.load(ids)
    for key in ids:
        batch.freeze(key, {})
        batch.count(key)
