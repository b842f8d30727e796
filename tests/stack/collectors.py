"""One real Collector with the shipped file, any profiles and changes merged over it, in front of two sinks.

What the Collector would send to Tempo comes to ``tempo`` (gRPC, which refuses messages over 4 MiB, as any gRPC server
does by default); what it would send to the gateway, Prometheus and Loki comes to ``others``.
"""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status
from tests.stack.backend import until
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment, free_port

from backspan._assets import asset
from backspan.cli._stack.build import bin_dir

PROGRAM = bin_dir() / "otelcol-backspan"
"""Found before the tests' clean environment hides where it is."""
SHIPPED = asset("collector") / "collector.yaml"
PROFILES = asset("collector") / "profiles"
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_KEY = "k" * 64
_TRIES = 3
_ENDED = 1_750_000_000_000_000_000


class _Others(OtlpSink):
    """Takes what goes to Prometheus and Loki too, at their paths."""

    def receive(self, path: str, data: bytes) -> int:
        return super().receive(path.removeprefix("/api/v1/otlp").removeprefix("/otlp"), data)


@dataclass(frozen=True)
class Collector:
    """The running Collector, its ports by name, and the two sinks behind it."""

    ports: Mapping[str, int]
    tempo: OtlpSink
    others: OtlpSink
    log: Path

    @property
    def url(self) -> str:
        """Of OTLP/HTTP."""
        return f"http://127.0.0.1:{self.ports['otlp_http']}"

    def metrics(self) -> str:
        """What the Collector says of itself."""
        with LOCAL.open(f"http://127.0.0.1:{self.ports['metrics']}/metrics", timeout=10) as answer:
            return answer.read().decode()


def configs(folder: Path, *parts: Path | str) -> list[str]:
    """``--config`` arguments: the shipped file, then each part; a part that is text is YAML."""
    files = [SHIPPED]
    for number, part in enumerate(parts):
        file = part if isinstance(part, Path) else folder / f"part{number}.yaml"
        if isinstance(part, str):
            file.write_text(part, encoding="utf-8")
        files.append(file)
    return [f"--config={file}" for file in files]


def accepts(folder: Path, *parts: Path | str) -> bool:
    """Whether `validate` takes the shipped file with these parts."""
    command = [PROGRAM, "validate", *configs(folder, *parts)]
    done = subprocess.run(command, env=environment(REDACTION_HMAC_KEY=_KEY), capture_output=True, text=True, timeout=60)
    print(done.stderr)
    return done.returncode == 0


@contextmanager
def running(folder: Path, *parts: Path | str, **env: str) -> Generator[Collector]:
    """A Collector for the block, ready."""
    with OtlpSink() as tempo, _Others() as others:
        behind = {"TEMPO_OTLP_GRPC": tempo.serve_grpc().removeprefix("http://"), "PROMETHEUS_URL": others.endpoint,
                  "GATEWAY_URL": others.endpoint, "LOKI_URL": others.endpoint}
        log = folder / "collector.log"
        process, ports = _started(folder, log, configs(folder, *parts), {**behind, **env})
        try:
            yield Collector(ports, tempo, others, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


def _started(
    folder: Path, log: Path, arguments: list[str], env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
    """The process and its ports. A port that somebody else took meanwhile costs another try."""
    for _ in range(_TRIES):
        ports = {name: free_port() for name in ("otlp_grpc", "otlp_http", "health", "zpages", "metrics", "inside")}
        given = environment(**{**_environment(folder, ports), **env})
        with log.open("w") as out:
            process = subprocess.Popen([PROGRAM, *arguments], env=given, stdout=out, stderr=out)
        if until(lambda process=process, ports=ports: _ready(process, ports["health"]), "a Collector") == "ready":
            return process, ports
        said = log.read_text(encoding="utf-8")
        assert "address already in use" in said, said
    raise AssertionError(f"no free ports in {_TRIES} tries")


def _environment(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        "COLLECTOR_OTLP_GRPC": f"127.0.0.1:{ports['otlp_grpc']}",
        "COLLECTOR_OTLP_HTTP": f"127.0.0.1:{ports['otlp_http']}",
        "COLLECTOR_INSIDE_HTTP": f"127.0.0.1:{ports['inside']}",
        "COLLECTOR_HEALTH": f"127.0.0.1:{ports['health']}",
        "COLLECTOR_ZPAGES": f"127.0.0.1:{ports['zpages']}",
        "COLLECTOR_METRICS_HOST": "127.0.0.1",
        "COLLECTOR_METRICS_PORT": str(ports["metrics"]),
        "COLLECTOR_QUEUE_DIR": str(folder / "queue"),
        "REDACTION_HMAC_KEY": _KEY,
    }


def _ready(process: subprocess.Popen[bytes], health: int) -> str | None:
    if process.poll() is not None:
        return "ended"
    with LOCAL.open(f"http://127.0.0.1:{health}/", timeout=5) as answer:
        return "ready" if answer.status == 200 else None


# --- what is sent ---------------------------------------------------------------------------------------------------
def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_value(item) for item in value]))
    return AnyValue(string_value=value)


def pairs(said: Mapping[str, Any]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [KeyValue(key=key, value=_value(value)) for key, value in said.items()]


def span(number: int, said: Mapping[str, Any], *, failed: bool = False, ended: int = _ENDED) -> Span:
    """A root span of a tenth of a second that ended at that nanosecond; equal numbers are the same span."""
    status = Status(code=Status.STATUS_CODE_ERROR) if failed else None
    return Span(
        trace_id=(0xABC0_0000_0000_0000_0000_0000_0000_0000 + number).to_bytes(16, "big"),
        span_id=(0xDEF0_0000_0000_0000 + number).to_bytes(8, "big"), name=f"chat {number}", kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=ended - 10**8, end_time_unix_nano=ended, attributes=pairs(said), status=status)


def request(spans: Iterable[Span], service: str = "app") -> ExportTraceServiceRequest:
    """One OTLP request."""
    group = ResourceSpans()
    group.resource.attributes.extend(pairs({"service.name": service}))
    group.scope_spans.add().spans.extend(spans)
    return ExportTraceServiceRequest(resource_spans=[group])


def logs(bodies: Iterable[str]) -> ExportLogsServiceRequest:
    """One OTLP request."""
    message = ExportLogsServiceRequest()
    records = message.resource_logs.add().scope_logs.add().log_records
    for body in bodies:
        records.add().body.string_value = body
    return message


def post(url: str, message: ExportTraceServiceRequest | ExportLogsServiceRequest, **headers: str) -> int:
    """Send one OTLP request; the status. Raises HTTPError for a refusal."""
    signal = "logs" if isinstance(message, ExportLogsServiceRequest) else "traces"
    sent = urllib.request.Request(
        f"{url}/v1/{signal}", message.SerializeToString(), {"Content-Type": "application/x-protobuf", **headers})
    with LOCAL.open(sent, timeout=60) as answer:
        return answer.status
