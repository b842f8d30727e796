"""The token on the answers of WSGI applications, and that nothing else changes."""

from __future__ import annotations

import io
import re
import sys
from contextlib import closing
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

import backspan
from backspan import semconv
from backspan.feedback.token import read
from backspan.wsgi import FeedbackMiddleware
from tests.feedback.answers import model

from .conftest import DIMS

ADDED = {"backspan-token", "traceresponse", "cache-control", "access-control-expose-headers"}
TEXT = [("Content-Type", "text/plain")]
EVENTS = [("Content-Type", "text/event-stream")]
SIZED = [*TEXT, ("Content-Length", "2")]


@pytest.fixture(autouse=True)
def _on(setenv, out):
    setenv(BACKSPAN="1")


class Response(list):
    """As Django's: neither a list nor a tuple by name, but made already."""

    streaming = False


def whole(environ, start):
    model()
    start("200 OK", list(SIZED))
    return [b"hi"]


def generated(environ, start):
    start("200 OK", list(TEXT))
    model()
    yield b"h"
    yield b""
    yield b"i"


def iterated(environ, start):
    start("200 OK", list(TEXT))
    return (part for part in (model().encode(), b"hi"))


def written(environ, start):
    write = start("200 OK", list(TEXT))
    write(model().encode())
    return [b"hi"]


def quiet(environ, start):
    start("200 OK", [("Content-Type", "text/html")])
    return iter([b"<p>"])


def empty(environ, start):
    start("204 No Content", [])
    return []


def failing(environ, start):
    model()
    start("200 OK", list(SIZED))
    raise KeyError("on purpose")


def failing_late(environ, start):
    start("200 OK", list(TEXT))
    yield model().encode()
    raise KeyError("on purpose")


def replacing(environ, start):
    start("200 OK", list(TEXT))
    try:
        raise KeyError("on purpose")
    except KeyError:
        start("500 Oh", list(SIZED), sys.exc_info())
    return [b"no"]


def too_late(environ, start):
    write = start("200 OK", list(TEXT))
    write(b"hi")
    try:
        raise KeyError("on purpose")
    except KeyError:
        start("500 Oh", list(SIZED), sys.exc_info())
    return []


APPS = (whole, generated, iterated, written, quiet, empty, failing, failing_late, replacing, too_late)


def serve(app, method="GET", **environ):
    """The bytes that a real WSGI server sends, parsed; and what the application raised into it."""
    given = {"REQUEST_METHOD": method, "QUERY_STRING": "", **environ}
    setup_testing_defaults(given)
    given["REQUEST_METHOD"] = method
    out, errors = io.BytesIO(), io.StringIO()
    handler = SimpleHandler(io.BytesIO(), out, errors, given, multithread=False)
    handler.http_version, handler.server_software, handler.origin_server = "1.1", None, True
    handler.run(app)
    head, _, body = out.getvalue().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines if not line.startswith("Date")]
    return status, headers, body, errors.getvalue().splitlines()[-1:]


def of(headers):
    return {name.lower(): value for name, value in headers}


def without_ours(reply):
    status, headers, body, error = reply
    return status, [pair for pair in headers if pair[0].lower() not in ADDED], body, error


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.__name__)
def test_the_same_bytes_leave_with_and_without_us(app):
    ours, plain = serve(FeedbackMiddleware(app)), serve(app)
    assert without_ours(ours) == plain
    given = "backspan-token" in of(ours[1])
    assert given is (app in (whole, generated, iterated, written, failing_late, too_late))


def test_the_check_above_notices_a_changed_body():
    ours, plain = serve(FeedbackMiddleware(whole)), serve(lambda e, s: [one + b"!" for one in whole(e, s)])
    assert without_ours(ours) != plain


@pytest.mark.parametrize("app", [whole, generated, iterated, written, quiet], ids=lambda app: app.__name__)
def test_both_sides_keep_to_the_standard(app):
    def strict(environ, start):
        return app(environ, start)

    checked = serve(validator(FeedbackMiddleware(validator(strict))))
    assert checked[0].endswith("200 OK") and checked[3] == []


def test_the_calls_of_one_request_are_one_turn(out):
    def app(environ, start):
        model()
        start("200 OK", list(TEXT))
        yield b"x"
        model()
        yield b"y"

    _, headers, _, _ = serve(FeedbackMiddleware(app))
    first, second, turn = out.spans
    claims = read(of(headers)["backspan-token"])
    assert {first.parent.span_id, second.parent.span_id} == {turn.context.span_id}
    assert claims.target.turn_id == turn.attributes[semconv.TURN_ID]
    assert claims.target.dims.items() >= DIMS.items()
    serve(app)
    assert len({span.context.trace_id for span in out.spans[3:]}) == 2  # the twin


def test_a_whole_answer_is_handed_on_as_it_is():
    """A list by its length, and a file by its type, tell a server how to send them."""
    environ = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    files = FileWrapper(io.BytesIO(b"hi"))
    for result in ([b"hi"], (b"hi",), files, Response([b"hi"])):
        def app(environ, start, result=result):
            model()
            start("200 OK", list(TEXT))
            return result

        heads = []
        assert FeedbackMiddleware(app)(dict(environ), lambda *head, to=heads: to.append(head)) is result
        assert "backspan-token" in of(heads[0][1])


def test_a_stream_is_closed_once_and_inside_of_its_request(out):
    class Parts:
        closed = 0

        def __iter__(self):
            yield b"x"

        def close(self):
            self.closed += 1
            model()

    parts = Parts()

    def app(environ, start):
        start("200 OK", list(TEXT))
        return parts

    with closing(FeedbackMiddleware(app)({"REQUEST_METHOD": "GET"}, lambda *head: None)) as result:
        assert next(result) == b"x"
    assert parts.closed == 1
    assert [span.name for span in out.spans] == ["chat", "invoke_workflow"]


def test_a_client_that_goes_away_ends_the_turn(out):
    result = FeedbackMiddleware(generated)({"REQUEST_METHOD": "GET"}, lambda *head: None)
    assert next(result) == b"h"
    assert [span.name for span in out.spans] == ["chat"]
    result.close()
    assert [span.name for span in out.spans] == ["chat", "invoke_workflow"]


def test_headers_wait_for_the_first_part_and_no_longer():
    heads = []
    result = FeedbackMiddleware(generated)({"REQUEST_METHOD": "GET"}, lambda *head: heads.append(head))
    assert heads == []
    next(result)
    assert len(heads) == 1 and list(result) == [b"", b"i"]


@pytest.mark.parametrize(("end", "fits"), [(b"data: x\n\n", True), (b"data: x\n", False)])
def test_the_token_is_the_last_event_of_a_stream(end, fits):
    def app(environ, start):
        start("200 OK", list(EVENTS))
        model()
        yield end

    _, headers, body, _ = serve(FeedbackMiddleware(app, mode="sse"))
    assert "backspan-token" not in of(headers) and of(headers)["cache-control"] == "private"
    found = re.search(rb"event: backspan-token\ndata: (\S+)\n\n", body)
    assert bool(found) is fits
    assert not found or read(found[1].decode()).target.dims.items() >= DIMS.items()


def test_the_helpers_serve_every_framework():
    def app(environ, start):
        model()
        start("200 OK", [*SIZED, *backspan.feedback_headers(names=["user_*"]).items()])
        return [b"hi"]

    _, headers, _, _ = serve(FeedbackMiddleware(app))
    assert [name.lower() for name, _ in headers].count("backspan-token") == 1
    assert read(of(headers)["backspan-token"]).names == ("user_*",)


def test_a_page_of_another_origin_may_read_it():
    _, headers, _, _ = serve(FeedbackMiddleware(whole), HTTP_ORIGIN="https://a.example")
    assert of(headers)["access-control-expose-headers"] == "Backspan-Token, traceresponse"


def test_inside_of_another_request_it_belongs_to_that_one(out):
    def outer(environ, start):
        model()
        return FeedbackMiddleware(generated, names=["user_thumbs"])(environ, start)

    _, headers, body, _ = serve(FeedbackMiddleware(outer))
    assert body.replace(b"\r\n", b"").endswith(b"i") and read(of(headers)["backspan-token"]).names == ("user_thumbs",)
    assert [span.name for span in out.spans] == ["chat", "chat", "invoke_workflow"]


def test_while_it_is_off_everything_is_passed_on(setenv):
    setenv(BACKSPAN="")
    seen = []
    given = ({"REQUEST_METHOD": "GET"}, object())
    FeedbackMiddleware(lambda *said: seen.extend(said))(*given)
    assert all(one is other for one, other in zip(seen, given, strict=True))
