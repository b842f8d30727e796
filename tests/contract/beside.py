"""Run with another instrumentation beside ours; prints what was recorded, as JSON. `test_neighbours.py` reads it.

    python beside.py <vendor> <ours-first | theirs-first> <base_url>
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

os.environ.update(BACKSPAN="1", BACKSPAN_RAISE="1", OTEL_METRICS_EXPORTER="none", LANGFUSE_PUBLIC_KEY="pk",
                  LANGFUSE_SECRET_KEY="sk", LANGFUSE_HOST="http://127.0.0.1:9", LANGFUSE_BASE_URL="http://127.0.0.1:9")

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import backspan.instrument

Off = Callable[[], Any] | None
EXPORTER, HEARD = InMemorySpanExporter(), []


class Hear(logging.Handler):
    """Keeps what is logged under our name."""

    def emit(self, record: logging.LogRecord) -> None:
        HEARD.append(record.getMessage())


def _instrumentor(module: str) -> Callable[[], Off]:
    def on() -> Off:
        instrumentor = import_module(module).OpenAIInstrumentor()
        instrumentor.instrument()
        return instrumentor.uninstrument

    return on


def _logfire() -> Off:
    import logfire

    logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False,
                      additional_span_processors=[SimpleSpanProcessor(EXPORTER)])
    context = logfire.instrument_openai()

    def off() -> None:
        with context:
            pass

    return off


def _langfuse() -> Off:
    from langfuse import Langfuse

    Langfuse(tracer_provider=trace.get_tracer_provider(), timeout=1, flush_at=500, flush_interval=3600)
    import langfuse.openai  # noqa: F401  patches by being imported, for good

    return None


def _sentry() -> Off:
    import sentry_sdk

    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", traces_sample_rate=1.0, transport=lambda event: None)
    return None


VENDORS: dict[str, Callable[[], Off]] = {
    "official": _instrumentor("opentelemetry.instrumentation.genai.openai"),
    "openllmetry": _instrumentor("opentelemetry.instrumentation.openai"),
    "openinference": _instrumentor("openinference.instrumentation.openai"),
    "logfire": _logfire,
    "langfuse": _langfuse,
    "sentry": _sentry,
}


def _spans(client: Any) -> dict[str, int]:
    """Make two calls; return the number of spans by whether they are ours."""
    EXPORTER.clear()
    messages = [{"role": "user", "content": "one two"}]
    answer = client.chat.completions.create(model="m", messages=messages)
    chunks = list(client.chat.completions.create(model="m", messages=messages, stream=True))
    assert answer.choices[0].message.content == "You said: one two" and len(chunks) >= 6
    scopes = [span.instrumentation_scope.name for span in EXPORTER.get_finished_spans()]
    return Counter("ours" if scope == "backspan" else "theirs" for scope in scopes)


def main(vendor: str, order: str, url: str) -> None:
    if vendor != "logfire":  # which brings its own
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
        trace.set_tracer_provider(provider)
    logging.getLogger("backspan").addHandler(Hear())
    steps = [lambda: backspan.instrument.imported(openai), VENDORS[vendor]]
    off = [step() for step in (steps if order == "ours-first" else reversed(steps))]
    client = openai.OpenAI(base_url=url, api_key="k")
    seen = {"both": _spans(client)}
    theirs = next((step for step in off if step is not None), None)
    if theirs is not None:
        theirs()
        backspan.instrument.imported(openai)
        seen["theirs off"] = _spans(client)
    backspan.instrument.uninstrument()
    seen["both off" if theirs else "ours off"] = _spans(client)
    print(json.dumps({"spans": seen, "said": HEARD}), flush=True)
    os._exit(0)  # the others' exporters would wait for servers that are not there


if __name__ == "__main__":
    main(*sys.argv[1:])
