"""The gateway's front door over real HTTP: origins, keys with scopes, limits, idempotency keys, and what is counted."""

import json
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from backspan import semconv
from tests.support import databases

from .conftest import READY, TARGET, token, until

ORIGIN, OTHER = "https://app.example.com", "https://evil.example"
KEY = {"Authorization": "Bearer s3cret"}
SPANS = json.dumps({"resourceSpans": []}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("door")


@pytest.fixture(scope="module")
def gateway(servers, folder):
    """Behind a proxy on this machine: whoever comes with ``X-Forwarded-For`` is from there."""
    limits = ("token=4/year", "subject=6/year", "address=40/year")  # a day may end during a test
    options = [word for limit in limits for word in ("--limit", limit)]
    return servers("gateway", "--origin", ORIGIN, "--proxy", "127.0.0.1", "--audience", "here", *options,
                   folder=folder, BACKSPAN_API_KEY="s3cret").start()


@cache
def held(number, **more):
    return token(number, **{"audience": "here", **more})


def _vote(server, number, address=None, body=None, method="POST", **headers):
    given = {"Backspan-Token": held(number), **({"X-Forwarded-For": address} if address else {}), **headers}
    return server.request(method, "/v1/feedback", body or {"thumbs": "up"}, given)


def _rejected(server):
    found = re.findall(rf'^{semconv.PROM_FEEDBACK_REJECTED}{{reason="(\w+)"}} (\S+)$', server.metrics(), re.M)
    return {reason: float(count) for reason, count in found}


def _grown(server, before):
    return {word: count - before[word] for word, count in _rejected(server).items() if count != before[word]}


def _count(server):
    return len(server.json("/api/feedback?limit=500")[1]["feedback"])


# --- origins --------------------------------------------------------------------------------------------------------
def _preflight(server, origin, method="POST", path="/v1/feedback"):
    return server.request("OPTIONS", path, headers={
        "Origin": origin, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "backspan-token,content-type,idempotency-key"})


def test_a_page_of_an_allowed_origin_may_ask_and_read(gateway):
    status, headers, body = _preflight(gateway, ORIGIN)
    assert (status, body, headers["access-control-allow-origin"]) == (204, b"", ORIGIN)
    assert {"POST", "PUT", "DELETE", "GET"} == set(headers["Access-Control-Allow-Methods".lower()].split(", "))
    assert {"backspan-token", "content-type", "idempotency-key"} <= set(
        headers["access-control-allow-headers"].split(", "))
    assert "access-control-allow-credentials" not in headers and "Origin" in headers["vary"]
    status, headers, _ = _vote(gateway, 1, Origin=ORIGIN)
    assert (status, headers["access-control-allow-origin"]) == (201, ORIGIN)
    assert "Retry-After" in headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "*", ORIGIN + ":8443", ORIGIN + ".evil.example", "http" + ORIGIN[5:]])
def test_a_page_of_any_other_origin_may_not(gateway, origin):
    before = _rejected(gateway)
    status, headers, body = _preflight(gateway, origin)
    assert (status, json.loads(body)["status"]) == (403, 403)
    assert "access-control-allow-origin" not in headers
    assert _grown(gateway, before) == {"origin": 1}
    assert "access-control-allow-origin" not in gateway.request("GET", "/healthz", headers={"Origin": origin})[1]


def test_refusals_can_be_read_by_the_page_too(gateway):
    for path, status in (("/v1/nothing", 404), ("/v1/feedback", 401)):
        found, headers, _ = gateway.request("POST", path, {"thumbs": "up", "token": "bs1." + "x" * 60},
                                            {"Origin": ORIGIN})
        assert (found, headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert headers["content-type"] == "application/problem+json"


def test_without_the_setting_no_origin_is_answered(up):
    assert _preflight(up, ORIGIN)[0] == 403
    headers = up.request("GET", "/healthz", headers={"Origin": ORIGIN})[1]
    assert not [name for name in headers if name.lower().startswith("access-control")] and "vary" not in headers


def test_a_token_may_name_the_origins_of_its_pages(gateway):
    bound = {"Backspan-Token": held(2, origins=(ORIGIN,))}
    before, stored = _rejected(gateway), _count(gateway)
    status, _, body = gateway.request("POST", "/v1/feedback", {"thumbs": "up"}, {**bound, "Origin": OTHER})
    assert status == 403 and "origin" in json.loads(body)["detail"]
    assert (_grown(gateway, before), _count(gateway)) == ({"origin": 1}, stored)
    for headers in ({"Origin": ORIGIN}, {}):
        assert gateway.request("POST", "/v1/feedback", {"thumbs": "up"}, {**bound, **headers})[0] in (200, 201)


# --- tokens ---------------------------------------------------------------------------------------------------------
def _changed(text):
    return text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]


TOKENS = {
    "forged": (lambda: _changed(held(3)), "forged", "token"),
    "truncated": (lambda: held(3)[:-20], "forged", "token"),
    "expired": (lambda: held(3, ttl=10, now=time.time() - 100), "expired", "expired"),
    "for another audience": (lambda: held(3, audience="elsewhere"), "audience", "token"),
    "for nobody in particular": (lambda: held(3, audience=None), "audience", "token"),
    "of another layout": (lambda: "bs9" + held(3)[3:], "forged", "token"),
    "far too long": (lambda: "bs1." + "A" * 5000, "forged", "token"),
}


@pytest.mark.parametrize("case", TOKENS)
def test_a_token_that_is_no_good_is_told_why_and_stores_nothing(gateway, case):
    make, why, counted = TOKENS[case]
    before, stored = _rejected(gateway), _count(gateway)
    status, headers, body = gateway.request("POST", "/v1/feedback", {"thumbs": "up"}, {"Backspan-Token": make()})
    assert (status, json.loads(body)["field"]) == (401, "token")
    assert f'error_description="{why}"' in headers["www-authenticate"]
    assert (_grown(gateway, before), _count(gateway)) == ({counted: 1}, stored)


def test_a_token_that_is_sent_again_says_nothing_new(gateway):
    assert _vote(gateway, 4)[0] == 201
    stored = _count(gateway)
    assert json.loads(_vote(gateway, 4)[2])["status"] == "unchanged"
    assert _count(gateway) == stored


# --- keys -----------------------------------------------------------------------------------------------------------
def _keys(server, what, *arguments):
    place = server.arguments[:2] if databases.on_postgresql() else []
    command = [sys.executable, "-m", "backspan", "gateway", "keys", what, *place, *arguments]
    done = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


ASKED = {
    "read": ("GET", "/api/turns", None, 200), "feedback:write": ("POST", "/v1/feedback", "vote", 201),
    "otlp:write": ("POST", "/v1/traces", SPANS, 200), "admin": ("PUT", "/api/outbox", {"since": 0}, 200),
}


def _ask(server, scope, key):
    method, path, body, _ = ASKED[scope]
    if body == "vote":
        body = {"thumbs": "up", "target": TARGET, "rater": f"{time.time()}"}
    given = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "198.51.100.1", "Content-Type": "application/json"}
    return server.request(method, path, body, given)


def test_a_key_may_do_what_its_scopes_say(gateway):
    for scope, (*_, good) in ASKED.items():
        key = json.loads(_keys(gateway, "add", "--scopes", scope, "--json")[1])["key"]
        until(lambda scope=scope, key=key, good=good: _ask(gateway, scope, key)[0] == good)  # known within seconds
        for other in ASKED:
            status, headers, _ = _ask(gateway, other, key)
            allowed = scope in (other, "admin")
            assert status == (ASKED[other][3] if allowed else 403), (scope, other)
            if not allowed:
                assert f'error="insufficient_scope", scope="{other}"' in headers["www-authenticate"]


def test_a_key_is_shown_once_kept_as_a_hash_and_can_be_taken_back(gateway, folder):
    code, key, said = _keys(gateway, "add", "--scopes", "read,feedback:write", "--label", "the shop")
    key, id = key.strip(), key.split(".")[1]
    assert code == 0 and id in said and key not in said
    until(lambda: _ask(gateway, "read", key)[0] == 200)
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert [_ask(gateway, "read", text)[0] for text in (wrong, key[:-1], f"bsk1.{id}.", "bsk1.", "")] == [401] * 5
    listed = _keys(gateway, "list")[1]
    assert "the shop" in listed and "feedback:write,read" in listed and key.split(".")[2] not in listed
    assert not [path for path in Path(folder).iterdir() if path.is_file() and key.split(".")[2].encode()
                in path.read_bytes()]
    assert _keys(gateway, "revoke", id)[0] == 0 and _keys(gateway, "revoke", id)[0] == 1
    until(lambda: _ask(gateway, "read", key)[0] == 401)


def test_scopes_that_do_not_exist(gateway):
    code, out, said = _keys(gateway, "add", "--scopes", "read,everything")
    assert (code, out) == (2, "") and "otlp:write" in said and "Traceback" not in said


# --- OTLP -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_spans_from_elsewhere_need_a_key(gateway, signal):
    away, kind = {"X-Forwarded-For": "198.51.100.1"}, {"Content-Type": "application/json"}
    path, body = f"/v1/{signal}", json.dumps({}).encode()
    status, headers, said = gateway.request("POST", path, body, {**away, **kind})
    assert (status, headers["www-authenticate"], json.loads(said)["code"]) == (401, "Bearer", 16)
    protobuf = gateway.request("POST", path, b"", {**away, "Content-Type": "application/x-protobuf"})
    assert (protobuf[0], protobuf[1]["content-type"]) == (401, "application/x-protobuf")
    assert gateway.request("POST", path, body, {**away, **kind, **KEY})[0] == 200
    assert gateway.request("POST", path, body, kind)[0] == 200


# --- limits ---------------------------------------------------------------------------------------------------------
def _statuses(server, sent):
    return [_vote(server, *one)[0] for one in sent]


def test_one_token_can_be_used_so_often(gateway):
    before = _rejected(gateway)
    assert _statuses(gateway, [(10, "203.0.113.7")] * 4) == [201, 200, 200, 200]
    status, headers, body = _vote(gateway, 10, "203.0.113.7")
    assert (status, headers["content-type"]) == (429, "application/problem+json")
    assert 0 < int(headers["Retry-After".lower()]) <= 366 * 86400 and "token" in json.loads(body)["detail"]
    assert _grown(gateway, before) == {"rate": 1}
    assert _vote(gateway, 11, "203.0.113.7")[0] == 201
    assert _vote(gateway, 10)[0] == 200, "a program on this machine is not limited"
    assert gateway.request("POST", "/v1/feedback", {"thumbs": "up"}, {
        "Backspan-Token": held(10), "X-Forwarded-For": "203.0.113.7"} | KEY)[0] == 200, "nor who has a key"


def test_one_person_can_judge_so_often(gateway):
    sent = [gateway.request("POST", "/v1/feedback", {"thumbs": "up"}, {
        "Backspan-Token": held(number, rater="u1"), "X-Forwarded-For": "192.0.2.1"})[0] for number in range(20, 28)]
    assert sent == [201] * 6 + [429] * 2


@pytest.mark.parametrize(("first", "near", "far"), [
    ("100.64.1.7", "100.64.1.200", "100.64.2.7"),
    ("2001:db8:0:100::1", "2001:db8:0:1ff::9", "2001:db8:0:200::1"),
])
def test_neighbours_are_counted_together(gateway, first, near, far):
    asked = [gateway.request("GET", "/v1/feedback", headers={
        "X-Forwarded-For": f"10.9.9.9, {address}", "Backspan-Token": held(1)})[0]
        for address in [first] * 39 + [near] * 2 + [far]]
    assert asked == [200] * 40 + [429, 200]


def test_an_address_that_no_known_proxy_names_is_not_believed(servers):
    server = servers("up", "--limit", "address=3/year").start()
    said = [_plain(server, f"198.51.100.{number}") for number in range(4)]
    assert said == [201, 201, 201, 429]


def _plain(server, address):
    return server.vote({"thumbs": "up"}, Backspan_Token=token(int(address.split(".")[-1]) + 1),
                       X_Forwarded_For=address)[0]


@pytest.mark.parametrize(("option", "word"), [
    ("--limit=token=often", "60/hour"), ("--limit=everything=1/hour", "subject"), ("--proxy=gateway", "gateway"),
    ("--origin=*", "https://app.example.com"), ("--origin=https://app.example.com/chat", "no path")])
def test_an_option_that_means_nothing_is_refused(tmp_path, gateway, option, word):
    done = subprocess.run([sys.executable, "-m", "backspan", "gateway", "--port", "0", "--db", str(tmp_path / "x.db"),
                           option], env=gateway.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and word in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


# --- once -----------------------------------------------------------------------------------------------------------
def _once(server, number, key, body, **headers):
    return _vote(server, number, None, body, **{"Idempotency-Key": key, **headers})


def test_a_request_that_is_sent_again_gets_the_first_answer(gateway):
    first = _once(gateway, 30, "k1", {"thumbs": "up"})
    assert _once(gateway, 30, "k2", {"thumbs": "down"})[0] == 200
    again = _once(gateway, 30, "k1", {"thumbs": "up"})
    assert first[0] == again[0] == 201 and first[2] == again[2]
    assert again[1]["idempotent-replayed"] == "true" and "idempotent-replayed" not in first[1]
    shown = json.loads(gateway.request("GET", "/v1/feedback", headers={"Backspan-Token": held(30)})[2])["feedback"]
    assert [(vote["value"], vote["version"]) for vote in shown] == [(0.0, 2)]


def test_a_key_stands_for_one_request(gateway):
    before = _rejected(gateway)
    assert _once(gateway, 31, "k1", {"thumbs": "up"})[0] == 201, "the keys of others are no concern"
    status, headers, body = _once(gateway, 31, "k1", {"thumbs": "down"})
    assert (status, json.loads(body)["field"]) == (422, "Idempotency-Key")
    assert _once(gateway, 31, "x" * 256, {"thumbs": "down"})[0] == 400
    assert _grown(gateway, before) == {"idempotency": 2}


BATCHES = {
    "/v1/outcomes": lambda value: {"outcomes": [
        {"name": "outcome_resolved", "value": value, "target": TARGET}, {"name": "nonsense", "value": 1}]},
    "/v1/signals": lambda value: {"consent": ["analytics"], "signals": [
        {"name": "implicit_copy", "value": 0.5 if value else 0.25, "token": held(32)}, {"name": "nonsense"}]},
}


@pytest.mark.parametrize("path", BATCHES)
def test_batches_too(gateway, path):
    sent = [gateway.request("POST", path, BATCHES[path](value), {"Idempotency-Key": key})
            for value, key in ((True, "b1"), (False, "b2"), (True, "b1"), (False, "b1"))]
    assert [status for status, _, _ in sent] == [200, 200, 200, 422]
    first, second, again = (json.loads(body) for _, _, body in sent[:3])
    assert first == again and sent[2][1]["idempotent-replayed"] == "true"
    assert [one["status"] for one in first["results"]] == ["add", "refused"]
    assert second["results"][0]["status"] == "change"


def test_what_was_answered_outlives_a_killed_gateway(servers):
    server = servers("gateway").start()
    sent = {"Backspan-Token": token(40), "Idempotency-Key": "k1"}
    first = server.request("POST", "/v1/feedback", {"thumbs": "up"}, sent)
    server.kill()
    server.start()
    again = server.request("POST", "/v1/feedback", {"thumbs": "up"}, sent)
    assert (first[0], first[2]) == (again[0], again[2]) and again[1]["idempotent-replayed"] == "true"


# --- what is counted ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("body", "reason"), [
    ({"comment": "x" * 300_000}, "size"), ({"thumbs": "sideways"}, "schema"), ({"name": "other", "value": 1}, "name")])
def test_refusals_are_counted_by_their_reason(gateway, body, reason):
    before = _rejected(gateway)
    assert set(before) == set(semconv.REJECTIONS)
    _vote(gateway, 50, None, body)
    assert _grown(gateway, before) == {reason: 1}


def test_what_is_no_refusal_of_a_judgement_is_not_counted(gateway):
    before = _rejected(gateway)
    gateway.request("GET", "/nothing")
    gateway.request("PATCH", "/v1/feedback")
    gateway.request("GET", "/api/turns?limit=x")
    assert _grown(gateway, before) == {}


def test_nothing_was_logged(gateway):
    known = "does not take feedback spans"
    assert [line for line in gateway.lines if not READY.match(line) and known not in line] == []
