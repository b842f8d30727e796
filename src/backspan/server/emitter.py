"""The outbox's postman: accepted votes become feedback spans at the back end, at least once, with the same ids."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Tracer

from backspan import semconv
from backspan._ids import GivenIds
from backspan.context import Target
from backspan.feedback.emit import emit_span
from backspan.feedback.model import Feedback
from backspan.store import Busy, Closed, Store, outbox

logger = logging.getLogger("backspan.server")

SERVICE = "backspan-gateway"
"""``service.name`` of feedback about a service that is not known."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_IDLE = 1.0
_EXPORT_SECONDS = 10


class _Collect(SpanProcessor):
    """Keeps ended spans until they are taken."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class Emitter:
    """A thread that sends what waits in the outbox to an OTLP/HTTP endpoint and marks it after it was taken.

    ``endpoint`` is a base URL, such as ``http://127.0.0.1:4318``.
    """

    def __init__(self, store: Store, endpoint: str) -> None:
        self._store = store
        self.endpoint = endpoint
        self._exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
        self._collect = _Collect()
        self._tracers: dict[tuple[str, str], Tracer] = {}
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="backspan-outbox", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the batch at hand; what waits is sent after the next start."""
        self._stop.set()
        self._store.fresh_outbox.set()
        self._exporter.shutdown()
        self._thread.join(timeout=_EXPORT_SECONDS)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            self._store.fresh_outbox.clear()
            sent = self._send()
            if sent is None:
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                if not sent:
                    self._store.fresh_outbox.wait(_IDLE)

    def _send(self) -> int | None:
        """Send one batch; the number of revisions taken, or None if the back end would not."""
        with self._store.reading() as conn:
            rows = outbox.waiting(conn)
        if not rows:
            return 0
        for row in rows:
            emit_span(feedback_of(row), self._tracer(row["vote"]["dims"] or {}))
        spans, self._collect.spans = self._collect.spans, []
        taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        self._say(taken)
        if not taken:
            return None
        try:
            self._store.emitted([row["seq"] for row in rows]).result()
        except (Busy, Closed):
            return None
        return len(rows)

    def _say(self, taken: bool) -> None:
        if taken == self._failing:
            self._failing = not taken
            if self._failing:
                logger.warning("%s does not take feedback spans; they are kept and sent again", self.endpoint)
            else:
                logger.warning("%s takes feedback spans again", self.endpoint)

    def _tracer(self, dims: Mapping[str, str]) -> Tracer:
        """A tracer whose resource is the judged service, so that its feedback is found where its traces are."""
        key = (dims.get(semconv.SERVICE_NAME) or SERVICE, dims.get(semconv.ENVIRONMENT) or "")
        if key not in self._tracers:
            place = {semconv.SERVICE_NAME: key[0], **({semconv.ENVIRONMENT: key[1]} if key[1] else {})}
            provider = TracerProvider(
                sampler=ALWAYS_ON, resource=Resource(place), id_generator=GivenIds(RandomIdGenerator()),
                shutdown_on_exit=False)
            provider.add_span_processor(self._collect)
            self._tracers[key] = provider.get_tracer(semconv.SCOPE)
        return self._tracers[key]


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
        time=row["time"], delay=row["delay"], previous=previous,
    )


