"""A gateway and a worker as two processes on one database, under load: nothing is locked, nothing is lost."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from backspan import semconv
from backspan.context import Target
from backspan.feedback.model import feedback_id, parse
from backspan.store import Policy, Retention, Store, vote_of
from backspan.store.model import Call
from tests.support import databases
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment

from .conftest import DIMS, token, until

OLD, VOTERS, EACH = 1000, 4, 75
DAY = 86400.0
HOLDS_THE_LOCK = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
conn.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
conn.execute("COMMIT")
"""
"""The worker's twin: one transaction that takes longer than others wait for it."""


@pytest.fixture
def folder(tmp_path):
    """A gateway's folder whose database has turns and votes of three days ago."""
    then = time.time() - 3 * DAY
    store = Store(databases.at(tmp_path / "gateway.db"), identify=feedback_id, clock=lambda: then,
                  policy=Policy(count_spans=False, emit=False), keep=Retention(None, None, None))
    call = Call("", "", "chat", then, then, service="chat", answer="x" * 1000)
    ids = [(f"{n:032x}", f"{n:016x}") for n in range(10**6, 10**6 + OLD)]
    store.put_spans([replace(call, trace_id=trace, span_id=span) for trace, span in ids]).result()
    (up,) = parse({"thumbs": True})
    targets = [Target(trace, span, 1, dims=DIMS, at=then) for trace, span in ids]
    store.put_votes([vote_of(feedback_id(one, up.name, None), up, one, None, then) for one in targets]).result()
    store.close()
    return tmp_path


def _vote_at(gateway):
    """Votes of many at once; the statuses answered."""
    def vote(number):
        return gateway.vote({"thumbs": "down", "token": token(number)})[0]

    with ThreadPoolExecutor(VOTERS) as pool:
        return list(pool.map(vote, range(1, VOTERS * EACH + 1)))


def _left(gateway):
    """Turns and votes of three days ago that are there yet."""
    return [len(gateway.json(f"/api/{path}?limit=500")[1][kind])
            for path, kind in (("turns", "turns"), ("feedback", "feedback"))]


def test_votes_are_taken_while_a_worker_forgets(servers, folder):
    db = folder / "gateway.db"
    command = [sys.executable, "-m", "backspan", "worker", *databases.arguments(db), "--keep-days=turns=2,votes=2",
               "--every=1"]
    with OtlpSink() as sink, (folder / "worker.log").open("w") as log:
        gateway = servers("gateway", folder=folder, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
        worker = subprocess.Popen(command, env=environment(), stderr=log)
        try:
            gateway.start()
            assert set(_vote_at(gateway)) == {201}
            until(lambda: gateway.request("GET", "/healthz/worker")[0] == 200)
            until(lambda: _left(gateway) == [0, VOTERS * EACH], 90)
            assert len(sink.wait_spans(VOTERS * EACH)) == VOTERS * EACH
        finally:
            worker.terminate()
            assert worker.wait(60) == 0
        assert gateway.request("GET", "/healthz/worker")[0] == 503
        for _ in range(3):
            shown = [sample for family in families(gateway.metrics()) for sample in family.samples
                     if sample.name == semconv.PROM_FEEDBACK and sample.labels["polarity"] == "negative"]
        assert sum(sample.value for sample in shown) == VOTERS * EACH
        assert gateway.stop() == 0
    told = (folder / "worker.log").read_text()
    assert not _faults([*gateway.lines, told]) and " votes" in told.partition("every 1 s")[2]


def _faults(lines):
    return [line for line in lines if any(word in line for word in ("locked", "failed", "Error", "could not"))]


@pytest.mark.sqlite
def test_a_process_that_keeps_the_file_locked_is_noticed(servers, folder):
    with OtlpSink() as sink:
        gateway = servers("gateway", folder=folder, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        holder = subprocess.Popen([sys.executable, "-c", HOLDS_THE_LOCK, folder / "gateway.db"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert holder.stdout.readline() == b"locked\n"
            until(lambda: _faults(gateway.lines))
        finally:
            holder.communicate(timeout=30)
        assert gateway.vote({"thumbs": "down", "token": token(1)})[0] == 201
        gateway.stop()
    assert "database is locked" in "".join(_faults(gateway.lines))
