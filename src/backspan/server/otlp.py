"""The OTLP/HTTP receiver: traces, metrics and logs, as protobuf or JSON, plain or packed.

Spans that say something about an answer are stored before the 2xx. Metrics and logs are checked and, with
``--forward``, passed on; nothing of them is kept, because ``/metrics`` counts from the store.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.requests import Request
from starlette.responses import Response

from backspan.server import bodies, keys, trust
from backspan.server.config import ServerConfig
from backspan.server.problems import Problem, busy
from backspan.server.spans import Received
from backspan.store import Busy, Store

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})
_RPC_CODES = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 503: 14}
_FORWARD_SECONDS = 10.0


@dataclass(frozen=True)
class Signal:
    """One kind of OTLP request."""

    name: str
    request: type[Message]
    response: type[Message]


SIGNALS = (
    Signal("traces", ExportTraceServiceRequest, ExportTraceServiceResponse),
    Signal("metrics", ExportMetricsServiceRequest, ExportMetricsServiceResponse),
    Signal("logs", ExportLogsServiceRequest, ExportLogsServiceResponse),
)


class Receiver:
    """Handlers for ``/v1/{traces,metrics,logs}``."""

    def __init__(self, store: Store, config: ServerConfig) -> None:
        self._store = store
        self._config = config
        self._forward_to = config.emit_to if config.forward else None

    def handler(self, signal: Signal) -> Callable[[Request], Awaitable[Response]]:
        """The handler of one signal."""

        async def receive(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            try:
                trust.require_sender(request, self._config, keys.OTLP)  # before a byte of the body is read
                if kind not in (PROTOBUF, JSON):
                    raise Problem(415, f"content-type must be {PROTOBUF} or {JSON}")
                return _answer(await self._take(signal, request, kind), 200, kind)
            except Problem as problem:
                return _refuse(problem, kind)
            except Busy:
                return _refuse(busy(), kind)

        return receive

    async def _take(self, signal: Signal, request: Request, kind: str) -> Message:
        sent = await bodies.read(request, bodies.MOST_OTLP)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        message = await asyncio.to_thread(_decode, signal, sent, encoding, kind)
        response = signal.response()
        if isinstance(message, ExportTraceServiceRequest):
            await self._store_spans(message, response)
        if self._forward_to is not None:
            url = f"{self._forward_to.rstrip('/')}/v1/{signal.name}"
            await asyncio.to_thread(_forward, url, message.SerializeToString())
        return response

    async def _store_spans(self, message: ExportTraceServiceRequest, response: Message) -> None:
        received = await asyncio.to_thread(Received, message)
        if received.calls or received.votes:
            await asyncio.wrap_future(self._store.put_spans(
                received.calls, received.votes, received.foreign, received.promoted))
        if received.rejected:
            partial = cast("ExportTraceServiceResponse", response).partial_success
            partial.rejected_spans = received.rejected
            partial.error_message = "malformed or all-zero ids, or unusable feedback attributes"


def _decode(signal: Signal, sent: bytes, encoding: str, kind: str) -> Message:
    body = bodies.unpack(sent, encoding, bodies.MOST_OTLP)
    message = signal.request()
    try:
        if kind == PROTOBUF:
            message.ParseFromString(body)
        else:
            json_format.ParseDict(_json_object(body), message, ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError, AttributeError, TypeError):
        raise Problem(400, f"the body is not an OTLP {signal.name} request") from None
    return message


def _json_object(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return _ids_to_base64(value)


def _ids_to_base64(value: Any) -> Any:
    """OTLP's JSON has ids in hex where protobuf's own JSON has base64."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: b64encode(bytes.fromhex(item)).decode() if key in _IDS and isinstance(item, str)
                else _ids_to_base64(item) for key, item in items}
    return [_ids_to_base64(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def _answer(message: Message, status: int, kind: str, headers: dict[str, str] | None = None) -> Response:
    if kind == JSON:
        return Response(json_format.MessageToJson(message, indent=None), status, headers, JSON)
    return Response(message.SerializeToString(), status, headers, PROTOBUF)


def _refuse(problem: Problem, kind: str) -> Response:
    status = Status(code=_RPC_CODES.get(problem.status, 2), message=problem.detail)
    return _answer(status, problem.status, kind, dict(problem.headers or {}))


def _forward(url: str, body: bytes) -> None:
    """Pass a request on. If that fails the sender is told to repeat: storing it twice does no harm."""
    request = urllib.request.Request(url, body, {"Content-Type": PROTOBUF})
    try:
        with urllib.request.urlopen(request, timeout=_FORWARD_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (429, 502, 503, 504):
            raise Problem(503, "the next receiver is busy", headers={"Retry-After": "1"}) from None
        raise Problem(400, "the next receiver refused the request") from None
    except OSError:
        raise Problem(503, "the next receiver cannot be reached", headers={"Retry-After": "1"}) from None
