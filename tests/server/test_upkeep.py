"""``backspan feedback quarantine`` and ``erase`` against a running gateway and against its file."""

import json
import subprocess
import sys

import pytest

from backspan import semconv
from tests.support.processes import environment

from .conftest import token, until
from .test_otlp import request_json, span_json


@pytest.fixture(scope="module")
def gateway(servers):
    return servers("gateway", BACKSPAN_API_KEY="secret").start()


def feedback(*arguments):
    return subprocess.run([sys.executable, "-m", "backspan", "feedback", *arguments], capture_output=True, text=True,
                          env=environment(BACKSPAN_TOKEN_KEYS="aGVsbG8gdGhpcyBpcyBhIGtleSBmb3IgdGVzdHMgISE="),
                          timeout=60, check=False)


def shown(gateway, *arguments):
    done = feedback(*arguments, "--gateway", gateway.url, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def net(gateway, segment):
    lines = [line for line in gateway.metrics().splitlines()
             if line.startswith("backspan_feedback_total{") and f'backspan_segment="{segment}"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) * (-1 if 'op="retract"' in line else 1) for line in lines)


def vote(gateway, number, segment, rater):
    """A bad one with a few words, fewer than make one suspect who says the same as others."""
    from .conftest import DIMS

    held = token(number, rater=rater, target={"dims": {**DIMS, "backspan.segment": segment}})
    return gateway.vote({"thumbs": False, "comment": "my words", "token": held})[1]["id"]


def test_a_vote_is_held_and_let_go_by_hand(gateway):
    id = vote(gateway, 1, "held", "p-anna")
    until(lambda: net(gateway, "held") == 1)
    assert shown(gateway, "quarantine", "hold", id, "nobody") == {"action": "hold", "done": 1}
    (one,) = [one for one in shown(gateway, "quarantine", "list")["votes"] if one["rater"] == "p-anna"]
    assert (one["id"], one["rule"], one["trust"]) == (id, "by_hand", "known") and "words" not in str(one)
    (shown_too,) = gateway.json(f"/api/feedback?id={id}")[1]["feedback"]
    assert (shown_too["held"], shown_too["trust"]) == ("by_hand", "known")
    until(lambda: net(gateway, "held") == 0)
    assert id in feedback("quarantine", "list", "--gateway", gateway.url).stdout
    assert shown(gateway, "quarantine", "release", id)["done"] == 1
    until(lambda: net(gateway, "held") == 1)
    assert shown(gateway, "quarantine", "list", "--released")["votes"][0]["id"] == id
    assert gateway.json(f"/api/feedback?id={id}")[1]["feedback"][0]["held"] is None
    until(lambda: 'backspan_feedback_quarantined_total{' in gateway.metrics())


def test_stuffing_is_found_by_itself(gateway):
    for number in range(100, 125):
        vote(gateway, number, "stuffed", "p-mallory")

    def suspects():
        return [one for one in shown(gateway, "quarantine", "list")["votes"] if one["rater"] == "p-mallory"]

    until(lambda: len(suspects()) == 25, 60)
    until(lambda: net(gateway, "stuffed") == 0)
    assert {one["rule"] for one in shown(gateway, "quarantine", "list")["votes"]} <= {"burst", "comment", "one_sided"}


def test_votes_of_a_caller_with_a_key_are_not_suspected(gateway):
    for number in range(200, 230):
        status, _ = gateway.vote({"thumbs": False, "rater": "batch", "trace_id": f"{number:032x}",
                                  "span_id": f"{number:016x}"}, Authorization="Bearer secret")
        assert status == 201
    vote(gateway, 231, "after", "p-last")
    until(lambda: net(gateway, "after") == 1)
    assert not [one for one in shown(gateway, "quarantine", "list")["votes"] if one["rater"] == "batch"]


def test_a_person_is_erased_and_the_command_for_tempo_is_printed(gateway):
    id = vote(gateway, 300, "erased", "p-erika")
    done = feedback("erase", "--rater", "p-erika", "--gateway", gateway.url)
    assert done.returncode == 0 and done.stdout.startswith("p-erika: erased 1 votes, 1 revisions, 0 turns")
    assert "tempo-cli redact 127.0.0.1:9095 --tenant single-tenant" in done.stdout and '"p-erika"' in done.stdout
    assert gateway.json(f"/api/feedback/{id}")[0] == 404
    entry = gateway.json("/api/audit")[1]["entries"][0]
    assert entry["what"] == "erase" and entry["details"]["rater"] == "p-erika"


def test_a_user_is_erased_by_the_pseudonym_that_the_application_gives(gateway):
    said = shown(gateway, "erase", "--user", "erika@example.com")
    assert len(said["rater"]) == 32 and "erika" not in str(said) and said["erased"]["votes"] == 0


def test_consent_is_taken_back(gateway):
    said = {"key": semconv.OUTPUT_MESSAGES, "value": {"stringValue": json.dumps(
        [{"role": "assistant", "parts": [{"type": "text", "content": "content of hers"}]}])}}
    span = span_json(400)
    span["attributes"] += [said, {"key": semconv.ENDUSER_PSEUDO_ID, "value": {"stringValue": "p-wilma"}}]
    assert gateway.request("POST", "/v1/traces", request_json(span))[0] == 200
    turn = f"/api/turns/{400:032x}-{400:016x}"
    assert gateway.json(turn)[1]["answer"] == "content of hers"
    assert shown(gateway, "withdraw", "--rater", "p-nobody")["withdrawn"]["turns"] == 0
    assert gateway.json(turn)[1]["answer"] == "content of hers"
    done = shown(gateway, "withdraw", "--rater", "p-wilma")
    assert done["withdrawn"] == {"turns": 1, "calls": 1, "evidence": 0, "estimates": 0, "signals": 0}
    assert gateway.request("POST", "/v1/traces", request_json(span))[0] == 200
    found = gateway.json(turn)[1]
    assert (found["answer"], found["model"], found["consent"]) == ("", "m-json", "none")
    assert "withdraw" in {entry["what"] for entry in gateway.json("/api/audit")[1]["entries"]}


def test_only_who_may_holds_and_erases(gateway):
    for path, body in (("/api/quarantine", {"action": "hold", "ids": ["a"]}), ("/api/erasures", {"rater": "a"}),
                       ("/api/withdrawals", {"rater": "a"})):
        assert gateway.request("PUT", path, body, {"Host": "elsewhere.example"})[0] == 401
    assert gateway.request("GET", "/api/audit", headers={"Host": "elsewhere.example"})[0] == 401
    assert feedback("erase").returncode == 2
