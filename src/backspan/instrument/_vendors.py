"""Whether somebody else already records the same calls. Then we stand down, and say so once.

Sentry and Datadog record the calls of openai too, in traces of their own; beside them we stay.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from backspan._guard import say_once

ALWAYS = ""
"""Instead of an instrumentor's name: the module patches when it is imported, for good."""
OPENAI = {
    "opentelemetry.instrumentation.genai.openai": "OpenAIInstrumentor",
    "opentelemetry.instrumentation.openai": "OpenAIInstrumentor",
    "opentelemetry.instrumentation.openai_v2": "OpenAIInstrumentor",
    "openinference.instrumentation.openai": "OpenAIInstrumentor",
    "langfuse.openai": ALWAYS,
}
"""Module -> instrumentor class of others for openai."""
QDRANT = {"opentelemetry.instrumentation.qdrant": "QdrantInstrumentor"}
_PATCHED = "openai.resources.chat.completions"
MARKS = {"logfire": "_is_instrumented_by_logfire"}
"""Module -> attribute that it sets on the clients, or classes of clients, that it records."""


def taken(library: str, vendors: Mapping[str, str], client: Any = None) -> bool:
    """Tell whether one of ``vendors`` records ``library`` now, or another ``client``; they may come and go any time."""
    loaded = sys.modules
    for module, name in vendors.items():
        if module in loaded and (name == ALWAYS or active(loaded[module], name) or _left_behind(module)):
            stand_down(library, module)
            return True
    for module, mark in MARKS.items():
        if module in loaded and getattr(client, mark, False) is True:
            stand_down(library, module)
            return True
    return False


def active(module: Any, name: str) -> bool:
    """Tell whether the instrumentor ``name`` of ``module`` is switched on; they are singletons."""
    instrumentor = getattr(module, name, None)
    single = getattr(instrumentor, "_instance", None)
    return bool(getattr(single, "is_instrumented_by_opentelemetry", False))


def _left_behind(module: str) -> bool:
    """Tell whether a wrapper of ``module`` is still at work: OpenLLMetry's stay when it is switched off."""
    resource: Any = sys.modules.get(_PATCHED)
    create: Any = getattr(getattr(resource, "Completions", None), "create", None)
    wrapper = getattr(create, "_self_wrapper", None)  # of wrapt
    return str(getattr(wrapper, "__module__", "")).startswith(module)


def stand_down(library: str, other: str) -> None:
    """Say that ``other`` records ``library``, so we do not."""
    say_once(f"vendor:{library}", f"{library} is instrumented by {other} already, so backspan leaves it alone")
