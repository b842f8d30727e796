"""``/v1/signals`` over real HTTP: as a page's beacon sends them, one refused without the others."""

import json
import subprocess
import sys
import time

import pytest

from backspan import semconv
from backspan.feedback.signals import CATALOGUE
from tests.support import databases
from tests.support.processes import environment

from .conftest import SPAN, TARGET, TRACE, token, until
from .test_otlp import request_json, span_json

CONSENT = {"consent": ["analytics"]}


@pytest.fixture(scope="module")
def gateway(servers, tmp_path_factory):
    return servers("gateway", "--port", "0", BACKSPAN_API_KEY="k").start()


def _post(server, body, **headers):
    return server.json("/v1/signals", "POST", body, **headers)


def _stored(server, number):
    found = server.json("/api/feedback?limit=500")[1]["feedback"]
    return {one["name"]: one for one in found if one["trace_id"] == f"{number:032x}"}


@pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8"])
def test_a_beacon(up, kind):
    number = 100 + len(kind)
    body = {"signals": [{"name": "implicit_copy", "value": 0.6}, {"name": "implicit_dwell", "value": 1.4},
                        {"name": "implicit_escalation"}], "token": token(number), **CONSENT}
    status, answer = _post(up, json.dumps(body).encode(), Content_Type=kind)
    assert (status, answer["accepted"], answer["refused"]) == (200, 3, 0)
    assert [one["status"] for one in answer["results"]] == ["add"] * 3
    kept = _stored(up, number)
    assert {name: (one["value"], one["polarity"], one["source"], one["label"]) for name, one in kept.items()} == {
        "implicit_copy": (0.6, "positive", "implicit", "rule-1"),
        "implicit_dwell": (1.4, "neutral", "implicit", "rule-1"),
        "implicit_escalation": (1.0, "negative", "implicit", "rule-1")}


def test_a_signal_lives_like_a_vote(up):
    held = token(201, rater="somebody")
    ask = [{"value": 0.3}, {"value": 0.3}, {"value": 0.9}, {"retract": True}]
    bodies = [{"signals": [{"name": "implicit_copy", **one}], "token": held, **CONSENT} for one in ask]
    said = [_post(up, body)[1]["results"][0]["status"] for body in bodies]
    assert said == ["add", "unchanged", "change", "retract"]


def test_each_is_accepted_or_refused_by_itself(up):
    good, expired = token(301), token(302, now=time.time() - 9e6)
    signals = [
        {"name": "implicit_copy", "value": 0.5, "token": good},
        {"name": "implicit_copy", "value": 0.1, "token": good},  # less than a fifth is no evidence
        {"name": "implicit_copy", "value": "0.5", "token": good},
        {"name": "implicit_reformulation", "token": good},  # only the server sees that
        {"name": "implicit_nonsense", "token": good},
        {"name": "implicit_save", "token": expired},
        {"name": "implicit_save", "token": "bs1.forged"},
        {"name": "implicit_save"},
        {"name": "implicit_save", "token": good, "text": "what was copied"},
        {"name": "implicit_save", "token": good, "rater": "somebody else"},
        {"name": "implicit_save", "token": token(303, names=["user_*"])},
        "save",
        {"name": "implicit_save", "token": good, "surface": "what was copied"},
        {"name": "implicit_pin", "token": token(304)},
    ]
    status, answer = _post(up, {"signals": signals, **CONSENT})
    assert (status, answer["accepted"], answer["refused"]) == (200, 2, 12)
    assert [one.get("reason") for one in answer["results"]] == [
        None, "value", "value", "name", "name", "token", "token", "token", "signals", "rater", "name", "signals",
        "surface", None]
    assert "what was copied" not in json.dumps(answer)
    assert set(_stored(up, 301)) == {"implicit_copy"} and set(_stored(up, 304)) == {"implicit_pin"}


@pytest.mark.parametrize(("more", "headers"), [
    ({}, {}), ({"consent": []}, {}), ({"consent": ["improve"]}, {}), ({"consent": {"analytics": False}}, {}),
    (CONSENT, {"Sec_GPC": "1"})])
def test_without_consent_nothing_is_stored_and_the_answer_says_so(up, more, headers):
    held = token(400)
    status, answer = _post(up, {"signals": [{"name": "implicit_copy", "value": 1}], "token": held, **more}, **headers)
    assert (status, answer["accepted"], answer["results"][0]["reason"]) == (200, 0, "no_consent")
    assert _stored(up, 400) == {}


@pytest.mark.parametrize(("more", "headers", "status"), [
    ({}, {}, 422), ({"consent": {"analytics": False}}, {}, 422), ({"consent": "yes"}, {}, 422),
    ({"consent": {"analytics": True}}, {"Sec_GPC": "1"}, 422), ({"consent": {"analytics": True}}, {}, 201)])
def test_the_route_of_votes_keeps_signals_under_the_same_conditions(up, more, headers, status):
    number = 410 + len(more) + 10 * len(headers) + status
    away = {"X_Forwarded_For": "203.0.113.7", "Backspan_Token": token(number), **headers}
    for _ in range(2):  # what is remembered of a body is no way around
        assert up.vote({"name": "implicit_copy", "value": 1, **more}, **away)[0] in (status, status - 1)
    assert len(_stored(up, number)) == (status == 201)
    assert up.vote({"name": "implicit_copy", "retract": True}, **away)[0] == 200


def test_an_application_on_this_machine_answers_for_consent_itself(up):
    assert up.vote({"name": "implicit_copy", "value": 1}, Backspan_Token=token(409))[0] == 201
    away = {"X_Forwarded_For": "203.0.113.7", "Backspan_Token": token(408)}
    assert up.vote({"name": "implicit_copy", "value": 1}, **away)[0] == 422  # the same body, once it is known


def test_consent_as_an_object(up):
    body = {"signals": [{"name": "implicit_copy", "value": 1}], "token": token(401), "consent": {"analytics": True}}
    assert _post(up, body, Sec_GPC="0")[1]["accepted"] == 1


@pytest.mark.parametrize(("body", "status"), [
    (b"{", 400), (b"\xff", 400), (b"[]", 422), (b"{}", 422), (b'{"signals":[]}', 422), (b'{"signals":"copy"}', 422),
    (b'{"signals":[{}],"text":"secret"}', 422), (b'{"signals":[{}],"consent":"yes"}', 422),
    (b'{"signals":[{}],"token":7}', 422), (json.dumps({"signals": [{}] * 51}).encode(), 422),
    (b" " * 70_000, 413), (b"[" * 60_000, 400)])
def test_a_batch_that_is_wrong(up, body, status):
    found = up.request("POST", "/v1/signals", body)
    assert found[0] == status and b"secret" not in found[2], found


def test_other_content_types_are_refused(up):
    assert up.request("POST", "/v1/signals", b"{}", {"Content-Type": "application/x-www-form-urlencoded"})[0] == 415
    assert up.request("GET", "/v1/signals")[0] == 405


def test_ids_need_the_key(gateway):
    body = {"signals": [{"name": "implicit_revert", "target": TARGET, "rater": "r"}], **CONSENT}
    away = {"X_Forwarded_For": "203.0.113.7"}
    assert _post(gateway, body, **away)[1]["results"][0]["reason"] == "token"
    assert _post(gateway, body, Authorization="Bearer k", **away)[1]["results"][0]["status"] == "add"
    stray = {"name": "implicit_revert", "target": {**TARGET, "text": "x"}}
    assert _post(gateway, {**body, "signals": [stray]})[1]["refused"] == 1


def test_signals_have_a_series_of_their_own(servers):
    server = servers("gateway").start()
    held = token(501, rater="r")
    for value in (0.4, 0.8):
        _post(server, {"signals": [{"name": "implicit_copy", "value": value}], "token": held, **CONSENT})
    for _ in range(2):
        server.metrics()
    lines = [line for line in server.metrics().splitlines() if "implicit_copy" in line]
    counted = [line for line in lines if line.startswith(semconv.PROM_SIGNALS + "{")]
    assert len(counted) == 1 and 'polarity="positive"' in counted[0] and counted[0].endswith(" 1.0")
    assert not [line for line in lines if 'source="end_user"' in line]
    assert not any(f'name="{semconv.USER_THUMBS}"' in line and not line.endswith(" 0.0")
                   for line in server.metrics().splitlines())


def test_the_description_names_what_may_be_sent(up):
    told = up.json("/openapi.json")[1]["paths"]["/v1/signals"]["post"]
    item = told["requestBody"]["content"]["application/json"]["schema"]["properties"]["signals"]["items"]
    assert item["properties"]["name"]["enum"] == [
        one.feedback_name for one in CATALOGUE.values() if one.seen_by != ("server",)]
    assert SPAN and TRACE


def _asked(number, text, ago, session):
    """A model call of somebody who agreed, with what was asked."""
    start = int((time.time() - ago) * 1e9)
    span = span_json(number, startTimeUnixNano=str(start), endTimeUnixNano=str(start + 10**9))
    said = {semconv.CONVERSATION_ID: session, semconv.INPUT_MESSAGES: json.dumps(
        [{"role": "user", "parts": [{"type": "text", "content": text}]}])}
    span["attributes"] += [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]
    span["attributes"].append({"key": semconv.CONSENT, "value": {"arrayValue": {"values": [
        {"stringValue": "analytics"}]}}})
    return span


def _ask_twice(server, session):
    spans = [_asked(0xD1, "How do I reset my password?", 60, session),
             _asked(0xD2, "how can I reset the password", 30, session)]
    assert server.request("POST", "/v1/traces", request_json(*spans))[0] == 200


def _found(server):
    return server.json("/api/feedback?name=implicit_reformulation")[1]["feedback"]


def test_up_finds_signals_by_itself(up):
    _ask_twice(up, "c-up")
    [vote] = until(lambda: _found(up), seconds=60)
    assert (vote["trace_id"], vote["polarity"], vote["value"]) == (f"{0xD1:032x}", "negative", 0.8)


def test_beside_a_gateway_the_worker_finds_them(servers, tmp_path):
    server = servers("gateway", folder=tmp_path).start()
    _ask_twice(server, "c-gw")
    place = databases.arguments(tmp_path / "gateway.db")
    worker = [sys.executable, "-m", "backspan", "worker", *place, "--once", "--json"]
    env = environment(BACKSPAN_DATA_DIR=str(tmp_path))

    def look():
        done = subprocess.run(worker, env=env, capture_output=True, text=True, check=True, timeout=60)
        return _found(server) and json.loads(done.stdout)

    reports = {one["job"]: one for one in until(look, seconds=60)}
    assert reports["signals"]["done"]["signals"] == 1 and reports["signals"]["error"] is None
    assert [vote["trace_id"] for vote in _found(server)] == [f"{0xD1:032x}"]
