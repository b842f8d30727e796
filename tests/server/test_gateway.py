"""The gateway's outbox, and how servers refuse to start."""

import socket
import subprocess
import sys

import pytest

from backspan import semconv
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment

from .conftest import KEY, token


def test_accepted_votes_become_feedback_spans_once(servers):
    with OtlpSink() as sink:
        gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        gateway.vote({"thumbs": "up", "token": token(1)})
        gateway.vote({"thumbs": "down", "reasons": ["wrong"], "token": token(1)})
        gateway.json("/v1/feedback/user_thumbs", "DELETE", Backspan_Token=token(1))
        spans = sink.wait_spans(3)
        assert [span.attributes[semconv.FEEDBACK_OP] for span in spans] == ["add", "change", "retract"]
        assert {span.links for span in spans} == {((f"{1:032x}", f"{1:016x}"),)}
        assert {span.name for span in spans} == {"evaluation user_thumbs"}
        assert spans[1].attributes[semconv.FEEDBACK_REASONS] == ["wrong"]
        assert spans[0].resource[semconv.SERVICE_NAME] == "chat"
        assert len({(span.trace_id, span.span_id) for span in spans}) == 3


def test_votes_wait_out_a_back_end_that_refuses_and_a_killed_gateway(servers):
    with OtlpSink() as sink:
        sink.refuse(503)
        gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        for number in range(1, 6):
            assert gateway.vote({"thumbs": "down", "token": token(number)})[0] == 201
        gateway.kill()
        sink.refuse(None)
        gateway.start()
        spans = sink.wait_spans(5)
        assert {span.attributes[semconv.FEEDBACK_TRACE_ID] for span in spans} == {f"{n:032x}" for n in range(1, 6)}


def test_the_same_revision_has_the_same_ids_again(servers):
    seen = []
    for _ in range(2):
        with OtlpSink() as sink:
            gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
            gateway.vote({"thumbs": "down", "token": token(9)})
            [span] = sink.wait_spans(1)
            seen.append((span.trace_id, span.span_id))
            gateway.stop()
    assert seen[0] == seen[1]


def test_a_comment_leaves_only_while_content_is_captured(servers):
    for switch, expected in (("1", None), ("content", "too short")):
        with OtlpSink() as sink:
            gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint, BACKSPAN=switch).start()
            gateway.vote({"thumbs": "down", "comment": "too short", "token": token(3)})
            [span] = sink.wait_spans(1)
            assert span.attributes.get(semconv.FEEDBACK_COMMENT) == expected
            gateway.stop()


def _refused(*arguments, **env):
    done = subprocess.run([sys.executable, "-m", "backspan", *arguments], env=environment(**env),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1, done
    return done.stderr


def test_a_busy_port_is_said_in_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("up", "gateway"):
            said = _refused(command, "--port", port, BACKSPAN_DATA_DIR=str(tmp_path))
            assert port in said and "--port" in said


def test_a_gateway_without_keys_stays_on_this_machine(tmp_path):
    said = _refused("gateway", "--host", "0.0.0.0", "--port", "0", BACKSPAN_DATA_DIR=str(tmp_path))
    assert "BACKSPAN_TOKEN_KEYS" in said and "BACKSPAN_API_KEY" in said


@pytest.mark.parametrize("command", ["up", "gateway"])
@pytest.mark.parametrize("where", ["BACKSPAN_TOKEN_KEYS", "token.key"])
def test_a_key_that_cannot_be_used_is_told_and_not_shown(command, where, tmp_path):
    """It would start otherwise, and refuse every token."""
    more = {"BACKSPAN_TOKEN_KEYS": f"{KEY},my-secret"} if where != "token.key" else {}
    (tmp_path / "token.key").write_text("my-secret")
    said = _refused(command, "--port", "0", BACKSPAN_DATA_DIR=str(tmp_path), **more)
    assert where in said and "32 bytes" in said and "my-secret" not in said


def test_a_gateway_with_keys_may_listen_elsewhere(servers):
    gateway = servers("gateway", "--host", "0.0.0.0").start()
    gateway.url = gateway.url.replace("0.0.0.0", "127.0.0.1")
    assert gateway.vote({"thumbs": "up", "token": token(1)})[0] == 201


@pytest.mark.parametrize("content", ["not a database" * 100, None])
def test_a_database_that_cannot_be_used(tmp_path, content):
    path = tmp_path / "bad.db"
    path.write_text(content) if content else path.mkdir()
    assert "bad.db" in _refused("up", "--port", "0", "--db", str(path))


def test_a_spec_that_is_wrong(tmp_path):
    path = tmp_path / "spc.yaml"
    path.write_text("version: 1\ncharts: [{name: x}]\n")
    assert "charts" in _refused("up", "--port", "0", "--spec", str(path), BACKSPAN_DATA_DIR=str(tmp_path))
    assert "no.yaml" in _refused("up", "--port", "0", "--spec", str(tmp_path / "no.yaml"),
                                 BACKSPAN_DATA_DIR=str(tmp_path))
