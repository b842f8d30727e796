"""httpx and httpx2: OpenTelemetry's own instrumentation, switched on with a guard on what it sends.

It injects ``traceparent``, ``tracestate`` and ``baggage`` into every request. While it was us who switched it on, they
go only to hosts that ``BACKSPAN_PROPAGATE_HOSTS`` allows; headers that the application sets itself are left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, cast

import wrapt
from opentelemetry.instrumentation import httpx as contrib

from backspan import telemetry
from backspan._guard import guard, say_once
from backspan.config import settings
from backspan.instrument._patch import Proxy

INSTRUMENTORS = {"httpx": "HTTPXClientInstrumentor", "httpx2": "HTTPX2ClientInstrumentor"}
"""Package -> the instrumentor that knows it."""
_INJECT = "_inject_propagation_headers"

_active: dict[str, Any] = {}


def instrument(module: ModuleType) -> None:
    """Switch on the instrumentor of ``module``, unless the application has done so itself."""
    name = module.__name__
    kind = getattr(contrib, INSTRUMENTORS[name], None)
    if kind is None:
        say_once(f"httpx:{name}", f"the installed opentelemetry-instrumentation-httpx does not know {name}")
        return
    instrumentor = kind()
    if name in _active or instrumentor.is_instrumented_by_opentelemetry:
        return
    if not _guard_injection():
        say_once("httpx:inject", "this opentelemetry-instrumentation-httpx would send trace headers anywhere; not used")
        return
    instrumentor.instrument(tracer_provider=telemetry.CurrentTracerProvider())
    _active[name] = instrumentor


def uninstrument() -> None:
    """Switch off what we switched on, and take the guard away."""
    while _active:
        _, instrumentor = _active.popitem()
        instrumentor.uninstrument()
    inject = getattr(contrib, _INJECT, None)
    if isinstance(inject, Proxy):
        setattr(contrib, _INJECT, cast(Any, inject).__wrapped__)


def _guard_injection() -> bool:
    """Put the guard in place once; False if there is nothing to guard, that is, in a version we do not know."""
    inject = getattr(contrib, _INJECT, None)
    if inject is not None and not isinstance(inject, Proxy):
        wrapt.wrap_function_wrapper(contrib, _INJECT, _inject)
    return inject is not None


def _inject(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    allowed = False
    with guard("httpx.inject"):  # a fault must not send headers to strangers
        request = args[1][0]  # the contrib function's arguments: headers, then those of the transport
        allowed = may_propagate(str(request.url.host))
    return wrapped(*args, **kwargs) if allowed else None


def may_propagate(host: str) -> bool:
    """Tell whether trace headers may go to ``host``: ``BACKSPAN_PROPAGATE_HOSTS`` has it (``*`` is any part)."""
    return any(fnmatchcase(host.lower(), pattern.lower()) for pattern in settings().propagate_hosts)
