"""The span processor of our own provider: takes every span at once, sends when it can, and keeps what it cannot send.

One thread packs spans to bytes and sends them, a few per request, in their order. While the endpoint is away it waits,
longer each time, and goes on packing, since bytes take a sixth of the memory of a span. The application's threads only
append to a queue; they never wait for the network and never encode.

The lock is reentrant: a span may end inside a finaliser that runs in the middle of any of these lines.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from backspan._export.delivery import FEEDBACK, SPAN, Delivery, held_back
from backspan._export.pack import Packed, Packer, estimate, request
from backspan._export.queue import SpanQueue
from backspan._export.send import Answer, Sender, Verdict, timeout
from backspan._guard import guard, guarded

REQUEST_BYTES = 3 << 20
"""Most that one request holds, before compression. A Collector takes 4 MiB over gRPC and 20 MiB over HTTP."""
REQUEST_SPANS = 512
PROBE_BYTES = 64 << 10
"""The same while the endpoint is away: enough to see whether it is back."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds between attempts: the first, doubled each time up to the longest, each by a factor of 0.8 to 1.2."""
LONGEST_ASKED = 30.0
"""Most of a ``Retry-After`` that is obeyed, in seconds."""
DELAY = 1.0
"""Seconds that a span waits for company, unless ``OTEL_BSP_SCHEDULE_DELAY`` says otherwise."""
_PORTION = 256
_FAULTS = 5
"""After so many server errors over one batch in a row, the batch is taken for the cause."""
_REFUSALS = 20
"""After so many refusals in a row, what is left of the batch is dropped: it is not one span that is not liked."""
_JOIN = 0.2
EXIT_MOST = 15.0
"""Most seconds that the end of the process waits while the endpoint takes one request after the other."""


def _delay() -> float:
    try:
        return max(int(os.environ["OTEL_BSP_SCHEDULE_DELAY"]), 1) / 1000
    except (KeyError, ValueError):
        return DELAY


class QueueSpanProcessor(SpanProcessor):
    """Queues ended spans, ``limit`` bytes at most, and sends them from a thread that starts with the first span.

    ``make_sender`` is called in that thread. Losses are counted and said by ``delivery``.
    """

    def __init__(self, make_sender: Callable[[], Sender], delivery: Delivery, limit: int) -> None:
        self.delivery = delivery
        self.queue = SpanQueue(limit)
        self._make_sender = make_sender
        self._sender: Sender | None = None
        self._packer = Packer()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._delay = _delay()
        self._idle = self._ended = self._packing = False
        self._since = self._not_before = 0.0
        self._pause = FIRST_PAUSE
        self._hurry = False
        self._deadline: float | None = None
        self._progress = 0.0
        self._gone = 0
        self._faults = self._refusals = 0
        self.seconds = 0.0
        """Processor time that the thread has taken so far."""

    # --- the application's side -------------------------------------------------------------------------------------
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do."""

    @guarded
    def on_end(self, span: ReadableSpan) -> None:
        """Queue a sampled span."""
        context = span.context
        if self._ended or context is None or not context.trace_flags.sampled:
            return
        cost = estimate(span)
        with self._lock:
            self.queue.add(span, cost)
            if self._idle or self.queue.fresh == REQUEST_SPANS:
                self._idle = False
                self._changed.notify_all()
            if self._thread is None:
                self._start()
        if self.queue.dropped or self.queue.stripped:
            self._note_drops()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="backspan-export", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # as in `signals.within`; what is queued is then said to be lost at the exit
            return
        self._thread = thread

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is queued now; False if not all was taken in time, or if nobody listens."""
        with self._changed:
            gone = self._gone
            self._hurry, self._not_before = True, 0.0
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._left() or self._gone > gone, timeout_millis / 1000)
            return not self._left()

    def shutdown(self, seconds: float = 3.0) -> None:
        """Send what is queued, then end. Waits ``seconds`` from the last request that was taken, `EXIT_MOST` in all."""
        with self._changed:
            if self._ended:
                return
            last = time.monotonic() + EXIT_MOST
            self._progress, self._not_before, self._pause = 0.0, 0.0, FIRST_PAUSE
            self._deadline = min(time.monotonic() + seconds, last)
            self._changed.notify_all()
            while self._left() and not self._ended and (left := self._deadline - time.monotonic()) > 0:
                self._changed.wait(left)
                if self._progress:
                    self._deadline = min(self._progress + seconds, last)
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._note_drops()
            left = self.queue.clear()
            self._changed.notify_all()
        self.delivery.lose(left, "exit")
        if self._sender is not None:
            self._sender.close()
        if self._thread is not None:
            self._thread.join(_JOIN)

    def forget(self) -> None:
        """In a forked child: the thread and the locks are the parent's, and so are the spans."""
        self._ended, self._lock = True, threading.RLock()
        self._changed = threading.Condition(self._lock)
        self.queue.clear()

    def _left(self) -> bool:
        return len(self.queue) > 0 or self._packing

    # --- the thread -------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        with held_back(), suppress_instrumentation(), guard("export.thread"):
            self._sender = self._make_sender()
            while self._wait():
                self._pack()
                if time.monotonic() >= self._not_before:
                    self._send_all()
                self.seconds = time.thread_time()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when that will not be."""
        with self._changed:
            if not self._left():
                self._hurry = False
                self._changed.notify_all()
                self._idle = True
                self._changed.wait_for(lambda: len(self.queue) or self._ended or self._deadline is not None)
                self._idle = False
            if not self._ended and self._deadline is None and not self._hurry:
                pause = max(self._delay, self._not_before - time.monotonic()) if not self.queue.fresh else self._delay
                self._changed.wait_for(self._due, pause)
            elif not self._ended:
                self._changed.wait_for(lambda: self._ended, max(0.0, self._not_before - time.monotonic()))
            return not self._ended and not (self._deadline is not None and not self._left())

    def _due(self) -> bool:
        return self._ended or self._hurry or self._deadline is not None or self.queue.fresh >= REQUEST_SPANS

    def _pack(self) -> None:
        while True:
            with self._changed:
                fresh = self.queue.unpacked(_PORTION)
                self._packing = bool(fresh)
            if not fresh:
                return
            packed, lost = self._packer.pack([span for span, _ in fresh])
            cost = sum(cost for _, cost in fresh)
            del fresh
            with self._changed:
                self.queue.packed(cost, packed)
                self._packing = False
            self.delivery.lose(Counter(span=lost), "malformed")
            self._note_drops()

    def _send_all(self) -> None:
        """Send what is there now, and more as long as it fills a request, unless the endpoint wants a rest."""
        due = len(self.queue)
        while not self._ended and (due > 0 or len(self.queue) >= REQUEST_SPANS or self._deadline is not None):
            if self.queue.fresh:
                self._pack()
            with self._changed:
                size = PROBE_BYTES if self.delivery.failing else REQUEST_BYTES
                batch = self.queue.take(size, REQUEST_SPANS)
            if not batch:
                return
            kept = self._send(batch)
            due -= len(batch)
            with self._changed:
                if not self._ended:
                    self.queue.land(kept)
                if not self._left():
                    self._changed.notify_all()
            self._note_drops()
            if kept:
                return

    def _send(self, batch: list[Packed]) -> list[Packed]:
        """Try to deliver ``batch``, taking it apart if it is refused; return what has to be tried again."""
        answer = self._attempt(batch)
        if answer.verdict is Verdict.TAKEN:
            self._taken(len(batch), answer)
            return []
        if answer.verdict is not Verdict.REFUSED and not self._at_fault(answer):
            self._rest(answer)
            return batch
        self._refusals += 1
        return self._apart(batch, answer)

    def _attempt(self, batch: list[Packed]) -> Answer:
        left = timeout() if self._deadline is None else min(timeout(), max(self._deadline - time.monotonic(), 0.1))
        assert self._sender is not None
        with guard("export.send"):
            return self._sender.send(request(batch), left)
        return Answer(Verdict.FAULT, "fault of ours")

    def _apart(self, batch: list[Packed], answer: Answer) -> list[Packed]:
        if len(batch) > 1 and self._refusals < _REFUSALS:
            half = len(batch) // 2
            kept = self._send(batch[:half])
            return [*kept, *batch[half:]] if kept else self._send(batch[half:])
        if len(batch) == 1 and batch[0].content:
            with self._changed:
                self.queue.strip(batch[0])
            return self._send(batch)
        self.delivery.lose(Counter(FEEDBACK if one.feedback else SPAN for one in batch), "refused", answer.reason)
        return []

    def _at_fault(self, answer: Answer) -> bool:
        """Tell whether the endpoint has failed so often that the batch must be the cause."""
        self._faults = self._faults + 1 if answer.verdict is Verdict.FAULT else 0
        return self._faults >= _FAULTS

    def _taken(self, count: int, answer: Answer) -> None:
        with self._changed:
            self._faults = self._refusals = 0
            self._pause, self._not_before, self._progress = FIRST_PAUSE, 0.0, time.monotonic()
            self._changed.notify_all()
        self.delivery.deliver(count - answer.rejected)
        if answer.rejected:
            self.delivery.lose(Counter(span=answer.rejected), "refused", answer.reason)

    def _rest(self, answer: Answer) -> None:
        """Put off the next attempt, or give up if the process is ending and nobody listens."""
        self.delivery.retry()
        asked = min(answer.wait or 0.0, LONGEST_ASKED)
        with self._changed:
            self._not_before = time.monotonic() + max(asked, self._pause * random.uniform(0.8, 1.2))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            if answer.verdict is Verdict.GONE:
                self._gone += 1
                self._changed.notify_all()
                if self._deadline is not None:
                    self._deadline = self._progress = 0.0

    def _note_drops(self) -> None:
        """Hand what the queue had to drop to the one who counts."""
        with self._changed:
            dropped, stripped = self.queue.dropped, self.queue.stripped
            self.queue.dropped, self.queue.stripped = Counter(), 0
        if dropped or stripped:
            self.delivery.lose(dropped, "full", stripped=stripped)
