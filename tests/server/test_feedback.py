"""``/v1/feedback`` over real HTTP: who may say what, what is answered, and what bad input is told."""

import json
import time

import pytest

from backspan.feedback.fields import MAX_COMMENT, MAX_CORRECTION

from .conftest import SPAN, TARGET, TRACE, token

SECRET = "a very private remark"


def _stored(server):
    return server.json("/api/feedback?limit=500")[1]["feedback"]


def _revisions(server):
    """What changes by a vote, and by nothing else."""
    return [(vote["id"], vote["version"], vote["value"]) for vote in _stored(server)]


def test_a_vote_its_change_and_its_end_by_token(up):
    held = token(1)
    first = up.vote({"thumbs": "up"}, Backspan_Token=held)
    assert (first[0], first[1]["status"], first[1]["version"]) == (201, "add", 1)
    assert up.vote({"thumbs": "up"}, Authorization=f"Bearer {held}")[1]["status"] == "unchanged"
    changed = up.vote({"thumbs": False, "reasons": ["inaccurate"], "token": held}, method="PUT")
    assert (changed[0], changed[1]["status"], changed[1]["version"]) == (200, "change", 2)
    shown = up.json("/v1/feedback", Backspan_Token=held)[1]["feedback"]
    assert [(vote["name"], vote["value"], vote["reasons"]) for vote in shown] == [("user_thumbs", 0.0, ["inaccurate"])]
    gone = up.json("/v1/feedback/user_thumbs", "DELETE", Backspan_Token=held)
    assert (gone[0], gone[1]["status"]) == (200, "retract")
    assert up.json("/v1/feedback", Backspan_Token=held)[1]["feedback"] == []
    again = up.vote({"name": "user_thumbs"}, method="DELETE", Backspan_Token=held)
    assert (again[0], again[1]["status"]) == (200, "unchanged")


def test_a_form_is_told_what_was_marked_and_agreed_to(up):
    held, quote = token(6), {"text": "two years", "start": 3, "end": 12}
    up.vote({"correction": "Three years.", "quote": quote, "consent": {"improve": True}, "token": held})
    up.vote({"thumbs": "up", "token": held})
    shown = {one["name"]: one for one in up.json("/v1/feedback", Backspan_Token=held)[1]["feedback"]}
    told = {name: (one["quote"], one["consent"]) for name, one in shown.items()}
    assert told == {"user_correction": (quote, {"improve": True}), "user_thumbs": (None, None)}
    assert up.vote({"correction": "Three years.", "quote": quote, "consent": {"improve": False}, "token": held})[1][
        "status"] == "change"


def test_several_judgements_in_one_request(up):
    status, answer = up.vote({"stars": 2, "correction": "It is 14 days.", "token": token(2)})
    assert status == 201
    assert [(one["name"], one["status"]) for one in answer["results"]] == [
        ("user_stars", "add"), ("user_correction", "add")]


@pytest.mark.parametrize("body", [{"thumbs": "up", **TARGET}, {"thumbs": "up", "target": TARGET}])
def test_by_ids_from_this_machine(up, body):
    body["rater"] = json.dumps(body)
    assert up.vote(body)[1]["resolved"] is True


def test_an_unknown_response_id_is_accepted_as_unresolved(up):
    assert up.vote({"thumbs": "up", "target": {"response_id": "chatcmpl-nobody-knows"}}) [1]["resolved"] is False


def test_get_never_writes(up):
    before = _revisions(up)
    status, answer = up.json(f"/v1/feedback?trace_id={TRACE}&span_id={SPAN}&thumbs=up&rater=nobody")
    assert (status, answer["feedback"]) == (200, [])
    assert _revisions(up) == before


def test_whoever_holds_a_token_cannot_call_himself_a_reviewer(up):
    held = token(3)
    away = {"X_Forwarded_For": "203.0.113.7", "Backspan_Token": held}
    assert up.vote({"thumbs": "up", "source": "reviewer"}, **away)[0] == 201
    assert [vote["source"] for vote in _stored(up) if vote["trace_id"] == f"{3:032x}"] == ["end_user"]
    assert up.vote({"name": "review_ok", "value": True}, **away)[0] == 422
    assert up.vote({"thumbs": "up", "rater": "somebody else"}, **away)[0] == 422
    assert up.vote({"thumbs": "up", "target": TARGET}, **away)[0] == 422


def test_ids_need_this_machine(up):
    body = {"thumbs": "up", "target": TARGET, "rater": "away"}
    for headers in ({"X_Forwarded_For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"},
                    {"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        status, answer = up.vote(body, **headers)
        assert (status, answer["title"]) == (401, "Not authorised"), headers
    assert up.json("/api/turns", Host="evil.example")[0] == 401
    assert up.vote(body, Origin=up.url)[0] == 201


def test_ids_or_the_api_key(servers):
    server = servers("up", BACKSPAN_API_KEY="s3cret").start()
    body, away = {"thumbs": "up", "target": TARGET}, {"X_Forwarded_For": "203.0.113.7"}
    assert server.vote(body, **away)[0] == 401
    assert server.vote(body, Authorization="Bearer wrong", **away)[0] == 401
    assert server.vote(body, Authorization="Bearer s3cret", **away)[0] == 201
    assert server.json("/api/turns", Authorization="Bearer s3cret", **away)[0] == 200


def test_personal_data_is_masked_before_it_is_stored(up):
    up.vote({"thumbs": "down", "comment": "write to jane.doe@example.com", "token": token(4)})
    [vote] = [vote for vote in _stored(up) if vote["trace_id"] == f"{4:032x}"]
    assert "jane.doe@example.com" not in vote["comment"] and vote["comment"].startswith("write to ")


def _over(limit):
    return "x" * (limit + 1)


BAD = {
    "a trace id of 31 digits": ({"target": {"trace_id": TRACE[:-1], "span_id": SPAN}}, 422, "trace_id"),
    "an upper-case trace id": ({"target": {"trace_id": TRACE.upper(), "span_id": SPAN}}, 422, "trace_id"),
    "an all-zero trace id": ({"target": {"trace_id": "0" * 32, "span_id": SPAN}}, 422, "trace_id"),
    "an all-zero span id": ({"target": {"trace_id": TRACE, "span_id": "0" * 16}}, 422, "span_id"),
    "a trace id alone": ({"target": {"trace_id": TRACE}}, 422, "span_id"),
    "no target": ({"target": {}}, 422, "target"),
    "a target that is a list": ({"target": [TRACE, SPAN]}, 422, "target"),
    "an unknown field of the target": ({"target": {**TARGET, "tenant": "x"}}, 422, "target"),
    "two thousand reasons": ({"reasons": [f"r{n}" for n in range(2000)]}, 422, "reasons"),
    "a reason that is a sentence": ({"reasons": [SECRET]}, 422, "reasons"),
    "reasons that are a text": ({"reasons": "inaccurate"}, 422, "reasons"),
    "a comment of 4,097 characters": ({"comment": _over(MAX_COMMENT)}, 422, "comment"),
    "a comment of 5 MB": ({"comment": SECRET + "x" * 5_000_000}, 413, None),
    "a correction of 16,385 characters": ({"correction": _over(MAX_CORRECTION)}, 422, "correction"),
    "a comment that is a number": ({"comment": 7}, 422, "comment"),
    "half of a surrogate pair": ({"comment": "\ud800"}, 422, "comment"),
    "thumbs sideways": ({"thumbs": "sideways"}, 422, "thumbs"),
    "thumbs that are a number": ({"thumbs": 1}, 422, "thumbs"),
    "six stars": ({"thumbs": None, "stars": 6}, 422, "stars"),
    "stars that are true": ({"thumbs": None, "stars": True}, 422, "stars"),
    "nothing said": ({"thumbs": None}, 422, "thumbs"),
    "a value without a name": ({"value": 1}, 422, "value"),
    "a name outside of the families": ({"name": "quality", "value": 1}, 422, "name"),
    "an infinite value": ({"name": "user_x", "value": 1e400}, 400, None),
    "a value beyond all measure": ({"name": "user_x", "value": 10**30}, 422, "value"),
    "a surface that is a sentence": ({"surface": "in the chat!"}, 422, "surface"),
    "a variant that is a number": ({"ui_variant": 7}, 422, "ui_variant"),
    "a share beyond the whole": ({"thumbs": None, "name": "implicit_copy", "value": 5}, 422, "value"),
    "something to take back": ({"thumbs": None, "retract": True}, 422, "name"),
    "something to skip": ({"thumbs": None, "skip": True}, 422, "name"),
    "an unknown source": ({"source": "boss"}, 422, "source"),
    "an unknown field": ({"verdict": "good"}, 422, "verdict"),
    "an unknown field with a private name": ({SECRET: 1}, 422, "payload"),
    "a rater of 300 characters": ({"rater": "x" * 300}, 422, "rater"),
    "a token that is a list": ({"token": ["x"]}, 422, "token"),
    "a forged token": ({"token": "bs1.forged", "target": None}, 401, "token"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_precisely_and_nothing_is_stored(up, case):
    change, status, field = BAD[case]
    body = {"thumbs": "up", "target": TARGET, "rater": "bad input", **change}
    before = _revisions(up)
    found, headers, answer = up.request("POST", "/v1/feedback", body)
    problem = json.loads(answer)
    assert (found, headers["content-type"]) == (status, "application/problem+json")
    assert (problem["status"], problem.get("field")) == (status, field)
    assert SECRET not in answer.decode() and _revisions(up) == before


@pytest.mark.parametrize(("body", "kind", "status"), [
    (b'{"thumbs": "\xff\xfe"}', "application/json", 400),
    (b"{", "application/json", 400),
    (b"[" * 100_000, "application/json", 400),
    (b'{"thumbs": NaN}', "application/json", 400),
    (b"[1]", "application/json", 422),
    (b"", "application/json", 400),
    (b'{"thumbs": "up"}', "text/plain", 415),
    (b"thumbs=up", "application/x-www-form-urlencoded", 415),
])
def test_a_body_that_is_no_json_object(up, body, kind, status):
    found, headers, _ = up.request("POST", "/v1/feedback", body, {"Content-Type": kind})
    assert (found, headers["content-type"]) == (status, "application/problem+json")


def test_tokens_that_expired_or_were_changed(up):
    held = token(5)
    old = token(5, ttl=10, now=time.time() - 100)
    changed = held[:-8] + ("A" if held[-8] != "A" else "B") + held[-7:]
    for given, reason in ((old, "expired"), (changed, "not made by this service"), ("nonsense", "not made by")):
        status, problem = up.vote({"thumbs": "up"}, Backspan_Token=given)
        assert status == 401 and reason in problem["detail"], given
    assert not [vote for vote in _stored(up) if vote["trace_id"] == f"{5:032x}"]


def test_methods_and_paths_that_are_not_there(up):
    for method, path, status in (("PATCH", "/v1/feedback", 405), ("GET", "/nothing", 404), ("GET", "/v1/traces", 405)):
        found, headers, _ = up.request(method, path)
        assert (found, headers["content-type"]) == (status, "application/problem+json")


def test_a_wrong_method_is_told_the_right_ones(up):
    _, headers, _ = up.request("PATCH", "/v1/feedback")
    assert set(headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "PUT", "DELETE"}


def test_nothing_with_content_was_logged(up):
    assert len(up.lines) == 1, up.lines


def test_the_description_names_every_route(up):
    document = up.json("/openapi.json")[1]
    assert document["openapi"] == "3.1.0"
    assert {"/v1/feedback", "/v1/traces", "/api/turns", "/api/charts/{name}", "/metrics"} <= document["paths"].keys()
