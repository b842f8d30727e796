"""The short way of a vote gives what the long way gives."""

import json

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.model import parse
from backspan.server import readings
from backspan.server.quick import JsonAnswer, QuickRequest, loads
from backspan.server.readings import Readings

BODIES = [{"thumbs": True}, {"thumbs": "down", "reasons": ["inaccurate"]}, {"stars": 4, "correction": "14 days"},
          {"name": "review_ok", "value": True}, {"name": "user_thumbs", "retract": True},
          {"thumbs": False, "comment": "a comment that nobody gives twice"}]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_means_the_same_the_second_time(body):
    known = Readings()
    assert [known.read(dict(body), None) for _ in range(3)] == [parse(body)] * 3


def _one_is_not_true(known):
    assert known.read({"thumbs": True}, None)
    with pytest.raises(InvalidFeedback):
        known.read({"thumbs": 1}, None)


def test_what_equals_in_python_is_not_the_same():
    _one_is_not_true(Readings())


def test_bodies_that_are_not_told_apart_are_noticed(monkeypatch):
    """The twin of the test above: every body looks like the first."""
    monkeypatch.setattr(readings, "_bytes", lambda _payload: b"the same")
    with pytest.raises(pytest.fail.Exception):
        _one_is_not_true(Readings())


def test_what_one_token_allows_another_need_not():
    known = Readings()
    assert known.read({"thumbs": True}, ("user_*",))
    with pytest.raises(InvalidFeedback, match="not allowed"):
        known.read({"thumbs": True}, ("implicit_*",))


def test_no_more_is_remembered_than_fits(monkeypatch):
    monkeypatch.setattr(readings, "_MOST", 3)
    known = Readings()
    for count in range(20):
        known.read({"thumbs": True, "comment": f"number {count}"}, None)
        known.read({"thumbs": True, "comment": "long " * 200}, None)
    assert len(known._known) <= 3


def test_a_body_nested_too_deeply_to_be_remembered_is_refused_like_any_other():
    deep = loads("[" * 800 + "]" * 800)
    for _ in range(3):
        deep = [deep]
    with pytest.raises(InvalidFeedback):
        Readings().read({"reasons": deep, "thumbs": True}, None)


def _scope():
    headers = [(b"host", b"a"), (b"x-one", b"first"), (b"x-one", b"second"), (b"accept", b"\xe9")]
    return {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}


def test_headers_are_those_of_starlette():
    quick, plain = QuickRequest(_scope(), None, None).headers, Request(_scope()).headers
    for name in ("host", "Host", "X-One", "accept", "missing"):
        assert (quick.get(name), name in quick) == (plain.get(name), name in plain)
    assert quick.get("missing", "else") == "else" and quick["x-one"] == plain["x-one"] == "first"
    with pytest.raises(KeyError):
        quick["missing"]


def test_an_answer_is_that_of_starlette():
    said = {"id": "a", "version": 1, "resolved": True, "results": [{"name": "é"}]}
    quick = JsonAnswer(said, 201, {"X-More": "1"})
    plain = JSONResponse(said, 201, {"X-More": "1"})
    assert (quick.status_code, quick.body) == (plain.status_code, plain.body)
    assert sorted(quick.raw_headers) == sorted(plain.raw_headers)


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "{", "", "\ufeff{}"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        loads(text)
    assert loads('{"a": [1, 1.5, true, null]}') == json.loads('{"a": [1, 1.5, true, null]}')
