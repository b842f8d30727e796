"""Who forgets, by which rule, how much at a time, and that it looks at no more rows than it must."""

from dataclasses import fields, replace

import pytest
import sqlalchemy as sa

from backspan.store import Retention, leases, reads, retention
from backspan.store.charts import fire
from backspan.store.retention import DAY
from tests.support.revise import tables

from .conftest import KEEP_ALL, NOW, chat, counts, put, put_spans, thumb

SHORT = Retention(turns=900, votes=900, size=None)


def _apply(store, keep, now, step=retention.STEP):
    return store.write(lambda conn: retention.apply(conn, keep, now, step)).result()


def _left(store):
    with store.reading() as conn:
        return reads.counts(conn)


def _filled(make, calls=10, votes=10, **more):
    store = make(**more)
    put_spans(store, [chat(f"{n:016x}", f"{n:032x}", answer="x" * 3000) for n in range(1, calls + 1)])
    put(store, *[thumb(id=f"f{n}") for n in range(votes)])
    return store


# --- what is forgotten ------------------------------------------------------------------------------------------------
def test_each_table_has_its_own_age(make):
    store = _filled(make)
    _apply(store, Retention(turns=900, votes=None, size=None), NOW + 1000)
    assert _left(store) == {"turns": 0, "calls": 0, "votes": 10, "vote_log": 10}
    done = _apply(store, SHORT, NOW + 1000)
    assert (done.votes, done.turns) == (10, 0) and _left(store)["vote_log"] == 0
    assert sum(counts(store).values()) == 10


BY_AGE = {
    "turns": {"turns", "calls", "estimates", "erased_traces"}, "alerts": {"alerts"},
    "votes": {"votes", "vote_log", "outbox", "vote_flags", "skips", "asks", "evidence", "outcomes"},
}
"""Which age of `Retention` forgets which tables; estimates, evidence and outcomes by the jobs of `backspan.loop`."""
OTHERWISE = {
    "idempotency": "a day", "windows": "the chart's reach", "totals": "the chart's reach",
    "clocks": "one row a chart", "detectors": "one row a cohort", "baselines": "one row a cohort",
    "drawn": "goes with its cohort", "counters": "one row a series",
    "label_values": "as many rows as labels have places", "leases": "one row a duty", "meta": "one row a setting",
    "api_keys": "an operator's", "audit": "what operators did is kept", "erased": "must be known for ever",
    "withdrawals": "must be known for ever",
}
"""Tables without an age, and what bounds them."""


def test_every_table_is_forgotten_or_says_why_not():
    named = [*OTHERWISE, *(name for names in BY_AGE.values() for name in names)]
    assert sorted(named) == sorted(tables().tables)
    assert BY_AGE.keys() | {"size"} == {field.name for field in fields(Retention)}


def test_a_changed_vote_is_as_old_as_its_last_revision(make, clock):
    store = _filled(make, votes=2)
    clock.now = NOW + 500
    put(store, thumb(False, id="f1"))
    _apply(store, SHORT, NOW + 1000)
    with store.reading() as conn:
        assert [vote["id"] for vote in reads.list_feedback(conn)[0]] == ["f1"]
        assert [row["version"] for row in reads.revisions_of(conn, "f1")] == [1, 2]


def test_a_vote_that_was_not_counted_yet_is_not_forgotten(make, clock):
    """It waits for its turn; the server counts it without in a while, which a worker cannot."""
    store = make()
    put(store, thumb(dims=None))
    assert _apply(store, SHORT, NOW + 1000).votes == 0
    clock.now = NOW + 1000
    store.write(lambda conn: store._inside.tick(conn)).result()
    assert _apply(store, SHORT, NOW + 1000).votes == 1 and sum(counts(store).values()) == 1


def test_alerts_that_have_ended_go_and_those_that_fire_stay(make):
    store = make()

    def alert(cleared):
        row = {"chart": "c", "cohort": "", "fired": NOW, "rating": 1, "details": {}, "name": "", "rule": ""}

        def add(conn):
            id = fire(conn, row)
            conn.exec_driver_sql(f"UPDATE alerts SET cleared = {cleared} WHERE id = {id}")

        store.write(add).result()

    alert("NULL")
    alert(NOW + 1)
    assert _apply(store, KEEP_ALL, NOW + 100 * DAY).alerts == 0
    assert _apply(store, replace(KEEP_ALL, alerts=30 * DAY), NOW + 29 * DAY).alerts == 0
    assert _apply(store, replace(KEEP_ALL, alerts=30 * DAY), NOW + 31 * DAY).alerts == 1
    with store.reading() as conn:
        assert conn.exec_driver_sql("SELECT cleared FROM alerts").all() == [(None,)]


def test_a_step_is_bounded_and_says_whether_there_is_more(make):
    store = _filled(make, calls=25, votes=25)
    steps = [_apply(store, SHORT, NOW + 1000, step=10) for _ in range(14)]
    assert [step.turns for step in steps[:4]] == [10, 10, 5, 0]
    assert max(step.votes for step in steps) <= 10
    ends = [step.more for step in steps].index(False)
    assert all(step.more for step in steps[:ends]) and not any(step.more for step in steps[ends:])
    assert set(_left(store).values()) == {0}


@pytest.mark.sqlite
def test_a_file_that_cannot_give_pages_back_does_not_keep_its_worker_busy(tmp_path):
    """One that was made without `auto_vacuum`: its free pages stay."""
    writer = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with writer.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE big (x)")
        conn.exec_driver_sql("INSERT INTO big SELECT randomblob(100000)")
        conn.exec_driver_sql("DROP TABLE big")
    with writer.begin() as conn:
        assert conn.exec_driver_sql("PRAGMA freelist_count").scalar_one() > 10
        assert retention.apply(conn, Retention(None, None, size=10**9), NOW) == retention.Removed()
    writer.dispose()


# --- how much is looked at --------------------------------------------------------------------------------------------
def _plans(store, run):
    """How SQLite finds the rows of every statement of ``run``."""
    said = []

    def note(conn, _cursor, statement, parameters, _context, many):
        if not statement.startswith(("EXPLAIN", "PRAGMA", "BEGIN")) and not many:
            said.extend(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))

    def job(conn):
        sa.event.listen(conn, "before_cursor_execute", note)
        try:
            run(conn)
        finally:
            sa.event.remove(conn, "before_cursor_execute", note)

    store.write(job).result()
    return said


def _scans(plans):
    return [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan]


@pytest.mark.sqlite
def test_no_statement_reads_a_whole_table(make):
    store = _filled(make, emit=True)
    plans = _plans(store, lambda conn: retention.apply(conn, replace(SHORT, alerts=None), NOW + 1000))
    assert len(plans) > 5 and _scans(plans) == []


@pytest.mark.sqlite
def test_a_statement_that_reads_a_whole_table_is_noticed(make):
    store = _filled(make)
    whole = sa.text("SELECT id FROM votes WHERE received < 5")
    assert _scans(_plans(store, lambda conn: conn.execute(whole))) == ["SCAN votes"]


# --- who forgets ------------------------------------------------------------------------------------------------------
def _serve(store, own, now=NOW + 1000):
    return store.write(lambda conn: retention.stand_in(conn, own, now)).result()


def _work(store, keep, holder="w", now=NOW + 1000):
    def work(conn):
        assert leases.acquire(conn, retention.LEASE, holder, now, 60)
        retention.tell(conn, keep)

    store.write(work).result()


def test_a_server_forgets_by_its_own_rule_while_there_was_never_a_worker(make):
    assert _serve(_filled(make), SHORT).turns == 10


def test_a_server_leaves_it_to_a_worker_that_holds_the_lease(make):
    store = _filled(make)
    _work(store, KEEP_ALL)
    assert _serve(store, SHORT) is None and _left(store)["turns"] == 10


@pytest.mark.parametrize("told", [KEEP_ALL, Retention(turns=None, votes=10_000.0, size=10**9)])
def test_when_the_worker_is_gone_a_server_forgets_what_the_worker_was_told_to(make, told):
    """Twin of the first: the server's own rule would take what the worker was told to keep."""
    store = _filled(make)
    _work(store, told)
    assert _serve(store, SHORT, NOW + 1060).turns == 0
    with store.reading() as conn:
        assert retention.told(conn) == told
    assert _left(store)["turns"] == _left(store)["votes"] == 10


def test_what_a_newer_version_told_is_understood_as_far_as_it_is_known(make):
    store = make()
    store.write(lambda conn: conn.exec_driver_sql(
        "INSERT INTO meta VALUES ('retention', '{\"turns\": 5.0, \"dreams\": 6.0}')")).result()
    with store.reading() as conn:
        assert retention.told(conn) == Retention(turns=5.0)


def test_the_store_lets_a_worker_do_it(make, clock):
    """In the store's own housekeeping, about a minute after the lease has run out."""
    store = _filled(make, keep=SHORT)
    _work(store, replace(KEEP_ALL, turns=900), now=NOW + 1000)
    for now, left in ((NOW + 1030, 10), (NOW + 1200, 0)):
        clock.now = now
        store.write(lambda conn: store._inside.tick(conn)).result()
        assert _left(store)["turns"] == left
    assert _left(store)["votes"] == 10
