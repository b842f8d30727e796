"""What backspan says about itself, as metrics: faults, losses, open streams, the queue.

Nothing here is on a call's path: all is counted where it happens anyway, and read when metrics are collected.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from backspan import semconv
from backspan._export import theirs
from backspan._guard import failures, spent

if TYPE_CHECKING:
    from backspan._export.processor import QueueSpanProcessor

    Find = Callable[[], QueueSpanProcessor | None]


def _faults() -> Iterable[Observation]:
    return [Observation(count, {semconv.PLACE: place}) for place, count in failures().items()]


def _dropped(processor: QueueSpanProcessor | None) -> Iterable[Observation]:
    """What our own processor lost, and the application's: it may have set its provider after we built ours."""
    lost = theirs.dropped.copy()  # copies, as other threads count meanwhile
    if processor is not None:
        lost += processor.delivery.dropped.copy()
    return [
        Observation(count, {semconv.LOST_KIND: kind, semconv.LOST_REASON: reason})
        for (kind, reason), count in lost.items()
    ]


def make_plugin_instruments(meter: Meter, find: Find) -> None:
    """Make the instruments on ``meter``; ``find`` returns the processor of this process if we made one."""

    def observe(read: Callable[[], Iterable[Observation]]) -> Any:
        def callback(_options: CallbackOptions) -> Iterable[Observation]:
            return read()

        return [callback]

    def of(read: Callable[[QueueSpanProcessor], Iterable[Observation] | float]) -> Any:
        def look() -> Iterable[Observation]:
            processor = find()
            if processor is None:
                return []
            seen = read(processor)
            return [Observation(seen)] if isinstance(seen, int | float) else seen

        return observe(look)

    seen: list[bool] = []

    def open_streams() -> Iterable[Observation]:
        count = len(getattr(sys.modules.get("backspan.instrument._call"), "_open", ()))
        if count:
            seen.append(True)
            del seen[1:]
        return [Observation(count)] if seen else []

    counter, gauge = meter.create_observable_counter, meter.create_observable_up_down_counter
    counter(semconv.PLUGIN_FAULTS, observe(_faults), "{fault}", "Faults of backspan that were swallowed")
    counter(semconv.PLUGIN_TIME, observe(lambda: [Observation(spent[0])] if spent[0] else []), "s",
            "Processor time of the application's threads")
    gauge(semconv.PLUGIN_STREAMS, observe(open_streams), "{call}", "Calls and streams that have not ended")
    counter(semconv.PLUGIN_DROPPED, observe(lambda: _dropped(find())), "{span}", "Spans that were lost")
    counter(semconv.PLUGIN_STRIPPED, of(lambda one: one.delivery.stripped), "{span}", "Spans that lost their content")
    counter(semconv.PLUGIN_DELIVERED, of(lambda one: one.delivery.delivered), "{span}", "Spans that were taken")
    counter(semconv.PLUGIN_RETRIES, of(lambda one: one.delivery.retries), "{retry}", "Attempts to be repeated")
    counter(semconv.PLUGIN_EXPORT_TIME, of(lambda one: one.seconds), "s", "Processor time of the exporting thread")
    gauge(semconv.PLUGIN_QUEUE_SPANS, of(lambda one: len(one.queue)), "{span}", "Spans that wait")
    gauge(semconv.PLUGIN_QUEUE_BYTES, of(lambda one: one.queue.used), "By", "Memory that waiting spans take")
