"""By hand as the documentation shows it, and the middleware where frameworks take one."""

import json

import django
import flask
import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.testclient import TestClient
from werkzeug.test import Client

import backspan
from backspan import asgi, wsgi
from backspan.feedback.frameworks import TARGETS, imported, undo
from backspan.feedback.token import read
from tests.feedback.answers import model

NAMES = ["user_thumbs"]
urlpatterns = []


@pytest.fixture(autouse=True)
def _on(setenv, out):
    setenv(BACKSPAN="1")


def checked(headers, body=None):
    """The names that the only token allows."""
    given = [value for name, value in headers if name.lower() == "backspan-token"]
    assert len(given) == 1 and dict(headers).get("cache-control", dict(headers).get("Cache-Control")) == "private"
    assert body is None or read(body["feedback_token"]).target == read(given[0]).target
    return read(given[0]).names


def test_by_hand_in_fastapi(out):
    app = FastAPI()

    @app.get("/ask")
    def ask(q: str) -> JSONResponse:
        with backspan.turn() as turn:
            answer = model(q)
        return JSONResponse({"answer": answer, **backspan.feedback_fields(turn)},
                            headers=backspan.feedback_headers(turn))

    @app.get("/stream")
    def stream() -> StreamingResponse:
        def events():
            with backspan.turn() as turn:
                for part in (model("a"), "b"):
                    yield f"data: {part}\n\n"
            yield backspan.feedback_event(turn)

        return StreamingResponse(events(), media_type="text/event-stream")

    client = TestClient(app)
    reply = client.get("/ask", params={"q": "x"})
    assert checked(reply.headers.multi_items(), reply.json()) is None
    token = client.get("/stream").text.partition("event: backspan-token\ndata: ")[2].removesuffix("\n\n")
    assert read(token).target.span_id == f"{out.spans[-1].context.span_id:016x}"


@pytest.mark.parametrize("by_hand", [True, False])
def test_in_flask(by_hand):
    app = flask.Flask("asked")

    @app.get("/ask")
    def ask():
        response = flask.jsonify(answer=model())
        if by_hand:
            response.headers.update(backspan.feedback_headers(names=NAMES))
        return response

    app.wsgi_app = wsgi.FeedbackMiddleware(app.wsgi_app, names=["user_stars"])
    reply = app.test_client().get("/ask")
    assert checked(list(reply.headers)) == (tuple(NAMES) if by_hand else ("user_stars",))


def test_in_django():
    from django.urls import path

    def ask(_request):
        return JsonResponse({"answer": model()}, headers=backspan.feedback_headers(names=NAMES))

    urlpatterns[:] = [path("ask", ask)]
    if not django_settings.configured:
        django_settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="test", MIDDLEWARE=[])
        django.setup()
    handler = WSGIHandler()
    with backspan.turn():
        model()
        reply = Client(handler).get("/ask")
    assert checked(list(reply.headers)) == tuple(NAMES) and json.loads(reply.data)["answer"]


def test_as_a_middleware_of_starlettes_own():
    app = FastAPI()
    app.add_middleware(asgi.FeedbackMiddleware, names=NAMES)
    app.get("/ask")(lambda: {"answer": model()})
    assert checked(TestClient(app).get("/ask").headers.multi_items()) == tuple(NAMES)


# --- patching -------------------------------------------------------------------------------------------------------
@pytest.fixture
def modules():
    """The patched modules; unpatched afterwards."""
    from importlib import import_module

    found = [import_module(name) for name in TARGETS]
    yield found
    undo()


def test_patching_is_done_once_and_undone(modules):
    kinds = [getattr(module, TARGETS[module.__name__][0]) for module in modules]
    before = [kind.__dict__["__call__"] for kind in kinds]
    for module in (*modules, *modules):
        imported(module)
    assert all(kind.__dict__["__call__"].__wrapped__ is one for kind, one in zip(kinds, before, strict=True))
    undo()
    assert [kind.__dict__["__call__"] for kind in kinds] == before


def test_the_setting_is_read_at_each_request(modules, setenv):
    for module in modules:
        imported(module)
    app, web = FastAPI(), flask.Flask("web")
    app.get("/ask")(lambda: {"answer": model()})
    web.get("/ask")(lambda: {"answer": model()})
    for setting, there in (("header", True), ("off", False), ("", False), ("sse", True)):
        setenv(BACKSPAN_TOKEN=setting)
        for headers in (TestClient(app).get("/ask").headers, web.test_client().get("/ask").headers):
            assert ("backspan-token" in headers) is there


def test_a_framework_that_has_changed_is_left_alone(caplog):
    from types import ModuleType

    imported(ModuleType("flask.app"))
    assert "has no Flask.__call__" in caplog.text
