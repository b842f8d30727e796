"""The revisions make what the code declares: in an empty database and in files of releases before them."""

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from backspan.store import StoreError, migrate, outbox, retention, schema
from backspan.store import reads as store_reads
from backspan.store.engines import connect
from tests.support import databases
from tests.support.revise import differences, tables

from .conftest import chat, counts, put, put_spans, thumb

VERSION_4 = Path(__file__).with_name("version4.sql")


def _open(url):
    writer, reader = connect(url)
    reader.dispose()
    return writer


@pytest.fixture
def place(tmp_path):
    yield tmp_path / "m.db"
    databases.drop(*databases.under(tmp_path))


def test_an_empty_database_becomes_what_the_code_declares(place):
    writer = _open(databases.at(place, bare=True))
    with writer.begin() as conn:
        assert differences(conn) == [] and migrate.version_of(conn) == migrate.version()
    writer.dispose()


@pytest.mark.parametrize(("change", "found"), [
    (lambda declared: declared.tables["votes"].append_column(sa.Column("forgotten", sa.Float)), "add_column"),
    (lambda declared: sa.Table("forgotten", declared, sa.Column("id", sa.String, primary_key=True)), "add_table"),
    (lambda declared: sa.Index("forgotten", declared.tables["votes"].c.rater), "add_index"),
    (lambda declared: declared.remove(declared.tables["votes"]), "remove_table"),
])
def test_what_a_revision_forgets_is_noticed(place, change, found):
    declared = sa.MetaData()
    for table in tables().tables.values():
        table.to_metadata(declared)
    change(declared)
    writer = _open(databases.at(place, bare=True))
    with writer.begin() as conn:
        assert found in [change[0] for change in differences(conn, declared)]
    writer.dispose()


def test_a_revision_that_fails_leaves_nothing_behind(place, tmp_path, monkeypatch):
    """Twin of the first, too: a database is as it was or as it should be."""
    made = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, made)
    number = migrate.version()
    text = (f"from alembic import op\nrevision = '{number + 1:04}'\ndown_revision = '{number:04}'\n"
            "branch_labels = depends_on = None\n\n"
            "def upgrade():\n    op.execute('CREATE TABLE half (x INTEGER)')\n"
            "    op.execute('SELECT * FROM nowhere')\n")
    (made / "versions" / f"{number + 1:04}_breaks.py").write_text(text)
    url = databases.at(place, bare=True)
    _open(url).dispose()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "MIGRATIONS", made)
        migrate.version.cache_clear()
        with pytest.raises(StoreError, match="nowhere"):
            connect(url)
    migrate.version.cache_clear()
    writer = _open(url)
    with writer.begin() as conn:
        assert differences(conn) == [] and migrate.version_of(conn) == number
    writer.dispose()


def test_replicas_that_start_together_make_the_tables_once(place):
    url, faults = databases.at(place, bare=True), []

    def start():
        try:
            _open(url).dispose()
        except StoreError as error:
            faults.append(str(error))

    starting = [threading.Thread(target=start) for _ in range(4)]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join(60)
    assert faults == []
    writer = _open(url)
    with writer.begin() as conn:
        assert differences(conn) == []
    writer.dispose()


def test_what_was_stored_is_there_after_it_was_opened_again(make):
    first = make()
    put_spans(first, [chat()])
    put(first, thumb())
    first.close()
    again = make()
    with again.reading() as conn:
        assert store_reads.counts(conn)["votes"] == store_reads.counts(conn)["calls"] == 1


# --- files of releases before Alembic ---------------------------------------------------------------------------------
_LATER = {1: ("drawn", "windows", "clocks", "baselines", "totals", "leases"), 2: ("totals", "leases"), 3: (), 4: ()}
"""Tables that releases of a version did not have yet."""
_COLUMNS = {1: [("calls", "finish"), ("turns", "finish"), ("votes", "solicited"), ("vote_log", "solicited")],
            2: [("votes", "solicited"), ("vote_log", "solicited")], 3: [("votes", "solicited"),
            ("vote_log", "solicited")], 4: []}


@pytest.mark.sqlite
@pytest.mark.parametrize("version", _LATER)
def test_a_file_of_an_older_release_becomes_what_the_code_declares(place, version):
    engine = sa.create_engine(f"sqlite:///{place}")
    with engine.begin() as conn:
        migrate.upgrade(conn, "0004")
        conn.exec_driver_sql("DROP TABLE alembic_version")
        conn.exec_driver_sql("DROP INDEX calls_ended")
        for table in _LATER[version]:
            conn.exec_driver_sql(f"DROP TABLE {table}")
        for table, column in _COLUMNS[version]:
            conn.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
        if version == 1:
            conn.exec_driver_sql("CREATE TABLE points (chart, cohort, number, n, bad, statistic, started, ended)")
            conn.exec_driver_sql("INSERT INTO points VALUES ('c', '', 1, 5, 2, 0.5, 10, 20)")
        conn.exec_driver_sql(f"UPDATE meta SET value = '{version}' WHERE key = 'schema'")
    engine.dispose()
    writer = _open(f"sqlite:///{place}")
    with writer.begin() as conn:
        assert differences(conn) == []
        drawn = conn.exec_driver_sql("SELECT number, n, bad FROM drawn").all()
        assert drawn == ([(1, 5, 2)] if version == 1 else [])
    writer.dispose()


def _file_of_version_4(path):
    """Written by the last release before Alembic: two turns, three votes (one changed, one taken back)."""
    base = sqlite3.connect(path)
    base.executescript(VERSION_4.read_text(encoding="utf-8"))
    base.close()


@pytest.mark.sqlite
def test_what_the_release_before_alembic_stored_is_there(make, tmp_path):
    _file_of_version_4(tmp_path / "s.db")
    store = make(emit=True)
    with store.reading() as conn:
        assert differences(conn) == [] and migrate.version_of(conn) == migrate.version()
        assert store_reads.counts(conn) == {"votes": 3, "vote_log": 5, "calls": 2, "turns": 2}
        votes = {row["id"]: row for row in conn.execute(sa.select(schema.votes)).mappings()}
        answers = set(conn.execute(sa.select(schema.turns.c.answer)).scalars())
        waiting = [row["seq"] for row in outbox.waiting(conn, 100)]
        assert retention.told(conn) == retention.Retention(turns=86400.0, votes=None, size=None)
    assert {key: (row["op"], row["version"]) for key, row in votes.items()} == {
        "f1": ("change", 2), "f2": ("retract", 2), "f3": ("add", 1)}
    assert (votes["f1"]["reasons"], votes["f1"]["comment"]) == (["inaccurate"], "no: it's 'older'")
    assert answers == {"because", "as it is"} and waiting == [3, 4, 5]
    same = thumb(False, reasons=("inaccurate",), comment="no: it's 'older'")
    assert put(store, same)[0].status == "unchanged"
    before = _net(store)
    put(store, thumb(True, reasons=(), comment=None), thumb(False, id="f4", span_id="4" * 16))
    assert before == {"negative": 1, "positive": 1} and _net(store) == {"negative": 1, "positive": 2}


def _net(store):
    """Counted thumbs by polarity: added, changed to, less what was taken back."""
    found = {}
    for (_, polarity, op, *_), value in counts(store).items():
        found[polarity] = found.get(polarity, 0) + (-value if op == "retract" else value)
    return {polarity: value for polarity, value in found.items() if value}


@pytest.mark.sqlite
def test_a_vote_that_an_older_file_lacks_is_missed(make, tmp_path):
    """The twin."""
    _file_of_version_4(tmp_path / "s.db")
    base = sqlite3.connect(tmp_path / "s.db")
    base.execute("DELETE FROM votes WHERE id = 'f3'")
    base.commit()
    base.close()
    with make().reading() as conn:
        assert store_reads.counts(conn)["votes"] == 2


@pytest.mark.sqlite
def test_a_file_of_a_newer_release_is_refused_also_by_releases_before_alembic(make, tmp_path):
    """They compare `meta`'s number with their own."""
    make().close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 's.db'}")
    with engine.begin() as conn:
        assert migrate.version_of(conn) > 4
    engine.dispose()
