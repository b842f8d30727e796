"""``backspan worker``: what it forgets, what it refuses, and several of it as real processes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.processes import environment

from backspan.cli import main
from backspan.context import Target
from backspan.store import Policy, Retention, Store, sqlite_url, vote_of
from backspan.store.model import Call

DAY = 86400.0
WORKER = (sys.executable, "-m", "backspan", "worker")


@contextmanager
def working(db: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """A worker process for the block; ended with SIGTERM, on which it exits with 0."""
    process = subprocess.Popen([*WORKER, f"--db={db}", *arguments], env=environment(), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def check(db: Path) -> int:
    return main(["worker", f"--db={db}", "--check"])


def until_at_work(db: Path) -> None:
    deadline = time.monotonic() + 60
    while check(db) != 0:
        assert time.monotonic() < deadline, "no worker came"
        time.sleep(0.1)


def rows(db: Path) -> dict[str, int]:
    with sqlite3.connect(db, timeout=60) as conn:
        found = {table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("turns", "votes")}
    conn.close()
    return found


def fill(db: Path, turns: int, votes: int, age: float) -> None:
    """Turns and votes that are ``age`` seconds old."""
    then = time.time() - age
    store = Store(sqlite_url(db), identify=lambda *_: "", policy=Policy(count_spans=False, emit=False),
                  keep=Retention(None, None, None), clock=lambda: then)
    store.put_spans([Call(f"{n:032x}", f"{n:016x}", "chat", then, then, service="s", answer="x" * 500)
                     for n in range(1, turns + 1)]).result()
    store.put_votes([vote_of(f"old-{n}", JUDGED, Target(f"{n:032x}", f"{n:016x}"), None, then)
                     for n in range(1, votes + 1)]).result()
    store.close()


class Judged:
    name, value, label, polarity = "user_thumbs", 1.0, "pass", "positive"
    reasons, comment, correction, source, retract, solicited = (), None, None, "end_user", False, None
    details = circumstances = None


JUDGED = Judged()


# --- one process ------------------------------------------------------------------------------------------------------
def test_one_round_forgets_what_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "g.db"
    fill(db, 40, 40, 3 * DAY)
    assert main(["worker", f"--db={db}", "--once", "--json", "--keep-days=turns=2"]) == 0
    report, *others = json.loads(capsys.readouterr().out)
    assert [one["job"] for one in others] == ["signals", "satisfaction"]
    assert (report["job"], report["done"]["turns"], report["error"]) == ("retention", 40, None)
    assert rows(db) == {"turns": 0, "votes": 40}
    assert main(["worker", f"--db={db}", "--once", "--keep-days=turns=forever,votes=2"]) == 0
    assert rows(db) == {"turns": 0, "votes": 0}
    assert check(db) == 1  # the lease was given back


def test_without_arguments_it_keeps_what_a_gateway_keeps(tmp_path: Path) -> None:
    db = tmp_path / "g.db"
    fill(db, 5, 5, 31 * DAY)
    assert main(["worker", f"--db={db}", "--once"]) == 0
    assert rows(db) == {"turns": 0, "votes": 5}


def test_a_file_that_is_too_big_loses_its_oldest_turns(tmp_path: Path) -> None:
    db = tmp_path / "g.db"
    fill(db, 2000, 5, DAY)
    assert main(["worker", f"--db={db}", "--once", "--max-bytes=1000000"]) == 0
    assert 0 <= rows(db)["turns"] < 2000 and rows(db)["votes"] == 5
    assert db.stat().st_size < 1_500_000


@pytest.mark.parametrize("given", ["--keep-days=turns", "--keep-days=turns=0", "--keep-days=turns=nan",
                                   "--keep-days=documents=3", "--keep-days=turns=3,turns=4", "--every=0",
                                   "--max-bytes=-1", "--max-bytes=much"])
def test_what_makes_no_sense_is_a_usage_error(given: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["worker", f"--db={tmp_path / 'g.db'}", "--once", given])
    assert not (tmp_path / "g.db").exists()


def test_a_file_that_is_no_database_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.db").write_bytes(b"this is no database, but long enough to be read as one" * 100)
    assert main(["worker", f"--db={tmp_path / 'bad.db'}", "--once"]) == 2
    assert check(tmp_path / "bad.db") == 1 and check(tmp_path / "none.db") == 1
    assert "cannot use" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


# --- several processes ------------------------------------------------------------------------------------------------
def test_a_second_worker_stands_by_and_a_killed_one_is_still_seen_until_its_lease_expires(tmp_path: Path) -> None:
    db = tmp_path / "g.db"
    with working(db) as first:
        until_at_work(db)
        assert main(["worker", f"--db={db}", "--once"]) == 1
        with working(db) as second:
            assert second.stderr is not None
            said = [second.stderr.readline() for _ in range(2)]
            assert f"-{first.pid}-" in said[1] and "stands by" in said[1]
        assert check(db) == 0
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert check(db) == 0  # nobody can tell yet: the lease says until when
        with sqlite3.connect(db) as conn:
            (left,) = conn.execute("SELECT until FROM leases WHERE name = 'retention'").fetchone()
        conn.close()
        assert 0 < left - time.time() <= 60
        with sqlite3.connect(db) as conn:
            conn.execute("UPDATE leases SET until = 0")
        conn.close()
    assert check(db) == 1
    assert main(["worker", f"--db={db}", "--once"]) == 0


def test_a_worker_that_ends_is_no_longer_at_work(tmp_path: Path) -> None:
    with working(tmp_path / "g.db") as worker:
        until_at_work(tmp_path / "g.db")
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 0
    assert check(tmp_path / "g.db") == 1
