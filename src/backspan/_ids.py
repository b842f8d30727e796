"""Span and trace ids that can be given instead of drawn, so that a span sent twice is the same span."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.sdk.trace.id_generator import IdGenerator

_given: ContextVar[tuple[int, int] | None] = ContextVar("backspan.ids", default=None)


class GivenIds(IdGenerator):
    """Gives the ids set by `given_ids`, else those of the generator it stands before."""

    def __init__(self, behind: IdGenerator) -> None:
        self._behind = behind

    def generate_trace_id(self) -> int:
        given = _given.get()
        return self._behind.generate_trace_id() if given is None else given[0]

    def generate_span_id(self) -> int:
        given = _given.get()
        return self._behind.generate_span_id() if given is None else given[1]

    def is_trace_id_random(self) -> bool:
        return self._behind.is_trace_id_random()


@contextmanager
def given_ids(trace_id: int, span_id: int) -> Generator[None]:
    """Give the root span started in this block these ids, if its tracer is one of `telemetry.feedback_tracer`."""
    token = _given.set((trace_id, span_id))
    try:
        yield
    finally:
        _given.reset(token)
