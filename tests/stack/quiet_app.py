"""An application with every signal: answers and judgements by the variable, spans, metrics and logs by the SDK."""

import logging
import sys

import openai
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import backspan

if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

tracers = TracerProvider(shutdown_on_exit=False)
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(tracers)
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], shutdown_on_exit=False)
metrics.set_meter_provider(meters)
loggers = LoggerProvider(shutdown_on_exit=False)
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
_logs.set_logger_provider(loggers)
logging.basicConfig(level=logging.WARNING)

with openai.OpenAI() as client:
    answer = client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "Hello?"}])
print(backspan.record_feedback(answer, thumbs="up", rater="one").status)
_logs.get_logger("app").emit(_logs.LogRecord(body="said", severity_text="INFO"))
metrics.get_meter("app").create_counter("app.asked").add(1)
for provider in (tracers, meters, loggers):
    provider.shutdown()
