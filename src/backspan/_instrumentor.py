"""The meeting point with OpenTelemetry's own auto-instrumentation: our entry point, and those of others.

`BackspanInstrumentor` is what ``opentelemetry-instrument`` (and the OpenTelemetry Operator) finds and switches on.
`switch_on` goes the other way: ``BACKSPAN_INSTRUMENT=fastapi`` activates an installed instrumentation of somebody else.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from backspan import _boot, config, instrument, telemetry
from backspan._guard import guard, say_once

GROUP = "opentelemetry_instrumentor"
_switched: set[str] = set()


class BackspanInstrumentor(BaseInstrumentor):
    """Door for those who run ``opentelemetry-instrument``; harmless if the ``.pth`` file has opened already."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: targets are patched when they are imported, if ever."""
        return ()

    def _instrument(self, **_kwargs: Any) -> None:
        if _boot.start():
            config.reload()

    def _uninstrument(self, **_kwargs: Any) -> None:
        _boot.stop()
        instrument.uninstrument()


def foreign() -> dict[str, EntryPoint | None]:
    """Each name in ``BACKSPAN_INSTRUMENT`` that is not ours -> its installed entry point, or None if there is none."""
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    names = [word for word in _boot.words(os.environ) if not word.startswith("-")]
    return {name: installed.get(name) for name in names if name not in _boot.OURS}


def switch_on(module: ModuleType) -> None:
    """Activate the instrumentations named in ``BACKSPAN_INSTRUMENT`` that patch ``module``, just imported."""
    for name, entry in foreign().items():
        if _boot.foreign_module(name) != module.__name__ or name in _switched:
            continue
        if entry is None:
            say_once(f"instrument:{name}", f"BACKSPAN_INSTRUMENT names {name}, but no installed package instruments it")
            continue
        _switched.add(name)
        with guard(f"instrumentation {name}"):
            _activate(entry)


def _activate(entry: EntryPoint) -> None:
    instrumentor = entry.load()()
    if not getattr(instrumentor, "is_instrumented_by_opentelemetry", False):
        instrumentor.instrument(tracer_provider=telemetry.CurrentTracerProvider())
