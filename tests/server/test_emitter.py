"""The outbox's postman: a revision that cannot be a span is left out, and does not stop the others."""

import pytest
import sqlalchemy as sa

from backspan.store.schema import vote_log
from tests.support import databases
from tests.support.otlp_sink import OtlpSink

from .conftest import Server, token, until

DAMAGED = 2


class Trusting(Server):
    """Takes every revision for one that can be sent."""

    before = "from backspan.server import emitter; emitter._sendable = lambda letter, row: True"


class Early(Server):
    """Tells of its outbox before it serves, as one may that comes back."""

    before = "import sys; print('http://127.0.0.1:9 does not take feedback spans, ...', file=sys.stderr, flush=True)"


@pytest.fixture
def sink():
    with OtlpSink() as sink:
        yield sink


@pytest.fixture
def gateway(servers, sink, tmp_path):
    """A gateway that has just come back, with three revisions in its outbox of which the second is damaged."""
    server = servers("gateway", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").start()
    for number in (1, 2, 3):
        assert server.vote({"thumbs": "up", "token": token(number)})[0] == 201
    server.stop()
    engine = sa.create_engine(databases.at(tmp_path / "gateway.db"))
    with engine.begin() as conn:
        conn.execute(sa.update(vote_log).where(vote_log.c.seq == DAMAGED).values(time=float("inf")))
    engine.dispose()
    server.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.endpoint
    return server


def test_a_revision_that_cannot_be_sent_is_left_out_said_and_counted(gateway, sink):
    gateway.start()
    assert len(sink.wait_spans(2)) == 2
    until(lambda: gateway.json("/api/outbox")[1]["waiting"] == 0)
    assert gateway.json("/api/outbox")[1]["unsendable"] == 1
    assert gateway.vote({"thumbs": "down", "token": token(4)})[0] == 201  # and it goes on
    assert len(sink.wait_spans(3)) == 3
    gateway.stop()
    assert [line for line in gateway.lines if "cannot be encoded" in line and f"revisions {DAMAGED}" in line]
    assert {f"{number:032x}" for number in (1, 3, 4)} == {span.links[0][0] for span in sink.spans}


def test_a_gateway_that_leaves_nothing_out_is_noticed(gateway, sink):
    """Its twin: the others wait for ever. It says so, and goes on taking votes."""
    trusting = Trusting(gateway.command, gateway.arguments, gateway.env).start()
    try:
        until(lambda: any("cannot be made" in line for line in trusting.lines))
        assert trusting.vote({"thumbs": "down", "token": token(4)})[0] == 201
        assert trusting.json("/api/outbox")[1]["waiting"] == 4 and sink.spans == []
    finally:
        trusting.stop()


def test_what_is_said_before_it_serves_is_not_taken_for_its_address(gateway):
    early = Early(gateway.command, gateway.arguments, gateway.env).start()
    try:
        assert early.json("/healthz")[0] == 200 and "does not take" in early.lines[0]
    finally:
        early.stop()
