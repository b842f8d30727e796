"""Files of other versions."""

import pytest

from backspan.store import StoreError
from backspan.store import reads as store_reads

from .conftest import chat, put, put_spans, thumb
from .older import to_version_4


def _to_version_1(conn):
    to_version_4(conn)
    for table in ("calls", "turns"):
        conn.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN finish")
    for table in ("drawn", "windows", "clocks", "baselines"):
        conn.exec_driver_sql(f"DROP TABLE {table}")
    conn.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'schema'")


def _kept(store):
    with store.reading() as conn:
        return store_reads.counts(conn)


@pytest.mark.sqlite
def test_a_file_of_version_1_is_brought_up_to_date_and_loses_nothing(make):
    first = make()
    put_spans(first, [chat(finish="stop")])
    put(first, thumb(up=False))
    before = _kept(first)
    first.write(_to_version_1).result()
    first.close()
    again = make()
    assert _kept(again) == before and before["votes"] == before["calls"] == 1
    put_spans(again, [chat("c" * 16, finish="length")])
    with again.reading() as conn:
        rows, _ = store_reads.list_turns(conn)
    assert sorted(row["finish"] for row in rows) == ["", "length"]
    again.close()
    assert _kept(make())["calls"] == 2


def test_a_newer_file_is_refused_and_left_alone(make):
    first = make()
    put(first, thumb())
    first.write(lambda conn: conn.exec_driver_sql("UPDATE meta SET value = '99' WHERE key = 'schema'")).result()
    first.close()
    with pytest.raises(StoreError, match="version 99, written by a newer backspan"):
        make()
