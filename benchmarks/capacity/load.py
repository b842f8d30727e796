"""Senders: calls as OTLP protobuf with content of a realistic size, and votes by token."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backspan import semconv
from backspan.context import Target
from backspan.feedback.token import mint

PROMPT, ANSWER = 2000, 1000
"""Characters of the messages of one call."""
BATCH, THREADS = 50, 4
VERSIONS = 10
_CORPUS = 4_000_000
_MODEL, _SERVICE = "gpt-test", "capacity"


class Content:
    """Text that compresses about as prose does: words of a made-up language, the frequent ones far more frequent."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(20_000)]
        weights = [1 / (rank + 3) for rank in range(len(words))]
        self._text = " ".join(chance.choices(words, weights, k=_CORPUS // 6))
        self._chance = chance
        self.ids: list[tuple[str, str]] = []
        """Trace and span of every call made so far, in hex."""

    def take(self, size: int) -> str:
        """Any ``size`` characters."""
        start = self._chance.randrange(len(self._text) - size)
        return self._text[start:start + size]

    def request(self, calls: int = BATCH) -> bytes:
        """One OTLP request with so many chat calls, each a trace of its own."""
        out = ExportTraceServiceRequest()
        resource = out.resource_spans.add()
        _add(resource.resource, {"service.name": _SERVICE, "deployment.environment.name": "production"})
        spans = resource.scope_spans.add().spans
        for _ in range(calls):
            self._span(spans.add())
        return out.SerializeToString()

    def _span(self, span: object) -> None:
        chance, now = self._chance, time.time_ns()
        span.trace_id, span.span_id = chance.randbytes(16), chance.randbytes(8)
        self.ids.append((span.trace_id.hex(), span.span_id.hex()))
        span.name, span.kind = f"chat {_MODEL}", 3
        span.start_time_unix_nano, span.end_time_unix_nano = now - chance.randint(10**8, 4 * 10**9), now
        _add(span, {
            semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: _MODEL, semconv.RESPONSE_MODEL: _MODEL,
            semconv.PROVIDER_NAME: "openai", semconv.RESPONSE_ID: f"chatcmpl-{span.trace_id.hex()}",
            semconv.CONVERSATION_ID: chance.randbytes(8).hex(), semconv.PROMPT_NAME: "support",
            semconv.PROMPT_VERSION: f"v{chance.randrange(VERSIONS)}", semconv.USAGE_INPUT_TOKENS: PROMPT // 4,
            semconv.USAGE_OUTPUT_TOKENS: ANSWER // 4, semconv.INPUT_MESSAGES: _message("user", self.take(PROMPT)),
            semconv.OUTPUT_MESSAGES: _message("assistant", self.take(ANSWER)),
        })


def _message(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _add(holder: object, values: dict[str, str | int]) -> None:
    for key, value in values.items():
        found = holder.attributes.add()
        found.key = key
        if isinstance(value, int):
            found.value.int_value = value
        else:
            found.value.string_value = value


# --- calls ----------------------------------------------------------------------------------------------------------
Send = Callable[[bytes], bool]
"""Hands over one request; False if it was refused."""


def over_http(port: int) -> Send:
    """OTLP over HTTP, one connection kept open."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(body: bytes) -> bool:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200

    return send


def over_grpc(port: int) -> Send:
    """OTLP over gRPC."""
    import grpc

    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                                 request_serializer=None, response_deserializer=None)

    def send(body: bytes) -> bool:
        try:
            export(body, timeout=30)
        except grpc.RpcError:
            return False
        return True

    return send


@dataclass
class Sent:
    """What became of a load: requests of `BATCH` calls, their bytes and latencies."""

    accepted: int = 0
    refused: int = 0
    size: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Accepted."""
        return self.accepted * BATCH

    @property
    def rate(self) -> float:
        """Accepted calls a second."""
        return self.calls / self.seconds if self.seconds else 0.0


def send_calls(
    connect: Callable[[], Send], content: Content, *, calls: int | None = None, seconds: float = 600,
    per_second: float | None = None, at_half: Callable[[], None] = lambda: None,
) -> Sent:
    """Send until so many calls or seconds are over, as fast as it goes or at a pace; refused requests are not repeated.

    ``at_half`` is called after half of ``seconds``.
    """
    sent, lock, began = Sent(), threading.Lock(), time.monotonic()
    most = None if calls is None else calls // BATCH
    turn = iter(range(10**9))

    def work() -> None:
        send = connect()
        while time.monotonic() - began < seconds:
            with lock:
                number = next(turn)
                body = content.request()
            if most is not None and number >= most:
                return
            due = number * BATCH / per_second if per_second else 0.0
            if due >= seconds:
                return
            time.sleep(max(0.0, began + due - time.monotonic()))
            _one(send, body, sent, lock)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    half = threading.Timer(seconds / 2, at_half)
    for thread in (*threads, half):
        thread.start()
    for thread in threads:
        thread.join()
    half.cancel()
    sent.seconds = max(time.monotonic() - began, 0.0 if per_second is None else seconds)
    return sent


def _one(send: Send, body: bytes, sent: Sent, lock: threading.Lock) -> None:
    started = time.monotonic()
    good = send(body)
    with lock:
        sent.latencies.append(time.monotonic() - started)
        sent.accepted += good
        sent.refused += not good
        sent.size += len(body) * good


# --- votes ----------------------------------------------------------------------------------------------------------
def tokens(ids: list[tuple[str, str]]) -> list[str]:
    """One for each of these answers, sealed with the key in BACKSPAN_DATA_DIR."""
    made = []
    for number, (trace, span) in enumerate(ids):
        dims = dict.fromkeys((*semconv.DIMENSIONS, semconv.SERVICE_NAME), _SERVICE)
        dims[semconv.PROMPT_VERSION] = f"v{number % VERSIONS}"
        made.append(mint(Target(trace, span, 1, f"chatcmpl-{trace}", None, None, dims, time.time())))
    return [token for token in made if token]


@dataclass
class Voted:
    """What became of votes; latencies count from the moment at which a vote was due."""

    statuses: dict[int, int]
    latencies: list[float]
    seconds: float

    @property
    def accepted(self) -> int:
        """Answered 201: a first vote, committed."""
        return self.statuses.get(201, 0)

    def quantile(self, share: float) -> float:
        """Seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def send_votes(port: int, work: list[str], per_second: float | None = None, connections: int = 32) -> Voted:
    """Hand in one vote by token each, as fast as it goes or at a pace."""
    return asyncio.run(_send_votes(port, work, per_second, connections))


async def _send_votes(port: int, work: list[str], per_second: float | None, connections: int) -> Voted:
    voted, began = Voted({}, [], 0.0), time.monotonic()
    turns = iter(enumerate(work))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number, token in turns:
            due = began + number / per_second if per_second else time.monotonic()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            status = await _vote(reader, writer, token, number)
            voted.latencies.append(time.monotonic() - due)
            voted.statuses[status] = voted.statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    voted.seconds = time.monotonic() - began
    return voted


async def _vote(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, number: int) -> int:
    body = b'{"thumbs":false,"reasons":["inaccurate"]}' if number % 10 == 0 else b'{"thumbs":true}'
    writer.write((f"POST /v1/feedback HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                  f"backspan-token: {token}\r\ncontent-length: {len(body)}\r\n\r\n").encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    return int(head[9:12])
