"""Keep and promote across workers: nothing is sampled, and a bad vote at the gateway brings the trace all the same."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from tests.apps.test_tokens import KEY, SERVERS, _keys, get, named, running  # noqa: F401
from tests.support.processes import Server, environment, free_port, python, serve

from backspan import semconv
from backspan.feedback.token import read


@contextmanager
def gateway(sink, folder):
    given = environment(BACKSPAN_DATA_DIR=str(folder), BACKSPAN_TOKEN_KEYS=KEY)
    command = python("-m", "backspan", "gateway", "--port", str(port := free_port()), "--forward", sink.endpoint)
    with serve(command, given, port, "backspan gateway: http") as server:
        yield server


def vote(server: Server, token: str, thumbs: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.request("POST", "/v1/feedback", json.dumps({"thumbs": thumbs}), {
            "Content-Type": "application/json", "Backspan-Token": token})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def tokens(server, count):
    """The tokens of ``count`` answers, of several workers."""
    return [get(server, "/ask").headers["backspan-token"] for _ in range(count)]


def unsampled(env, url, **more):
    return env(BACKSPAN_TOKEN="header", OTEL_TRACES_SAMPLER="always_off", BACKSPAN_GATEWAY_URL=url, **more)


def test_a_bad_vote_brings_the_trace_from_whichever_worker_has_it(env, sink, tmp_path, monkeypatch):
    monkeypatch.setitem(SERVERS, "workers", ((*SERVERS["flask-gunicorn"][0], "--workers", "2"), "Booting worker"))
    with ExitStack() as stack:
        judge = stack.enter_context(gateway(sink, tmp_path / "gateway"))
        web = stack.enter_context(running("workers", unsampled(env, judge.url, BACKSPAN_KEEP="1")))
        given = tokens(web, 8)
        for number, token in enumerate(given):
            assert vote(judge, token, "down" if number < 4 else "up") == 201
        sink.wait_spans(8, where=named("evaluation user_thumbs"))
        promoted = sink.wait_spans(8, where=lambda span: semconv.TRACE_PROMOTED in span.attributes)
    bad = {read(token).target.trace_id for token in given[:4]}
    assert {span.trace_id for span in promoted} == bad
    assert sorted(span.name for span in promoted) == ["chat gpt-test"] * 4 + ["invoke_workflow"] * 4
    others = [span for span in sink.spans if span not in promoted]
    assert {span.name for span in others} == {"evaluation user_thumbs"}  # nothing came of those that were liked


def test_without_the_setting_the_trace_is_gone(env, sink, tmp_path):
    """The twin."""
    with gateway(sink, tmp_path / "gateway") as judge:
        with running("flask-gunicorn", unsampled(env, judge.url)) as web:
            (token,) = tokens(web, 1)
            assert vote(judge, token, "down") == 201
            sink.wait_spans(1, where=named("evaluation user_thumbs"))
    assert {span.name for span in sink.spans} == {"evaluation user_thumbs"}
