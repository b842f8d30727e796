"""Sending accepted feedback again: the same spans, only those asked for, only for those who may."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.support import databases
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment

from .conftest import token, until


def ids(spans):
    return sorted((span.trace_id, span.span_id, span.start, span.end) for span in spans)


def reemit(*arguments, **env):
    return subprocess.run([sys.executable, "-m", "backspan", "feedback", "reemit", *arguments],
                          env=environment(**env), capture_output=True, text=True, timeout=60)


@pytest.fixture
def sink():
    with OtlpSink() as sink:
        yield sink


@pytest.fixture
def gateway(servers, sink):
    """A gateway whose back end has taken three revisions of two votes."""
    server = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint, BACKSPAN_API_KEY="secret").start()
    server.vote({"thumbs": "up", "token": token(1)})
    server.vote({"thumbs": "down", "token": token(1)})
    server.vote({"thumbs": "down", "reasons": ["wrong"], "token": token(2)})
    sink.wait_spans(3)
    until(lambda: server.json("/api/outbox")[1]["waiting"] == 0)
    return server


def test_the_same_spans_come_again(gateway, sink):
    counted = votes_counted(gateway)
    done = reemit("--since", "1h", "--gateway", gateway.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 feedback spans since ") and "has taken all" in done.stdout
    spans = sink.wait_spans(6)
    assert ids(spans[:3]) == ids(spans[3:])
    assert [span.attributes for span in spans[:3]] == [span.attributes for span in spans[3:]]
    assert votes_counted(gateway) == counted


def votes_counted(server):
    """All series of votes, after the two scrapes that show a new one at 0."""
    shown = [server.metrics() for _ in range(3)][-1]
    return [line for line in shown.splitlines() if line.startswith("backspan_feedback_total{")]


def test_only_what_was_asked_for_comes_again(gateway, sink):
    """The twin of the above: a later moment sends nothing, one between two votes the later one."""
    done = reemit("--since", str(time.time() + 5), "--gateway", gateway.url, "--json")
    assert json.loads(done.stdout)["again"] == 0
    assert gateway.json("/api/outbox")[1]["waiting"] == 0
    between = time.time() - 0.1  # the command has taken longer; and the clock may be set back a little
    gateway.vote({"thumbs": "up", "token": token(3)})
    assert len(sink.wait_spans(4)) == 4
    until(lambda: gateway.json("/api/outbox")[1]["waiting"] == 0)
    assert gateway.json("/api/outbox", "PUT", {"since": between})[1]["again"] == 1
    spans = sink.wait_spans(5)
    assert ids(spans[3:4]) == ids(spans[4:])


def test_while_the_back_end_refuses_they_wait(gateway, sink):
    sink.refuse(503)
    done = reemit("--since", "1h", "--gateway", gateway.url, "--wait", "0.5")
    assert done.returncode == 1 and "3 still wait for" in done.stdout
    sink.refuse(None)
    assert ids(sink.wait_spans(6)[3:]) == ids(sink.spans[:3])


def test_by_the_database_of_a_gateway_that_is_down(servers, sink, tmp_path):
    gateway = servers("gateway", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
    gateway.vote({"thumbs": "up", "token": token(4)})
    sink.wait_spans(1)
    until(lambda: gateway.json("/api/outbox")[1]["waiting"] == 0)
    gateway.stop()
    done = reemit("--since", "1h", *databases.arguments(tmp_path / "gateway.db"))
    assert done.returncode == 0 and done.stdout.startswith("1 feedback spans"), done
    gateway.start()
    spans = sink.wait_spans(2)
    assert ids(spans[:1]) == ids(spans[1:])
    gateway.stop()


@pytest.fixture(scope="module")
def idle(servers):
    """A gateway without votes."""
    return servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", BACKSPAN_API_KEY="secret").start()


@pytest.mark.parametrize(("headers", "status"), [
    ({"X-Forwarded-For": "1.2.3.4"}, 401), ({"Origin": "https://evil.example"}, 401),
    ({"X-Forwarded-For": "1.2.3.4", "Authorization": "Bearer wrong"}, 401),
    ({"X-Forwarded-For": "1.2.3.4", "Authorization": "Bearer secret"}, 200), ({}, 200),
])
def test_only_trusted_callers_may(idle, headers, status):
    assert idle.request("PUT", "/api/outbox", {"since": 0}, headers)[0] == status
    assert idle.request("GET", "/api/outbox", headers=headers)[0] == status


@pytest.mark.parametrize("body", [{}, {"since": "yesterday"}, {"since": True}, {"since": -1}, [], b"{", b"\xff",
                                  b'{"since": NaN}', b'{"since": 1e999}'])
def test_a_wrong_body_is_refused(idle, body):
    status, answer = idle.json("/api/outbox", "PUT", body)
    assert (status, answer["field"]) == (422, "since")


def test_a_server_that_sends_nothing_says_so(up):
    status, answer = up.json("/api/outbox", "PUT", {"since": 0})
    assert status == 409 and "--forward" in answer["detail"]


@pytest.mark.parametrize(("arguments", "said"), [
    (["--since", "yesterday"], "--since"), (["--since", "1h", "--gateway", "localhost"], "http://host:port"),
    (["--since", "1h", "--gateway", "http://127.0.0.1:9"], "does not answer"),
    (["--since", "1h", "--db", "no-such.db"], "no-such.db"),
])
def test_faults_are_one_line(arguments, said):
    done = reemit(*arguments)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1, done
