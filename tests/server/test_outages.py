"""Kills, a full disk and a back end that is away for long: what was accepted is stored, counted and sent, once.

The seed of the kills is printed. What is compared is in `tests.server.posting.lacking`; the twins change one thing.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import databases, disks
from tests.support.held import hold
from tests.support.otlp_sink import OtlpSink
from tests.support.postgres import Postgres

from .conftest import token, until
from .posting import Posting, lacking, logged, rows, waiting

pytestmark = pytest.mark.drill
KILLS = 20
AWAY = 1500
"""Votes that come while the back end is away: three times what is sent together."""
SMALL_MB, LARGE_MB = 4, 512
LONG = "x" * 4000


# --- kills ------------------------------------------------------------------------------------------------------------
@pytest.mark.sqlite
def test_nothing_accepted_is_lost_or_doubled_over_twenty_kills(servers, tmp_path):
    """Replicas on PostgreSQL: see `tests.server.test_replicas`."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with OtlpSink() as sink:
        gateway = servers("gateway", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        with Posting([gateway]) as posting:
            for _ in range(KILLS):
                posting.more(chance.randrange(5, 60))
                gateway.kill()
                gateway.start()
            posting.more(20)
        assert len(posting.answered) > KILLS * 5
        assert lacking(databases.at(tmp_path / "gateway.db"), posting.answered.values(), sink) == {}


# --- a back end that is away ------------------------------------------------------------------------------------------
def test_a_back_end_that_is_away_for_long_gets_every_vote_once(servers, tmp_path):
    """Nothing listens, then it refuses, then it comes back; the gateway is killed meanwhile."""
    url = databases.at(tmp_path / "gateway.db")
    with hold() as port:
        gateway = servers("gateway", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}").start()
        assert _away(gateway, url, port) == 0


def _away(gateway, url, port):
    """How many votes were refused."""
    with Posting([gateway]) as posting:
        posting.more(AWAY // 2)
        gateway.kill()
        gateway.start()
        posting.more(AWAY // 2)
        assert waiting(url) >= AWAY
        with OtlpSink(port) as sink:
            sink.refuse(503)
            until(lambda: sink.requests, 60)
            posting.more(20)
            sink.refuse(None)
            posting.more(20)
            posting.stop()
            assert lacking(url, posting.answered.values(), sink) == {}
    return posting.refused


# --- a full disk ------------------------------------------------------------------------------------------------------
@pytest.mark.sqlite
def test_a_full_disk_takes_nothing_back_that_was_accepted(servers, tmp_path):
    """Votes are refused, not lost; also a gateway that is killed there goes on once there is room."""
    folder = tmp_path / "data"
    folder.mkdir()
    with disks.small(folder, SMALL_MB), OtlpSink() as sink:
        gateway = servers("gateway", folder=folder, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        with Posting([gateway], comment=LONG) as posting:
            _fill(posting)
            disks.grow(folder, LARGE_MB)
            posting.more(50)
            _squeeze(folder)
            _fill(posting)
            gateway.kill()
            disks.grow(folder, LARGE_MB)
            gateway.start()
            posting.more(50)
        assert lacking(databases.at(folder / "gateway.db"), posting.answered.values(), sink) == {}
        assert gateway.stop() == 0
    _said(gateway)


@pytest.mark.sqlite
def test_with_room_nothing_is_refused(servers, tmp_path):
    """The twin: what is refused above is refused because the disk is full."""
    with OtlpSink() as sink:
        gateway = servers("gateway", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        with Posting([gateway], comment=LONG) as posting:
            posting.more(400)
        assert posting.refused == 0 and gateway.stop() == 0
    assert "cannot be written" not in "".join(gateway.lines)


@pytest.mark.postgres
def test_a_full_disk_under_postgresql_takes_nothing_back_that_was_accepted(servers, tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    try:
        with disks.small(folder, LARGE_MB), OtlpSink() as sink:
            folder.chmod(0o755)
            _on_a_full_disk(servers, tmp_path, folder, sink)
    finally:
        shutil.rmtree(folder)


def _on_a_full_disk(servers, tmp_path, folder, sink):
    server = Postgres(databases.wanted, under=folder).start()
    try:
        url = server.database("full")
        gateway = servers("gateway", "--db", url.replace("+psycopg", ""), folder=tmp_path,
                          OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        with Posting([gateway], comment=LONG) as posting:
            posting.more(20)
            _squeeze(folder)
            _fill(posting)
            disks.grow(folder, LARGE_MB)
            server.restart()  # it may have ended itself: its own log did not fit either
            posting.more(50)
        assert lacking(url, posting.answered.values(), sink) == {}
        assert gateway.stop() == 0
    finally:
        server.close()


def _fill(posting):
    """Until votes are refused."""
    before = posting.refused
    until(lambda: posting.refused >= before + 10, 120)


def _squeeze(folder):
    """Leave hardly any room: a little more at each attempt, as what is written meanwhile may need it already."""
    for room in range(1, 100):
        with suppress(subprocess.CalledProcessError):
            return disks.grow(folder, _used_mb(folder) + room)
    raise AssertionError("it fills faster than it shrinks")


def _used_mb(folder):
    return shutil.disk_usage(folder).used // 2**20 + 1


def _said(gateway):
    """A full disk is said when it begins and when it ends, and not for every vote."""
    told = "".join(gateway.lines)
    assert "cannot be written (database or disk is full)" in told and "can be written again" in told, told
    assert "a write failed" not in told and "Traceback" not in told, told


# --- the twins --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("change", "found"), [
    ("DELETE FROM vote_log WHERE id = '{id}'", {"accepted, not stored", "counted wrongly", "sent, not stored"}),
    ("UPDATE counters SET value = value + 1 WHERE metric = 'backspan_feedback_total' AND value > 0",
     {"counted wrongly"}),
])
def test_what_is_taken_from_the_store_is_missed(servers, tmp_path, change, found):
    url = databases.at(tmp_path / "gateway.db")
    with OtlpSink() as sink:
        gateway = servers("gateway", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        answered = [gateway.vote({"thumbs": False, "token": token(n)})[1]["id"] for n in (1, 2, 3)]
        until(lambda: waiting(url) == 0)
        assert lacking(url, answered, sink) == {}
        rows(url, change.format(id=answered[0]))
        assert set(lacking(url, answered, sink)) == found


def test_what_the_outbox_forgets_is_missed(servers, tmp_path):
    """A vote that was marked as sent and was not."""
    url = databases.at(tmp_path / "gateway.db")
    with OtlpSink() as refusing, OtlpSink() as sink:
        refusing.refuse(503)
        gateway = servers("gateway", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=refusing.endpoint).start()
        answered = [gateway.vote({"thumbs": False, "token": token(n)})[1]["id"] for n in (1, 2, 3)]
        gateway.kill()  # what it has read of its outbox and tries to send, it would send all the same
        rows(url, "UPDATE outbox SET emitted = 1.0 WHERE seq = (SELECT min(seq) FROM outbox)")
        gateway.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.endpoint
        gateway.start()
        until(lambda: waiting(url) == 0, 60)
        assert len(logged(url)) == len({span.span_id for span in sink.spans}) + 1 == len(answered)
