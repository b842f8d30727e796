"""What is otherwise on PostgreSQL: several stores on one database, sessions, text, numbers."""

import threading
import time
from contextlib import contextmanager
from math import inf

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import InternalError

from backspan import semconv
from backspan.store import StoreError, Unavailable, leases, outbox, pgsql, reads
from backspan.store.engines import connect
from backspan.store.model import LABELS
from tests.support import databases

from .conftest import NOW, SPAN, TRACE, chat, counts, put, put_spans, thumb

pytestmark = pytest.mark.postgres


# --- stores beside each other -----------------------------------------------------------------------------------------
def _race(stores, work):
    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_one_vote_in_several_replicas_at_once_is_one_vote(make):
    stores = [make(emit=True) for _ in range(3)]
    given = [thumb(id=f"f{n}", trace_id=f"{n + 1:032x}") for n in range(150)]
    receipts = []
    _race(stores, lambda store: receipts.append([one.result()[0] for one in [store.put_votes([v]) for v in given]]))
    for same in zip(*receipts, strict=True):
        assert sorted(receipt.status for receipt in same) == ["add", "unchanged", "unchanged"]
    assert sum(counts(stores[0]).values()) == len(given)
    with stores[0].reading() as conn:
        assert len(outbox.waiting(conn, 500)) == len(given)


@contextmanager
def _writing(store):
    """A transaction of this store stays open for the block."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_conn):
        entered.set()
        leave.wait(60)

    held = store.write(hold)
    assert entered.wait(60)
    try:
        yield held
    finally:
        leave.set()
        held.exception(60)


def test_a_store_waits_for_another_one_that_writes(make):
    first, second = make("t.db"), make("t.db")
    with _writing(first):
        waiting, deadline = second.put_votes([thumb()]), time.monotonic() + 30
        while not _blocked(first):
            assert time.monotonic() < deadline
        assert not waiting.done()
    assert waiting.result(60)[0].status == "add"


def test_without_its_lock_it_does_not_wait(make, monkeypatch):
    """The twin."""
    monkeypatch.setattr(pgsql, "LOCK", "SELECT 1")
    first, second = make("t.db"), make("t.db")
    with _writing(first) as held:
        assert put(second, thumb())[0].status == "add"
        assert not held.done()


def _blocked(store):
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with store.reading() as conn:
        return conn.exec_driver_sql(waiting).scalar()


def test_a_vote_and_its_turn_that_come_to_two_replicas_at_once_meet(make):
    stores, number = [make() for _ in range(2)], 80
    ids = [(f"{n + 1:016x}", f"{n + 1:032x}") for n in range(number)]

    def work(store):
        if store is stores[0]:
            done = [store.put_votes([thumb(id=f"f{span}", span_id=span, trace_id=trace, dims=None)])
                    for span, trace in ids]
        else:
            done = [store.put_spans([chat(span, trace)]) for span, trace in ids]
        for one in done:
            one.result()

    _race(stores, work)
    with stores[0].reading() as conn:
        found, _ = reads.list_feedback(conn, limit=500)
    assert len(found) == number and {vote["dims"][LABELS[0]] for vote in found} == {"m-1"}


def test_calls_of_one_turn_that_come_to_two_replicas_at_once_make_one_turn(make):
    stores = [make() for _ in range(2)]

    def work(store):
        for n in range(40):
            put_spans(store, [chat(f"{2 * n + stores.index(store) + 1:016x}", turn_id="t1")])

    _race(stores, work)
    with stores[0].reading() as conn:
        assert reads.list_turns(conn)[0][0]["calls"] == 80


# --- what one of them does --------------------------------------------------------------------------------------------
def _shown(store):
    found = store.scrape().result()
    return None if found is None else sum(one.value for one in found if one.metric == semconv.PROM_FEEDBACK)


def test_one_store_shows_the_counts_and_the_next_goes_on_where_it_stopped(make):
    first, second = make(), make()
    put(first, thumb())
    assert (_shown(first), _shown(second)) == (0, None)
    first.close()
    assert [_shown(second), _shown(second)] == [0, 1], "two scrapes at zero, whoever shows them"


def test_one_that_was_killed_is_followed_when_its_lease_ends(make, clock, monkeypatch):
    monkeypatch.setattr(leases.Duty, "_EVERY", inf)  # who was killed renews nothing, however long this test takes
    first, second = make(), make()
    put(first, thumb())
    assert (_shown(first), _shown(second)) == (0, None)
    clock.now += leases.Duty.LENGTH - 0.1
    assert _shown(second) is None
    clock.now += 0.1
    assert [_shown(second), _shown(first), _shown(second)] == [0, None, 1]


def test_a_store_keeps_what_it_does_as_long_as_it_is_asked(make, clock, monkeypatch):
    first, second = make(), make()
    monkeypatch.setattr(leases.Duty, "_EVERY", 0.0)
    assert _shown(first) == 0 and first.emits()
    for _ in range(3):
        clock.now += leases.Duty.LENGTH - 1
        first.write(first._inside.tick).result()
        assert _shown(second) is None and not second.emits()
    monkeypatch.setattr(leases.Duty, "ASKED", 0.0)
    first.write(first._inside.tick).result()
    assert _shown(second) == 0 and second.emits()


# --- sessions ---------------------------------------------------------------------------------------------------------
def test_a_commit_waits_for_the_disk_whatever_the_database_says(tmp_path, make):
    make("d.db").close()
    url = databases.at(tmp_path / "d.db")
    assert databases.server().sql("SHOW synchronous_commit") == [("off",)]
    writer, reader = connect(url)
    with writer.begin() as conn:
        assert conn.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert conn.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    with reader.begin() as conn:
        assert conn.exec_driver_sql("SHOW jit").scalar() == "off"
        with pytest.raises(InternalError, match="read-only transaction"):
            conn.exec_driver_sql("DELETE FROM votes")
    writer.dispose()
    reader.dispose()


def test_a_stronger_promise_of_the_database_stays(tmp_path, make):
    make("d.db").close()
    url = sa.make_url(databases.at(tmp_path / "d.db"))
    writer, reader = connect(url.update_query_dict({"options": "-c synchronous_commit=remote_apply"})
                             .render_as_string(hide_password=False))
    with writer.begin() as conn:
        assert conn.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"
    writer.dispose()
    reader.dispose()


def test_who_stops_in_the_middle_of_writing_does_not_stop_the_others_for_ever(tmp_path, make, monkeypatch):
    quick = [text.replace("'10s'", "'500ms'") for text in pgsql._WRITER]
    store = make("f.db")
    monkeypatch.setattr(pgsql, "_WRITER", tuple(quick))
    writer, reader = connect(databases.at(tmp_path / "f.db"))
    frozen = writer.connect()
    frozen.begin()  # has the lock, and goes no further
    for _ in range(100):
        try:
            put(store, thumb())
            break
        except Unavailable:
            pass
    assert sum(counts(store).values()) == 1
    frozen.invalidate()
    writer.dispose()
    reader.dispose()


def test_a_database_that_cannot_hold_all_text_is_refused():
    server = databases.server()
    server.sql("CREATE DATABASE narrow ENCODING 'SQL_ASCII' TEMPLATE template0")
    with pytest.raises(StoreError, match="SQL_ASCII: make it with --encoding=UTF8"):
        connect(server.url("narrow"))
    server.drop(server.url("narrow"))


# --- text and numbers -------------------------------------------------------------------------------------------------
def test_text_without_nul_is_stored_for_text_with_it(store):
    put(store, thumb(comment="a\0b", reasons=("x\0",), rater="r\0"))
    put_spans(store, [chat(query="q\0", documents=[{"id": "d\0", "text": r"\u0000 in words", "score": 1.0}])])
    with store.reading() as conn:
        [vote], _ = reads.list_feedback(conn)
        turn = reads.get_turn(conn, f"{TRACE}-{SPAN}")
        assert reads.list_feedback(conn, trace_id="\0") == ([], None)
    assert (vote["comment"], vote["reasons"], vote["rater"]) == ("a\ufffdb", ["x\ufffd"], "r\ufffd")
    assert turn["query"] == "q\ufffd"
    assert turn["documents"] == [{"id": "d\ufffd", "text": r"\u0000 in words", "score": 1.0}]


def test_numbers_that_json_has_not_are_null(store):
    put_spans(store, [chat(documents=[{"id": "d", "score": float("nan")}, {"id": "e", "score": float("-inf")}])])
    with store.reading() as conn:
        turn = reads.get_turn(conn, f"{TRACE}-{SPAN}")
    assert [document["score"] for document in turn["documents"]] == [None, None]


@pytest.mark.parametrize(("said", "kept"), [
    ("\0", '"\ufffd"'), ("\\u0000", r'"\\u0000"'), ("\\\0", '"\\\\\ufffd"'), ("\\\\u0000\0", '"\\\\\\\\u0000\ufffd"'),
])
def test_json_loses_nul_and_nothing_else(said, kept):
    assert pgsql.dumps(said) == kept


def test_numbers_of_64_bits(store):
    put_spans(store, [chat(input_tokens=2**40)])
    put(store, thumb(revision=(2**40, "add"), at=NOW))
    with store.reading() as conn:
        assert reads.list_turns(conn)[0][0]["input_tokens"] == 2**40
        assert reads.list_feedback(conn)[0][0]["version"] == 2**40
