"""Several gateways on one PostgreSQL database: same votes, kills, a database that is away, and what they are told."""

from __future__ import annotations

import random
import subprocess
import sys
import threading

import pytest

from tests.support import databases
from tests.support.otlp_sink import OtlpSink
from tests.support.postgres import Postgres
from tests.support.processes import environment

from .conftest import KEY, Server, token
from .posting import Posting, counted, lacking, logged, rows

pytestmark = pytest.mark.postgres
NOWHERE = "http://127.0.0.1:9"
KILLS = 20


@pytest.fixture
def house(tmp_path):
    """Make replicas: (server of the database, URL of the database, function that makes a gateway on it)."""
    url, made = databases.at(tmp_path / "replicas.db", bare=True), []

    def gateway(endpoint=NOWHERE, *arguments):
        env = environment(BACKSPAN_DATA_DIR=str(tmp_path), BACKSPAN_TOKEN_KEYS=KEY,
                          OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        made.append(Server("gateway", ["--database", url.replace("+psycopg", ""), *arguments], env))
        return made[-1]

    yield url, gateway
    for server in made:
        server.stop()
    databases.drop(tmp_path / "replicas.db")


# --- the same at the same time ----------------------------------------------------------------------------------------
def test_the_same_votes_to_two_replicas_at_the_same_time_count_once(house):
    url, gateway = house
    replicas = [gateway(), gateway()]
    starting = [threading.Thread(target=replica.start) for replica in replicas]  # both make the tables
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    number, statuses = 60, {}

    def vote(name, replica):
        statuses[name] = [replica.vote({"thumbs": False, "token": token(n)})[1]["status"] for n in range(1, number + 1)]

    voters = [threading.Thread(target=vote, args=(f"{k}{half}", replica))
              for k, replica in enumerate(replicas) for half in "ab"]
    for thread in voters:
        thread.start()
    for thread in voters:
        thread.join()
    for answers in zip(*statuses.values(), strict=True):
        assert sorted(answers) == ["add", "unchanged", "unchanged", "unchanged"]
    assert rows(url, "SELECT count(*), count(DISTINCT id), count(DISTINCT seq) FROM vote_log") == [(number,) * 3]
    assert counted(url) == number


# --- kills ------------------------------------------------------------------------------------------------------------
@pytest.mark.drill
def test_nothing_accepted_is_lost_or_doubled_over_twenty_kills(house):
    """Of two gateways, and of the database server below them, at random moments under load."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, (url, gateway) = random.Random(seed), house
    with OtlpSink() as sink:
        replicas = [gateway(sink.endpoint).start(), gateway(sink.endpoint).start()]
        with Posting(replicas) as load:
            for kill in range(KILLS):
                load.more(chance.randrange(5, 60))
                if kill % 5 == 4:
                    databases.server().kill()
                    databases.server().start()
                else:
                    victim = chance.choice(replicas)
                    victim.kill()
                    load.more(chance.randrange(3, 20))  # the other one goes on alone
                    victim.start()
            load.more(20)
        assert len(load.answered) > KILLS * 5 and lacking(url, load.answered.values(), sink) == {}


def test_a_vote_that_is_taken_from_the_database_is_missed(house):
    """The twin: what the test above compares would differ."""
    url, gateway = house
    replica = gateway().start()
    kept = [replica.vote({"thumbs": False, "token": token(n)})[1]["id"] for n in (1, 2)]
    replica.kill()
    rows(url, f"DELETE FROM vote_log WHERE id = '{kept[0]}'")
    stored = logged(url)
    assert not set(kept) <= set(stored) and counted(url) != len(stored)


# --- a database that is away ------------------------------------------------------------------------------------------
def test_while_the_database_is_away_votes_are_refused_and_taken_after_it(tmp_path):
    server = Postgres(databases.wanted).start()
    url = server.database("away").replace("+psycopg", "")
    env = environment(BACKSPAN_DATA_DIR=str(tmp_path), BACKSPAN_TOKEN_KEYS=KEY, OTEL_EXPORTER_OTLP_ENDPOINT=NOWHERE)
    gateway = Server("gateway", ["--database", url], env).start()
    try:
        assert gateway.vote({"thumbs": False, "token": token(1)})[0] == 201
        server.stop()
        for path in ("/healthz", "/api/feedback", "/metrics"):
            assert gateway.request("GET", path)[0] == 503, path
        status, problem = gateway.vote({"thumbs": False, "token": token(2)})
        assert (status, problem["status"]) == (503, 503)
        server.start()
        assert gateway.vote({"thumbs": False, "token": token(2)})[0] == 201
        assert len(gateway.json("/api/feedback")[1]["feedback"]) == 2
        assert gateway.stop() == 0
    finally:
        gateway.stop()
        server.close()
    told = "".join(gateway.lines)
    assert told.count("cannot be written") == told.count("can be written again") == 1 and "Traceback" not in told


# --- what it is told --------------------------------------------------------------------------------------------------
def _refused(database, **env):
    done = subprocess.run([sys.executable, "-m", "backspan", "gateway", "--port", "0", "--database", database],
                          env=environment(**env), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_server_that_is_not_there(tmp_path):
    said = _refused("postgresql://me:secret@127.0.0.1:1/feedback", BACKSPAN_DATA_DIR=str(tmp_path))
    assert "postgresql://me:***@127.0.0.1:1/feedback" in said and "refused" in said and "secret" not in said


def test_a_password_that_is_wrong(tmp_path):
    server = databases.server()
    server.sql("DROP ROLE IF EXISTS guarded")
    server.sql("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    url = server.url("postgres", user="guarded").replace("+psycopg", "")
    said = _refused(url, BACKSPAN_DATA_DIR=str(tmp_path), PGPASSWORD="wrong")
    assert "password authentication failed" in said and "wrong" not in said.replace(url, "")


@pytest.mark.parametrize("url", ["postgresql://", "mysql://h/d", "postgresql://h:x/d"])
def test_what_is_no_address_of_postgresql(tmp_path, url):
    assert "postgresql://user@host:port/name" in _refused(url, BACKSPAN_DATA_DIR=str(tmp_path))


def test_without_the_driver_the_pip_line_is_said(tmp_path):
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('no', name='psycopg')")
    said = _refused("postgresql://h/d", PYTHONPATH=str(tmp_path), BACKSPAN_DATA_DIR=str(tmp_path))
    assert "pip install 'backspan[postgres]'" in said
