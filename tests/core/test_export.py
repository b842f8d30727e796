"""Export against a real receiver that refuses, faints, is too small or is not there: what arrives, and what is said."""

import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider

from backspan import semconv
from backspan._export import processor as _processor
from backspan._export import send as _send
from backspan._export import span_processor
from backspan._export.delivery import Delivery
from backspan._export.processor import QueueSpanProcessor
from backspan._export.send import Answer, HttpSender, Verdict
from tests.support.commanded import Commanded, span_names
from tests.support.processes import free_port

CONTENT = {semconv.INPUT_MESSAGES: "question " * 2000}


@pytest.fixture
def sink(monkeypatch):
    with Commanded() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        yield receiver


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses that a test can wait for."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setattr(_processor, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(_processor, "LONGEST_PAUSE", 0.05)


class Exporting:
    """A provider with one processor of ours, made from the environment."""

    def __init__(self):
        self.processor = span_processor()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)

    def span(self, name, **given):
        self.provider.get_tracer("backspan").start_span(name, attributes=given).end()

    @property
    def delivery(self):
        return self.processor.delivery


@pytest.fixture
def out(sink):
    exporting = Exporting()
    yield exporting
    exporting.processor.shutdown(5)


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_ends_arrives_once_and_in_order(out, sink):
    for n in range(2000):
        out.span(f"s{n}")
    assert out.processor.force_flush(30_000)
    assert sink.names() == [f"s{n}" for n in range(2000)]
    assert (out.delivery.delivered, out.delivery.lost) == (2000, 0)
    assert (len(out.processor.queue), out.processor.queue.used) == (0, 0)


def test_nobody_has_to_flush(out, sink):
    out.span("a")
    sink.wait_spans(1)
    out.span("b")  # the thread has gone to sleep without an end meanwhile, and wakes
    assert [span.name for span in sink.wait_spans(2)] == ["a", "b"]


def test_no_thread_before_the_first_span(out):
    assert out.processor._thread is None
    out.span("a")
    assert out.processor._thread.is_alive()


@pytest.mark.parametrize("status", [503, 429, 502, 504, 404, 401])
def test_an_outage_loses_nothing_keeps_the_order_and_says_nothing(status, out, sink, caplog):
    sink.refuse(status)
    for n in range(700):
        out.span(f"s{n}", **CONTENT)
    sink.wait_answers(3, status)
    for n in range(700, 1400):
        out.span(f"s{n}")
    sink.refuse(None)
    sink.wait_spans(1400)
    assert sink.names() == [f"s{n}" for n in range(1400)]
    assert out.processor.force_flush(30_000) and out.delivery.retries >= 3
    assert (out.delivery.lost, out.delivery.stripped, out.delivery.failing, said(caplog)) == (0, 0, False, [])


def test_a_collector_that_starts_later_gets_all(monkeypatch):
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    out = Exporting()
    for n in range(100):
        out.span(f"s{n}")
    assert not out.processor.force_flush(30_000)  # refused: known at once
    from tests.support.otlp_sink import OtlpSink

    with OtlpSink(port) as sink:
        assert [span.name for span in sink.wait_spans(100)] == [f"s{n}" for n in range(100)]
        out.processor.shutdown()
    assert out.delivery.lost == 0


def test_without_repeating_it_would_be_lost(out, sink, monkeypatch):
    """The twin of the outage: a processor that forgets what failed is noticed."""
    monkeypatch.setattr(QueueSpanProcessor, "_send", lambda self, batch: self._attempt(batch) and [])
    sink.refuse(503)
    out.span("lost")
    sink.wait_answers(1, 503)
    sink.refuse(None)
    out.span("kept")
    sink.wait_spans(1, where=lambda span: span.name == "kept")
    assert "lost" not in sink.names()


def test_while_it_is_away_it_is_asked_with_little(out, sink):
    sink.refuse(503)
    for n in range(300):
        out.span(f"s{n}", **CONTENT)
    sink.wait_answers(4, 503)
    assert max(sink.sizes[1:]) < _processor.PROBE_BYTES + 20_000
    sink.refuse(None)
    sink.wait_spans(300)


def test_requests_are_small_enough_for_a_collector(out, sink):
    for n in range(300):
        out.span(f"s{n}", **{semconv.INPUT_MESSAGES: "x" * 60_000})
    assert out.processor.force_flush(60_000)
    assert len(sink.names()) == 300 and max(sink.sizes) < 4 << 20


def test_one_span_that_is_refused_takes_no_other_with_it(out, sink, caplog):
    sink.judge = lambda request, _size: 400 if "bad" in span_names(request) else 200
    names = [f"s{n}" for n in range(100)]
    for name in [*names[:50], "bad", *names[50:]]:
        out.span(name)
    assert out.processor.force_flush(30_000)
    assert sink.names() == names
    assert out.delivery.dropped == {("span", "refused"): 1}
    (line,) = said(caplog)
    assert "refuses some telemetry (HTTP 400)" in line and sink.endpoint in line


def test_a_span_that_is_too_large_goes_without_its_content(out, sink):
    sink.judge = lambda _request, size: 413 if size > 50_000 else 200
    for n in range(10):
        out.span(f"s{n}", **(CONTENT if n != 5 else {semconv.INPUT_MESSAGES: "x" * 100_000}))
    assert out.processor.force_flush(30_000)
    assert sink.names() == [f"s{n}" for n in range(10)]
    assert [span.name for span in sink.spans if span.attributes.get(semconv.CONTENT_DROPPED)] == ["s5"]
    assert (out.delivery.stripped, out.delivery.lost) == (1, 0)


def test_an_endpoint_that_likes_nothing_is_not_asked_for_ever(out, sink):
    sink.judge = lambda _request, _size: 400
    for n in range(512):
        out.span(f"s{n}")
    out.processor.force_flush(30_000)
    assert out.delivery.lost == 512 and len(sink.statuses) < 100
    sink.judge = lambda _request, _size: 200
    out.span("later")
    sink.wait_spans(1)


def test_a_batch_that_breaks_the_endpoint_does_not_stay_for_ever(out, sink):
    sink.judge = lambda request, _size: 500 if "bad" in span_names(request) else 200
    for name in ("a", "bad", "b"):
        out.span(name)
    sink.wait_spans(2)
    assert sink.names() == ["a", "b"]


def test_past_the_bound_it_is_counted_and_said_once(monkeypatch, sink, caplog):
    monkeypatch.setenv("BACKSPAN_QUEUE_BYTES", "100000")
    from backspan import config

    config.reload()
    out = Exporting()
    sink.refuse(503)
    out.span("vote", **{semconv.FEEDBACK_ID: "v"})
    for n in range(500):
        out.span(f"s{n}", **CONTENT)
    sink.refuse(None)
    assert out.processor.force_flush(30_000)
    out.processor.shutdown()
    arrived = sink.names()
    assert "vote" in arrived and len(arrived) + out.delivery.lost == 501
    assert out.delivery.dropped == {("span", "full"): out.delivery.lost} and out.delivery.lost > 0
    (line,) = said(caplog)
    assert "as fast as it comes" in line


def test_at_exit_the_rest_leaves_in_one_go(out, sink, monkeypatch):
    out.processor._delay = 3600.0
    for n in range(1000):
        out.span(f"s{n}")
    out.processor.shutdown(60)
    assert len(sink.names()) == 1000
    out.span("too late")
    assert len(out.processor.queue) == 0


def test_at_exit_an_endpoint_that_hangs_is_left_and_the_loss_counted(monkeypatch, caplog):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        out = Exporting()
        out.span("a")
        out.span("vote", **{semconv.FEEDBACK_ID: "v"})
        out.processor.shutdown(0.2)
    assert out.delivery.dropped == {("span", "exit"): 1, ("feedback", "exit"): 1}
    assert len(said(caplog)) == 1


def test_grpc(sink, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.serve_grpc())
    out = Exporting()
    for n in range(600):
        out.span(f"s{n}")
    assert out.processor.force_flush(30_000)
    out.processor.shutdown()
    assert sink.names() == [f"s{n}" for n in range(600)] and out.delivery.lost == 0


# --- one attempt -----------------------------------------------------------------------------------------------------
class _Waits(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.headers_seen.append(dict(self.headers))
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        self.send_header("Retry-After", "7")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


def test_what_the_endpoint_asks_is_heard_and_the_variables_count(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Waits) as server:
        server.headers_seen = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/x")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k,x-one=1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        sender = HttpSender()
        answer = sender.send(b"body", 60)
        sender.close()
        server.shutdown()
    assert answer == Answer(Verdict.LATER, "HTTP 503", 7.0)
    (seen,) = server.headers_seen
    assert seen["authorization"] == "Bearer k" and seen["x-one"] == "1" and seen["content-encoding"] == "gzip"


def test_the_pause_that_was_asked_for_is_kept():
    processor = QueueSpanProcessor(lambda: None, Delivery("x"), 1000)
    before = _processor.time.monotonic()
    processor._rest(Answer(Verdict.LATER, "", 7.0))
    assert processor._not_before >= before + 7
    processor._rest(Answer(Verdict.LATER, "", 1e9))
    assert processor._not_before < _processor.time.monotonic() + _processor.LONGEST_ASKED + 1


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), ("-1", 0.0), ("x", None), ("inf", None), ("", None)])
def test_retry_after(value, seconds):
    assert _send._retry_after({"retry-after": value}) == seconds
    assert _send._retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


def test_an_outage_of_half_a_minute_is_said(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("backspan._export.delivery.time.monotonic", lambda: now[0])
    delivery = Delivery("http://x")
    delivery.retry()
    now[0] = 29.0
    delivery.retry()
    assert said(caplog) == []
    now[0] = 31.0
    delivery.retry()
    delivery.retry()
    assert len(said(caplog)) == 1
