"""Votes on their way to a gateway: real HTTP on loopback, and what happens when it does not go well."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backspan import telemetry
from backspan.feedback import forward, record
from backspan.feedback.forward import Forwarder
from backspan.feedback.record import InvalidFeedback, feedback_token, record_feedback
from tests.support.answers import answered

from .conftest import DIMS, SPAN_ID, TRACE_ID, key, target


class Gateway(ThreadingHTTPServer):
    """Answers each request with the next of ``answers``, then with 201; keeps what it was sent."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.seen, self.open = [], [], threading.Event()
        self.open.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def bodies(self):
        return [body for _, _, body in self.seen]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.server.open.wait(30)
        status, sent = self.server.answers.pop(0) if self.server.answers else (201, b"{}")
        self.send_response(status)
        self.send_header("content-length", str(len(sent)))
        if status == 307:
            self.send_header("location", self.path)
        self.end_headers()
        self.wfile.write(sent)

    def do_GET(self):
        """Not for votes (a redirected one would come here): lets the held answers go."""
        assert self.path == "/open", "a redirected vote must not become a GET"
        self.server.open.set()
        self.send_response(200)
        self.end_headers()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def gateway(setenv, monkeypatch):
    monkeypatch.setattr(forward, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(record, "forwarder", Forwarder())
    server = Gateway()
    setenv(BACKSPAN_GATEWAY_URL=server.url + "/")
    yield server
    server.open.set()
    server.shutdown()
    server.server_close()


def sent(gateway):
    assert record.forwarder.flush(30)
    return gateway.bodies


def test_a_vote_goes_to_the_gateway_and_nothing_is_emitted_here(gateway, out):
    answered(target())
    receipt = record_feedback("chatcmpl-1", thumbs=False, reasons={"wrong", "old"}, comment="no")
    assert (receipt.status, receipt.version, len(receipt.id)) == ("queued", 0, 32)
    (body,) = sent(gateway)
    dims = body.pop("dims")
    assert body == {
        "thumbs": False, "reasons": ["old", "wrong"], "comment": "no", "retract": False, "trace_id": TRACE_ID,
        "span_id": SPAN_ID, "trace_flags": 3, "response_id": "chatcmpl-1", "conversation_id": "c-1",
        "turn_id": f"{TRACE_ID}-{SPAN_ID}", "at": target().at,
    }
    assert dims == {**DIMS, "service.name": telemetry.resource_attributes()["service.name"]}
    path, headers, _ = gateway.seen[0]
    assert (path, headers["content-type"]) == ("/v1/feedback", "application/json")
    assert "authorization" not in headers and "traceparent" not in headers
    assert (out.spans, out.logs, out.points("backspan.feedback")) == ((), [], [])


def test_a_token_is_handed_on_unread_and_the_key_is_sent(gateway, setenv):
    token = feedback_token(target())
    setenv(BACKSPAN_API_KEY="s3cret", BACKSPAN_TOKEN_KEYS=key(b"x"))
    assert record_feedback(token, stars=5).status == "queued"
    assert sent(gateway) == [{"stars": 5, "reasons": [], "retract": False}]
    headers = gateway.seen[0][1]
    assert (headers["backspan-token"], headers["authorization"]) == (token, "Bearer s3cret")


def test_falsy_values_are_sent_too(gateway):
    record_feedback((TRACE_ID, SPAN_ID), name="evaluator_x", value=0.0)
    record_feedback((TRACE_ID, SPAN_ID), thumbs=False)
    first, second = sent(gateway)
    assert (first["value"], second["thumbs"]) == (0.0, False)


def test_whether_it_was_asked_for_is_sent_where_it_was_said(gateway):
    for said in (None, True, False):
        record_feedback((TRACE_ID, SPAN_ID), thumbs=True, solicited=said)
    assert [body.get("solicited", "absent") for body in sent(gateway)] == ["absent", True, False]


def test_wrong_arguments_are_told_here(gateway):
    for judged, thumbs in ((("0" * 32, SPAN_ID), True), ((TRACE_ID, SPAN_ID), None), ("bs1.\n", True)):
        with pytest.raises(InvalidFeedback):
            record_feedback(judged, thumbs=thumbs)
    assert sent(gateway) == []


def test_votes_wait_for_a_gateway_that_is_busy_and_keep_their_order(gateway, caplog):
    gateway.answers = [(503, b""), (429, b""), (500, b"oops"), (502, b"{}")]
    for thumbs in (True, False, True):
        record_feedback((TRACE_ID, SPAN_ID), thumbs=thumbs)
    assert [body["thumbs"] for body in sent(gateway)] == [True] * 5 + [False, True]
    assert (record.forwarder.sent, record.forwarder.lost) == (3, 0)
    assert caplog.text.count("votes wait and are sent again") == 1


@pytest.mark.parametrize(("answer", "said"), [
    ((401, b""), "is BACKSPAN_API_KEY right"), ((422, b"{}"), "answered 422"), ((307, b""), "answered 307"),
    ((503, b'{"field": "token"}'), "answered 503"),
])
def test_a_refused_vote_is_lost_counted_and_said_once(gateway, caplog, answer, said):
    gateway.answers = [answer, answer]
    for _ in range(3):
        record_feedback((TRACE_ID, SPAN_ID), thumbs=True)
    assert len(sent(gateway)) == 3
    assert (record.forwarder.sent, record.forwarder.lost) == (1, 2)
    assert caplog.text.count(said) == 1


def test_a_full_queue_loses_the_newest_and_says_so_once(gateway, monkeypatch, caplog):
    monkeypatch.setattr(record, "forwarder", Forwarder(max_queued=2))
    gateway.open.clear()
    for stars in (1, 2, 3, 4):
        record_feedback((TRACE_ID, SPAN_ID), stars=stars)
    gateway.open.set()
    assert [body["stars"] for body in sent(gateway)] == [1, 2]
    assert record.forwarder.lost == 2
    assert caplog.text.count("the queue to the gateway is full") == 1


def test_the_queue_is_bounded_by_bytes_as_well(gateway, monkeypatch):
    monkeypatch.setattr(record, "forwarder", Forwarder(max_bytes=1000))
    record_feedback((TRACE_ID, SPAN_ID), correction="x" * 2000)
    assert (sent(gateway), record.forwarder.lost) == ([], 1)


def test_what_is_left_at_the_end_is_lost_counted_and_said(gateway, caplog):
    gateway.open.clear()
    record_feedback((TRACE_ID, SPAN_ID), thumbs=True)
    record_feedback((TRACE_ID, SPAN_ID), thumbs=False)
    record.forwarder.close(0.05)
    assert record.forwarder.lost == 2
    assert "the process ends and the gateway did not answer; votes lost: 2" in caplog.text


@pytest.mark.parametrize("url", ["gateway:8318", "file:///etc/passwd", "http://", "ftp://host"])
def test_a_gateway_that_is_no_http_url_is_said(gateway, setenv, caplog, url):
    setenv(BACKSPAN_GATEWAY_URL=url)
    assert record_feedback((TRACE_ID, SPAN_ID), thumbs=True).status == "queued"
    assert record.forwarder.lost == 1
    assert "BACKSPAN_GATEWAY_URL must begin with http" in caplog.text


def test_flush_of_the_package_waits_for_the_gateway(setenv, monkeypatch, out):
    server = Gateway()
    setenv(BACKSPAN_GATEWAY_URL=server.url)
    record_feedback((TRACE_ID, SPAN_ID), thumbs=True)
    assert telemetry.flush(30)
    assert len(server.seen) == 1
    server.open.clear()
    record_feedback((TRACE_ID, SPAN_ID), thumbs=False)
    assert not telemetry.flush(0.01)
    server.open.set()
    assert telemetry.flush(30)
    server.shutdown()
    server.server_close()
