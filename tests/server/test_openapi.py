"""The description of the API is complete, and true: schemathesis asks by it and compares what it gets."""

import asyncio
import json
import logging
import os
import random
import string

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema.validators import Draft202012Validator
from schemathesis.core.failures import FailureGroup
from starlette.routing import Route
from starlette.testclient import TestClient

from backspan.server.app import create_app
from backspan.server.config import ServerConfig
from backspan.store import sqlite_url

from .conftest import SPAN, TRACE, token

SECRET = "SentinelOfABody"


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "x.db"
    made = create_app(ServerConfig(url=sqlite_url(path), rates=(("all", "off"),), trust_loopback=True))
    with TestClient(made, base_url="http://127.0.0.1", client=("127.0.0.1", 1)):
        yield made


@pytest.fixture
def described(app):
    return app.openapi()


def test_every_route_is_described_and_nothing_else(app, described):
    """FastAPI describes what is written for it, under ``/api``; the rest is described by hand."""
    there = {(route.path, method.lower()) for route in app.routes if type(route) is Route
             for method in route.methods - {"HEAD"} if route.path != "/openapi.json"}
    said = {(path, method) for path, item in described["paths"].items() for method in item}
    assert there <= said, there - said
    assert not [path for path, _ in said - there if not path.startswith("/api")]


def test_every_operation_says_who_may_ask_and_what_goes_wrong(described):
    assert described["openapi"].startswith("3.1")
    for path, item in described["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert operation["summary"] and operation["operationId"], where
            assert "500" in operation["responses"] and "4XX" not in operation["responses"], where
            assert bool(operation["security"]) == ("401" in operation["responses"]), where
            if path.startswith("/api") or path.startswith("/v1/feedback"):
                assert operation["security"] and {"401", "403", "422"} <= operation["responses"].keys(), where
    ids = [operation["operationId"] for item in described["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    assert {"token", "key"} == described["components"]["securitySchemes"].keys()


def test_the_examples_fit_the_schema_and_are_accepted(app, described):
    client = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1))
    content = described["paths"]["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]
    for name, example in content["examples"].items():
        Draft202012Validator(content["schema"]).validate(example["value"])
        headers = {} if "target" in example["value"] else {"Backspan-Token": token(1)}
        assert client.post("/v1/feedback", json=example["value"], headers=headers).status_code in (200, 201), name


# --- asked by the description ---------------------------------------------------------------------------------------
WANTED = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance")
EXAMPLES = 12
schemathesis.checks.load_all_checks()


def test_schemathesis_finds_nothing(up, described):
    """What is asked follows from the description, the same each time."""
    schema = schemathesis.openapi.from_url(up.url + "/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    asked = {_ask(one, up.url) for one in operations if one.path != "/healthz/worker"}  # its 503 is an answer
    assert len(up.lines) == 1, up.lines
    assert asked == {(path, method) for path, item in described["paths"].items() for method in item
                     if path != "/healthz/worker"}


def test_schemathesis_would_find_an_answer_that_is_not_described(up, described):
    broken = json.loads(json.dumps(described))
    responses = broken["paths"]["/v1/feedback"]["post"]["responses"]
    for status in ("401", "422"):
        del responses[status]
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        _ask(schemathesis.openapi.from_dict(broken)["/v1/feedback"]["POST"], up.url)


def _ask(operation, url):
    wanted = schemathesis.checks.CHECKS.get_by_names(WANTED)

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case):
        case.validate_response(case.call(base_url=url), checks=wanted)

    ask()
    return operation.path, operation.method.lower()


# --- bodies of all kinds --------------------------------------------------------------------------------------------
SEED = int(os.environ.get("BACKSPAN_TEST_SEED", "7"))
BODIES = 10_000
FIELDS = ("thumbs", "stars", "name", "value", "label", "polarity", "reasons", "comment", "correction", "source",
          "rater", "solicited", "retract", "token", "target", "trace_id", "span_id", "response_id", "conversation_id",
          "at", "dims", "quote", "consent", "surface", "ui_variant", "positions", "position", "skip", "scale",
          "candidates", SECRET)
KINDS = ("application/json", "application/json; charset=utf-8", "text/plain", "application/x-protobuf", "")
PATHS = ("/v1/feedback", "/v1/feedback", "/v1/feedback", "/v1/signals", "/v1/outcomes", "/v1/feedback/ask",
         "/v1/traces", "/v1/logs", "/api/outbox")


def test_ten_thousand_bodies_make_no_fault_and_leave_nothing_in_the_log(app, caplog):
    print("seed", SEED)
    source = random.Random(SEED)
    caplog.set_level(logging.DEBUG)
    found = asyncio.run(_send_all(app, [_request(source) for _ in range(BODIES)]))
    assert sum(found.values()) == BODIES and not [status for status in found if status >= 500], found
    assert {200, 400, 401, 413, 415, 422} <= found.keys(), found
    assert SECRET not in caplog.text


def test_a_body_in_the_log_would_be_noticed(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("backspan.server").debug("got %s", {"comment": SECRET})
    assert SECRET in caplog.text


async def _send_all(app, requests):
    found = {}
    for path, kind, body, headers in requests:
        status = await _send(app, path, kind, body, headers)
        found[status] = found.get(status, 0) + 1
    return found


async def _send(app, path, kind, body, headers):
    said = [(b"host", b"127.0.0.1"), (b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()),
            *headers]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path,
             "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http", "headers": said,
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {}}
    answers = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        answers.append(message)

    await app(scope, receive, send)
    start, text = answers[0], b"".join(message.get("body", b"") for message in answers[1:])
    if start["status"] >= 400 and "traces" not in path and "logs" not in path:
        assert dict(start["headers"])[b"content-type"] == b"application/problem+json"
        assert SECRET.encode() not in text
    return start["status"]


def _request(source):
    headers = source.choice(([], [], [(b"x-forwarded-for", b"203.0.113.1")],
                             [(b"backspan-token", token(source.randrange(50)).encode())],
                             [(b"idempotency-key", SECRET.encode())], [(b"content-encoding", b"gzip")]))
    return source.choice(PATHS), source.choices(KINDS, (20, 2, 2, 1, 1))[0], _body(source), headers


def _body(source):
    way = source.random()
    if way < 0.05:
        return source.randbytes(source.randrange(200))
    if way < 0.1:
        return source.choice((b"[" * 5000, b'{"a":' * 5000, b"9" * 5000, b'{"stars":1' + b"0" * 5000 + b"}", b"",
                              b"\xff\xfe", b"null", b"NaN", b'"' + SECRET.encode() * 30_000 + b'"',
                              b"[" + b"1," * 50_000 + b"1]", b'{"thumbs":"up","thumbs":"down"}'))
    text = json.dumps(_object(source), ensure_ascii=source.random() < 0.5).encode("utf-8", "surrogatepass")
    if way < 0.2:  # damaged
        at = source.randrange(len(text))
        return text[:at] + source.randbytes(1) + text[at + source.randrange(3):]
    return text


def _object(source):
    if source.random() < 0.5:
        said = {"thumbs": source.choice(("up", "down", True, False))}
        said["target"] = {"trace_id": TRACE, "span_id": SPAN}
    else:
        said = {}
    for field in source.sample(FIELDS, source.randrange(5)):
        said[field] = _value(source, 3)
    return {"signals": [said]} if source.random() < 0.1 else {"outcomes": [said]} if source.random() < 0.1 else said


def _value(source, depth):
    kind = source.randrange(9 if depth else 7)
    if kind == 7:
        return [_value(source, depth - 1) for _ in range(source.randrange(4))]
    if kind == 8:
        return {source.choice((*FIELDS, "text", "start", "end", "rank")): _value(source, depth - 1)
                for _ in range(source.randrange(4))}
    return (None, source.random() < 0.5, source.choice((0, 1, -1, 5, 10**30, -(2**63), 1e308, 0.5)), SECRET,
            "".join(source.choices(string.printable + "äß\u2028\ud800\U0001f600\0", k=source.randrange(40))),
            source.choice(("up", "down", "user_thumbs", "implicit_copy", "outcome_x", "review_x", TRACE, SPAN,
                           "negative", "bs1." + "A" * 80)), "x" * source.choice((64, 65, 4096, 4097, 20_000)))[kind]
