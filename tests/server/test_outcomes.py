"""``/v1/outcomes`` over real HTTP: batches by key and by ids, and the webhooks of others."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from backspan import config, semconv
from backspan.server import hooks

from .conftest import TARGET, token, until
from .test_otlp import request_json, span_json

FILE = """
zendesk:
  join_key: {path: detail.external_id, prefix: ticket-}
  id: id
  name: ticket_resolved
  value: {path: detail.status, map: {SOLVED: true, CLOSED: true, OPEN: false}}
  time: {path: time, time: iso}
  when: {path: type, is: ["zen:event-type:ticket.status_changed"]}
  signature: {header: x-zendesk-webhook-signature, secret: ZENDESK_SECRET,
              timestamp: x-zendesk-webhook-signature-timestamp}
typeform:
  join_key: form_response.hidden.ticket
  id: form_response.token
  name: csat
  value: "form_response.answers[field.ref=score].number"
  signature: {header: typeform-signature, secret: TYPEFORM_SECRET, prefix: "sha256="}
  delivery: {path: event_id}
github:
  join_key: {path: key}
  name: deployed
  value: {path: ok}
  delivery: {header: x-github-delivery}
rows:
  each: rows
  join_key: key
  name: {path: kind}
  value: {path: ok}
"""
ZENDESK = {"id": "evt-1", "type": "zen:event-type:ticket.status_changed", "time": "2026-11-20T10:00:00Z",
           "detail": {"external_id": 4711, "status": "SOLVED"}}
TYPEFORM = {"event_type": "form_response", "form_response": {
    "token": "tok-1", "hidden": {"ticket": "ticket-5"},
    "answers": [{"type": "text", "text": "private", "field": {"ref": "why"}},
                {"type": "number", "number": 4, "field": {"ref": "score"}}]}}


@pytest.fixture(scope="module")
def gateway(servers, tmp_path_factory):
    file = tmp_path_factory.mktemp("hooks") / "hooks.yaml"
    file.write_text(FILE)
    return servers("gateway", BACKSPAN_API_KEY="k", BACKSPAN_OUTCOME_HOOKS=str(file), ZENDESK_SECRET="zs",
                   TYPEFORM_SECRET="ts").start()


AWAY = {"X_Forwarded_For": "203.0.113.7"}


def _tell(server, *told, **headers):
    return server.json("/v1/outcomes", "POST", {"outcomes": list(told)}, **headers)


def test_a_batch_by_ids_by_token_and_by_key(up):
    status, answer = _tell(
        up, {"name": "order_kept", "value": True, "target": TARGET},
        {"name": "outcome_order_kept", "value": 12.5, "polarity": "positive", "token": token(61)},
        {"name": "order_kept", "value": False, "join_key": "order-1"},
        {"name": "order_kept", "value": False, "assisted": False, "id": "evt-9"})
    assert (status, answer["accepted"]) == (200, 4)
    assert [(one["status"], one["waiting"]) for one in answer["results"]] == [
        ("add", False), ("add", False), ("add", True), ("add", False)]
    kept = up.json("/api/feedback?name=outcome_order_kept")[1]["feedback"]
    assert sorted((one["value"], one["source"], one["polarity"]) for one in kept) == [
        (1.0, "outcome", "positive"), (12.5, "outcome", "positive")]


def test_each_by_itself(up):
    bad = [{"value": True, "join_key": "a"}, {"name": "x", "join_key": "a"}, {"name": "x", "value": True},
           {"name": "x", "value": True, "join_key": "a", "target": TARGET},
           {"name": "x", "value": True, "target": {"trace_id": "0" * 32, "span_id": "1" * 16}},
           {"name": "x", "value": True, "token": "bs1.no"},
           {"name": "x", "value": True, "join_key": "a", "note": "secret"}, "x",
           {"name": "x", "value": True, "assisted": False}]
    status, answer = _tell(up, *bad, {"name": "x", "value": True, "join_key": "b"})
    assert (status, answer["accepted"], answer["refused"]) == (200, 1, 9)
    assert [one.get("reason") for one in answer["results"]] == [
        "name", "value", "target", "target", "trace_id", "token", "outcome", "outcomes", "id", None]
    assert "secret" not in json.dumps(answer)


@pytest.mark.parametrize(("body", "status"), [
    (b"{", 400), (b"[]", 422), (b"{}", 422), (b'{"outcomes":[]}', 422), (b'{"outcomes":7}', 422),
    (json.dumps({"outcomes": [{}] * 501}).encode(), 422)])
def test_a_batch_that_is_wrong(up, body, status):
    assert up.request("POST", "/v1/outcomes", body)[0] == status


def test_it_needs_a_key(gateway):
    told = {"name": "x", "value": True, "join_key": "c"}
    assert _tell(gateway, told, **AWAY)[0] == 401
    assert _tell(gateway, told, Authorization="Bearer k", **AWAY)[0] == 200
    status, problem = _tell(gateway, told, Backspan_Token=token(62), **AWAY)
    assert (status, problem["detail"]) == (401, "needs an API key (Authorization: Bearer), or a caller on this machine")


def _signed(body, secret, prefix="", timestamp=""):
    digest = hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).digest()
    return prefix + base64.b64encode(digest).decode()


def _hook(server, name, body, **headers):
    return server.json(f"/v1/outcomes/hooks/{name}", "POST", body, **{**AWAY, **headers})


@pytest.mark.parametrize("again", ["d-1", "d-2", None])
def test_a_delivery_is_taken_once(gateway, again):
    """Sent again it gets the first answer, and changes nothing. The twins: another delivery, and one without a name."""
    place = f"r-{again}"
    told = {"Authorization": "Bearer k", "X_GitHub_Delivery": f"{place}-d-1"}
    _hook(gateway, "github", {"key": place, "ok": False}, Authorization="Bearer k")
    first = _hook(gateway, "github", {"key": place, "ok": True}, **told)
    assert first[1]["results"][0]["status"] == "change"
    _hook(gateway, "github", {"key": place, "ok": True}, Authorization="Bearer k")
    more = {} if again is None else {"X_GitHub_Delivery": f"{place}-{again}"}
    answer = _hook(gateway, "github", {"key": place, "ok": False}, Authorization="Bearer k", **more)
    assert answer == first  # a change, both times
    last = _hook(gateway, "github", {"key": place, "ok": False}, Authorization="Bearer k")
    assert last[1]["results"][0]["status"] == ("change" if again == "d-1" else "unchanged")


def test_an_idempotency_key_holds_for_webhooks_too(gateway):
    key = {"Authorization": "Bearer k", "Idempotency_Key": "hook-1"}
    first = _hook(gateway, "github", {"key": "r-9", "ok": True}, **key)
    assert first[1]["results"][0]["status"] == "add"
    assert _hook(gateway, "github", {"key": "r-9", "ok": True}, **key) == first
    assert _hook(gateway, "github", {"key": "r-9", "ok": False}, **key)[0] == 422


def test_a_help_desk(gateway):
    body = json.dumps(ZENDESK).encode()
    moment = "2026-11-20T10:00:01Z"
    said = {"X_Zendesk_Webhook_Signature": _signed(body, "zs", timestamp=moment),
            "X_Zendesk_Webhook_Signature_Timestamp": moment}
    status, answer = _hook(gateway, "zendesk", body, **said)
    assert (status, answer["results"][0]["name"], answer["results"][0]["status"]) == (
        200, "outcome_ticket_resolved", "add")
    assert _hook(gateway, "zendesk", body, **said)[1]["results"][0]["status"] == "unchanged"
    other = {**said, "X_Zendesk_Webhook_Signature_Timestamp": "2026-11-20T10:00:02Z"}
    status, problem = _hook(gateway, "zendesk", body, **other)
    assert status == 401 and problem["detail"].startswith("the signature in x-zendesk-webhook-signature does not hold")
    assert _hook(gateway, "zendesk", body)[0] == 401
    assert _hook(gateway, "zendesk", body, Authorization="Bearer k")[0] == 200


def test_a_survey(gateway):
    body = json.dumps(TYPEFORM).encode()
    status, answer = _hook(gateway, "typeform", body, Typeform_Signature=_signed(body, "ts", "sha256="))
    assert (status, answer["results"][0]["name"]) == (200, "outcome_csat")
    assert _hook(gateway, "typeform", body, Typeform_Signature=_signed(body, "other", "sha256="))[0] == 401


def test_many_in_one(gateway):
    rows = [{"key": "r1", "kind": "kept", "ok": True}, {"key": "r2", "kind": "kept", "ok": False}]
    answer = _hook(gateway, "rows", {"rows": rows}, Authorization="Bearer k")[1]
    assert [one["status"] for one in answer["results"]] == ["add", "add"]


def test_what_does_not_fit(gateway):
    key = {"Authorization": "Bearer k"}
    assert _hook(gateway, "zendesk", {"type": "something else"}, **key) == (
        200, {"accepted": 0, "refused": 0, "results": []})
    for body in ({**ZENDESK, "detail": {"external_id": 1, "status": "private words"}}, {**ZENDESK, "detail": 7},
                 {**ZENDESK, "time": "private words"}):
        status, answer = _hook(gateway, "zendesk", body, **key)
        assert status == 422 and "private" not in json.dumps(answer)
    assert _hook(gateway, "rows", {"rows": 7}, **key)[0] == 422
    assert _hook(gateway, "nobody", {}, **key)[0] == 404


@pytest.mark.parametrize("given", [
    7, {}, {"name": "x"}, {"name": "x", "join_key": "a", "txt": "b"}, {"name": "x", "join_key": {}},
    {"name": "x", "join_key": {"path": "a", "constant": "b"}}, {"name": "x", "join_key": "a", "when": {"path": "b"}},
    {"name": "x", "join_key": "a", "signature": {"header": "h"}}, {"name": "x", "join_key": "a", "delivery": {}},
    {"name": "x", "join_key": "a", "delivery": {"header": "h", "path": "p"}},
    {"name": "x", "join_key": "a", "delivery": {"header": 7}}, {"name": "x", "join_key": "a", "each": 7},
    {"name": "x", "join_key": {"path": "a", "time": "unix"}}, {"name": "x", "join_key": {"path": "a", "map": 7}}])
def test_a_mapping_that_is_wrong(given):
    with pytest.raises(hooks.HooksError):
        hooks.hook("h", given)


SIGNED = "h: {name: x, join_key: a, signature: {header: s, secret: SECRET_OF_H}}"


@pytest.mark.parametrize("secret", ["", "known"])
def test_a_secret_that_is_not_there_is_told_when_the_gateway_starts(secret, tmp_path, monkeypatch):
    """Every webhook would be refused otherwise. The twin: with the secret it starts."""
    file = tmp_path / "hooks.yaml"
    file.write_text(SIGNED)
    monkeypatch.setenv("BACKSPAN_OUTCOME_HOOKS", str(file))
    monkeypatch.setenv("SECRET_OF_H", secret)
    config.reload()
    if secret:
        assert set(hooks.load()) == {"h"}
    else:
        with pytest.raises(hooks.HooksError, match="h.signature: the environment variable SECRET_OF_H is not set"):
            hooks.load()


@pytest.mark.parametrize(("text", "seconds"), [
    ("2026-11-20T10:00:00Z", 1795168800), ("2026-11-20T10:00:00", 1795168800),
    ("2026-11-20T12:00:00+02:00", 1795168800)])
def test_a_moment_without_a_zone_is_of_utc(text, seconds, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        made = hooks.hook("h", {"name": "x", "join_key": {"constant": "k"}, "time": {"path": "t", "time": "iso"}})
        assert made.read({"t": text})[0]["time"] == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_outcome_of_a_gateways_own_turn_waits_for_it(up):
    vote = _late(up, 77, "late")
    assert (vote["trace_id"], vote["polarity"], vote["source"]) == (f"{77:032x}", "positive", "outcome")


def _late(server, number, name):
    """The vote that an outcome becomes whose turn comes after it."""
    told = {"name": name, "value": True, "join_key": f"order-{number}"}
    assert _tell(server, told)[1]["results"][0]["waiting"] is True
    span = span_json(number)
    span["attributes"].append({"key": semconv.JOIN_KEY, "value": {"stringValue": f"order-{number}"}})
    assert server.request("POST", "/v1/traces", request_json(span))[0] == 200
    [vote] = until(lambda: server.json(f"/api/feedback?name=outcome_{name}")[1]["feedback"])
    return vote


def test_the_gauge_of_outcomes(servers):
    """Beside votes, and with and without a model; no sample where there is nothing."""
    server = servers("gateway", BACKSPAN_API_KEY="k").start()
    assert "backspan_outcomes{" not in server.metrics()
    for number, (up, good) in enumerate(((True, True), (True, True), (False, False)), 900):
        assert server.request("POST", "/v1/traces", request_json(span_json(number)))[0] == 200
        server.vote({"thumbs": up, "token": token(number)})
        ids = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}
        assert _tell(server, {"name": "kept", "value": good, "target": ids})[0] == 200
    _tell(server, {"name": "kept", "value": False, "assisted": False, "id": "alone"})
    server.stop()
    server.start()  # it reads the gauge at most once a minute
    found = {tuple(one["labels"][name] for name in ("group", "polarity")): one["value"]
             for one in until(lambda: samples(server, "backspan_outcomes"))}
    assert found == {
        ("after_up", "positive"): 2, ("after_up", "negative"): 0, ("after_down", "positive"): 0,
        ("after_down", "negative"): 1, ("assisted", "positive"): 2, ("assisted", "negative"): 1,
        ("unassisted", "positive"): 0, ("unassisted", "negative"): 1}


def samples(server, name):
    return [{"labels": one.labels, "value": one.value} for family in text_string_to_metric_families(server.metrics())
            for one in family.samples if one.name == name]


def test_the_report(up, gateway):
    _late(up, 78, "reported")
    assert _tell(up, {"name": "reported_too", "value": True, "target": TARGET})[0] == 200
    found = up.json("/api/outcomes?since=0")[1]
    assert {one["name"] for one in found["outcomes"]} >= {"outcome_reported", "outcome_reported_too"}
    [late] = up.json("/api/outcomes?name=outcome_reported")[1]["outcomes"]
    assert (late["assistance"]["assisted"]["good"], late["votes"]["verdict"]) == (1, "too_few")
    assert gateway.json("/api/outcomes", **AWAY)[0] == 401
