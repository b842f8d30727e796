"""Find the application's OpenTelemetry providers, or build private ones. Only here and in `_export` are SDK internals.

The rule, for spans and for metrics alike: what the application has set globally is used, whenever it sets it. As long
as it has set nothing, a provider of our own is built at the first call from ``OTEL_*`` and never set globally, so the
application can still set its own without a warning.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import context as context_api
from opentelemetry import metrics, trace
from opentelemetry._logs import Logger, LoggerProvider, get_logger_provider
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.trace import Tracer, TracerProvider

from backspan import semconv
from backspan._current import FollowingTracerProvider, PerProvider
from backspan._export import QuietMetricExporter, ours, signals, theirs
from backspan._export.delivery import Delivery
from backspan._export.exits import Exits, apart, callbacks, end_metrics, run_callbacks
from backspan._export.plugin import make_plugin_instruments
from backspan._guard import guard, say_once
from backspan._instruments import Instruments, make_instruments
from backspan.config import settings

if TYPE_CHECKING:
    from backspan._export.kept import KeptSpans
    from backspan._export.processor import QueueSpanProcessor

EXIT_SECONDS = 3.0
"""Most that ending the process waits for an answer about spans, and again about metrics. As long as the endpoint takes
one request after the other it waits longer, `processor.EXIT_MOST` at most."""
FAILING_EXIT_SECONDS = 0.5
"""The same when the endpoint has just refused."""

_lock = threading.RLock()


class _State:
    """What one process has built; a forked child starts with a fresh one."""

    def __init__(self) -> None:
        self.tracer_provider: SdkTracerProvider | None = None
        self.meter_provider: SdkMeterProvider | None = None
        self.processor: QueueSpanProcessor | None = None
        self.exporter: QuietMetricExporter | None = None
        self.kept: KeptSpans | None = None
        self.tracers: PerProvider[Tracer] = PerProvider()
        self.feedback: PerProvider[Tracer] = PerProvider()
        self.instruments: PerProvider[Instruments] = PerProvider()
        self.last: tuple[TracerProvider, Tracer, Any, object] | None = None
        self.last_instruments: tuple[MeterProvider, Instruments] | None = None


_state = _State()


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
            provider, _state.processor = ours.spans()
            if _state.processor is not None:
                _state.kept = ours.kept(provider, _state.processor, _first_kept)
            _state.tracer_provider = provider
            _exits.register()
            end_on_sigterm()
        return _state.tracer_provider


_ASKER = "backspan.feedback.promote"
"""Asks a gateway what to promote; by name, because it stands above this module."""


def _first_kept() -> None:
    import_module(_ASKER).begin()


def promote(trace_ids: Iterable[int]) -> int:
    """Send the traces with these ids that are kept here; return the number of spans. See `_export.kept`."""
    if settings().keep and type(trace.get_tracer_provider()) is not trace.ProxyTracerProvider:
        say_once("keep:provider", "nothing is kept for promotion: the tracer provider is not ours")
    return 0 if _state.kept is None else _state.kept.promote(trace_ids)


def oldest_kept() -> float | None:
    """Since when the oldest trace is kept, in Unix seconds; None if none is."""
    return None if _state.kept is None else _state.kept.oldest


def _build_meter_provider() -> SdkMeterProvider:
    with _lock:
        if _state.meter_provider is None:
            _state.meter_provider, _state.exporter = ours.metrics()
            _exits.register()
        return _state.meter_provider


# --- what callers use -----------------------------------------------------------------------------------------------
def get_tracer() -> Tracer:
    """The tracer for spans of ours, from the provider in force now."""
    provider = tracer_provider()
    last = _state.last
    if last is not None and last[0] is provider and last[2]._span_processors is last[3]:
        return last[1]
    tracer = _state.tracers.get(provider)
    if tracer is None:
        tracer = _state.tracers[provider] = provider.get_tracer(semconv.SCOPE, _version())
    _state.last = (provider, tracer, *theirs.watch(provider, _state.tracer_provider))
    _exits.register()
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
    theirs.watch(provider, _state.tracer_provider)
    with _lock:
        tracer = _state.feedback.get(provider)
        if tracer is None:
            always = ours.always_on(provider) if isinstance(provider, SdkTracerProvider) else provider
            tracer = _state.feedback[provider] = always.get_tracer(semconv.SCOPE, _version())
    return tracer


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
            meter = provider.get_meter(semconv.SCOPE, _version())
            made = _state.instruments[provider] = make_instruments(meter)
            make_plugin_instruments(meter, lambda: _state.processor)
    _state.last_instruments = (provider, made)
    return made


@cache
def _version() -> str:
    return version("backspan")


CurrentTracerProvider = partial(FollowingTracerProvider, tracer_provider)
"""For instrumentations of others that we switch on: always the provider in force, even if it is set later."""


# --- the end --------------------------------------------------------------------------------------------------------
def at_exit(callback: Callable[[], None]) -> None:
    """Have ``callback`` run when the process ends, before any provider is shut down."""
    with _lock:
        callbacks.setdefault(callback)
        _exits.register()


def end_on_sigterm() -> None:
    """See to it that a process that SIGTERM kills sends what is queued first; called where a library is patched too."""
    signals.prepare(_end_for_signal, flush)


def _end_for_signal() -> None:
    if _state.tracer_provider is not None or _state.meter_provider is not None:
        _exit()


def _exit() -> None:
    run_callbacks()
    shutdown()
    with guard("telemetry.exit"):  # a call made later still in this exit finds providers, and starts no thread
        _state.tracer_provider, _state.meter_provider = ours.nowhere()


_exits = Exits(_exit)
on_flush: list[Callable[[float], bool]] = []
"""Called by `flush` with the seconds it may take; False if something stayed behind."""


def flush(timeout_s: float = 5.0) -> bool:
    """Send what is queued now, waiting ``timeout_s`` seconds at most per signal; False if something stayed behind."""
    millis, done = int(timeout_s * 1000), True
    for callback in on_flush:
        with guard("telemetry.flush"):
            done = callback(timeout_s) and done
    with guard("telemetry.flush"):
        found = (tracer_provider(), meter_provider(), _state.tracer_provider, _state.meter_provider)
        for provider in {id(one): one for one in found if one is not None}.values():
            force = getattr(provider, "force_flush", None)
            if force is not None:
                done = bool(force(millis)) and done
                made = _state.instruments.get(provider)
                if made is not None and made.owes:  # what just went out was a new series' 0
                    apart()
                    done = bool(force(millis)) and done
    return done and not any(delivery.failing for delivery in deliveries())


def deliveries() -> list[Delivery]:
    """How our own exporters fared so far, one entry per signal, spans first."""
    return [one.delivery for one in (_state.processor, _state.exporter) if one is not None]


def shutdown(seconds: float = EXIT_SECONDS) -> None:
    """Send what is queued and stop our own providers, within about ``seconds`` for spans and again for metrics."""
    global _state
    with _lock:
        state, _state = _state, _State()
    token = context_api.attach(Context())
    with guard("telemetry.shutdown"):
        if state.processor is not None:
            state.processor.shutdown(seconds)
        if state.exporter is not None:
            state.exporter.prepare_exit()
        for provider, made in state.instruments.items():
            if provider is not state.meter_provider:
                made.settle()  # the application's: what it collects next is its last
        if state.meter_provider is not None:
            failing = any(one.delivery.failing for one in (state.processor, state.exporter) if one is not None)
            left = min(seconds, FAILING_EXIT_SECONDS) if failing else seconds
            end_metrics(state.meter_provider, state.instruments.get(state.meter_provider), left)
    context_api.detach(token)


def _after_fork_in_child() -> None:
    global _state, _lock, _exits
    _lock, _exits = threading.RLock(), Exits(_exit)
    for one in (_state.processor, _state.kept):
        if one is not None:
            one.forget()
    _state = _State()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def reset_for_tests() -> None:
    """Forget our providers and cached tracers, without sending anything."""
    global _state
    _state = _State()
    callbacks.clear()
    theirs.dropped.clear()
