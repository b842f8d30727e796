"""The token on the answers of ASGI applications, and that nothing else changes."""

import asyncio

import pytest

import backspan
from backspan import semconv
from backspan.asgi import FeedbackMiddleware
from backspan.feedback.token import read
from tests.feedback.answers import body, headers_of, model, played, start

from .conftest import DIMS

EVENTS = {"content_type": "text/event-stream; charset=utf-8"}
TEXT = {"content_type": "text/plain"}
ADDED = {"backspan-token", "traceresponse", "cache-control", "access-control-expose-headers"}


@pytest.fixture(autouse=True)
def _on(setenv, out):
    setenv(BACKSPAN="1")


def app_of(*messages, ask="before", error=None):
    """An application that sends ``messages`` and asks a model before, after the headers, or never; then it may fail."""

    async def app(scope, receive, send):
        for number, message in enumerate(messages):
            if {"before": 0, "inside": 1}.get(ask) == number:
                model()
            await send(dict(message))
        if error is not None:
            raise error

    return app


def play(app, scope=None, **options):
    return asyncio.run(played(FeedbackMiddleware(app, **options), scope))


def without_ours(sent):
    """The messages, but for what we may add to the headers."""
    return [{**m, "headers": [h for h in m.get("headers", ()) if h[0].decode() not in ADDED]} for m in sent]


SHAPES = {
    "whole": [start(content_length="2", **TEXT), body("hi")],
    "streamed": [start(**TEXT), body("h", True), body("i", True), body()],
    "events": [start(**EVENTS), body("data: hi\n\n", True), body()],
    "html": [start(content_type="text/html"), body("<p>")],
    "empty": [start(204)],
    "nobody": [start(content_length="0")],
    "file": [start(content_length="9"), {"type": "http.response.pathsend", "path": "/etc/hostname"}],
    "trailers": [{**start(**TEXT), "trailers": True}, body("x"), {"type": "http.response.trailers", "headers": []}],
    "no headers": [{"type": "http.response.start", "status": 200}, body("x")],
    "pushed": [{"type": "http.response.push", "path": "/x", "headers": []}, start(), body("x")],
    "twice the same name": [{**start(), "headers": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]}, body("x")],
    "nothing": [],
}


@pytest.mark.parametrize("ask", ["before", "inside", "never"])
@pytest.mark.parametrize("error", [None, "late"], ids=["fine", "fails"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_messages_leave_with_and_without_us(shape, ask, error, out):
    def app(fault):
        return app_of(*SHAPES[shape], ask=ask, error=fault)

    fault = RuntimeError(error) if error else None
    sent, raised = play(app(fault))
    plain, _ = asyncio.run(played(app(fault)))
    assert without_ours(sent) == without_ours(plain)
    assert raised is fault
    if ask == "never" and shape not in ("streamed", "events", "trailers"):
        assert sent == plain and not out.spans


def test_the_check_above_notices_a_changed_body():
    changed = [start(), body("hj")]
    assert without_ours(changed) != without_ours([start(), body("hi")])


def test_a_whole_answer_has_the_token_of_its_turn(out):
    sent, _ = play(app_of(start(content_length="2"), body("hi")))
    chat, turn = out.spans
    headers = headers_of(sent)
    claims = read(headers["backspan-token"])
    assert (chat.parent.span_id, turn.name) == (turn.context.span_id, "invoke_workflow")
    assert claims.target.turn_id == chat.attributes[semconv.TURN_ID] == turn.attributes[semconv.TURN_ID]
    assert dict(claims.target.dims) | DIMS == dict(claims.target.dims)
    assert headers["traceresponse"] == f"00-{claims.target.trace_id}-{claims.target.span_id}-03"
    assert headers["cache-control"] == "private" and claims.names == ("implicit_*", "user_*")
    assert [point.value for point in out.points("backspan.answers")] in ([1], [0], [])  # a new series is 0 first
    assert [point.value for point in out.points("backspan.answers")] == [1]


def test_without_the_middleware_each_call_is_an_answer_of_its_own(out):
    """The twin: what makes one turn of a request is the middleware."""

    async def app(scope, receive, send):
        model()
        model()
        await send(start(content_length="0"))
        await send(body())

    asyncio.run(played(app))
    assert len({span.context.trace_id for span in out.spans}) == 2
    asyncio.run(played(FeedbackMiddleware(app)))
    assert len({span.context.trace_id for span in out.spans[2:]}) == 1 and len(out.spans) == 5


def test_a_stream_has_the_token_before_its_model_was_asked(out):
    sent, _ = play(app_of(start(**TEXT), body("h", True), body(), ask="inside"))
    claims = read(headers_of(sent)["backspan-token"])
    chat, turn = out.spans
    assert (claims.target.turn_id, claims.target.dims) == (turn.attributes[semconv.TURN_ID], {})
    assert chat.parent.span_id == turn.context.span_id
    backspan.record_feedback(headers_of(sent)["backspan-token"], thumbs=False)
    assert out.spans[-1].attributes[semconv.PROMPT_VERSION] == "7"  # this process remembers the answer


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (404, "GET"), (500, "GET"), (204, "GET"), (200, "HEAD")])
def test_what_is_no_answer_has_none(status, method, out):
    sent, _ = play(app_of(start(status, **TEXT), body("x")), {"method": method})
    assert not ADDED & set(headers_of(sent))
    assert [span.name for span in out.spans] == ["chat", "invoke_workflow"]


# --- event streams --------------------------------------------------------------------------------------------------
def test_the_token_is_the_last_event_of_a_stream():
    sent, _ = play(app_of(start(**EVENTS), body("data: hi\n\n", True), body(), ask="inside"), mode="sse")
    assert "backspan-token" not in headers_of(sent) and headers_of(sent)["cache-control"] == "private"
    last = sent[-1]["body"].decode()
    head, _, token = last.removesuffix("\n\n").partition("\ndata: ")
    assert head == "event: backspan-token" and read(token).target.dims.items() >= DIMS.items()
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body", "http.response.body"]


@pytest.mark.parametrize(("end", "fits"), [
    ("data: x\n\n", True), ("data: x\r\n\r\n", True), ("data: x\r\r", True), ("", True), ("data: x\n", False),
    ("data: x", False),
])
def test_an_event_that_is_not_finished_is_left_alone(end, fits, caplog):
    parts = [body(letter, True) for letter in end]
    sent, _ = play(app_of(start(**EVENTS), *parts, body()), mode="sse")
    assert (b"backspan-token" in sent[-1]["body"]) is fits
    assert ("in the middle of an event" in caplog.text) is not fits


@pytest.mark.parametrize("more", [{"content_encoding": "gzip"}, {"content_length": "8"}])
def test_where_nothing_can_be_appended_the_header_has_it(more):
    sent, _ = play(app_of(start(**EVENTS, **more), body("data: x\n")), mode="sse")
    assert read(headers_of(sent)["backspan-token"]) and sent[-1]["body"] == b"data: x\n"


def test_no_event_without_an_answer(out):
    sent, _ = play(app_of(start(**EVENTS), body("data: x\n\n"), ask="never"), mode="sse")
    assert sent[-1]["body"] == b"data: x\n\n" and not out.spans


# --- caches and origins ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("said", "becomes"), [
    ({}, "private"), ({"cache_control": "no-cache"}, "no-cache, private"),
    ({"cache_control": "no-store"}, "no-store"), ({"cache_control": "Private, max-age=9"}, "Private, max-age=9"),
    ({"cache_control": "public"}, None), ({"cache_control": "max-age=60"}, None),
    ({"cache_control": "s-maxage=60"}, None), ({"cdn_cache_control": "max-age=60"}, None),
    ({"surrogate_control": "no-store"}, "private"),
])
@pytest.mark.parametrize("mode", ["header", "sse"])
def test_no_shared_cache_keeps_a_token(said, becomes, mode):
    sent, _ = play(app_of(start(**EVENTS, **said), body("data: x\n\n")), mode=mode)
    headers = headers_of(sent)
    got = "backspan-token" in headers or b"backspan-token" in sent[-1]["body"]
    assert got is (becomes is not None)
    assert headers.get("cache-control") == (becomes if got else said.get("cache_control"))


@pytest.mark.parametrize(("said", "asked", "becomes"), [
    ({}, [], None),
    ({}, [(b"origin", b"https://a.example")], "Backspan-Token, traceresponse"),
    ({"access_control_allow_origin": "*"}, [], "Backspan-Token, traceresponse"),
    ({"access_control_allow_origin": "*", "access_control_expose_headers": "ETag"}, [],
     "ETag, Backspan-Token, traceresponse"),
    ({"access_control_allow_origin": "*", "access_control_expose_headers": "backspan-token"}, [],
     "backspan-token, traceresponse"),
])
def test_pages_of_other_origins_may_read_it(said, asked, becomes):
    sent, _ = play(app_of(start(content_length="0", **said), body()), {"headers": asked})
    assert headers_of(sent).get("access-control-expose-headers") == becomes


# --- what the application does itself -------------------------------------------------------------------------------
def test_a_turn_of_the_application_is_the_one_that_is_judged(out):
    async def app(scope, receive, send):
        with backspan.session("c-1", user="ada"), backspan.turn("ask"):
            model()
        await send(start(content_length="0"))
        await send(body())

    sent, _ = play(app)
    claims = read(headers_of(sent)["backspan-token"])
    (_, turn) = out.spans
    assert turn.name == "invoke_workflow ask" and claims.target.turn_id == turn.attributes[semconv.TURN_ID]
    assert claims.rater == turn.attributes[semconv.ENDUSER_PSEUDO_ID] and claims.target.conversation_id == "c-1"


def test_a_token_that_the_application_puts_there_stays_the_only_one():
    async def app(scope, receive, send):
        model()
        own = backspan.feedback_headers(ttl=60)
        await send(start(content_length="0", **{name.replace("-", "_").lower(): v for name, v in own.items()}))
        await send(body())

    sent, _ = play(app)
    names = [name for name, _ in sent[0]["headers"]]
    assert len(names) == len(set(names)) and read(headers_of(sent)["backspan-token"]).names is None


def test_an_outcome_finds_the_turn_of_a_request_by_its_join_key():
    async def app(scope, receive, send):
        with backspan.session(join_key="ticket-1"):
            model()
        await send(start(content_length="0"))
        await send(body())

    sent, _ = play(app)
    known = backspan.context.lookup(backspan.context.joined("ticket-1"))
    assert known.turn_id == read(headers_of(sent)["backspan-token"]).target.turn_id


def test_a_trace_that_the_application_names_stays():
    sent, _ = play(app_of(start(content_length="0", traceresponse="00-of-the-server"), body()))
    assert [value for name, value in sent[0]["headers"] if name == b"traceresponse"] == [b"00-of-the-server"]
    assert "backspan-token" in headers_of(sent)


def test_an_event_that_the_application_sends_itself_stays_the_only_one():
    async def app(scope, receive, send):
        await send(start(**EVENTS))
        model()
        await send(body(backspan.feedback_event(), True))
        await send(body())

    sent, _ = play(app, mode="sse")
    assert b"".join(m.get("body", b"") for m in sent).count(b"event: backspan-token") == 1


def test_a_middleware_inside_of_another_says_how_and_makes_no_second_turn(out):
    inner = FeedbackMiddleware(app_of(start(**EVENTS), body("data: x\n\n")), mode="sse", names=["user_thumbs"])
    sent, _ = play(inner)
    assert "backspan-token" not in headers_of(sent) and sent[-1]["body"].count(b"event: backspan-token") == 1
    assert [span.name for span in out.spans] == ["chat", "invoke_workflow"]


def test_what_runs_after_the_answer_is_another_matter(out):
    async def app(scope, receive, send):
        model()
        await send(start(content_length="0"))
        await send(body())
        model()

    play(app)
    first, turn, later = out.spans
    assert semconv.TURN_ID not in later.attributes and later.context.trace_id != turn.context.trace_id
    out.points("backspan.answers")
    assert sum(point.value for point in out.points("backspan.answers")) == 2


# --- the rest goes through ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something-new"])
def test_what_is_no_request_is_passed_on_as_it_is(kind, out):
    seen = []

    async def app(*given):
        seen.extend(given)
        model()

    given = ({"type": kind}, object(), object())
    asyncio.run(FeedbackMiddleware(app)(*given))
    assert all(one is other for one, other in zip(seen, given, strict=True))
    assert [span.name for span in out.spans] == ["chat"]


def test_while_it_is_off_everything_is_passed_on(setenv):
    setenv(BACKSPAN="")
    seen = []

    async def app(*given):
        seen.extend(given)

    given = ({"type": "http"}, object(), object())
    asyncio.run(FeedbackMiddleware(app)(*given))
    assert all(one is other for one, other in zip(seen, given, strict=True))


def test_what_the_client_sends_is_not_touched():
    async def app(scope, receive, send):
        await send(start(**TEXT))
        while (await receive())["type"] != "http.disconnect":
            await send(body("x", True))

    wanted = [{"type": "http.request", "body": b"1", "more_body": True}, {"type": "http.request", "body": b"2"}]
    sent, error = asyncio.run(played(FeedbackMiddleware(app), None, wanted))
    assert (len(sent), error) == (3, None)


def test_the_application_waits_for_the_client_as_before():
    """Backpressure: nothing is taken from the application before the client has what was sent."""

    async def main():
        log, gate = [], asyncio.Semaphore(0)

        async def send(message):
            await gate.acquire()
            log.append("taken")

        async def app(scope, receive, forward):
            for message in (start(**TEXT), body("1", True), body("2", True), body()):
                log.append("given")
                await forward(message)

        running = asyncio.ensure_future(
            FeedbackMiddleware(app)({"type": "http", "method": "GET", "headers": []}, None, send))
        for _ in range(4):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert log[-1] == "given"
            gate.release()
        await running
        return log

    assert asyncio.run(main()) == ["given", "taken"] * 4


def test_a_cancelled_request_ends_its_turn(out):
    async def app(scope, receive, send):
        await send(start(**TEXT))
        model()
        await asyncio.Event().wait()

    async def main():
        task = asyncio.ensure_future(played(FeedbackMiddleware(app)))
        while len(out.spans) < 1:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [span.name for span in out.spans] == ["chat", "invoke_workflow"]
    assert out.spans[1].status.is_unset


def test_an_error_marks_the_turn(out):
    play(app_of(start(**TEXT), error=KeyError("x")))
    assert out.spans[-1].attributes[semconv.ERROR_TYPE] == "KeyError"


def test_requests_at_the_same_time_have_their_own_turns(out):
    async def app(scope, receive, send):
        await asyncio.gather(*(asyncio.to_thread(model) for _ in range(3)))
        await asyncio.sleep(0)
        await send(start(content_length="0"))
        await send(body())

    async def main():
        return await asyncio.gather(*(played(FeedbackMiddleware(app)) for _ in range(10)))

    ids = [read(headers_of(sent)["backspan-token"]).target.turn_id for sent, _ in asyncio.run(main())]
    chats = [span.attributes[semconv.TURN_ID] for span in out.spans if span.name == "chat"]
    assert len(set(ids)) == 10 and sorted(chats) == sorted(ids * 3) and len(out.spans) == 40


def test_a_key_that_is_none_costs_the_token_and_nothing_else(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "token.key").write_bytes(b"broken")
    sent, error = play(app_of(start(content_length="2"), body("hi")))
    assert "backspan-token" not in headers_of(sent) and (sent[1]["body"], error) == (b"hi", None)
    assert "no feedback token is made" in caplog.text


def test_a_fault_of_ours_does_not_reach_the_application(setenv, caplog):
    setenv(BACKSPAN_RAISE="0")
    odd = [start("not a number"), body("hi")]  # a server may take what we do not understand
    assert play(app_of(*odd)) == (odd, None)
    assert "answering" in caplog.text.lower() and "TypeError" in caplog.text


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="'header' or 'sse'"):
        FeedbackMiddleware(app_of(), mode="cookie")
