"""``/v1/config`` over HTTP, and what the taxonomy means for votes that come that way."""

import json
import subprocess
import sys

import pytest
import yaml

from tests.support.processes import environment

from .conftest import token

OURS = {"version": 1, "revision": "shop-3",
        "names": {"user_ease": {"type": "numeric", "scale": "csat", "question": {"en": "How easy?"}}},
        "reasons": [{"code": "late", "polarity": ["negative"], "label": {"en": "Late", "de": "Zu spät"}}],
        "undeclared": {"reasons": "refuse"}}


@pytest.fixture(scope="module")
def ours(servers, tmp_path_factory):
    path = tmp_path_factory.mktemp("taxonomy") / "taxonomy.yaml"
    path.write_text(yaml.safe_dump(OURS, allow_unicode=True))
    return servers(BACKSPAN_TAXONOMY=str(path)).start()


def test_the_configuration_needs_no_token_and_is_cacheable(ours):
    status, headers, body = ours.request("GET", "/v1/config", headers={"Host": "elsewhere.example"})
    found = json.loads(body)
    assert status == 200 and headers["cache-control"] == "public, max-age=300"
    assert headers["etag"] == f'"{found["version"]}"' and found["revision"] == "shop-3"
    assert found["reasons"] == [
        {"code": "late", "polarity": ["negative"], "label": {"en": "Late", "de": "Zu spät"}, "last": False}]
    assert found["names"]["user_ease"] == {"type": "numeric", "scale": "csat", "question": {"en": "How easy?"}}
    assert found["names"]["user_thumbs"]["type"] == "boolean"  # built in
    assert found["scales"]["csat"]["bands"][0] == {"to": 2.0, "label": "dissatisfied", "polarity": "negative"}
    assert found["limits"] == {"comment": 4096, "correction": 16384, "reasons": 8, "quote": 1024, "candidates": 8}
    again = ours.request("GET", "/v1/config", headers={"If-None-Match": headers["etag"]})
    assert (again[0], again[2]) == (304, b"")


def test_one_language_with_the_first_one_where_a_text_is_missing(ours):
    _, german = ours.json("/v1/config?lang=de")
    assert german["languages"] == ["de"]
    assert german["reasons"][0]["label"] == {"de": "Zu spät"}
    assert german["names"]["user_ease"]["question"] == {"de": "How easy?"}
    assert german["texts"]["skip"] == {"de": "Überspringen"}
    for asked, given in (("zz", "en"), ("de-AT", "de"), ("DE", "de"), ("", "en"), ("d", "en")):
        assert ours.json(f"/v1/config?lang={asked}")[1]["languages"] == [given], asked
    assert german["version"] != ours.json("/v1/config")[1]["version"]


@pytest.mark.parametrize(("body", "field"), [
    ({"name": "user_ease", "value": 6}, "value"),
    ({"name": "user_other", "value": 3}, "scale"),
    ({"thumbs": False, "reasons": ["inaccurate"]}, "reasons"),
    ({"thumbs": True, "reasons": ["late"]}, "reasons"),
])
def test_what_is_not_declared_is_refused_and_nothing_is_stored(ours, body, field):
    status, problem = ours.vote({**body, "token": token(50)})
    assert (status, problem["field"]) == (422, field)
    assert ours.json("/v1/feedback", backspan_token=token(50))[1] == {"feedback": []}


def test_a_changed_vote_keeps_no_reason_of_what_it_was_before(ours):
    held = token(51)
    ours.vote({"thumbs": False, "reasons": ["late"], "token": held})
    assert ours.vote({"thumbs": True, "token": held})[1]["status"] == "change"
    (vote,) = ours.json("/v1/feedback", backspan_token=held)[1]["feedback"]
    assert (vote["value"], vote["reasons"]) == (1.0, [])


def test_a_quotation_is_redacted_and_kept_and_is_part_of_what_was_said(ours):
    held = token(52)
    quote = {"text": "mail anna@example.com", "start": 3, "end": 24}
    said = {"correction": "mail the team", "quote": quote, "surface": "editor", "consent": {"improve": True},
            "token": held}
    assert ours.vote(said)[1]["status"] == "add"
    assert ours.vote({**said, "surface": "chat"})[1]["status"] == "unchanged"
    kept = ours.json("/api/feedback?trace_id=" + f"{52:032x}")[1]["feedback"][0]
    assert kept["details"]["quote"]["text"] == "mail [email]" and kept["details"]["quote"]["start"] == 3
    assert kept["circumstances"] == {"consent": {"improve": True}, "surface": "editor"}
    assert ours.vote({**said, "quote": {**quote, "end": 25}})[1]["status"] == "change"


def test_a_gateway_does_not_start_with_a_wrong_taxonomy(tmp_path):
    path = tmp_path / "taxonomy.yaml"
    path.write_text("version: 1\nscales: {s: {min: 1, max: 5, bands: []}}\n")
    command = [sys.executable, "-m", "backspan", "gateway", "--port", "0", "--db", str(tmp_path / "g.db")]
    ended = subprocess.run(command, env=environment(BACKSPAN_TAXONOMY=str(path), BACKSPAN_DATA_DIR=str(tmp_path)),
                           capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 2
    assert "BACKSPAN_TAXONOMY: scales.s.bands: must go up from min" in ended.stderr
    checked = subprocess.run([sys.executable, "-m", "backspan", "feedback", "taxonomy", str(path)],
                             env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert checked.returncode == 1 and "scales.s.bands" in checked.stdout


def test_the_printed_default_is_a_valid_file(tmp_path):
    command = [sys.executable, "-m", "backspan", "feedback", "taxonomy"]
    printed = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=True).stdout
    assert printed.startswith("# yaml-language-server: $schema=taxonomy.schema.json\n")
    path = tmp_path / "taxonomy.yaml"
    path.write_text(printed)
    checked = subprocess.run([*command, str(path)], env=environment(), capture_output=True, text=True, timeout=60,
                             check=True).stdout
    assert checked.endswith("7 names, 3 scales, 10 reasons\n")
