"""The receiver, fed by OpenTelemetry's own exporters and by hand."""

import gzip
import json
import time
import zlib

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from backspan import config, semconv, telemetry
from backspan.context import Target
from backspan.feedback.emit import emit
from backspan.feedback.memory import MemorySink
from backspan.feedback.model import parse
from backspan.server.bodies import MOST_OTLP

from .conftest import DIMS, until

RESOURCE = Resource({"service.name": "chat", "deployment.environment.name": "test"})
PROTOBUF = {"Content-Type": "application/x-protobuf"}
MESSAGES = [{"role": "system", "parts": [{"type": "text", "content": "be kind"}]},
            {"role": "user", "parts": [{"type": "text", "content": "how long?"}]}]
ANSWER = [{"role": "assistant", "parts": [{"type": "text", "content": "14 days"}], "finish_reason": "stop"}]


@pytest.fixture(params=[Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def tracer(up, request):
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{up.url}/v1/traces", compression=request.param)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


def test_a_turn_as_the_exporter_sends_it(up, tracer):
    with tracer.start_as_current_span("invoke_workflow") as root:
        context = root.get_span_context()
        ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        turn = "-".join(ids)
        root.set_attributes({semconv.OPERATION_NAME: semconv.INVOKE_WORKFLOW, semconv.TURN_ID: turn})
        with tracer.start_as_current_span("retrieval kb") as span:
            span.set_attributes({
                semconv.OPERATION_NAME: semconv.RETRIEVAL, semconv.TURN_ID: turn, semconv.INDEX_VERSION: "4",
                semconv.RETRIEVAL_DOCUMENTS: json.dumps([{"id": "d1", "score": 0.5}])})
        with tracer.start_as_current_span("chat m-1") as span:
            span.set_attributes({
                semconv.OPERATION_NAME: semconv.CHAT, semconv.TURN_ID: turn, semconv.REQUEST_MODEL: "m-1",
                semconv.PROMPT_NAME: "support", semconv.PROMPT_HASH: "abc", semconv.USAGE_INPUT_TOKENS: 7,
                semconv.RESPONSE_ID: "chatcmpl-1", semconv.CONVERSATION_ID: "c-9",
                semconv.INPUT_MESSAGES: json.dumps(MESSAGES), semconv.OUTPUT_MESSAGES: json.dumps(ANSWER)})
    found = up.json(f"/api/turns/{turn}")[1]
    said = {key: found[key] for key in ("trace_id", "span_id", "service", "environment", "conversation_id", "model",
                                        "prompt_name", "prompt_version", "index_version", "input_tokens", "query",
                                        "answer", "documents")}
    assert said == {
        "trace_id": ids[0], "span_id": ids[1], "service": "chat", "environment": "test", "conversation_id": "c-9",
        "model": "m-1", "prompt_name": "support", "prompt_version": "abc", "index_version": "4", "input_tokens": 7,
        "query": "how long?", "answer": "14 days", "documents": [{"id": "d1", "score": 0.5}]}
    assert len(found["calls"]) == 3 and found["calls"][-1]["messages"] == MESSAGES
    status, answer = up.vote({"stars": 1, "target": {"response_id": "chatcmpl-1"}, "rater": turn})
    assert (status, answer["resolved"]) == (201, True)
    worst = up.json("/api/turns?polarity=negative&prompt_version=abc&session=c-9&model=m-1")[1]["turns"]
    assert turn in [one["turn_id"] for one in worst]


def test_feedback_of_an_application_without_a_gateway(up, tracer, monkeypatch):
    """`record_feedback` in the application's process sends spans: they are votes here."""
    monkeypatch.setenv("BACKSPAN", "content")
    config.reload()
    trace_id = f"{time.time_ns():032x}"
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{up.url}/v1/traces")))
    monkeypatch.setattr(telemetry._state, "tracer_provider", provider)
    monkeypatch.setattr(telemetry._state, "meter_provider", MeterProvider(shutdown_on_exit=False))
    sink, target = MemorySink(emitter=emit), Target(trace_id, "b7ad6b7169203331", 1, dims=DIMS, at=time.time() - 9)
    for said in ({"thumbs": True, "solicited": True}, {"thumbs": False, "comment": "too short"},
                 {"thumbs": False, "retract": True}, {"thumbs": False}):
        sink.put(parse(said)[0], target, "someone", time.time())
    provider.shutdown()
    [vote] = up.json(f"/api/feedback?trace_id={trace_id}")[1]["feedback"]
    assert (vote["version"], vote["status"], vote["polarity"], vote["rater"]) == (4, "change", "negative", "someone")
    assert vote["dims"] == {**dict.fromkeys(semconv.DIMENSIONS, ""), **DIMS, "service.name": "chat"}
    revisions = up.json(f"/api/feedback/{vote['id']}")[1]["revisions"]
    assert [(one["op"], one["comment"]) for one in revisions] == [
        ("add", None), ("change", "too short"), ("retract", "too short"), ("change", None)]
    assert [one["solicited"] for one in revisions] == [True, None, None, None]


def test_metrics_and_logs_are_taken(up, tracer):
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(f"{up.url}/v1/metrics"))],
                           shutdown_on_exit=False)
    meters.get_meter("t").create_counter("c").add(1)
    assert meters.force_flush()
    meters.shutdown()
    exporter = OTLPLogExporter(f"{up.url}/v1/logs", compression=Compression.Gzip)
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    loggers.get_logger("t").emit(LogRecord(body="x"))
    loggers.shutdown()
    assert len(up.lines) == 1


# --- by hand --------------------------------------------------------------------------------------------------------
BEGAN = int(time.time()) - 3600
"""Unix seconds: of late, for a server forgets what is older than some days."""


def span_json(number, **fields):
    attributes = [{"key": semconv.OPERATION_NAME, "value": {"stringValue": "chat"}},
                  {"key": semconv.REQUEST_MODEL, "value": {"stringValue": "m-json"}}]
    span = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "parentSpanId": "", "name": "chat m-json",
            "kind": 3, "startTimeUnixNano": f"{BEGAN}000000000", "endTimeUnixNano": f"{BEGAN + 1}000000000",
            "attributes": attributes, "unknownField": {"a": 1}}
    return {**span, **fields}


def request_json(*spans, scope=""):
    """Spans of a service, made by no library of ours unless ``scope`` says so."""
    return {"resourceSpans": [{"resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": "by-hand"}}]},
        "scopeSpans": [{"scope": {"name": scope}, "spans": list(spans)}]}]}


def test_json_with_hex_ids(up):
    status, headers, answer = up.request("POST", "/v1/traces", request_json(span_json(0xABC1)))
    assert (status, headers["content-type"], json.loads(answer)) == (200, "application/json", {})
    [turn] = up.json(f"/api/turns?trace_id={0xABC1:032x}")[1]["turns"]
    assert (turn["span_id"], turn["service"], turn["duration"]) == (f"{0xABC1:016x}", "by-hand", 1.0)


def test_spans_with_unusable_ids_are_rejected_one_by_one(up):
    body = request_json(span_json(0xABC2), span_json(0), span_json(3, spanId="00"))
    status, _, answer = up.request("POST", "/v1/traces", body)
    assert (status, json.loads(answer)["partialSuccess"]["rejectedSpans"]) == (200, "2")
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.add(trace_id=b"1" * 3, span_id=b"2" * 8)
    status, headers, answer = up.request("POST", "/v1/traces", message.SerializeToString(), PROTOBUF)
    assert (status, headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1


def test_text_that_no_database_holds_is_stored_without_what_cannot_be(up):
    """JSON may say NUL and half a surrogate pair with escapes; a span must not be refused for ever because of it."""
    given = {semconv.OPERATION_NAME: "chat", semconv.RETRIEVAL_DOCUMENTS: r'[{"id": "a\u0000b\ud800c", "score": 0.5}]',
             semconv.INPUT_MESSAGES: r'[{"role": "user", "parts": [{"type": "text", "content": "x\ud83d\u0000y"}]}]'}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in given.items()]
    ids = {"key": semconv.RETRIEVAL_DOCUMENT_IDS, "value": {"arrayValue": {"values": [{"stringValue": "p\0q"}]}}}
    bodies = [request_json(span_json(0xABC5, attributes=attributes)),
              request_json(span_json(0xABC6, attributes=[*attributes[:1], ids]))]
    assert [up.request("POST", "/v1/traces", body)[0] for body in bodies] == [200, 200]
    [turn], [other] = (up.json(f"/api/turns?trace_id={number:032x}")[1]["turns"] for number in (0xABC5, 0xABC6))
    assert (turn["documents"], turn["query"]) == ([{"id": "ab?c", "score": 0.5}], "x?y")
    assert other["documents"] == [{"id": "pq"}]


BAD_FEEDBACK = [{semconv.FEEDBACK_ID: "short"}, {semconv.FEEDBACK_VERSION: 0}, {semconv.FEEDBACK_OP: "shout"},
                {semconv.EVALUATION_NAME: "User Thumbs"}, {semconv.FEEDBACK_POLARITY: "grim"}]


@pytest.mark.parametrize("change", BAD_FEEDBACK)
def test_feedback_spans_that_cannot_be_used_are_rejected(up, change):
    said = {semconv.FEEDBACK_ID: "f" * 32, semconv.FEEDBACK_VERSION: 1, semconv.FEEDBACK_OP: "add",
            semconv.EVALUATION_NAME: "user_thumbs", semconv.FEEDBACK_POLARITY: "negative", **change}
    attributes = [{"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
                  for key, value in said.items()]
    _, _, answer = up.request("POST", "/v1/traces", request_json(span_json(9, attributes=attributes)))
    assert json.loads(answer)["partialSuccess"]["rejectedSpans"] == "1"
    assert not up.json("/api/feedback?id=" + "f" * 32)[1]["feedback"]


BOMB = gzip.compress(b"\0" * (MOST_OTLP + 1))


@pytest.mark.parametrize(("path", "body", "headers", "status"), [
    ("/v1/traces", b"\xff\xff\xff", {}, 400),
    ("/v1/metrics", b"\xff\xff\xff", {}, 400),
    ("/v1/logs", b"\xff\xff\xff", {}, 400),
    ("/v1/traces", b"{", {"Content-Type": "application/json"}, 400),
    ("/v1/traces", b"[]", {"Content-Type": "application/json"}, 400),
    ("/v1/traces", b'{"resourceSpans": 7}', {"Content-Type": "application/json"}, 400),
    ("/v1/traces", b'{"a":' * 5000 + b"1" + b"}" * 5000, {"Content-Type": "application/json"}, 400),
    ("/v1/traces", json.dumps(request_json(span_json(1, traceId="zz"))).encode(),
     {"Content-Type": "application/json"}, 400),
    ("/v1/traces", b"x", {"Content-Type": "text/plain"}, 415),
    ("/v1/traces", b"x", {"Content-Encoding": "br"}, 415),
    ("/v1/traces", b"not gzip", {"Content-Encoding": "gzip"}, 400),
    ("/v1/traces", gzip.compress(b"x" * 1000, mtime=0)[:-10], {"Content-Encoding": "gzip"}, 400),
    ("/v1/traces", BOMB, {"Content-Encoding": "gzip"}, 413),
    ("/v1/traces", zlib.compress(b"\0" * (MOST_OTLP + 1)), {"Content-Encoding": "deflate"}, 413),
    ("/v1/traces", None, {"Content-Length": str(MOST_OTLP + 1)}, 413),
])
def test_what_is_no_otlp_is_refused_as_otlp_says(up, path, body, headers, status):
    found, got, _ = up.request("POST", path, body, {**PROTOBUF, **headers})
    assert found == status
    assert got["content-type"] == headers.get("Content-Type", "application/x-protobuf").replace(
        "text/plain", "application/x-protobuf")


def nested(depth):
    """One span, with an attribute that holds lists of pairs so deep."""
    value = {"stringValue": "x"}
    for _ in range(depth):
        value = {"kvlistValue": {"values": [{"key": "a", "value": value}]}}
    body = request_json(span_json(0xABC7))
    body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append({"key": "deep", "value": value})
    return body


@pytest.mark.parametrize(("depth", "status"), [(15, 200), (100, 400), (3000, 400)])
def test_values_within_values_are_no_fault(up, depth, status):
    head, foot = json.dumps(nested(1)).split('{"stringValue": "x"}')
    opening, _, closing = json.dumps({"kvlistValue": {"values": [{"key": "a", "value": 0}]}}).partition("0")
    body = head + opening * (depth - 1) + '{"stringValue": "x"}' + closing * (depth - 1) + foot
    assert up.request("POST", "/v1/traces", body.encode(), {"Content-Type": "application/json"})[0] == status
    assert up.json("/healthz")[0] == 200 and len(up.lines) == 1


def test_nothing_sent_is_nothing_stored(up):
    assert up.request("POST", "/v1/traces", b"", PROTOBUF)[0] == 200


def test_requests_are_passed_on_if_asked(servers):
    behind = servers().start()
    front = servers("up", "--forward", behind.url).start()
    assert front.request("POST", "/v1/traces", request_json(span_json(0xF0)))[0] == 200
    assert behind.json(f"/api/turns?trace_id={0xF0:032x}")[1]["turns"]
    front.vote({"thumbs": "up", "target": {"trace_id": f"{0xF0:032x}", "span_id": f"{0xF0:016x}"}})
    until(lambda: behind.json(f"/api/feedback?trace_id={0xF0:032x}")[1]["feedback"])
    behind.stop()
    status, headers, _ = front.request("POST", "/v1/traces", request_json(span_json(0xF1)))
    assert (status, headers["retry-after"]) == (503, "1")
    assert front.json(f"/api/turns?trace_id={0xF1:032x}")[1]["turns"], "stored all the same: repeating is harmless"


def test_the_exporters_of_this_module_used_no_global_provider():
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
