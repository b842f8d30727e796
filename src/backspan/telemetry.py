"""Find the application's OpenTelemetry providers, or build private ones; the only place that touches SDK internals.

The rule, for spans and for metrics alike: what the application has set globally is used, whenever it sets it. As long
as it has set nothing, a provider of our own is built at the first call from ``OTEL_*`` and never set globally, so the
application can still set its own without a warning.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import metrics, trace
from opentelemetry._logs import Logger, LoggerProvider, get_logger_provider
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, Tracer, TracerProvider
from opentelemetry.util.types import Attributes

from backspan import semconv
from backspan._export import (
    Delivery,
    QuietMetricExporter,
    QuietSpanExporter,
    metric_exporter,
    span_exporter,
)
from backspan._guard import guard
from backspan._ids import GivenIds
from backspan._instruments import Instruments, make_instruments

EXIT_SECONDS = 3.0
"""Most that ending the process waits for spans, and again for metrics, to leave."""
FAILING_EXIT_SECONDS = 0.5
"""The same when the endpoint has just refused."""
_SPAN_DELAY_MS = 1000
_METRIC_INTERVAL_MS = 5000

_lock = threading.RLock()


class _State:
    """What one process has built; a forked child starts with a fresh one."""

    def __init__(self) -> None:
        self.tracer_provider: SdkTracerProvider | None = None
        self.meter_provider: SdkMeterProvider | None = None
        self.processor: BatchSpanProcessor | None = None
        self.exporters: list[QuietSpanExporter | QuietMetricExporter] = []
        self.tracers: weakref.WeakKeyDictionary[TracerProvider, Tracer] = weakref.WeakKeyDictionary()
        self.feedback: weakref.WeakKeyDictionary[TracerProvider, Tracer] = weakref.WeakKeyDictionary()
        self.instruments: weakref.WeakKeyDictionary[MeterProvider, Instruments] = weakref.WeakKeyDictionary()
        self.last: tuple[TracerProvider, Tracer] | None = None
        self.finalizer: object | None = None
        self.last_instruments: tuple[MeterProvider, Instruments] | None = None


_state = _State()
_exit_callbacks: list[Callable[[], None]] = []


# --- providers ------------------------------------------------------------------------------------------------------
def tracer_provider() -> TracerProvider:
    """The application's tracer provider if it has set one, else ours, built now if need be."""
    provider = trace.get_tracer_provider()
    if type(provider) is not trace.ProxyTracerProvider:
        return provider
    return _state.tracer_provider or _build_tracer_provider()


def meter_provider() -> MeterProvider:
    """The application's meter provider if it has set one, else ours, built now if need be."""
    provider = metrics.get_meter_provider()
    if type(provider).__name__ != "_ProxyMeterProvider":
        return provider
    return _state.meter_provider or _build_meter_provider()


def _build_tracer_provider() -> SdkTracerProvider:
    with _lock:
        if _state.tracer_provider is None:
            provider = SdkTracerProvider(resource=Resource.create(), shutdown_on_exit=False)
            exporter = span_exporter()
            if exporter is not None:
                delay = None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else _SPAN_DELAY_MS
                _state.processor = BatchSpanProcessor(exporter, schedule_delay_millis=delay)
                _state.exporters.append(exporter)
                provider.add_span_processor(_state.processor)
            _state.tracer_provider = provider
            _register_exit()
        return _state.tracer_provider


def _build_meter_provider() -> SdkMeterProvider:
    with _lock:
        if _state.meter_provider is None:
            readers: list[PeriodicExportingMetricReader] = []
            exporter = metric_exporter()
            if exporter is not None:
                interval = None if "OTEL_METRIC_EXPORT_INTERVAL" in os.environ else _METRIC_INTERVAL_MS
                readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=interval))
                _state.exporters.append(exporter)
            _state.meter_provider = SdkMeterProvider(readers, resource=Resource.create(), shutdown_on_exit=False)
            _register_exit()
        return _state.meter_provider


# --- what callers use -----------------------------------------------------------------------------------------------
def get_tracer() -> Tracer:
    """The tracer for spans of ours, from the provider in force now."""
    provider = tracer_provider()
    last = _state.last
    if last is not None and last[0] is provider:
        return last[1]
    tracer = _state.tracers.get(provider)
    if tracer is None:
        tracer = _state.tracers[provider] = provider.get_tracer(semconv.SCOPE, _version())
    _state.last = (provider, tracer)
    _register_exit()
    return tracer


def get_meter() -> Meter:
    """The meter of ours, from the provider in force now."""
    return meter_provider().get_meter(semconv.SCOPE, _version())


def get_event_logger() -> Logger | None:
    """The logger for event records if the application has set a logger provider, else None."""
    provider: LoggerProvider = get_logger_provider()
    if type(provider).__name__ == "ProxyLoggerProvider":
        return None
    return provider.get_logger(semconv.SCOPE, _version())


def feedback_tracer() -> Tracer:
    """A tracer that samples always and hands its spans to the span processors of the provider in force.

    Feedback must arrive whatever the sampler decided about the judged trace. Processors that the application adds
    later are reached as well. A provider that is not the SDK's is used as it is.
    """
    provider = tracer_provider()
    with _lock:
        tracer = _state.feedback.get(provider)
        if tracer is None:
            tracer = _state.feedback[provider] = _always_on(provider).get_tracer(semconv.SCOPE, _version())
    return tracer


def _always_on(provider: TracerProvider) -> TracerProvider:
    if not isinstance(provider, SdkTracerProvider):
        return provider
    return SdkTracerProvider(
        sampler=ALWAYS_ON, resource=provider.resource, shutdown_on_exit=False,
        id_generator=GivenIds(provider.id_generator),
        active_span_processor=provider._active_span_processor,  # pyright: ignore[reportPrivateUsage]
    )


def resource_attributes() -> Mapping[str, Any]:
    """Attributes of the resource in force, such as ``service.name`` and ``deployment.environment.name``."""
    provider = tracer_provider()
    resource = provider.resource if isinstance(provider, SdkTracerProvider) else Resource.create()
    return resource.attributes


def suppressed() -> bool:
    """Tell whether the caller runs under OpenTelemetry's ``suppress_instrumentation()``."""
    return not is_instrumentation_enabled()


def instruments() -> Instruments:
    """The shared instruments, from the meter provider in force now."""
    provider = meter_provider()
    last = _state.last_instruments
    if last is not None and last[0] is provider:
        return last[1]
    with _lock:
        made = _state.instruments.get(provider)
        if made is None:
            made = _state.instruments[provider] = make_instruments(provider.get_meter(semconv.SCOPE, _version()))
    _state.last_instruments = (provider, made)
    return made


_found_version: str | None = None


def _version() -> str:
    global _found_version
    if _found_version is None:
        _found_version = version("backspan")
    return _found_version


class _CurrentTracer(Tracer):
    """A tracer that asks for the provider in force at every span."""

    def __init__(self, *names: Any, **more: Any) -> None:
        self._names, self._more = names, more

    def _tracer(self) -> Tracer:
        return tracer_provider().get_tracer(*self._names, **self._more)

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Span:
        return self._tracer().start_span(name, *args, **kwargs)

    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(name, *args, **kwargs)


class CurrentTracerProvider(TracerProvider):
    """For instrumentations of others that we switch on: always the provider in force, even if it is set later."""

    def get_tracer(
        self, instrumenting_module_name: str, instrumenting_library_version: str | None = None,
        schema_url: str | None = None, attributes: Attributes = None,
    ) -> Tracer:
        return _CurrentTracer(instrumenting_module_name, instrumenting_library_version, schema_url)


# --- the end --------------------------------------------------------------------------------------------------------
def at_exit(callback: Callable[[], None]) -> None:
    """Have ``callback`` run when the process ends, before any provider is shut down."""
    with _lock:
        if callback not in _exit_callbacks:
            _exit_callbacks.append(callback)
        _register_exit()


# urllib3 closes its sockets by `weakref.finalize`, which registers with atexit at its first use. Used here, before us,
# it runs after us; else what we send at exit leaves through sockets that nobody closes, which `-W always` shows.
weakref.finalize(_state, int)


def _register_exit() -> None:
    # Handlers run last in, first out: registering again after a provider appeared puts ours before its own.
    atexit.unregister(_exit)
    atexit.register(_exit)
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _state.finalizer and multiprocessing.parent_process() is not None:
        # A forked child of multiprocessing ends by os._exit and runs its own finalizers only.
        _state.finalizer = util.Finalize(None, _exit, exitpriority=-100)


def _exit() -> None:
    for callback in tuple(_exit_callbacks):
        with guard("telemetry.at_exit"):
            callback()
    shutdown()
    with guard("telemetry.exit"):  # a call made later still in this exit finds providers, and starts no thread
        nowhere = Resource.get_empty()
        _state.tracer_provider = SdkTracerProvider(resource=nowhere, shutdown_on_exit=False)
        _state.meter_provider = SdkMeterProvider(resource=nowhere, shutdown_on_exit=False)


on_flush: list[Callable[[float], bool]] = []
"""Called by `flush` with the seconds it may take; False if something stayed behind."""


def flush(timeout_s: float = 5.0) -> bool:
    """Send what is queued now, waiting ``timeout_s`` seconds at most per signal; False if something stayed behind."""
    millis, done = int(timeout_s * 1000), True
    for callback in on_flush:
        with guard("telemetry.flush"):
            done = callback(timeout_s) and done
    with guard("telemetry.flush"):
        for provider in {id(p): p for p in (tracer_provider(), meter_provider(), _state.tracer_provider,
                                            _state.meter_provider) if p is not None}.values():
            force = getattr(provider, "force_flush", None)
            if force is not None:
                done = bool(force(millis)) and done
    return done and not any(delivery.failing for delivery in deliveries())


def deliveries() -> list[Delivery]:
    """How our own exporters fared so far, one entry per endpoint and signal."""
    return [exporter.delivery for exporter in _state.exporters]


def shutdown(seconds: float = EXIT_SECONDS) -> None:
    """Send what is queued and stop our own providers, within about ``seconds`` for spans and again for metrics."""
    global _state
    with _lock:
        state, _state = _state, _State()
    token = context_api.attach(Context())
    with guard("telemetry.shutdown"):
        for exporter in state.exporters:
            exporter.prepare_exit()
        if state.processor is not None:
            batch = state.processor._batch_processor  # pyright: ignore[reportPrivateUsage]
            batch.shutdown(timeout_millis=int(seconds * 1000))
        if state.meter_provider is not None:
            failing = any(exporter.delivery.failing for exporter in state.exporters)
            left = min(seconds, FAILING_EXIT_SECONDS) if failing else seconds
            state.meter_provider.shutdown(timeout_millis=left * 1000)
    context_api.detach(token)


def _after_fork_in_child() -> None:
    global _state, _lock
    _lock = threading.RLock()
    _state = _State()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def reset_for_tests() -> None:
    """Forget our providers and cached tracers, without sending anything."""
    global _state
    _state = _State()
    _exit_callbacks.clear()
