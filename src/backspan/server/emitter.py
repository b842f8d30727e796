"""The outbox's postman: accepted votes become feedback spans at the back end, at least once, with the same ids."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan._export.send import HttpSender, Verdict
from backspan._guard import guarded, say_once
from backspan.context import Target
from backspan.feedback.model import Feedback
from backspan.server.envelopes import Letter, request
from backspan.store import Busy, Closed, Store, asking, documents, outbox
from backspan.store.writer import FAULTS

logger = logging.getLogger("backspan.server")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_IDLE = 1.0
_EXPORT_SECONDS = 10
_BATCH, _PROBE = 512, 16
"""Revisions sent together; the second while the back end refuses: enough to see whether it takes them again."""
_GIVE_WAY, _PATIENCE = 0.25, 2.0
"""While more waits than one batch, votes are coming in fast, and taking them goes first: so many seconds pass between
batches, as long as the oldest of a batch has waited for less than the second."""


class Emitter:
    """A thread that sends what waits in the outbox to an OTLP/HTTP endpoint and marks it after it was taken.

    ``endpoint`` is a base URL, such as ``http://127.0.0.1:4318``.
    """

    def __init__(self, store: Store, endpoint: str) -> None:
        self._store = store
        self.endpoint = endpoint
        self._sender = HttpSender(url=f"{endpoint.rstrip('/')}/v1/traces")
        self._stop = threading.Event()
        self._failing = False
        self._give_way = False
        self._thread = threading.Thread(target=self._run, name="backspan-outbox", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the batch at hand; what waits is sent after the next start."""
        self._stop.set()
        self._store.fresh_outbox.set()
        self._thread.join(timeout=_EXPORT_SECONDS)
        self._sender.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            self._store.fresh_outbox.clear()
            sent = self._attempt()
            if sent is None:
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                if not sent:
                    self._store.fresh_outbox.wait(_IDLE)
                elif self._give_way:
                    self._stop.wait(_GIVE_WAY)

    def _attempt(self) -> int | None:
        """`_send`, if no other replica does; None too if the store cannot be asked."""
        try:
            if self._store.emits():
                return self._send()
            self._stop.wait(_IDLE)
            return 0
        except (Busy, Closed):
            return None
        except FAULTS as error:  # nothing may end this thread, or no vote would be told to the back end any more
            say_once(f"emitter:{type(error).__name__}",
                     f"feedback spans cannot be made ({type(error).__name__}); tried again")
            return None

    def _send(self) -> int | None:
        """Send one batch; the number of revisions done with, or None if the back end would not."""
        with self._store.reading() as conn:
            rows = outbox.waiting(conn, _PROBE if self._failing else _BATCH)
            found = _documents(conn, rows) or {}
            asked = asking.probabilities(conn, (row["vote"] for row in rows))
        if not rows:
            return 0
        self._give_way = len(rows) == _BATCH and time.time() - rows[0]["received"] < _PATIENCE
        body, left_out = _enveloped(rows, asked, found)
        if left_out:
            logger.error("%d feedback spans cannot be encoded, and are left out (`unsendable` of /api/outbox counts "
                         "them): revisions %s", len(left_out), ", ".join(map(str, left_out[:10])))
            self._store.unsendable(left_out).result()
        if len(left_out) < len(rows):
            taken = self._sender.send(body, _EXPORT_SECONDS).verdict is Verdict.TAKEN
            self._say(taken)
            if not taken:
                return None
            self._store.emitted([row["seq"] for row in rows if row["seq"] not in left_out]).result()
        return len(rows)

    def _say(self, taken: bool) -> None:
        if taken == self._failing:
            self._failing = not taken
            if self._failing:
                logger.warning("%s does not take feedback spans; they are kept and sent again", self.endpoint)
            else:
                logger.warning("%s takes feedback spans again", self.endpoint)


def _enveloped(
    rows: Sequence[Mapping[str, Any]], asked: Mapping[str, float], found: Mapping[str, Sequence[str]]
) -> tuple[bytes, list[int]]:
    """The request that tells of ``rows``, and the numbers of those that no request can tell of."""
    def letter(row: Mapping[str, Any]) -> Letter:
        return Letter(_with(feedback_of(row), asked.get(row["id"])), row["vote"]["dims"] or {},
                      found.get(row["vote"]["turn_id"], ()))

    try:
        return request([letter(row) for row in rows]), []
    except FAULTS:  # one of them is at fault: the others must not suffer for it
        left_out = [row["seq"] for row in rows if not _sendable(letter, row)]
        return request([letter(row) for row in rows if row["seq"] not in left_out]), left_out


def _sendable(letter: Callable[[Mapping[str, Any]], Letter], row: Mapping[str, Any]) -> bool:
    try:
        return bool(request([letter(row)]))
    except FAULTS:
        return False


@guarded
def _documents(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What the judged answers rest on, as far as it came before the vote is sent."""
    return documents.of_votes(conn, [row["id"] for row in rows]) if rows else {}


def _with(feedback: Feedback, probability: float | None) -> Feedback:
    """The same with the probability with which its rater was asked."""
    if probability is None:
        return feedback
    return replace(feedback, circumstances={**(feedback.circumstances or {}), "probability": probability})


def feedback_of(row: Mapping[str, Any]) -> Feedback:
    """The feedback that one revision of the log is; see `backspan.store.reads.revisions`."""
    vote, before = row["vote"], row["before"]
    if before is None or before["op"] == semconv.RETRACT or row["op"] == semconv.ADD:
        return _feedback(row, vote, None)
    return _feedback(row, vote, _feedback(before, vote, None))


def _feedback(row: Mapping[str, Any], vote: Mapping[str, Any], previous: Feedback | None) -> Feedback:
    dims: dict[str, str] = vote["dims"] or {}
    target = Target(vote["trace_id"], vote["span_id"], vote["trace_flags"], vote["response_id"],
                    vote["conversation_id"], vote["turn_id"], {key: dims.get(key, "") for key in semconv.DIMENSIONS},
                    vote["at"])
    return Feedback(
        id=row["id"], version=row["version"], op=row["op"], name=row["name"], value=row["value"], label=row["label"],
        polarity=row["polarity"], source=row["source"], reasons=tuple(row["reasons"] or ()), comment=row["comment"],
        correction=row["correction"], rater=vote["rater"], target=target, resolved=vote["resolved"],
        time=row["time"], delay=row["delay"], previous=previous, solicited=row["solicited"],
        details=row["details"], circumstances=row["circumstances"],
    )


