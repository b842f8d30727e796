"""Jobs in their intervals, under leases, in short transactions; on a real file, with a clock that the test moves."""

import threading
from dataclasses import dataclass, field

import pytest

from backspan.loop.worker import LEASE_S, Forget, Report
from backspan.store import Retention, leases, reads, retention
from tests.store.conftest import KEEP_ALL, NOW, chat, put, put_spans, thumb

SHORT = Retention(turns=900, votes=900, size=None)
NO_TABLE = ("OperationalError", "ProgrammingError")
"""What SQLite and PostgreSQL raise."""


@dataclass
class Did:
    rows: int
    more: bool = False


@dataclass
class Note:
    """A job that notes when it is done; ``parts`` is how many steps a round takes."""

    every: float = 60.0
    parts: int = 1
    name: str = "note"
    begun: int = 0
    times: list = field(default_factory=list)

    def begin(self, conn):
        self.begun += 1

    def step(self, conn, now):
        self.times.append(now)
        return Did(1, len(self.times) % self.parts != 0)


def _at(worker, clock, *seconds):
    for second in seconds:
        clock.now = NOW + second
        worker.pulse()


def _holder(store, name="note"):
    with store.reading() as conn:
        return leases.holder_of(conn, name, store._inside.clock())


def test_a_job_is_done_in_its_interval(make, hire, clock):
    make()
    job = Note()
    _at(hire(job, holder="a"), clock, 0, 20, 40, 60, 80, 100, 121)
    assert job.times == [NOW, NOW + 60, NOW + 121] and job.begun == 1


def test_a_round_takes_as_many_transactions_as_there_is_work(make, hire, clock):
    make()
    job = Note(parts=3)
    [report] = hire(job, holder="a").pulse()
    assert (report.steps, report.done, report.holder, report.error) == (3, {"rows": 3}, None, None)


def test_jobs_have_leases_of_their_own(make, hire, clock):
    store, one, other = make(), Note(), Note(name="other")
    hire(one, holder="a").pulse()
    reports = hire(one, other, holder="b").pulse()
    assert [(report.job, report.holder) for report in reports] == [("note", "a"), ("other", None)]
    assert (_holder(store), _holder(store, "other")) == ("a", "b")


# --- of two workers ---------------------------------------------------------------------------------------------------
def test_of_two_workers_one_does_the_job_and_the_other_stands_by(make, hire, clock):
    store, mine, theirs = make(), Note(), Note()
    first, second = hire(mine, holder="a"), hire(theirs, holder="b")
    for second_of in range(0, 200, 20):
        _at(first, clock, second_of)
        _at(second, clock, second_of)
    assert theirs.times == [] and len(mine.times) == 4 and _holder(store) == "a"


def test_a_worker_that_was_killed_loses_the_lease_when_it_expires(make, hire, clock):
    store, mine, theirs = make(), Note(), Note()
    _at(hire(mine, holder="a"), clock, 0)  # never seen again
    second = hire(theirs, holder="b")
    _at(second, clock, 20, 40, LEASE_S - 0.1)
    assert theirs.times == [] and _holder(store) == "a"
    _at(second, clock, LEASE_S)
    assert theirs.times == [NOW + LEASE_S] and (_holder(store), theirs.begun) == ("b", 1)


def test_a_worker_that_was_away_too_long_finds_the_lease_taken_and_does_nothing(make, hire, clock):
    """A process that was suspended must not go on as if nothing had happened: its lease is asked for in every step."""
    store, mine, theirs = make(), Note(), Note()
    first, second = hire(mine, holder="a"), hire(theirs, holder="b")
    _at(first, clock, 0)
    _at(second, clock, 100)
    _at(first, clock, 101)
    assert mine.times == [NOW] and theirs.times == [NOW + 100] and _holder(store) == "b"


def test_the_checks_above_notice_a_lease_that_anybody_may_take(make, hire, clock, monkeypatch):
    make()
    mine, theirs = Note(), Note()
    monkeypatch.setattr(leases, "acquire", lambda *_: True)
    for holder, job in (("a", mine), ("b", theirs)):
        _at(hire(job, holder=holder), clock, 0)
    assert mine.times == theirs.times == [NOW]


def test_a_worker_that_ends_gives_its_lease_back(make, hire, clock):
    store, job = make(), Note()
    worker = hire(job, holder="a")
    reports: list[Report] = []

    def tell(report):
        reports.append(report)
        worker.stop()

    runner = threading.Thread(target=worker.run, args=(tell,))
    runner.start()
    runner.join(60)
    assert not runner.is_alive() and [report.steps for report in reports] == [1] and _holder(store) is None


# --- faults -----------------------------------------------------------------------------------------------------------
def test_a_fault_of_the_database_ends_the_round_and_the_next_one_makes_up_for_it(make, hire, clock):
    store, job = make(), Note()
    worker = hire(job, holder="a")
    store.write(lambda conn: conn.exec_driver_sql("ALTER TABLE leases RENAME TO gone")).result()
    [report] = worker.pulse()
    assert report.error in NO_TABLE and job.times == []
    worker.release()
    store.write(lambda conn: conn.exec_driver_sql("ALTER TABLE gone RENAME TO leases")).result()
    [report] = worker.pulse()
    assert (report.error, job.times, job.begun) == (None, [NOW], 1)


def test_a_step_that_fails_leaves_nothing_behind(make, hire, clock):
    store = make()

    class Half(Note):
        def step(self, conn, now):
            conn.exec_driver_sql("INSERT INTO meta VALUES ('half', '1')")
            conn.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    [report] = hire(Half(), holder="a").pulse()
    assert report.error in NO_TABLE and _holder(store) is None
    with store.reading() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM meta WHERE key = 'half'").scalar() == 0


# --- the job of retention ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("keep", "left"), [(SHORT, (0, 0)), (KEEP_ALL, (30, 40)),
                                            (Retention(turns=900, votes=None, size=None), (0, 40))])
def test_it_forgets_all_that_is_old_in_small_steps_and_tells_the_servers(make, hire, clock, keep, left):
    store = make()
    put_spans(store, [chat(f"{n:016x}", f"{n:032x}") for n in range(1, 31)])
    put(store, *[thumb(id=f"f{n}") for n in range(40)])
    clock.now = NOW + 1000
    [report] = hire(Forget(keep, at_once=8), holder="a").pulse()
    with store.reading() as conn:
        found = reads.counts(conn)
        assert (found["turns"], found["votes"]) == left and retention.told(conn) == keep
    assert (report.done["turns"], report.done["votes"]) == (30 - left[0], 40 - left[1])
    assert report.steps >= (40 - left[1]) // 2
