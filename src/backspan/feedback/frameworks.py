"""The token on every answer with a setting alone: the web frameworks, patched right after they were imported.

What is wrapped is the application's own ``__call__``, so that every middleware of its is inside, and an application
that is mounted in another one belongs to that one's request.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

from backspan import telemetry
from backspan._guard import guarded, say_once
from backspan.feedback import asgi, wsgi
from backspan.feedback.answering import wanted

Wrapped = Callable[..., Any]


def _asgi(wrapped: Wrapped, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    ways = wanted()
    if ways is None or kwargs or len(args) != 3:
        return wrapped(*args, **kwargs)
    return asgi.serve(wrapped, ways, *args)


def _wsgi(wrapped: Wrapped, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    ways = wanted()
    if ways is None or kwargs or len(args) != 2:
        return wrapped(*args, **kwargs)
    return wsgi.serve(wrapped, ways, *args)


TARGETS: dict[str, tuple[str, Wrapped]] = {
    "starlette.applications": ("Starlette", _asgi),
    "flask.app": ("Flask", _wsgi),
    "django.core.handlers.wsgi": ("WSGIHandler", _wsgi),
    "django.core.handlers.asgi": ("ASGIHandler", _asgi),
}
"""Module -> the class of applications in it, and what goes around their ``__call__``."""

_done: list[tuple[Any, Any]] = []


@guarded
def imported(module: ModuleType) -> None:
    """Patch ``module``, which has just been imported. Harmless when repeated."""
    name, wrapper = TARGETS[module.__name__]
    kind = getattr(module, name, None)
    original = None if kind is None else kind.__dict__.get("__call__")
    if original is None:
        say_once(f"frameworks:{module.__name__}", f"{module.__name__} has no {name}.__call__: no tokens on its answers")
        return
    if getattr(original, "_self_wrapper", None) is wrapper:
        return
    wrapt.wrap_function_wrapper(kind, "__call__", wrapper)
    _done.append((kind, original))
    telemetry.end_on_sigterm()


def undo() -> None:
    """Put the originals back, except where somebody wrapped our wrapper since."""
    while _done:
        kind, original = _done.pop()
        if getattr(kind.__dict__.get("__call__"), "__wrapped__", None) is original:
            kind.__call__ = original
