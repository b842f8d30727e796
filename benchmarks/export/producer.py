"""The measured process: calls through the real client as fast as it can (or as told), or bare spans for processor time.

    python benchmarks/export/producer.py calls COUNT PER_SECOND      0: as fast as it can
    python benchmarks/export/producer.py cpu none|ours|sdk COUNT

Prints JSON. The model answers inside the process, so nothing slows the loop down but the client and us.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-test-2025",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is under way."}}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26},
}
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is my parcel?"}]


def _megabytes() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def calls(count: int, per_second: float) -> dict[str, Any]:
    """Make ``count`` calls, wait until all is delivered, and say what was lost and how much memory is left taken."""
    import httpx
    import openai

    from backspan import telemetry

    answer = httpx.MockTransport(lambda _request: httpx.Response(200, json=ANSWER))
    client = openai.OpenAI(api_key="k", base_url="http://model.invalid/v1", http_client=httpx.Client(transport=answer))

    def call() -> None:
        client.chat.completions.create(model="gpt-test", messages=QUESTION)

    for _ in range(500):
        call()
    telemetry.flush(30)
    before, began = _megabytes(), time.perf_counter()
    print("ready", flush=True)
    for number in range(count):
        call()
        if per_second:
            time.sleep(max(0.0, began + (number + 1) / per_second - time.perf_counter()))
    took = time.perf_counter() - began
    highest = _megabytes()
    while not telemetry.flush(10):
        time.sleep(0.2)
    (spans, _metrics) = telemetry.deliveries()
    return {"calls": count + 500, "per_second": count / took, "lost": spans.lost, "stripped": spans.stripped,
            "delivered": spans.delivered, "retries": spans.retries,
            "megabytes_more": round(highest - before, 1), "megabytes_after": round(_megabytes() - before, 1)}


def cpu(what: str, count: int) -> dict[str, Any]:
    """Processor time of making ``count`` spans and of exporting them by ``what``."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from backspan._export import span_processor

    provider = TracerProvider(shutdown_on_exit=False)
    if what != "none":
        sdk = what == "sdk"
        processor = BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=1000) if sdk else span_processor()
        assert processor is not None
        provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench")
    facts = {f"gen_ai.request.attribute{n}": f"value {n}" for n in range(20)}

    def some(number: int) -> None:
        for _ in range(number):
            tracer.start_span("chat gpt-test", attributes=facts).end()

    some(500)
    provider.force_flush()
    began = time.process_time()
    for _ in range(count // 250):  # in portions, as the SDK's queue of 2,048 would lose some
        some(250)
        time.sleep(0.1)
    provider.force_flush()
    return {"us_per_span": (time.process_time() - began) / count * 1e6}


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    what, first, second = sys.argv[1:]
    print(json.dumps(calls(int(first), float(second)) if what == "calls" else cpu(first, int(second))))
