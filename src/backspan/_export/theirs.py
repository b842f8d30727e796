"""The application's own provider: what its processors and exporters lose of our spans, counted and said once.

Nothing runs while they lose nothing, but for one comparison per exported batch. The SDK's processors tell an object of
theirs how many spans they drop; we stand before it. Their exporters say by the result of ``export``, or by raising,
that a batch did not arrive; ``export`` is wrapped. What they do, return and raise stays as it is.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from backspan import semconv
from backspan._export.delivery import FEEDBACK, SPAN
from backspan._guard import guarded, say_once

dropped: Counter[tuple[str, str]] = Counter()
"""Spans of ours that were lost, by kind (``span``, ``feedback``) and reason (``full``, ``failed``, ``shutdown``), once
for each processor that lost them."""
_lock = threading.RLock()
_SAID = {
    "full": "the queue of the application's {} is full, and spans of backspan are dropped with others",
    "failed": "the application's {} does not deliver spans of backspan",
    "shutdown": "the application's {} was shut down before the last spans of backspan ended",
}


class _NoProcessors:
    _span_processors: tuple[SpanProcessor, ...] = ()


Watched = tuple[Any, tuple[SpanProcessor, ...]]
"""Who holds a provider's processors, and those that it held when we looked: another tuple says that some were added."""
NOTHING: Watched = (_NoProcessors, ())


def watch(provider: object, ours: object) -> Watched:
    """Count what the SDK's processors of ``provider`` lose of our spans from now on, unless it is ``ours``.

    Harmless when repeated.
    """
    if provider is ours or not isinstance(provider, TracerProvider):
        return NOTHING
    return _watch(provider) or NOTHING


@guarded
def _watch(provider: TracerProvider) -> Watched:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    holder: Any = provider._active_span_processor  # pyright: ignore[reportPrivateUsage]
    processors: tuple[SpanProcessor, ...] = getattr(holder, "_span_processors", ())
    for processor in processors:
        if isinstance(processor, BatchSpanProcessor | SimpleSpanProcessor):
            _watch_drops(getattr(processor, "_batch_processor", processor), type(processor).__name__)
            _watch_exporter(processor.span_exporter)
    return (holder, processors) if hasattr(holder, "_span_processors") else NOTHING


# --- what a processor drops -------------------------------------------------------------------------------------------
class _Drops:
    """Stands before the object that a processor tells about itself."""

    def __init__(self, inner: Any, queue: deque[ReadableSpan] | None, name: str) -> None:
        self._inner, self._queue, self._name = inner, queue, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def drop_items(self, *args: Any, **kwargs: Any) -> Any:
        """The processor, which calls this, is about to drop its oldest span, or has refused one."""
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        self._note(frame, "already_shutdown" in (*args, *kwargs.values()))
        return self._inner.drop_items(*args, **kwargs)

    @guarded
    def _note(self, caller: FrameType, ended: bool) -> None:
        if ended:
            said = caller.f_locals
            lost = [said.get("data", said.get("span"))]
        else:
            lost = self._oldest()
        _lose(lost, "shutdown" if ended else "full", self._name)

    def _oldest(self) -> list[ReadableSpan]:
        try:
            return [self._queue[-1]] if self._queue else []
        except IndexError:  # the thread that exports has just made room, and nothing is dropped
            return []


def _watch_drops(processor: Any, name: str) -> None:
    told = getattr(processor, "_metrics", None)
    if hasattr(told, "drop_items") and not isinstance(told, _Drops):
        processor._metrics = _Drops(told, getattr(processor, "_queue", None), name)


# --- what an exporter does not deliver --------------------------------------------------------------------------------
def _watch_exporter(exporter: Any) -> None:
    import wrapt

    own: dict[str, Any] | None = getattr(exporter, "__dict__", None)
    if own is None or isinstance(own.get("export"), wrapt.FunctionWrapper):
        return
    exporter.export = wrapt.FunctionWrapper(exporter.export, _export)


def _export(wrapped: Callable[..., Any], exporter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        result = wrapped(*args, **kwargs)
    except BaseException:
        _failed(exporter, args, kwargs)
        raise
    if getattr(result, "name", None) == "FAILURE":
        _failed(exporter, args, kwargs)
    return result


@guarded
def _failed(exporter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _lose(args[0] if args else kwargs["spans"], "failed", type(exporter).__name__)


def _lose(spans: Iterable[Any], reason: str, who: str) -> None:
    kinds = [_kind(span) for span in spans if _ours(span)]
    if not kinds:
        return
    with _lock:
        for kind in kinds:
            dropped[kind, reason] += 1
    say_once(f"export.theirs:{reason}", f"{_SAID[reason].format(who)}; they are counted in {semconv.PLUGIN_DROPPED}, "
                                        "and the application is not affected")


def _ours(span: Any) -> bool:
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name == semconv.SCOPE


def _kind(span: Any) -> str:
    return FEEDBACK if semconv.FEEDBACK_ID in (span.attributes or ()) else SPAN


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    dropped.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
