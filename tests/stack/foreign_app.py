"""An application that another package instruments, and that knows nothing of us.

    foreign_app.py openinference|openllmetry

It asks for one answer at the end of a conversation, with a prompt's name and version, a session and a user as that
package has them, and prints the answer's id.
"""

import sys

import openai
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

MESSAGES = [{"role": "system", "content": "Be brief."}]
for number in range(8):
    MESSAGES += [{"role": role, "content": f"{role} {number}"} for role in ("user", "assistant")]
MESSAGES[-1] = {"role": "user", "content": "I am anna@example.com. How long?"}

tracers = TracerProvider(shutdown_on_exit=False)
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], shutdown_on_exit=False)


def ask() -> str:
    with openai.OpenAI() as client:
        return client.chat.completions.create(model="gpt-test", messages=MESSAGES, temperature=0.5).id


def openinference() -> str:
    from openinference.instrumentation import (
        Document,
        OITracer,
        TraceConfig,
        get_input_attributes,
        get_retriever_attributes,
        get_span_kind_attributes,
        using_attributes,
    )
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tracers)
    told = {"session_id": "4111-1111-1111-1111", "user_id": "anna", "prompt_template_version": "7"}
    tracer = OITracer(tracers.get_tracer("app"), TraceConfig())
    with using_attributes(**told), tracer.start_as_current_span("find") as one:
        one.set_attributes({
            **get_span_kind_attributes("retriever"), **get_input_attributes("how long?"),
            **get_retriever_attributes(documents=[Document(id="d1", score=0.75, content="14 days")]),
        })
        return ask()


def openllmetry() -> str:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tracers, meter_provider=meters)
    return ask()


print({"openinference": openinference, "openllmetry": openllmetry}[sys.argv[1]]())
tracers.shutdown()
meters.shutdown()
