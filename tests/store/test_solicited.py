"""Judgements that were asked for and those that were not: kept, counted once, and known of no older file."""

import json
import sqlite3

import pytest
import sqlalchemy as sa

from backspan import semconv
from backspan.store import reads
from backspan.store.counters import totals

from .conftest import chat, counts, put, put_spans, thumb
from .older import to_version_4

ADDED = ("votes", "vote_log")


def _asked(store, *, zeros=False):
    """{(name, polarity, solicited): count}."""
    with store.reading() as conn:
        found = totals(conn)
    shown = {}
    for (metric, labels), value in found.items():
        said = json.loads(labels)
        if metric == semconv.PROM_FEEDBACK_SOLICITED and (value or zeros):
            key = said["name"], said["polarity"], said["solicited"]
            shown[key] = shown.get(key, 0) + value
    return shown


def _stands(store, **asked):
    with store.reading() as conn:
        return [(vote["id"], vote["solicited"]) for vote in reads.list_feedback(conn, **asked)[0]]


@pytest.mark.parametrize("said", [True, False, None])
def test_what_was_said_is_kept_with_the_vote_and_each_of_its_revisions(store, said):
    put(store, thumb(solicited=said))
    put(store, thumb(False, solicited=said))
    put(store, thumb(retract=True))
    with store.reading() as conn:
        assert [row["solicited"] for row in reads.revisions_of(conn, "f1")] == [said] * 3
    assert _stands(store) == [("f1", said)]


def test_only_first_judgements_of_users_are_counted_and_only_where_it_was_said(store):
    put(store, thumb(True, solicited=True), thumb(False, id="f2", solicited=False), thumb(True, id="f3"),
        thumb(id="f4", name="review_correct", source="reviewer", solicited=True))
    put(store, thumb(False, solicited=True))
    put(store, thumb(id="f2", retract=True))
    assert _asked(store) == {("user_thumbs", "positive", "asked"): 1, ("user_thumbs", "negative", "volunteered"): 1}


def test_a_vote_that_waits_for_its_turn_is_counted_once_when_that_comes(store):
    put(store, thumb(solicited=True, dims=None))
    assert _asked(store) == {}
    put_spans(store, [chat()])
    assert _asked(store) == {("user_thumbs", "positive", "asked"): 1}


def test_the_same_vote_differently_asked_for_is_unchanged(store):
    put(store, thumb(solicited=True))
    assert put(store, thumb(solicited=False))[0].status == "unchanged"
    assert _stands(store) == [("f1", True)]


def test_the_first_answer_of_a_cohort_opens_its_series_at_zero(store):
    put_spans(store, [chat()])
    opened = {(name, polarity, said) for name in ("user_thumbs", "user_stars") for polarity in ("negative", "positive")
              for said in ("asked", "volunteered")}
    assert _asked(store, zeros=True) == dict.fromkeys(opened, 0)


# --- files of version 3 -----------------------------------------------------------------------------------------------
def _to_version_3(path):
    """Take away what version 4 added."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as conn:
        to_version_4(conn)
        for table in ADDED:
            conn.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN solicited")
        conn.exec_driver_sql("UPDATE meta SET value = '3' WHERE key = 'schema'")
    engine.dispose()


@pytest.mark.sqlite
def test_a_file_of_version_3_is_brought_up_to_date_and_knows_of_no_old_vote_whether_it_was_asked_for(make, tmp_path):
    store = make()
    put(store, thumb(solicited=True))
    before = counts(store)
    store.close()
    _to_version_3(tmp_path / "s.db")
    store = make()
    assert _stands(store) == [("f1", None)] and counts(store) == before
    put(store, thumb(id="f2", solicited=False))
    put(store, thumb(False, solicited=True))
    assert dict(_stands(store)) == {"f1": True, "f2": False}
    with store.reading() as conn:
        assert [row["solicited"] for row in reads.revisions_of(conn, "f1")] == [None, True]


@pytest.mark.sqlite
def test_the_check_above_meets_a_file_that_lacks_the_columns(make, tmp_path):
    """The twin: such a file cannot be used as it is."""
    make().close()
    _to_version_3(tmp_path / "s.db")
    with sqlite3.connect(tmp_path / "s.db") as conn:
        for table in ADDED:
            with pytest.raises(sqlite3.OperationalError, match="no such column"):
                conn.execute(f"SELECT solicited FROM {table}")
    conn.close()
