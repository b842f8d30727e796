"""Keep and promote: traces that the sampler left out, held for a while, and sent after all when somebody asks for one.

A span of such a trace is recorded as if it were sampled and comes here when it ends. What is asked for is sent, marked,
and so is what ends later in the same trace. The rest is forgotten: by age, and the oldest first when it is too much.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, TraceFlags

from backspan import semconv
from backspan._export.pack import estimate
from backspan._guard import guard, guarded

_REMEMBERED = 10_000
"""Traces that were asked for, whose later spans are sent at once."""


@dataclass
class _Trace:
    since: float
    spans: list[ReadableSpan] = field(default_factory=list[ReadableSpan])
    cost: int = 0


class KeptSpans(SpanProcessor):
    """Holds the spans of unsampled traces, ``limit`` bytes at most, each trace for ``seconds``.

    ``send`` is given what is promoted. ``on_first`` is called when there is something where there was nothing.

    Attributes:
        used: memory that is held, in bytes, about.
        dropped: spans that had to go before their time.
        promoted: spans that were sent after all.
    """

    def __init__(
        self, send: Callable[[ReadableSpan], object], limit: int, seconds: float,
        on_first: Callable[[], object] = lambda: None, clock: Callable[[], float] = time.time,
    ) -> None:
        self.used = self.dropped = self.promoted = 0
        self._send, self._limit, self._seconds, self._on_first, self._clock = send, limit, seconds, on_first, clock
        self._traces: OrderedDict[int, _Trace] = OrderedDict()
        self._asked: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.RLock()  # reentrant: a span may end in a finaliser, in the middle of these lines

    def __len__(self) -> int:
        return len(self._traces)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do."""

    @guarded
    def on_end(self, span: ReadableSpan) -> None:
        """Hold a span that is not sampled, or send it if its trace was asked for."""
        context = span.context
        if context is None or context.trace_flags.sampled:
            return
        first = False
        with self._lock:
            asked = context.trace_id in self._asked
            if not asked:
                first = not self._traces
                self._hold(context.trace_id, span)
        if asked:
            self._promote([span])
        elif first:
            with guard("export.kept.on_first"):
                self._on_first()

    def promote(self, trace_ids: Iterable[int]) -> int:
        """Send what is held of these traces, and what ends of them later; return how many spans were sent now."""
        found: list[ReadableSpan] = []
        with self._lock:
            self._forget_old()
            for trace_id in trace_ids:
                trace = self._traces.pop(trace_id, None)
                if trace is not None:
                    self.used -= trace.cost
                    found += trace.spans
                self._asked[trace_id] = None
                self._asked.move_to_end(trace_id)
            while len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)
        self._promote(found)
        return len(found)

    @property
    def oldest(self) -> float | None:
        """When the oldest trace that is held had its first span, in Unix seconds; None if nothing is held."""
        with self._lock:
            self._forget_old()
            return next(iter(self._traces.values())).since if self._traces else None

    def forget(self) -> None:
        """In a forked child: what is held is the parent's, and so is the lock."""
        self._lock = threading.RLock()
        self._traces.clear()
        self._asked.clear()
        self.used = 0

    def _hold(self, trace_id: int, span: ReadableSpan) -> None:
        trace = self._traces.get(trace_id)
        if trace is None:
            self._forget_old()
            trace = self._traces[trace_id] = _Trace(self._clock())
        cost = estimate(span)
        trace.spans.append(span)
        trace.cost += cost
        self.used += cost
        while self.used > self._limit and self._traces:
            self.dropped += self._forget_first()

    def _forget_old(self) -> None:
        before = self._clock() - self._seconds
        while self._traces and next(iter(self._traces.values())).since < before:
            self._forget_first()

    def _forget_first(self) -> int:
        _, trace = self._traces.popitem(last=False)
        self.used -= trace.cost
        return len(trace.spans)

    def _promote(self, spans: Iterable[ReadableSpan]) -> None:
        for span in spans:
            self.promoted += 1
            self._send(marked(span))


def marked(span: ReadableSpan) -> ReadableSpan:
    """``span`` as it is sent after all: sampled, and marked, because what is promoted is no fair sample."""
    at = span.context
    assert at is not None
    flags = TraceFlags(at.trace_flags | TraceFlags.SAMPLED)
    return ReadableSpan(
        name=span.name, context=SpanContext(at.trace_id, at.span_id, at.is_remote, flags, at.trace_state),
        parent=span.parent, resource=span.resource,
        attributes={**(span.attributes or {}), semconv.TRACE_PROMOTED: True}, events=span.events, links=span.links,
        kind=span.kind, status=span.status, start_time=span.start_time, end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
