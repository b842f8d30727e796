"""What is done inside the transactions of the writing thread: votes and spans are stored, counted and watched there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.context import Target
from backspan.store import consent, counters, guards, idempotency, leases, outbox, outcomes, retention, turns, votes
from backspan.store.model import INFERENCE, Receipt, Watch, call_event
from backspan.store.retention import Retention
from backspan.store.suspicion import Rules

Identify = Callable[[Target, str, "str | None"], str]
_RETENTION_EVERY = 60.0


class Work:
    """The jobs of one writing thread; the arguments are those of `backspan.store.Store`.

    A job takes the connection and the items that wait for it, and returns one result for each of them. ``exposing`` and
    ``emitting`` are what only one of several replicas does.
    """

    def __init__(
        self, *, identify: Identify, policy: votes.Policy, count_answers: bool, keep: Retention, watch: Watch | None,
        clock: Callable[[], float], rules: Rules | None,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.identify = identify
        holder = leases.new_holder()
        self.exposing, self.emitting = (leases.Duty(name, holder) for name in ("metrics", "outbox"))
        self.fresh_outbox = threading.Event()
        """Set when something new waits in the outbox."""
        self._count_answers = count_answers
        self._keep = keep
        self._watch = watch
        self._guard = None if rules is None else guards.Guard(rules)
        self._retained = 0.0

    def batch(self, conn: Connection) -> votes.Batch:
        """A batch of what one transaction stores and counts."""
        return votes.Batch(conn, self.clock(), self.policy, watched=self._watch is not None)

    def store_votes(self, conn: Connection, groups: Sequence[Any]) -> Sequence[list[Receipt]]:
        """Store groups of votes, each all or none."""
        batch = self.batch(conn)
        receipts = votes.put(batch, groups)
        self.finish(batch)
        return receipts

    def store_spans(self, conn: Connection, items: Sequence[Any]) -> Sequence[None]:
        """Store calls and the votes that came as spans; see `Store.put_spans`."""
        batch = self.batch(conn)
        received = [call for calls, *_ in items for call in calls]
        foreign, promoted = (frozenset(key for item in items for key in item[at]) for at in (2, 3))
        fresh = turns.unseen(conn, received) if self._watch is not None else []
        changed = turns.put_calls(conn, received, batch.now) if received else []
        batch.events += [call_event({**vars(call), "turn_id": call.turn_key}) for call in fresh
                         if call.operation in INFERENCE and call.turn_key not in promoted]
        turns.mark_counted(conn, sorted(promoted))
        self._answer(batch, [turn for turn in changed if not turn["counted"] and turns.complete(turn)
                             and turn["turn_id"] not in promoted], foreign)
        votes.settle(batch, (call.trace_id for call in received))
        votes.put(batch, [consent.living(conn, judged) for _, judged, *_ in items])
        self.finish(batch)
        return [None] * len(items)

    def _answer(
        self, batch: votes.Batch, answered: Sequence[Mapping[str, Any]], foreign: Set[str] = frozenset()
    ) -> None:
        for turn in answered:
            dims = dict(batch.bounded(turns.dims_of(turn)))
            if self._count_answers or turn["turn_id"] in foreign:
                exemplar = {"trace_id": turn["trace_id"], "span_id": turn["span_id"], "time": turn["ended"]}
                batch.increments.add(semconv.PROM_ANSWERS, dims, exemplar=exemplar)
            counters.open_cohort(batch.increments, dims)
            batch.events.append(turns.answer_event(turn))
        turns.mark_counted(batch.conn, [turn["turn_id"] for turn in answered])

    def finish(self, batch: votes.Batch) -> None:
        """Write what is in ``batch``, and tell who watches."""
        batch.write()
        if batch.events and self._watch is not None:
            self._watch.observe(batch.conn, batch.events, batch.now)
        if batch.emitting:
            self.fresh_outbox.set()

    def scrape(self, conn: Connection, items: Sequence[Any]) -> Sequence[list[counters.Series] | None]:
        """All series as one scrape shows them; None if another replica shows them."""
        if not self.exposing.take(conn, self.clock()):
            return [None] * len(items)
        return [counters.scrape(conn) for _ in items]

    def give_back(self, conn: Connection, items: Sequence[Any]) -> Sequence[None]:
        """Give up what only one replica does."""
        for duty in (self.exposing, self.emitting):
            duty.give(conn)
        return [None] * len(items)

    def mark_emitted(self, conn: Connection, items: Sequence[Any]) -> Sequence[None]:
        """Note which revisions the back end has taken."""
        outbox.mark(conn, [seq for seqs in items for seq in seqs], self.clock())
        return [None] * len(items)

    def work(self, conn: Connection, jobs: Sequence[Any]) -> Sequence[Any]:
        """Run jobs on one batch, and store and count what they put into it."""
        batch = self.batch(conn)
        done = [job(batch) for job in jobs]
        self.finish(batch)
        return done

    def tick(self, conn: Connection) -> None:
        """What is due by the clock: leases, answers to count, votes without a turn, outcomes, guards, retention."""
        batch = self.batch(conn)
        for duty in (self.exposing, self.emitting):
            duty.keep(conn, batch.now)
        self._answer(batch, turns.uncounted(conn, batch.now))
        votes.expire(batch)
        outcomes.settle(batch, self.identify)
        self.finish(batch)
        if self._watch is not None:
            self._watch.tick(conn, batch.now)
        if self._guard is not None:
            self._guard.tick(conn, batch.now)
        if batch.now - self._retained >= _RETENTION_EVERY:
            self._retained = batch.now
            retention.stand_in(conn, self._keep, batch.now)
            idempotency.expire(conn, batch.now)
