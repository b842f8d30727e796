"""What a call costs with backspan, against `floor`, both over no instrumentation, in one interleaved run.

    python benchmarks/overhead/run.py [--quick] [--json]

CPU time of the calling thread, as the machine's other work and the exporter's thread are not ours to count. The model
is a transport inside the process, so nothing waits. Every round runs each variant once, in turn; the figure of a
variant is the median over the rounds of its difference to the bare run beside it. Exit 1 if a ratio is over its limit
(not with ``--quick``, whose few rounds only show that it runs).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIMIT = 1.5
CHUNKS = 200
ROUNDS, QUICK_ROUNDS = 60, 3
CALLS = {"chat short": 40, "chat long": 40, "chat stream": 4, "responses short": 40, "embeddings 100": 10}

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
os.environ["BACKSPAN_RAISE"] = "1"


@dataclass(frozen=True)
class Row:
    """One line of the result, in microseconds of CPU added per call (or per chunk)."""

    what: str
    content: str
    floor: float
    ours: float

    @property
    def ratio(self) -> float:
        """Ours over the floor."""
        return self.ours / self.floor if self.floor > 0 else float("nan")


# --- the model ------------------------------------------------------------------------------------------------------
def _answers() -> dict[str, bytes]:
    from tests.support import openai_bodies as bodies

    chat = {"model": "gpt-x", "messages": [{"role": "user", "content": "word " * CHUNKS}],
            "stream_options": {"include_usage": True}}
    chunks = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in bodies.chat_chunks(chat, 1))
    short = {"model": "gpt-x", "messages": [{"role": "user", "content": "what is the weather in Paris?"}]}
    embed = {"model": "e", "input": ["text"] * 100, "dimensions": 256, "encoding_format": "base64"}
    return {
        "stream": f"{chunks}data: [DONE]\n\n".encode(), "chat": json.dumps(bodies.chat(short, 1)).encode(),
        "embeddings": json.dumps(bodies.embeddings(embed)).encode(),
        "responses": json.dumps(bodies.response({"model": "gpt-x", "input": "what is it?"}, 1)).encode(),
    }


def _client() -> Any:
    import openai

    try:
        import httpx2 as transport
    except ImportError:
        import httpx as transport
    said = _answers()

    def answer(request: Any) -> Any:
        if b'"stream":true' in request.content:
            return transport.Response(200, content=said["stream"], headers={"content-type": "text/event-stream"})
        kind = request.url.path.rstrip("/").rpartition("/")[2]
        return transport.Response(200, content=said["chat" if kind == "completions" else kind],
                                  headers={"content-type": "application/json"})

    http = transport.Client(transport=transport.MockTransport(answer))
    return openai.OpenAI(base_url="https://api.openai.com/v1", api_key="k", http_client=http)


def _scenarios(client: Any) -> dict[str, Callable[[], Any]]:
    short = [{"role": "system", "content": "You are a helpful assistant."},
             {"role": "user", "content": "what is the weather in Paris?"}]
    text = "The quick brown fox jumps over the lazy dog while the band plays on. " * 12
    long = [{"role": ("user", "assistant")[number % 2], "content": f"{number}: {text}"} for number in range(12)]
    asked = {"model": "gpt-x", "temperature": 0.5, "max_tokens": 100}
    chat = client.chat.completions  # `create` is looked up at each call, as it is patched between rounds
    return {
        "chat short": lambda: chat.create(messages=short, **asked),
        "chat long": lambda: chat.create(messages=long, **asked),
        "chat stream": lambda: sum(
            1 for _ in chat.create(messages=short, stream=True, stream_options={"include_usage": True}, **asked)),
        "responses short": lambda: client.responses.create(model="gpt-x", input="what is it?"),
        "embeddings 100": lambda: client.embeddings.create(model="e", input=["text"] * 100, dimensions=256),
    }


# --- measuring ------------------------------------------------------------------------------------------------------
def _providers() -> None:
    """The application's providers: a batch queue whose exporter drops everything, and a reader nobody reads."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))


def _timed(call: Callable[[], Any], times: int) -> float:
    """Microseconds of this thread's CPU per call; the collector runs before, not during, so that it hits nobody."""
    gc.collect()
    gc.disable()
    start = time.thread_time()
    for _ in range(times):
        call()
    spent = time.thread_time() - start
    gc.enable()
    return spent / times * 1e6


def _added(call: Callable[[], Any], times: int, rounds: int, variants: list[Any]) -> list[float]:
    """The median over ``rounds`` of what each of ``variants`` adds to the bare call, in microseconds."""
    differences: list[list[float]] = [[] for _ in variants]
    for number in range(rounds + 1):
        bare = _timed(call, times)
        for index, variant in enumerate(variants):
            variant.install()
            spent = _timed(call, times)
            variant.uninstall()
            if number:  # the first round fills caches
                differences[index].append(spent - bare)
    return [statistics.median(values) for values in differences]


class Ours:
    """The patch that is measured."""

    def install(self) -> None:
        """As the import hook does."""
        import openai

        import backspan.instrument

        backspan.instrument.imported(openai)

    def uninstall(self) -> None:
        """Take it back."""
        import backspan.instrument

        backspan.instrument.uninstrument()


def measure(content: bool, rounds: int) -> list[Row]:
    """All rows for one setting of content."""
    from floor import Floor

    from backspan import config

    os.environ["BACKSPAN"] = "content" if content else "1"
    config.reload()
    said = "on" if content else "off"
    rows: list[Row] = []
    for what, call in _scenarios(_client()).items():
        floor, ours = _added(call, CALLS[what], rounds, [Floor(content), Ours()])
        rows.append(Row(what, said, floor, ours))
    short, stream = rows[0], rows[2]
    rows.append(Row("per chunk", said, (stream.floor - short.floor) / CHUNKS, (stream.ours - short.ours) / CHUNKS))
    return rows


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, no judgement")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=None)
    asked = parser.parse_args()
    _providers()
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    rows = measure(False, rounds) + measure(True, rounds)
    if asked.json:
        print(json.dumps([{**asdict(row), "ratio": row.ratio, "limit": LIMIT} for row in rows]))
    else:
        for row in rows:
            print(f"{row.what:16} content {row.content:3}  floor {row.floor:8.2f} us  "
                  f"ours {row.ours:8.2f} us  ratio {row.ratio:5.2f}  limit {LIMIT}")
    missed = [row for row in rows if not row.ratio <= LIMIT]
    return 1 if missed and not asked.quick else 0


if __name__ == "__main__":
    raise SystemExit(main())
