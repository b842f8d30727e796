"""``GET /api/comparison`` and ``backspan feedback compare``: the same over HTTP, from the file, and in words."""

import json
import subprocess
import sys

import pytest

from backspan import semconv
from tests.support.processes import environment

from .conftest import DIMS, token, until


def start(servers):
    return servers("gateway", BACKSPAN_API_KEY="secret", BACKSPAN_GUARDS="off").start()


@pytest.fixture(scope="module")
def empty(servers):
    return start(servers)


@pytest.fixture
def gateway(empty):
    """Filled once."""
    if not empty.json("/api/feedback?limit=1")[1]["feedback"]:
        fill(empty)
    return empty


@pytest.fixture
def changed(servers):
    """The same for a test that changes it: the others count what is there."""
    gateway = start(servers)
    fill(gateway)
    return gateway


def fill(gateway):
    """Twenty people judge both variants, and one, who saw b alone, dislikes twenty answers."""
    votes = [(side, f"p-{person}", person % 4 > 0) for person in range(20) for side in "ab"]
    votes += [("b", "p-harsh", False)] * 20
    for number, (side, rater, up) in enumerate(votes, 1):
        held = token(number, rater=rater, target={"dims": {**DIMS, semconv.VARIANT: side}})
        assert gateway.vote({"thumbs": up, "token": held})[0] == 201


def compare(*arguments):
    command = [sys.executable, "-m", "backspan", "feedback", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_raw_and_centred_stand_beside_each_other(gateway):
    status, found = gateway.json("/api/comparison?control=a")
    a, b = sorted(found["sides"], key=lambda one: one["side"])
    assert (status, a["n"], a["raters"], b["n"], b["raters"]) == (200, 20, 20, 40, 21)
    assert (a["raw"]["value"], b["raw"]["value"]) == (0.25, 0.625) and a["difference"] is None
    raw, centred = b["difference"]["raw"], b["difference"]["centred"]
    assert raw["value"] == 0.375 and raw["low"] > 0
    assert abs(centred["value"]) < 0.1 and centred["low"] < 0 < centred["high"]
    assert found["between"] > 0 < found["within"]


def test_the_command_says_the_same(gateway):
    asked = gateway.json("/api/comparison?control=a&since=0")[1]
    done = compare("compare", "--control", "a", "--since", "0", "--gateway", gateway.url, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == asked
    words = compare("compare", "--control", "a", "--gateway", gateway.url).stdout
    assert ["b", "40", "21", "62.5", "%"] in [line.split()[:5] for line in words.splitlines()]
    assert "apart: centred, from a" in words and "* b" not in words


@pytest.mark.sqlite
def test_a_file_is_read_as_well(gateway):
    place = gateway.arguments[gateway.arguments.index("--db") + 1] if "--db" in gateway.arguments else (
        gateway.env["BACKSPAN_DATA_DIR"] + "/gateway.db")
    said = json.loads(compare("compare", "--since", "0", "--db", place, "--json").stdout)
    assert said == gateway.json("/api/comparison?since=0")[1]
    assert compare("compare", "--db", place + "x").returncode == 2


def test_a_side_that_is_worse_for_certain_is_a_finding(changed):
    for number in range(100, 160):
        held = token(number, rater=f"q-{number}", target={"dims": {**DIMS, semconv.VARIANT: "worst"}})
        changed.vote({"thumbs": False, "token": held})
    done = compare("compare", "--control", "a", "--gateway", changed.url)
    assert done.returncode == 1 and "* worst" in done.stdout


def test_what_is_wrong_is_told(gateway):
    for wrong in ("by=colour", "measure=mood", "since=-1", "since=x"):
        assert gateway.json(f"/api/comparison?{wrong}")[0] == 422, wrong
    assert gateway.json("/api/comparison", X_Forwarded_For="198.51.100.7")[0] == 401
    assert compare("compare", "--name", "user_nothing", "--gateway", gateway.url).stdout.startswith("no votes")


def test_the_audit_log_is_read_by_a_command(changed):
    id = changed.json("/api/feedback?limit=1")[1]["feedback"][0]["id"]
    assert compare("audit", "--gateway", changed.url).stdout == "nobody did anything yet\n"
    compare("quarantine", "hold", id, "--gateway", changed.url)
    (entry,) = json.loads(compare("audit", "--gateway", changed.url, "--json").stdout)["entries"]
    assert (entry["what"], entry["who"], entry["details"]["done"]) == ("quarantine hold", "api", 1)
    assert "quarantine hold" in compare("audit", "--gateway", changed.url).stdout
    until(lambda: compare("audit", "--limit", "1", "--gateway", changed.url).returncode == 0)
