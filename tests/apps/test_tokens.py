"""The token on every answer by environment variables alone, on the servers that people use; and a vote with it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from tests.support.processes import APPS, Server, environment, free_port, python, serve

from backspan import config, semconv
from backspan.feedback.token import Claims, read

KEY = "aGVsbG8gdGhpcyBpcyBhIGtleSBmb3IgdGVzdHMgISE="
OURS = {"backspan-token", "traceresponse", "access-control-expose-headers", "cache-control"}
UVICORN = ("-m", "uvicorn", "--port", "{port}")
GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--threads", "4", "--timeout", "300")
_RUN = ("import runpy, sys; sys.stderr.write('starting\\n'); sys.argv[0] = 'rated_django.py'; sys.path.insert(0, ''); "
        "runpy.run_path('rated_django.py', run_name='__main__')")
DJANGO = ("-c", _RUN, "runserver", "--noreload", "--skip-checks", "{port}")
SERVERS = {
    "fastapi": ((*UVICORN, "rated_fastapi:app"), "Uvicorn running"),
    "flask-gunicorn": ((*GUNICORN, "rated_flask:app"), "Booting worker"),
    "flask-run": (("-m", "flask", "--app", "rated_flask", "run", "--port", "{port}"), "Running on"),
    "django-gunicorn": ((*GUNICORN, "rated_django:app"), "Booting worker"),
    "django-uvicorn": ((*UVICORN, "rated_django:asgi"), "Uvicorn running"),
    "django-runserver": (DJANGO, "starting"),
}
EARLY = {("fastapi", "/stream"), ("django-uvicorn", "/stream"), ("django-uvicorn", "/events")}
"""Whose headers leave before the model is asked: they know its turn, but not yet its name."""
SSE = "\nevent: backspan-token\ndata: (bs1[.][A-Za-z0-9_=-]+)\n\n$"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def claims(self) -> Claims:
        return read(self.headers["backspan-token"])

    @property
    def theirs(self) -> tuple[int, dict[str, str], str]:
        """The answer without what we may add, and without the time of day."""
        return self.status, {k: v for k, v in self.headers.items() if k not in OURS | {"date"}}, self.body


def get(server: Server, path: str, **headers: str) -> Reply:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setenv("BACKSPAN_TOKEN_KEYS", KEY)
    config.reload()
    yield
    monkeypatch.undo()
    config.reload()


@contextmanager
def running(name: str, given: dict[str, str]) -> Generator[Server]:
    command, ready = SERVERS[name]
    port = free_port()
    given = {**given, "BACKSPAN_TOKEN_KEYS": KEY, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with serve(python(*(part.replace("{port}", str(port)) for part in command)), given, port, ready) as server:
        until_it_listens(port)
        yield server


def until_it_listens(port: int) -> None:
    """Some servers say that they start before they listen."""
    end = time.monotonic() + 60
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < end
            time.sleep(0.05)


def named(name: str):
    return lambda span: span.name == name


@pytest.mark.parametrize("name", SERVERS)
def test_every_answer_of_a_model_has_its_token_and_nothing_else_changes(name, env, sink):
    with ExitStack() as stack:
        server = stack.enter_context(running(name, env(BACKSPAN_TOKEN="header")))
        plain = stack.enter_context(running(name, env(BACKSPAN_TOKEN=None, OTEL_TRACES_EXPORTER="none")))
        sub = "/sub/deep/ask" if name == "fastapi" else "/sub/ask"
        seen = {}
        for path in ("/ask", "/await", "/twice", "/stream", "/events", "/none", "/export", "/cached", "/refused",
                     "/broken", sub):
            with_us, without = get(server, path), get(plain, path)
            assert with_us.theirs == without.theirs, path
            assert not set(without.headers) & OURS - {"cache-control"}, path
            seen[path] = with_us
    for path in ("/none", "/export", "/cached", "/refused", "/broken"):
        assert not set(seen[path].headers) & OURS - {"cache-control"}, path
    rated = ["/ask", "/await", "/twice", "/stream", "/events", sub]
    turns = len(rated) + 3
    by_id = {span.span_id: span for span in sink.wait_spans(2 * turns + (2 if name == "fastapi" else 1))}
    assert sum(span.name == "invoke_workflow" for span in by_id.values()) == turns
    for path in rated:
        target = seen[path].claims.target
        turn = by_id[target.span_id]
        assert (turn.name, turn.trace_id) == ("invoke_workflow", target.trace_id)
        assert seen[path].headers["traceresponse"] == f"00-{target.trace_id}-{target.span_id}-{target.trace_flags:02x}"
        assert seen[path].headers["cache-control"] == "private"
        calls = [span for span in sink.spans if span.parent_id == turn.span_id]
        assert len(calls) == {"/twice": 3 if name == "fastapi" else 2}.get(path, 1)
        assert {call.attributes[semconv.TURN_ID] for call in calls} == {target.turn_id}
        early = (name, path) in EARLY
        assert target.dims.get(semconv.REQUEST_MODEL) == (None if early else "gpt-test")
        assert seen[path].claims.names == ("implicit_*", "user_*")


@pytest.mark.parametrize("name", SERVERS)
def test_an_event_stream_ends_with_the_token(name, env, sink):
    with ExitStack() as stack:
        server = stack.enter_context(running(name, env(BACKSPAN_TOKEN="sse")))
        plain = stack.enter_context(running(name, env(BACKSPAN_TOKEN=None, OTEL_TRACES_EXPORTER="none")))
        events, without = get(server, "/events"), get(plain, "/events")
        asked = get(server, "/ask")
    found = re.search(SSE, events.body)
    assert found and "backspan-token" not in events.headers and events.headers["cache-control"] == "private"
    assert events.body == without.body + found[0].removeprefix("\n") and events.status == 200
    claims = read(found[1])
    assert claims.target.dims[semconv.REQUEST_MODEL] == "gpt-test" and claims.target.response_id
    assert asked.claims.target.span_id in {span.span_id for span in sink.wait_spans(4)}


def test_a_vote_with_the_token_of_a_header_reaches_the_span(env, sink, tmp_path):
    given = environment(BACKSPAN_DATA_DIR=str(tmp_path / "gateway"), BACKSPAN_TOKEN_KEYS=KEY)
    command = python("-m", "backspan", "gateway", "--port", str(port := free_port()), "--forward", sink.endpoint)
    with serve(command, given, port, "backspan gateway: http") as gateway:
        with running("fastapi", env(BACKSPAN_TOKEN="header")) as server:
            reply = get(server, "/twice")
        connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=60)
        connection.request("POST", "/v1/feedback", json.dumps({"thumbs": "down"}), {
            "Content-Type": "application/json", "Backspan-Token": reply.headers["backspan-token"]})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["status"]) == (201, "add")
        connection.close()
        (vote,) = sink.wait_spans(1, where=named("evaluation user_thumbs"))
    (turn,) = sink.wait_spans(1, where=named("invoke_workflow"))
    assert vote.links == ((turn.trace_id, turn.span_id),)
    assert vote.attributes[semconv.REQUEST_MODEL] == "gpt-test"


def test_what_runs_after_the_answer_is_no_part_of_it(env, sink):
    with running("fastapi", env(BACKSPAN_TOKEN="header")) as server:
        reply = get(server, "/later")
    spans = sink.wait_spans(3)
    assert {span.attributes.get(semconv.TURN_ID) for span in spans} == {reply.claims.target.turn_id, None}
    assert sum(semconv.TURN_ID not in span.attributes for span in spans) == 1


def test_a_page_of_another_origin_may_read_the_headers(env):
    with running("fastapi", env(BACKSPAN_TOKEN="header")) as server:
        cross, same = get(server, "/ask", Origin="https://app.example.com"), get(server, "/ask")
    assert cross.headers["access-control-expose-headers"] == "Backspan-Token, traceresponse"
    assert "access-control-expose-headers" not in same.headers


@pytest.mark.parametrize("off", [None, "off", "yes"])
def test_without_the_setting_nothing_is_patched(off, env):
    code = ("import starlette.applications, flask.app, django.core.handlers.wsgi as w, django.core.handlers.asgi as a; "
            "print({type(kind.__call__).__name__ for kind in (starlette.applications.Starlette, flask.app.Flask, "
            "w.WSGIHandler, a.ASGIHandler)})")
    for token, known in ((off, "{'function'}"), ("header", "{'BoundFunctionWrapper'}")):
        done = subprocess.run([str(one) for one in python("-c", code)], env=env(BACKSPAN_TOKEN=token), cwd=APPS,
                              capture_output=True, text=True, timeout=120)
        assert (done.stdout.strip(), done.stderr) == (known, "")
