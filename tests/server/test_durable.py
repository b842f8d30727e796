"""Every 2xx comes after a sync: the system calls of a real server, in their order, as `strace` writes them down."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .conftest import Server, token

pytestmark = pytest.mark.sqlite  # the file that the gateway itself writes; PostgreSQL: tests/store/test_postgres.py
VOTES = 25
SYNC = re.compile(r"\b(?:fsync|fdatasync)\(\d+\) += 0$|<\.\.\. (?:fsync|fdatasync) resumed>\) += 0$")
ANSWER = re.compile(r"HTTP/1\.1 201")
CARELESS = """
from backspan.store import engines
engines._PRAGMAS = tuple(one.replace("synchronous=FULL", "synchronous=OFF") for one in engines._PRAGMAS)
"""


class Traced(Server):
    """A server whose syncs and writes are written to a file. `strace` is a process beside it, not its parent."""

    @property
    def calls(self) -> Path:
        return Path(self.env["BACKSPAN_DATA_DIR"]) / "calls"

    def start(self) -> Server:
        command = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-s", "24", "-o", str(self.calls),
                   "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg",
                   *self.command_line(0)]
        self.process = subprocess.Popen(command, env=self.env, stderr=subprocess.PIPE, text=True)
        self.url = self._ready(self.process.stderr)
        assert urlsplit(self.url).port
        return self


@pytest.fixture(scope="module", autouse=True)
def _strace():
    try:
        works = subprocess.run(["strace", "-f", "--seccomp-bpf", "true"], capture_output=True).returncode == 0
    except OSError:
        works = False
    if not works:
        pytest.skip("strace is missing, or may not look at processes here")


def answers_without_sync(calls: str) -> tuple[int, int]:
    """How many votes were answered, and how many of them with no sync since the answer before."""
    answered, hasty, synced = 0, 0, False
    for line in calls.splitlines():
        if SYNC.search(line):
            synced = True
        elif ANSWER.search(line):
            answered, hasty, synced = answered + 1, hasty + (not synced), False
    return answered, hasty


def _posted(kind, tmp_path, servers):
    plain = servers("gateway", folder=tmp_path)
    server = kind(plain.command, plain.arguments, plain.env)
    server.start()
    try:
        for number in range(VOTES):  # one after the other: each has a commit of its own
            assert server.vote({"thumbs": False, "token": token(number + 1)})[0] == 201
    finally:
        server.process.terminate()
        server.process.stderr.close()
        server.process.wait(60)
    return answers_without_sync(server.calls.read_text())


def test_every_vote_is_synced_before_it_is_answered(tmp_path, servers):
    assert _posted(Traced, tmp_path, servers) == (VOTES, 0)


class Careless(Traced):
    before = CARELESS


def test_a_server_that_does_not_sync_is_noticed(tmp_path, servers):
    """Its twin: the database is told not to care."""
    answered, hasty = _posted(Careless, tmp_path, servers)
    assert answered == VOTES and hasty > VOTES / 2
