"""Durability, the rolling window, scrapes, and a database that cannot be used."""

import sqlite3

import pytest

from backspan.store import Policy, Retention, Store, StoreError, outbox, reads
from backspan.store.counters import SHOWN_AS_ZERO

from .conftest import NOW, chat, counts, put, put_spans, thumb


def _retain(store, keep):
    from backspan.store import retention

    def apply(conn, items):
        return [retention.apply(conn, keep, store._inside.clock()) for _ in items]

    store._writer.submit(apply, None).result()


def test_what_is_past_its_age_is_forgotten_but_not_uncounted(make, clock):
    store = make()
    put_spans(store, [chat(), chat("6666666666666666", "6" * 32, started=NOW + 500, ended=NOW + 501)])
    put(store, thumb())
    clock.now = NOW + 1000
    put(store, thumb(id="young"))
    _retain(store, Retention(turns=900, votes=900, size=None))
    with store.reading() as conn:
        assert reads.counts(conn) == {"turns": 1, "calls": 1, "votes": 1, "vote_log": 1}
    assert sum(counts(store).values()) == 2


def test_a_vote_that_was_not_told_to_the_back_end_is_kept(make, clock):
    store = make(emit=True)
    put(store, thumb())
    clock.now = NOW + 1000
    _retain(store, Retention(turns=900, votes=900, size=None))
    with store.reading() as conn:
        [row] = outbox.waiting(conn)
    store.emitted([row["seq"]]).result()
    _retain(store, Retention(turns=900, votes=900, size=None))
    with store.reading() as conn:
        assert reads.counts(conn)["votes"] == 0 and outbox.waiting(conn) == []


@pytest.mark.sqlite
def test_a_file_that_is_too_big_loses_its_oldest_turns_and_shrinks(make, tmp_path):
    store = make("big.db")
    for n in range(40):
        put_spans(store, [chat(f"{n * 100 + i + 1:016x}", f"{n * 100 + i + 1:032x}", answer="x" * 2000,
                               started=NOW + n, ended=NOW + n + i / 100) for i in range(100)])
    with store.reading() as conn:
        before = conn.exec_driver_sql("PRAGMA page_count").scalar()
    for _ in range(4):
        _retain(store, Retention(None, None, size=8_000_000))
    with store.reading() as conn:
        after = conn.exec_driver_sql("PRAGMA page_count").scalar()
        left = reads.list_turns(conn, limit=500)[0]
    assert after < before and left and left[0]["started"] == NOW + 39


def test_a_new_series_is_shown_as_zero_for_two_scrapes_also_over_a_restart(make):
    store = make()
    put(store, thumb())
    seen = [_shown(store)]
    store.close()
    store = make()
    seen += [_shown(store), _shown(store)]
    put(store, thumb(id="f2"))
    seen.append(_shown(store))
    assert seen == [0.0] * SHOWN_AS_ZERO + [1.0, 2.0]


def _shown(store):
    return sum(one.value for one in store.scrape().result() if one.metric == "backspan_feedback_total")


def test_a_series_that_was_zero_for_two_scrapes_shows_its_first_vote_at_once(store):
    put_spans(store, [chat()])
    assert [_shown(store), _shown(store)] == [0, 0]
    put(store, thumb())
    assert _shown(store) == 1


@pytest.mark.sqlite
def test_commits_are_on_disk_before_they_are_reported(make, tmp_path):
    store = make()
    put(store, thumb())
    with store._writing.connect() as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    other = sqlite3.connect(tmp_path / "s.db")
    assert other.execute("SELECT count(*) FROM vote_log").fetchone() == (1,)
    other.close()


@pytest.mark.parametrize("content", [b"this is no database, but long enough to be read as one" * 100, None])
def test_a_database_that_cannot_be_used_is_refused(tmp_path, content):
    path = tmp_path / "x" / "bad.db"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot use"):
        Store(f"sqlite:///{path}", identify=lambda *_: "", policy=Policy(True, False))


@pytest.mark.sqlite
def test_a_newer_database_is_refused(make, tmp_path):
    make().close()
    other = sqlite3.connect(tmp_path / "s.db")
    other.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    other.commit()
    other.close()
    with pytest.raises(StoreError, match="newer backspan"):
        make()
