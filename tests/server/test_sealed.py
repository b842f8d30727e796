"""A gateway that seals: its callers see no difference, its file says nothing, and without the key it says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from backspan.store import sealing
from tests.support.processes import environment

from .conftest import token
from .test_otlp import request_json, span_json

pytestmark = pytest.mark.sqlite
ONE, TWO = (sealing.new_key() for _ in range(2))
MARKER = "nobody-may-read-this"


def command(*arguments, keys):
    return subprocess.run([sys.executable, "-m", "backspan", *arguments], capture_output=True, text=True, timeout=60,
                          check=False, env=environment(BACKSPAN_FIELD_KEYS=keys))


def file_of(server):
    return Path(server.env["BACKSPAN_DATA_DIR"]) / "gateway.db"


def raw(server):
    return b"".join(path.read_bytes() for path in file_of(server).parent.glob("gateway.db*"))


def vote(server, number, **said):
    return server.vote({"thumbs": False, "comment": MARKER, "token": token(number), **said})


@pytest.mark.parametrize("keys", [ONE, ""], ids=["sealed", "plain"])
def test_callers_see_no_difference_and_the_file_says_nothing(servers, keys):
    """The twin has no key."""
    server = servers("gateway", BACKSPAN_API_KEY="k", BACKSPAN_FIELD_KEYS=keys).start()
    assert vote(server, 1)[1]["status"] == "add"
    assert (MARKER.encode() in raw(server)) is not bool(keys)
    assert vote(server, 1)[1]["status"] == "unchanged"
    assert vote(server, 1, comment=f"other {MARKER}")[1]["status"] == "change"
    [found] = server.json("/v1/feedback", Backspan_Token=token(1))[1]["feedback"]
    assert found["comment"] == f"other {MARKER}"
    [shown] = server.json("/api/feedback")[1]["feedback"]
    assert shown["comment"] == f"other {MARKER}" and sealing.PREFIX not in str(server.json("/api/feedback")[1])
    server.stop()
    server.start()
    assert vote(server, 1, comment=f"other {MARKER}")[1]["status"] == "unchanged"


def test_without_the_key_it_does_not_start_and_no_command_reads(servers):
    server = servers("gateway", BACKSPAN_API_KEY="k", BACKSPAN_FIELD_KEYS=ONE).start()
    vote(server, 2)
    server.stop()
    place = str(file_of(server))
    for arguments in (("gateway", "--port", "0", "--db", place), ("worker", "--once", "--db", place),
                      ("feedback", "outcomes", "--since", "1d", "--db", place)):
        done = command(*arguments, keys=TWO)
        assert done.returncode == 2 and "not in BACKSPAN_FIELD_KEYS" in done.stderr, arguments
        assert "Traceback" not in done.stderr and sealing.PREFIX not in done.stdout + done.stderr


def test_a_gateway_that_lacks_a_new_key_says_so(servers):
    server = servers("gateway", BACKSPAN_API_KEY="k", BACKSPAN_FIELD_KEYS=ONE).start()
    vote(server, 3)
    assert server.request("POST", "/v1/traces", request_json(span_json(3)))[0] == 200
    done = command("store", "encrypt", "--db", str(file_of(server)), keys=f"{TWO},{ONE}")
    assert done.returncode == 0, done.stderr
    status, problem = server.json("/api/feedback")
    assert status == 503 and "not in BACKSPAN_FIELD_KEYS" in problem["detail"]
    assert vote(server, 3, comment="new")[0] == 503
    assert vote(server, 4)[0] == 201, "what has nothing to do with it goes on"


def test_the_key_is_changed_while_it_runs(servers):
    server = servers("gateway", BACKSPAN_API_KEY="k", BACKSPAN_FIELD_KEYS=f"{TWO},{ONE}").start()
    for number in range(10, 30):
        vote(server, number)
    done = command("store", "encrypt", "--db", str(file_of(server)), keys=f"{TWO},{ONE}")
    assert done.returncode == 0 and "0 texts sealed" in done.stdout
    assert {one["comment"] for one in server.json("/api/feedback?limit=100")[1]["feedback"]} == {MARKER}
