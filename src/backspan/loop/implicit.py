"""Implicit signals from turns in the store: what the rules find is feedback, and is taken back when it holds no longer.

What is known of an answer is judged anew whenever something of it changes: its turn, a neighbour in the conversation,
or its votes, and once more when the conversation has come to rest. The result depends on what is stored and on nothing
else, so a round that is repeated, interrupted or done by another worker changes nothing: the same evidence is the same
feedback, by its id. Turns are read in the order in which they changed; `Cursors` say how far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.context import Target
from backspan.feedback.model import feedback_id
from backspan.feedback.signals import Catalogue, catalogue
from backspan.loop.implicit_rules import Case, Hit, hits, lacks
from backspan.store import Policy, Vote, outcomes, signals, turns
from backspan.store.model import LIVE
from backspan.store.retention import Retention, told
from backspan.store.signals import Around, Row
from backspan.store.votes import Batch, put

LEASE = "signals"
"""Name of the lease of whoever applies the rules."""
_RESOLVED = "turns_to_resolution"


@dataclass
class Done:
    """What one step did; ``more``: there may be more to do at once.

    Attributes:
        turns: looked at.
        signals: found, new or with another value.
        retracted: taken back.
        no_text: turns whose question is not stored, so that rules about text say nothing of them.
        no_consent: turns whose user has not agreed to analytics, left out.
        no_conversation: turns of no conversation: nothing can follow them.
        forgotten: rows of evidence and outcomes past their age.
    """

    turns: int = 0
    signals: int = 0
    retracted: int = 0
    no_text: int = 0
    no_consent: int = 0
    no_conversation: int = 0
    forgotten: int = 0
    more: bool = False


@dataclass
class Implicit:
    """The job of the rules: ``at_once`` turns of each kind in one transaction."""

    every: float = 30.0
    at_once: int = 50
    name: str = LEASE
    known: Catalogue = field(default_factory=catalogue)

    def begin(self, conn: Connection) -> None:
        """Nothing has to be made ready."""

    def step(self, conn: Connection, now: float) -> Done:
        """Look at some of what changed. In a worker: what is found goes to the outbox if the server sends."""
        batch = Batch(conn, now, Policy(count_spans=False, emit=signals.emits(conn)))
        done = self.apply(batch)
        batch.write()
        return done

    def apply(self, batch: Batch) -> Done:
        """Look at some of what changed; what is found is in ``batch``."""
        conn, at = batch.conn, signals.cursors(batch.conn)
        quiet = self.known.signals["abandonment"].limits["quiet"]
        ids, to, more = signals.due(conn, at, batch.now, quiet, self.at_once)
        reach = self.known.signals["repeat_question"].limits["gap"]
        judged = _judged(ids, signals.around(conn, ids, reach)) if ids else []
        around = signals.around(conn, judged, reach)
        signals.load_messages(conn, around, [*judged, *(one["turn_id"] for one in _nexts(judged, around))])
        done = Done(more=more, forgotten=_forget(batch, self.at_once))
        for turn_id in judged:
            self._judge(batch, around, around.turns[turn_id], done)
        if to != at:
            signals.move(conn, to)
        return done

    def _judge(self, batch: Batch, around: Around, turn: Row, done: Done) -> None:
        done.turns += 1
        if not self.known.agreed(turn["consent"]):
            done.no_consent += 1
            self._settle(batch, around, turn, [], done)
            return
        case = _case(turn, around)
        done.no_text += lacks(case) is not None
        done.no_conversation += not turn["conversation_id"]
        found = list(hits(case, self.known, batch.now))
        self._settle(batch, around, turn, found, done)
        _resolved(batch, around, turn, found)

    def _settle(self, batch: Batch, around: Around, turn: Row, found: Sequence[Hit], done: Done) -> None:
        """Make the feedback on one turn what was ``found``: add what is new, take back what rules had found before."""
        before, standing = around.evidence.setdefault(turn["turn_id"], {}), around.votes.get(turn["turn_id"], {})
        names = {hit.signal.name for hit in found}
        gone = [name for name in before if name not in names and name in self.known.signals]
        judged = [vote for name in gone for vote in self._takes_back(turn, name, before[name], standing)]
        signals.drop(batch.conn, [(turn["turn_id"], name) for name in gone])
        done.retracted += len(gone)
        for name in gone:
            del before[name]
        for hit in found:
            row = standing.get(hit.signal.feedback_name)
            if hit.signal.name not in before and row is not None and row["op"] in LIVE:
                continue  # the browser or the application has said it already: it saw more
            judged += self._says(turn, hit, before.get(hit.signal.name), standing)
            kept = _row(turn, hit, batch.now)
            if _differs(before.get(hit.signal.name), kept):
                done.signals += 1
                signals.keep(batch.conn, [kept])
                before[hit.signal.name] = kept
        if judged:
            put(batch, [[vote] for vote in judged])

    def _says(self, turn: Row, hit: Hit, before: Row | None, standing: Any) -> Iterable[Vote]:
        signal = hit.signal
        if before is not None and (before["rule"], before["value"]) == (signal.version, hit.value):
            return
        yield _vote(turn, signal.feedback_name, hit.time, value=hit.value, label=signal.label,
                    polarity=signal.band(hit.value).polarity)
        for name in _replaced(signal.instead_of):
            if name in standing and standing[name]["op"] in LIVE:
                yield _vote(turn, name, hit.time, retract=True)

    def _takes_back(self, turn: Row, name: str, before: Row, standing: Any) -> Iterable[Vote]:
        signal = self.known.signals[name]
        yield _vote(turn, signal.feedback_name, before["time"], retract=True)
        for replaced in _replaced(signal.instead_of):
            row = standing.get(replaced)
            if row is not None and row["op"] not in LIVE:  # what it took the place of holds again
                yield _vote(turn, replaced, before["time"], value=row["value"], label=row["label"],
                            polarity=row["polarity"])


def _replaced(name: str | None) -> tuple[str, ...]:
    return () if name is None else (f"implicit_{name}", f"implicit_code_{name}")


# --- what is looked at ----------------------------------------------------------------------------------------------
def _judged(ids: Sequence[str], around: Around) -> list[str]:
    """The turns that are due, those before them, and earlier ones of their users in other conversations."""
    found: dict[str, None] = {}
    for turn_id in ids:
        turn = around.turns.get(turn_id)
        if turn is None:  # nobody has seen an answer
            continue
        there = around.conversations.get(turn["conversation_id"], [])
        place = _place(turn, there)
        found.update(dict.fromkeys(one["turn_id"] for one in there[max(0, place - 1):place]))
        found[turn_id] = None
        found.update(dict.fromkeys(one["turn_id"] for one in there[place + 1:place + 2]))
        found.update(dict.fromkeys(
            one["turn_id"] for one in around.of_users.get(turn["user_id"], []) if _elsewhere(one, turn)))
    return list(found)


def _place(turn: Row, there: Sequence[Row]) -> int:
    return next((number for number, one in enumerate(there) if one["turn_id"] == turn["turn_id"]), len(there))


def _elsewhere(one: Row, turn: Row) -> bool:
    """Tell whether ``one`` was asked before ``turn``, in another conversation."""
    return one["started"] < turn["started"] and one["conversation_id"] != turn["conversation_id"]


def _nexts(ids: Iterable[str], around: Around) -> Iterable[Row]:
    for turn_id in ids:
        turn = around.turns[turn_id]
        there = around.conversations.get(turn["conversation_id"], [])
        yield from there[_place(turn, there) + 1:][:1]


def _case(turn: Row, around: Around) -> Case:
    there = around.conversations.get(turn["conversation_id"], [])
    place = _place(turn, there)
    later = there[place + 1:]
    previous = there[place - 1] if 0 < place < len(there) else None
    after = later[0] if later else None
    evidence = around.evidence
    return Case(
        turn, after, previous, later,
        [one for one in around.of_users.get(turn["user_id"], []) if _elsewhere(turn, one)],
        around.votes.get(turn["turn_id"], {}), evidence.get(turn["turn_id"], {}),
        evidence.get(previous["turn_id"], {}) if previous else {},
        around.messages.get(turn["turn_id"], []), around.messages.get(after["turn_id"], []) if after else [])


# --- what comes of it -----------------------------------------------------------------------------------------------
def _vote(turn: Row, name: str, time: float, **said: Any) -> Vote:
    target, rater = Target(trace_id=turn["trace_id"], span_id=turn["span_id"]), turn["user_id"] or None
    return Vote(
        id=feedback_id(target, name, rater), name=name, time=time, source=semconv.IMPLICIT, rater=rater,
        trace_id=turn["trace_id"], span_id=turn["span_id"], response_id=turn["response_id"] or None,
        conversation_id=turn["conversation_id"] or None, at=turn["ended"], **said)


def _row(turn: Row, hit: Hit, now: float) -> dict[str, Any]:
    return {"turn_id": turn["turn_id"], "name": hit.signal.name, "rule": hit.signal.version, "value": hit.value,
            "vote_id": _vote(turn, hit.signal.feedback_name, now).id, "found": dict(hit.found), "time": hit.time}


def _differs(before: Row | None, after: Row) -> bool:
    return before is None or any(before[name] != after[name] for name in ("rule", "value", "found", "time"))


def _resolved(batch: Batch, around: Around, turn: Row, found: Sequence[Hit]) -> None:
    """Count, once, how many turns it took until the user said that it works, or a good outcome was told."""
    evidence, votes = around.evidence[turn["turn_id"]], around.votes.get(turn["turn_id"], {})
    good = any(name.startswith(semconv.OUTCOME_PREFIX) and row["op"] in LIVE and row["polarity"] == semconv.POSITIVE
               for name, row in votes.items())
    there = around.conversations.get(turn["conversation_id"], [])
    if _RESOLVED in evidence or not there or not (good or any(hit.signal.name == "follow_up_ack" for hit in found)):
        return
    place = _place(turn, there)
    last = next((number for number in range(place - 1, -1, -1)
                 if _RESOLVED in around.evidence.get(there[number]["turn_id"], {})), -1)
    took = float(place - last)
    dims = turns.dims_of(turn)
    signals.observe(batch.increments, semconv.PROM_TURNS_TO_RESOLUTION, dims, took, semconv.TURN_BUCKETS)
    evidence[_RESOLVED] = {"turn_id": turn["turn_id"], "name": _RESOLVED, "rule": 1, "value": took, "vote_id": None,
                           "found": {}, "time": turn["ended"]}
    signals.keep(batch.conn, [evidence[_RESOLVED]])


def _forget(batch: Batch, most: int) -> int:
    """Forget evidence and outcomes when the votes of their time are forgotten."""
    keep = told(batch.conn) or Retention()
    if keep.votes is None:
        return 0
    before = batch.now - keep.votes
    return signals.forget(batch.conn, before, most) + outcomes.forget(batch.conn, before, most)


