"""A tracer provider that is always the one in force, and a memory of what was made for each provider."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from opentelemetry.trace import Span, Tracer, TracerProvider
from opentelemetry.util.types import Attributes

T = TypeVar("T")


class PerProvider(Generic[T]):
    """A value per provider, by identity, for as long as the provider lives. Some providers cannot be hashed."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[weakref.ref[Any], T]] = {}

    def get(self, provider: object) -> T | None:
        """The value of ``provider``, or None."""
        entry = self._made.get(id(provider))
        return entry[1] if entry is not None and entry[0]() is provider else None

    def __setitem__(self, provider: object, value: T) -> None:
        self._made = {key: entry for key, entry in self._made.items() if entry[0]() is not None}
        self._made[id(provider)] = (weakref.ref(provider), value)

    def items(self) -> Iterator[tuple[object, T]]:
        """Each living provider and its value."""
        for reference, value in list(self._made.values()):
            provider = reference()
            if provider is not None:
                yield provider, value


class _FollowingTracer(Tracer):
    """A tracer that asks for the provider in force at every span."""

    def __init__(self, find: Callable[[], TracerProvider], *names: Any) -> None:
        self._find, self._names = find, names

    def _tracer(self) -> Tracer:
        return self._find().get_tracer(*self._names)

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Span:
        return self._tracer().start_span(name, *args, **kwargs)

    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(name, *args, **kwargs)


class FollowingTracerProvider(TracerProvider):
    """Its tracers use whatever provider ``find`` returns when a span starts: for those who ask once and keep it."""

    def __init__(self, find: Callable[[], TracerProvider]) -> None:
        self._find = find

    def get_tracer(
        self, instrumenting_module_name: str, instrumenting_library_version: str | None = None,
        schema_url: str | None = None, attributes: Attributes = None,
    ) -> Tracer:
        return _FollowingTracer(self._find, instrumenting_module_name, instrumenting_library_version, schema_url)
