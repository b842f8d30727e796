"""The commands of docs/how-to/back-up.md, run while votes come in; and what a copy of the file would miss."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support import databases
from tests.support.processes import environment

from .conftest import KEY, Server, token, until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "back-up.md"
BACKUP, RESTORE, DUMP, LOAD, LIST, REPLAY = re.findall(
    r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def _run(commands, folder, **env):
    (folder / "python").unlink(missing_ok=True)
    (folder / "python").symlink_to(sys.executable)
    ours = [str(databases.server().bin)] if databases.on_postgresql() else []
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), *ours, os.environ["PATH"]])
    done = subprocess.run(["bash", "-euc", commands], cwd=folder, env={**environment(), "PATH": path, **env},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Votes:
    """Posts votes in a thread; knows how many were accepted."""

    def __init__(self, gateway):
        self.accepted, self._gateway = 0, gateway
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._post)

    def _post(self):
        while not self._stop.is_set():
            assert self._gateway.vote({"thumbs": False, "token": token(self.accepted + 1)})[0] == 201
            self.accepted += 1

    def __enter__(self):
        self._thread.start()
        until(lambda: self.accepted >= 30)
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)


def _whole(url):
    """Number of votes of a database, in which all tables must agree."""
    engine = sa.create_engine(url)
    with engine.begin() as conn:
        logged, held, counted = (conn.exec_driver_sql(text).scalar() for text in (
            "SELECT count(*) FROM vote_log", "SELECT count(*) FROM votes",
            "SELECT sum(value) FROM counters WHERE metric = 'backspan_feedback_total'"))
    engine.dispose()
    assert logged == held == counted
    return logged


@pytest.fixture
def gateway(tmp_path):
    """A gateway, and a function that makes another one on the same folder or on another database."""
    made = []

    def make(*arguments):
        env = environment(BACKSPAN_DATA_DIR=str(tmp_path), BACKSPAN_TOKEN_KEYS=KEY,
                          OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
        made.append(Server("gateway", list(arguments), env).start())
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.mark.sqlite
def test_a_backup_of_a_file_has_all_that_was_accepted_before_it(gateway, tmp_path):
    first = gateway()
    with Votes(first) as votes:
        before = votes.accepted
        _run(BACKUP, tmp_path)
        goal = votes.accepted + 10
        until(lambda: votes.accepted >= goal)
    assert before <= _whole(f"sqlite:///{tmp_path / 'backup.db'}") < votes.accepted
    first.kill()
    _run(RESTORE, tmp_path)
    second = gateway()
    assert second.vote({"thumbs": False, "token": token(1)})[1]["status"] == "unchanged"
    assert second.vote({"thumbs": False, "token": token(10**6)})[1]["status"] == "add"


def _voted(server):
    return {row["rater"] for row in server.json("/api/feedback?limit=500")[1]["feedback"]}


def _erased_between(first, folder, dump, where):
    """Two persons vote, a backup is made, one of them is erased, and that is written down."""
    for number, rater in ((1, "anna"), (2, "bert")):
        assert first.vote({"thumbs": False, "comment": rater, "token": token(number, rater=rater)})[0] == 201
    _run(dump, folder, **where)
    assert first.json("/api/erasures", "PUT", {"rater": "anna"})[0] == 200
    _run(LIST, folder, **where)


@pytest.mark.sqlite
@pytest.mark.parametrize("replayed", [True, False])
def test_who_was_erased_after_the_backup_is_not_there_after_the_restore(gateway, tmp_path, replayed):
    """Without the replay (the twin) she is there again."""
    where = dict.fromkeys(("DATABASE", "RESTORED"), str(tmp_path / "gateway.db"))
    first = gateway()
    _erased_between(first, tmp_path, BACKUP, where)
    first.kill()
    _run(RESTORE + (REPLAY if replayed else ""), tmp_path, **where)
    second = gateway()
    assert _voted(second) == {"bert"} | (set() if replayed else {"anna"})


@pytest.mark.sqlite
def test_a_copy_of_the_file_alone_misses_votes(gateway, tmp_path):
    """The twin, and what the page warns of."""
    server = gateway()
    with Votes(server):
        pass
    shutil.copy(tmp_path / "gateway.db", tmp_path / "copy.db")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'copy.db'}")
    with engine.begin() as conn:
        there = sa.inspect(conn).has_table("vote_log")
        found = there and conn.exec_driver_sql("SELECT count(*) FROM vote_log").scalar()
    engine.dispose()
    assert not found
    assert len(json.loads(server.request("GET", "/api/feedback?limit=500")[2])["feedback"]) >= 30


@pytest.mark.postgres
def test_a_dump_has_all_that_was_accepted_before_it(gateway, tmp_path):
    url, restored = databases.at(tmp_path / "from.db"), databases.at(tmp_path / "to.db", bare=True)
    plain = {name: where.replace("+psycopg", "") for name, where in (("DATABASE", url), ("RESTORED", restored))}
    first = gateway("--database", plain["DATABASE"])
    with Votes(first) as votes:
        before = votes.accepted
        _run(DUMP, tmp_path, **plain)
        goal = votes.accepted + 10
        until(lambda: votes.accepted >= goal)
    _run(LOAD, tmp_path, **plain)
    assert before <= _whole(restored) < votes.accepted
    second = gateway("--database", plain["RESTORED"])
    assert second.vote({"thumbs": False, "token": token(1)})[1]["status"] == "unchanged"
    assert second.vote({"thumbs": False, "token": token(10**6)})[1]["status"] == "add"
    first.stop()
    second.stop()
    databases.drop(*databases.under(tmp_path))


@pytest.mark.postgres
def test_who_was_erased_after_the_dump_is_not_there_after_the_restore(gateway, tmp_path):
    url, restored = databases.at(tmp_path / "from.db"), databases.at(tmp_path / "to.db", bare=True)
    where = {name: at.replace("+psycopg", "") for name, at in (("DATABASE", url), ("RESTORED", restored))}
    first = gateway("--database", where["DATABASE"])
    _erased_between(first, tmp_path, DUMP, where)
    _run(LOAD, tmp_path, **where)
    _run(REPLAY, tmp_path, **where)
    second = gateway("--database", where["RESTORED"])
    assert _voted(second) == {"bert"}
    first.stop()
    second.stop()
    databases.drop(*databases.under(tmp_path))
