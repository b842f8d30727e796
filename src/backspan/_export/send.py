"""One attempt to hand encoded spans to an OTLP endpoint, over HTTP or gRPC, and what the endpoint said to it.

The SDK's exporters repeat an attempt by themselves and then answer yes or no. Who wants to lose nothing has to know
*why*: wait, wait that long, or take the batch apart. So this file sends, and `processor` decides. Endpoint, headers,
compression, certificates and time limit are read from ``OTEL_EXPORTER_OTLP_*`` as the SDK reads them.
"""

from __future__ import annotations

import gzip
import math
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from importlib import import_module
from typing import Any, Protocol

from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.common.version import __version__ as _encoder_version
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.util.re import parse_env_headers

_TIMEOUT = 10.0
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_GRPC_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 2000))
_USER_AGENT = f"OTel-OTLP-Exporter-Python/{_encoder_version} backspan"


class Verdict(Enum):
    """What to do with a batch after an attempt."""

    TAKEN = "taken"
    LATER = "later"
    """The endpoint cannot now: keep it and try again."""
    GONE = "gone"
    """The connection was refused: nobody is there."""
    FAULT = "fault"
    """The endpoint failed over it: try again, but not for ever."""
    REFUSED = "refused"
    """It will never take this batch as it is: too large, or malformed."""


@dataclass(frozen=True)
class Answer:
    """What an attempt came to; ``wait`` is the pause in seconds that the endpoint asked for."""

    verdict: Verdict
    reason: str = ""
    wait: float | None = None
    rejected: int = 0
    """Spans that the endpoint says it dropped of a batch that it took (OTLP's partial success)."""


class Sender(Protocol):
    """Hands one request to the endpoint."""

    def send(self, body: bytes, timeout: float) -> Answer:
        """Try once to deliver a serialized ``ExportTraceServiceRequest`` within ``timeout`` seconds."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def option(name: str) -> str | None:
    """Value of ``OTEL_EXPORTER_OTLP_TRACES_<name>``, else of ``OTEL_EXPORTER_OTLP_<name>``, else None."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or None


def timeout() -> float:
    """Seconds that one attempt may take, as ``OTEL_EXPORTER_OTLP_TIMEOUT`` says."""
    try:
        return float(option("TIMEOUT") or _TIMEOUT)
    except ValueError:
        return _TIMEOUT


def _headers() -> dict[str, str]:
    return {name.lower(): value for name, value in parse_env_headers(option("HEADERS") or "", liberal=True).items()}


def _taken(content: bytes) -> Answer:
    """The answer for a request that was taken, perhaps in part; a body that is no OTLP says nothing."""
    if not content:
        return Answer(Verdict.TAKEN)
    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return Answer(Verdict.TAKEN)
    return Answer(Verdict.TAKEN, partial.error_message, rejected=partial.rejected_spans)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a ``Retry-After`` header, which is a number or a date (RFC 9110, 10.2.3)."""
    value = (headers.get("retry-after") or "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


_HTTP_VERDICTS = {400: Verdict.REFUSED, 413: Verdict.REFUSED, 422: Verdict.REFUSED, 500: Verdict.FAULT}
"""The rest that is not 2xx means later: 429, 502, 503 and 504 by OTLP's rules; 401, 403, 404 and redirects because
that is the endpoint's or its proxy's configuration, which can be mended while we keep what we have."""


class HttpSender:
    """OTLP over HTTP with protobuf, by `requests`, as the SDK does; so its proxies and its CA bundle count here too."""

    def __init__(self, credentials: Any = None, url: str | None = None) -> None:
        """Send to ``url``; None: where ``OTEL_*`` says."""
        import requests

        self._session: Any = credentials or requests.Session()
        self._session.verify = option("CERTIFICATE") or True
        certificate, key = option("CLIENT_CERTIFICATE"), option("CLIENT_KEY")
        self._session.cert = (certificate, key) if certificate and key else certificate
        base = (os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318").removesuffix("/")
        self._url = url or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{base}/v1/traces"
        self._packing = (option("COMPRESSION") or "none").strip().lower()
        coded = {"content-encoding": self._packing} if self._packing in ("gzip", "deflate") else {}
        typed = {"content-type": "application/x-protobuf", "user-agent": _USER_AGENT}
        self._headers = {**typed, **coded, **_headers()}

    def _packed(self, body: bytes) -> bytes:
        if self._packing == "gzip":
            return gzip.compress(body, 6)
        return zlib.compress(body) if self._packing == "deflate" else body

    def send(self, body: bytes, timeout: float) -> Answer:
        """See `Sender`."""
        import requests

        try:
            reply = self._session.post(
                self._url, data=self._packed(body), headers=self._headers, timeout=timeout, allow_redirects=False
            )
        except requests.exceptions.RequestException as error:
            return Answer(Verdict.GONE if _refused(error) else Verdict.LATER, type(error).__name__)
        if 200 <= reply.status_code < 300:
            return _taken(reply.content)
        verdict = _HTTP_VERDICTS.get(reply.status_code, Verdict.LATER)
        return Answer(verdict, f"HTTP {reply.status_code}", _retry_after(reply.headers))

    def close(self) -> None:
        """See `Sender`."""
        self._session.close()


def _refused(error: BaseException | None) -> bool:
    """Tell whether a refused connection is at the bottom of ``error``, through `requests` and `urllib3`."""
    for _ in range(8):
        if error is None or isinstance(error, ConnectionRefusedError):
            break
        inner: Any = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = error.__cause__ or error.__context__ or (inner if isinstance(inner, BaseException) else None)
    return isinstance(error, ConnectionRefusedError)


class GrpcSender:
    """OTLP over gRPC. The channel connects again by itself, every 2 seconds at most."""

    def __init__(self) -> None:
        import grpc

        endpoint = option("ENDPOINT") or "http://localhost:4317"
        scheme, _, rest = endpoint.rpartition("://")
        insecure = (option("INSECURE") or str(scheme == "http")).lower() == "true" and scheme != "https"
        packing = grpc.Compression.Gzip if option("COMPRESSION") == "gzip" else grpc.Compression.NoCompression
        target = rest.partition("/")[0]
        more: dict[str, Any] = {"options": _GRPC_OPTIONS, "compression": packing}
        self._channel: Any = (
            grpc.insecure_channel(target, **more) if insecure
            else grpc.secure_channel(target, _grpc_credentials(), **more)
        )
        self._export: Any = self._channel.unary_unary(_METHOD)
        self._metadata = tuple(_headers().items())

    def send(self, body: bytes, timeout: float) -> Answer:
        """See `Sender`."""
        import grpc

        try:
            return _taken(self._export(body, timeout=timeout, metadata=self._metadata))
        except grpc.RpcError as error:
            return _grpc_answer(error)

    def close(self) -> None:
        """See `Sender`."""
        self._channel.close()


def _grpc_credentials() -> Any:
    import grpc

    def content(name: str) -> bytes | None:
        path = option(name)
        if path is None:
            return None
        with open(path, "rb") as file:
            return file.read()

    return grpc.ssl_channel_credentials(content("CERTIFICATE"), content("CLIENT_KEY"), content("CLIENT_CERTIFICATE"))


def _grpc_answer(error: Any) -> Answer:
    import grpc
    from google.rpc.error_details_pb2 import RetryInfo

    code, details = error.code(), error.details() or ""
    said: dict[str, bytes] = dict(error.trailing_metadata() or ())
    asked = said.get("google.rpc.retryinfo-bin")
    wait = RetryInfo.FromString(asked).retry_delay.ToTimedelta().total_seconds() if asked else None
    if code is grpc.StatusCode.INVALID_ARGUMENT or "larger than max" in details:
        verdict = Verdict.REFUSED
    elif code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS):
        verdict = Verdict.FAULT
    elif code is grpc.StatusCode.UNAVAILABLE and "refused" in details.lower():
        verdict = Verdict.GONE
    else:
        verdict = Verdict.LATER
    return Answer(verdict, f"gRPC {code.name}", wait)


def load(grpc: bool) -> None:
    """Import what a sender needs, in the application's thread.

    A fork in the middle of an import in another thread would leave the child with a lock that nobody opens.
    """
    if grpc:
        import_module("google.rpc.error_details_pb2")
        import_module("grpc")
    else:
        import_module("requests")
        import_module("encodings.idna")  # for every host name that is looked up


def make_sender(grpc: bool) -> Sender:
    """The sender for the protocol that ``OTEL_EXPORTER_OTLP_PROTOCOL`` names."""
    return GrpcSender() if grpc else HttpSender(_given_session())


def _given_session() -> Any:
    """The session of a credential provider, if ``OTEL_PYTHON_EXPORTER_OTLP_*_CREDENTIAL_PROVIDER`` names one."""
    prefix = "OTEL_PYTHON_EXPORTER_OTLP_HTTP"
    name = os.environ.get(f"{prefix}_CREDENTIAL_PROVIDER") or os.environ.get(f"{prefix}_TRACES_CREDENTIAL_PROVIDER")
    if not name:
        return None
    from importlib.metadata import entry_points

    found = next(iter(entry_points(group="opentelemetry_otlp_credential_provider", name=name)), None)
    return found.load()() if found is not None else None
