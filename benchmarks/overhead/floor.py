"""The floor: the least work that still leaves one full span and two metrics per call.

A yardstick, not an instrumentation. A hand-written patch without wrapt, without option handling and without error care:
one SDK span with 20 attributes (two of them JSON dumps of the input and output messages when content is on), two
histogram records (duration, tokens), ended and put on the batch processor's queue. Per streamed chunk: read the text,
one list append. It does these operations and nothing else.
"""

from __future__ import annotations

import json
import time
from typing import Any

from openai.resources.chat.completions import Completions
from openai.resources.embeddings import Embeddings
from openai.resources.responses import Responses
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind


class Acc:
    """What is kept of a stream: strings, never the chunk objects (keeping those alive costs the garbage collector ten
    times more than reading them does)."""

    __slots__ = ("fin", "model", "rid", "text", "usage")

    def __init__(self) -> None:
        self.text, self.fin, self.usage, self.rid, self.model = [], "", None, "", ""


def seldom(acc: Any, chunk: Any) -> None:
    """The chunks that carry more than text: first, finish, usage."""
    acc.rid, acc.model = chunk.id, chunk.model
    if chunk.choices:
        acc.fin = chunk.choices[0].finish_reason or acc.fin
    if chunk.usage:
        acc.usage = chunk.usage


class Floor:
    """The patch: `install` it, `uninstall` it."""

    def __init__(self, capture: bool) -> None:
        self.capture = capture
        self.tracer = trace.get_tracer("bench.floor", "1")
        meter = metrics.get_meter("bench.floor", "1")
        self.duration = meter.create_histogram("bench.floor.duration", unit="s")
        self.tokens = meter.create_histogram("bench.floor.tokens", unit="{token}")
        self.originals = Completions.create, Embeddings.create, Responses.create

    def install(self) -> None:
        """Patch the resource methods."""
        Completions.create, Embeddings.create, Responses.create = self.chat(), self.embed(), self.respond()

    def uninstall(self) -> None:
        """Put the resource methods back."""
        Completions.create, Embeddings.create, Responses.create = self.originals

    def start(self, op: str, kw: dict[str, Any]) -> tuple[Any, float]:
        """One span with ten attributes."""
        model = kw.get("model")
        return (
            self.tracer.start_span(
                f"{op} {model}",
                kind=SpanKind.CLIENT,
                attributes={
                    "gen_ai.operation.name": op,
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": model,
                    "gen_ai.request.temperature": kw.get("temperature", 1.0),
                    "gen_ai.request.max_tokens": kw.get("max_tokens", 0),
                    "gen_ai.request.top_p": 1.0,
                    "gen_ai.request.seed": 1,
                    "server.address": "api.openai.com",
                    "server.port": 443,
                    "app.prompt.version": "v1",
                },
            ),
            time.perf_counter(),
        )

    def finish(self, span: Any, t0: float, op: str, model: str, inp: Any, out: Any, rid: str, rmodel: str, fin: str,
               usage_in: int, usage_out: int) -> None:
        """Ten more attributes, two metrics, the end."""
        dt = time.perf_counter() - t0
        attrs = {
            "gen_ai.response.id": rid,
            "gen_ai.response.model": rmodel,
            "gen_ai.response.finish_reasons": (fin,),
            "gen_ai.usage.input_tokens": usage_in,
            "gen_ai.usage.output_tokens": usage_out,
            "gen_ai.output.type": "text",
            "openai.response.service_tier": "default",
            "openai.response.system_fingerprint": "fp",
        }
        if self.capture:
            attrs["gen_ai.input.messages"] = json.dumps(inp)
            attrs["gen_ai.output.messages"] = json.dumps(out)
        span.set_attributes(attrs)
        m = {"gen_ai.operation.name": op, "gen_ai.request.model": model, "gen_ai.provider.name": "openai"}
        self.duration.record(dt, m)
        self.tokens.record(usage_out, m)
        span.end()

    def chat_done(self, span: Any, t0: float, kw: Any, r: Any) -> None:
        """A plain answer."""
        c, u = r.choices[0], r.usage
        msg = c.message
        out = [{"role": "assistant", "content": msg.content}]
        if msg.tool_calls:
            out[0]["tool_calls"] = [(t.id, t.function.name, t.function.arguments) for t in msg.tool_calls]
        self.finish(span, t0, "chat", kw["model"], kw["messages"], out, r.id, r.model, c.finish_reason,
                    u.prompt_tokens, u.completion_tokens)

    def stream(self, it: Any, span: Any, t0: float, kw: Any) -> Any:
        """A streamed answer."""
        acc = Acc()
        add = acc.text.append
        for chunk in it:
            choices = chunk.choices
            if choices and (text := choices[0].delta.content):
                add(text)
            else:
                seldom(acc, chunk)
            yield chunk
        u = acc.usage
        out = [{"role": "assistant", "content": "".join(acc.text)}]
        self.finish(span, t0, "chat", kw["model"], kw["messages"], out, acc.rid, acc.model, acc.fin,
                    u.prompt_tokens if u else 0, u.completion_tokens if u else 0)

    def chat(self) -> Any:
        """The patched `Completions.create`."""
        create = self.originals[0]

        def call(resource: Any, **kw: Any) -> Any:
            span, t0 = self.start("chat", kw)
            r = create(resource, **kw)
            if kw.get("stream"):
                r._iterator = self.stream(r._iterator, span, t0, kw)
                return r
            self.chat_done(span, t0, kw, r)
            return r

        return call

    def embed(self) -> Any:
        """The patched `Embeddings.create`."""
        create = self.originals[1]

        def call(resource: Any, **kw: Any) -> Any:
            span, t0 = self.start("embeddings", kw)
            r = create(resource, **kw)
            self.finish(span, t0, "embeddings", kw["model"], kw["input"], len(r.data), "", r.model, "",
                        r.usage.prompt_tokens, 0)
            return r

        return call

    def respond(self) -> Any:
        """The patched `Responses.create`, plain only."""
        create = self.originals[2]

        def call(resource: Any, **kw: Any) -> Any:
            span, t0 = self.start("chat", kw)
            r = create(resource, **kw)
            u = r.usage
            out = [{"role": "assistant", "content": r.output_text}]
            self.finish(span, t0, "chat", kw["model"], kw["input"], out, r.id, r.model, r.status,
                        u.input_tokens, u.output_tokens)
            return r

        return call
