"""Answers as calls leave them behind, without a call."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, TraceFlags

from backspan import context
from backspan._turns import Answer, Target


def answered(target: Target, scope: context.Scope | None = None) -> None:
    """Say that a call has just given the answer that ``target`` is about, in ``scope`` or where we are."""
    span = SpanContext(int(target.trace_id or "0", 16), int(target.span_id or "0", 16), False,
                       TraceFlags(target.trace_flags))
    answer = Answer(span, target.response_id, target.conversation_id, target.turn_id, target.dims, target.at or 0.0)
    context.answered(answer, frozenset(target.dims.items()), scope or context.current())
