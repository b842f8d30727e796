"""Providers of our own, built from ``OTEL_*`` and never set globally."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, AlwaysRecordSampler

from backspan._export import QuietMetricExporter, metric_exporter, span_processor
from backspan._ids import GivenIds
from backspan.config import settings

if TYPE_CHECKING:
    from backspan._export.kept import KeptSpans
    from backspan._export.processor import QueueSpanProcessor

_METRIC_INTERVAL_MS = 5000


def spans() -> tuple[TracerProvider, QueueSpanProcessor | None]:
    """A tracer provider, and what sends its spans; None if nothing is to be sent."""
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    processor = span_processor()
    if processor is not None:
        provider.add_span_processor(processor)
    return provider, processor


def kept(provider: TracerProvider, processor: QueueSpanProcessor, first: Callable[[], None]) -> KeptSpans | None:
    """Record what the sampler leaves out too, and hold it, if the setting asks for it; ``first`` hears of the first."""
    if not settings().keep:
        return None
    from backspan._export.kept import KeptSpans

    provider.sampler = AlwaysRecordSampler(provider.sampler)
    held = KeptSpans(processor.on_end, settings().keep_bytes, settings().keep_seconds, first)
    provider.add_span_processor(held)
    return held


def metrics() -> tuple[MeterProvider, QuietMetricExporter | None]:
    """A meter provider, and what sends its metrics; None if nothing is to be sent."""
    readers: list[PeriodicExportingMetricReader] = []
    exporter = metric_exporter()
    if exporter is not None:
        interval = None if "OTEL_METRIC_EXPORT_INTERVAL" in os.environ else _METRIC_INTERVAL_MS
        readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=interval))
    return MeterProvider(readers, resource=Resource.create(), shutdown_on_exit=False), exporter


def always_on(provider: TracerProvider) -> TracerProvider:
    """A provider that samples always and hands its spans to the span processors of ``provider``."""
    return TracerProvider(
        sampler=ALWAYS_ON, resource=provider.resource, shutdown_on_exit=False,
        id_generator=GivenIds(provider.id_generator),
        active_span_processor=provider._active_span_processor,  # pyright: ignore[reportPrivateUsage]
    )


def nowhere() -> tuple[TracerProvider, MeterProvider]:
    """Providers that send nothing and start no thread."""
    resource = Resource.get_empty()
    return (TracerProvider(resource=resource, shutdown_on_exit=False),
            MeterProvider(resource=resource, shutdown_on_exit=False))
