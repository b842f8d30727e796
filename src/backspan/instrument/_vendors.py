"""Whether somebody else already records the same calls. Then we stand down, and say so once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from backspan._guard import say_once

OPENAI = {
    "opentelemetry.instrumentation.genai.openai": "OpenAIInstrumentor",
    "opentelemetry.instrumentation.openai": "OpenAIInstrumentor",
    "opentelemetry.instrumentation.openai_v2": "OpenAIInstrumentor",
    "openinference.instrumentation.openai": "OpenAIInstrumentor",
}
"""Module -> instrumentor class of others for openai."""
QDRANT = {"opentelemetry.instrumentation.qdrant": "QdrantInstrumentor"}


def taken(library: str, vendors: Mapping[str, str]) -> bool:
    """Tell whether one of ``vendors`` records ``library`` now; they may come and go at any time."""
    for module, name in vendors.items():
        loaded = sys.modules.get(module)
        if loaded is not None and active(loaded, name):
            stand_down(library, module)
            return True
    return False


def active(module: Any, name: str) -> bool:
    """Tell whether the instrumentor ``name`` of ``module`` is switched on; they are singletons."""
    instrumentor = getattr(module, name, None)
    single = getattr(instrumentor, "_instance", None)
    return bool(getattr(single, "is_instrumented_by_opentelemetry", False))


def stand_down(library: str, other: str) -> None:
    """Say that ``other`` records ``library``, so we do not."""
    say_once(f"vendor:{library}", f"{library} is instrumented by {other} already, so backspan leaves it alone")
