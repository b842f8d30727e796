"""The gateway inside of other applications: FastAPI, Starlette, WSGI; with and without their lifespan."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from a2wsgi import ASGIMiddleware
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from backspan.server import gateway
from backspan.store import StoreError
from tests.support.processes import environment

from .conftest import KEY, token

NOWHERE = "http://127.0.0.1:9"
VOTE = {"thumbs": "down", "reasons": ["inaccurate"]}


@pytest.fixture
def mounted(tmp_path):
    """A gateway that nobody has opened yet; closed afterwards."""
    made = gateway(tmp_path / "folder" / "gateway.db", forward=NOWHERE)
    yield made
    made.close()


def vote(client, path="/feedback/v1/feedback", number=1):
    answer = client.post(path, json=VOTE, headers={"Backspan-Token": token(number)})
    return answer.status_code, answer.json()["status"]


@pytest.mark.parametrize("kind", ["fastapi", "starlette", "twice"])
def test_it_opens_when_it_is_first_asked(kind, mounted, tmp_path):
    if kind == "fastapi":
        app, path = FastAPI(), "/feedback"
        app.mount(path, mounted)
    elif kind == "starlette":
        app, path = Starlette(routes=[Mount("/feedback", mounted)]), "/feedback"
    else:
        app, path = Starlette(routes=[Mount("/api", Starlette(routes=[Mount("/rate", mounted)]))]), "/api/rate"
    assert not (tmp_path / "folder").exists()
    client = TestClient(app)
    assert vote(client, f"{path}/v1/feedback") == (201, "add")
    assert vote(client, f"{path}/v1/feedback") == (200, "unchanged")
    assert client.get(f"{path}/v1/feedback", headers={"Backspan-Token": token()}).json()["feedback"][0]["value"] == 0
    assert client.get(f"{path}/healthz").json()["mode"] == "gateway"
    assert client.get(f"{path}/openapi.json").json()["servers"] == [{"url": path}]


def test_what_it_says_of_itself_is_found_where_it_says(mounted):
    """Under a root path, which servers put before the path, and a mount: every path of the description answers."""
    app = FastAPI()
    app.mount("/feedback", mounted)
    client = TestClient(app, root_path="/outer")
    document = client.get("/outer/feedback/openapi.json").json()
    assert document["servers"] == [{"url": "/outer/feedback"}]
    assert {"/v1/feedback", "/healthz", "/metrics"} <= set(document["paths"])
    asked = [path for path, does in document["paths"].items() if "get" in does and "{" not in path]
    assert {path for path in asked if client.get(f"/outer/feedback{path}").status_code == 404} == set()


def test_the_lifespan_of_the_application_around_may_open_and_close_it(mounted, tmp_path):
    app = FastAPI(lifespan=mounted.lifespan)
    app.mount("/feedback", mounted)
    with TestClient(app) as client:
        assert (tmp_path / "folder" / "gateway.db").exists()
        assert vote(client) == (201, "add")
    with TestClient(app) as client:  # and again
        assert vote(client) == (200, "unchanged")


def test_it_may_be_served_by_itself(mounted):
    with TestClient(mounted) as client:
        assert vote(client, "/v1/feedback") == (201, "add")


def test_behind_wsgi(mounted):
    app = DispatcherMiddleware(lambda environ, start: [], {"/feedback": ASGIMiddleware(mounted)})
    client = Client(app)
    sent = client.post("/feedback/v1/feedback", json=VOTE, headers={"Backspan-Token": token(3)})
    assert (sent.status_code, sent.json["status"]) == (201, "add")
    assert client.get("/feedback/openapi.json").json["servers"] == [{"url": "/feedback"}]


def from_here(made):
    app = Starlette(routes=[Mount("/feedback", made)])
    return TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000))


def test_whoever_comes_from_this_machine_is_no_operator(mounted):
    """A proxy in front of the application is on this machine too."""
    body = {"trace_id": "1" * 32, "span_id": "1" * 16, **VOTE}
    client = from_here(mounted)
    assert client.post("/feedback/v1/feedback", json=body).status_code in (401, 403)


def test_told_so_it_trusts_this_machine(tmp_path):
    made = gateway(tmp_path / "gateway.db", forward=NOWHERE, trust_loopback=True)
    body = {"trace_id": "1" * 32, "span_id": "1" * 16, **VOTE}
    client = from_here(made)
    assert client.post("/feedback/v1/feedback", json=body).status_code == 201
    made.close()


def test_a_database_of_another_kind_is_refused_at_once():
    with pytest.raises(StoreError):
        gateway("mysql://somewhere/else")


def test_without_any_lifespan_the_end_of_the_process_closes_it(tmp_path):
    code = """
    import sys
    from starlette.testclient import TestClient
    from backspan.server import gateway
    made = gateway(sys.argv[1], forward="http://127.0.0.1:9")
    answer = TestClient(made).post("/v1/feedback", json={"thumbs": "up"}, headers={"Backspan-Token": sys.argv[2]})
    print(answer.json()["status"], made._app is not None)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "g.db"), token(7)]
    said = environment(BACKSPAN_TOKEN_KEYS=KEY, BACKSPAN_DATA_DIR=str(tmp_path))
    done = subprocess.run(command, env=said, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "add True\n"), done.stderr
    assert not (tmp_path / "g.db-wal").exists()  # closed, not dropped
    again = subprocess.run(command, env=said, capture_output=True, text=True, timeout=120)
    assert again.stdout == "unchanged True\n"
    assert "Traceback" not in done.stderr + again.stderr
