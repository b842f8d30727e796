"""Export for the providers we build ourselves: OTLP as ``OTEL_*`` says, without loss, and silent but for one line.

The SDK's exporters log a traceback or a warning for every failed batch. In an application that never asked for
logging those land on its stderr, so while one of *our* exporters works, its library's records are held back, the loss
is counted, and said once in a sentence.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from backspan import config
from backspan._export.delivery import Delivery, hold_back_library_logs
from backspan._export.metrics import QuietMetricExporter
from backspan._guard import say_once

if TYPE_CHECKING:
    from backspan._export.processor import QueueSpanProcessor
    from backspan._export.send import Sender


def _protocol(signal: str) -> str:
    default = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or default
    if protocol not in {"http/protobuf", "grpc"}:
        say_once(f"protocol:{protocol}", f"OTLP protocol {protocol!r} is not supported, using http/protobuf")
        return "http/protobuf"
    return protocol


def _endpoint(signal: str, grpc: bool) -> str:
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or f"http://localhost:{4317 if grpc else 4318}"
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or base


def _wanted(signal: str) -> bool:
    wanted = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp")
    return "otlp" in [word.strip() for word in wanted.split(",")]


def span_processor() -> QueueSpanProcessor | None:
    """The processor that sends spans where ``OTEL_*`` says, or None with ``OTEL_TRACES_EXPORTER=none``."""
    if not _wanted("TRACES"):
        return None
    from backspan._export.processor import QueueSpanProcessor  # and with it protobuf, which no import waits for
    from backspan._export.send import load, make_sender

    grpc = _protocol("TRACES") == "grpc"
    load(grpc)

    def sender() -> Sender:
        made = make_sender(grpc)
        hold_back_library_logs()
        return made

    return QueueSpanProcessor(sender, Delivery(_endpoint("TRACES", grpc)), config.settings().queue_bytes)


def metric_exporter() -> QuietMetricExporter | None:
    """The OTLP metric exporter that ``OTEL_*`` asks for, or None with ``OTEL_METRICS_EXPORTER=none``."""
    if not _wanted("METRICS"):
        return None
    grpc = _protocol("METRICS") == "grpc"
    if grpc:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Exporter
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Exporter
    exporter = QuietMetricExporter(Exporter(), Delivery(_endpoint("METRICS", grpc)))
    hold_back_library_logs()
    return exporter
