"""Texts are sealed in the database, field by field, and whoever may read gets what was said."""

import json

import pytest
import sqlalchemy as sa

from backspan import config
from backspan.context import Target
from backspan.store import StoreError, documents, reads, rekey, sealing
from backspan.store.corrections import answer_of
from backspan.store.engines import connect, reader
from backspan.store.schema import calls, metadata

from .conftest import SPAN, TRACE, chat, put, put_spans, thumb

ONE, TWO = (sealing.new_key() for _ in range(2))
MARKER = "the-marker-nobody-may-read"
DOCUMENTS = [{"id": "d1", "score": 0.5, "content": f"document {MARKER}"}]
DETAILS = {"quote": {"text": f"quoted {MARKER}", "start": 0, "end": 6}}


@pytest.fixture
def keys(monkeypatch):
    def use(*given):
        monkeypatch.setenv("BACKSPAN_FIELD_KEYS", ",".join(given))
        config.reload()

    yield use
    monkeypatch.delenv("BACKSPAN_FIELD_KEYS", raising=False)
    config.reload()


def fill(store):
    put_spans(store, [chat(query=f"query {MARKER}", answer=f"answer {MARKER}", documents=DOCUMENTS,
                           messages=[{"role": "user", "parts": [{"type": "text", "content": MARKER}]}]),
                      chat("2222222222222222", operation="retrieval", documents=DOCUMENTS, response_id="")])
    put(store, thumb(False, comment=f"comment {MARKER}", correction=f"correction {MARKER}", details=DETAILS))


def everything(store):
    """What the readers give: a turn with its calls and votes, the lists, the log."""
    with store.reading() as conn:
        turn = reads.get_turn(conn, f"{TRACE}-{SPAN}")
        return {"turn": turn, "turns": reads.list_turns(conn)[0], "votes": reads.list_feedback(conn)[0],
                "log": reads.revisions(conn, [1]), "answer": answer_of(conn, Target(TRACE, SPAN)),
                "standing": reads.standing(conn, Target(TRACE, SPAN), None), "of": reads.revisions_of(conn, "f1"),
                "worst": [{**one, "shown": None} for one in documents.worst(conn, documents.Asked(0.0))[0]]}


def stored(store):
    """Everything as the database has it, as text."""
    engine = reader(store.url)
    try:
        with engine.begin() as conn:
            return json.dumps([[str(value) for value in row] for table in metadata.sorted_tables for row in
                               conn.execute(sa.select(*(sa.cast(column, sa.Text) for column in table.c)))])
    finally:
        engine.dispose()


def without_times(found):
    return json.loads(json.dumps(found, sort_keys=True))


def test_who_may_read_gets_the_same_with_and_without_a_key(make, keys):
    plain = make("plain.db")
    fill(plain)
    expected = without_times(everything(plain))
    keys(ONE)
    sealed = make("sealed.db")
    fill(sealed)
    assert without_times(everything(sealed)) == expected
    assert MARKER in json.dumps(expected["turn"]) and expected["worst"][0]["document"] == "d1"
    assert sealing.PREFIX not in json.dumps(everything(sealed))
    assert sealing.PREFIX in stored(sealed) and MARKER not in stored(sealed)


@pytest.mark.parametrize("with_key", [True, False])
def test_no_text_is_in_the_database(make, keys, with_key):
    """The twin is the same without a key."""
    if with_key:
        keys(ONE)
    store = make()
    fill(store)
    assert (MARKER in stored(store)) is not with_key


@pytest.mark.sqlite
@pytest.mark.parametrize("with_key", [True, False])
def test_no_text_is_in_the_files(tmp_path, make, keys, with_key):
    """In the raw bytes, of the log of the database too. The twin is the same without a key."""
    if with_key:
        keys(ONE)
    store = make()
    fill(store)
    raw = {path.name: path.read_bytes() for path in tmp_path.glob("s.db*")}
    assert raw.keys() >= {"s.db", "s.db-wal"}
    store.close()
    raw["closed"] = (tmp_path / "s.db").read_bytes()
    assert any(MARKER.encode() in said for said in raw.values()) is not with_key
    assert any(SPAN.encode() in said for said in raw.values())


def test_ids_and_scores_of_documents_stay_readable(make, keys):
    keys(ONE)
    store = make()
    fill(store)
    with store.reading() as conn:
        raw = conn.execute(sa.select(sa.cast(calls.c.documents, sa.Text)).where(calls.c.span_id == SPAN)).scalar()
    (document,) = json.loads(raw)
    assert document.keys() == {"id", "score", "sealed"} and (document["id"], document["score"]) == ("d1", 0.5)


def test_a_value_that_was_moved_does_not_open(make, keys, caplog):
    keys(ONE)
    store = make()
    put_spans(store, [chat(answer="mine"), chat("2222222222222222", "2" * 32, answer="yours")])
    move(store, sealed=True)
    with store.reading() as conn:
        found = dict(conn.execute(sa.select(calls.c.span_id, calls.c.answer)).all())
    assert found == {SPAN: None, "2222222222222222": "yours"}
    assert "calls.answer is damaged, or was moved" in caplog.text and "yours" not in caplog.text


def test_a_plain_value_that_was_moved_is_not_noticed(make):
    """The twin: what notices it is the seal."""
    store = make()
    put_spans(store, [chat(answer="mine"), chat("2222222222222222", "2" * 32, answer="yours")])
    move(store, sealed=False)
    with store.reading() as conn:
        assert set(conn.execute(sa.select(calls.c.answer)).scalars()) == {"yours"}


def move(store, *, sealed):
    def job(conn):
        raw = conn.execute(sa.select(sa.cast(calls.c.answer, sa.Text)).where(calls.c.span_id != SPAN)).scalar()
        assert raw.startswith(sealing.PREFIX) is sealed
        conn.execute(sa.update(calls).where(calls.c.span_id == SPAN).values(answer=raw))

    store.write(job).result()


def test_another_column_of_the_row_does_not_open_it_either():
    ring = sealing.Ring((ONE,))
    said = ring.seal("text", "calls\x1fanswer\x1fx-y")
    assert ring.open(said, "calls\x1fanswer\x1fx-y") == "text"
    for elsewhere in ("calls\x1fquery\x1fx-y", "turns\x1fanswer\x1fx-y", "calls\x1fanswer\x1fx-z"):
        assert ring.open(said, elsewhere) is None
    assert ring.open(said[:-4], "calls\x1fanswer\x1fx-y") is None and ring.open(said[:20], "calls") is None
    assert ring.seal("text", "p") != ring.seal("text", "p")


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("text", ["bsf1.cafecafe.AAAA", "bsf0.bsf1.x", "bsf1.", "bsf0."])
def test_a_text_that_looks_sealed_is_a_text(make, keys, with_key, text):
    if with_key:
        keys(ONE)
    store = make()
    put_spans(store, [chat(answer=text, documents=[{"id": "d1", "sealed": text}, text])])
    with store.reading() as conn:
        turn = reads.get_turn(conn, f"{TRACE}-{SPAN}")
    assert turn["answer"] == text and turn["documents"] == [{"id": "d1", "sealed": text}, text]


# --- without the key ------------------------------------------------------------------------------------------------
def test_without_the_key_a_database_is_not_opened(make, keys):
    keys(ONE)
    store = make()
    fill(store)
    store.close()
    id = sealing.Ring((ONE,)).ids[0]
    for given in ((), (TWO,)):
        keys(*given)
        with pytest.raises(StoreError, match=f"sealed with the key {id}, which is not in BACKSPAN_FIELD_KEYS"):
            connect(store.url)
    keys(TWO, ONE)
    assert MARKER in json.dumps(everything(make()))


def test_without_the_key_nothing_is_shown(make, keys):
    """A server that was started before another one sealed with a key that it lacks."""
    keys(ONE)
    store = make()
    fill(store)
    keys(TWO)
    with pytest.raises(sealing.KeyFault, match="not in BACKSPAN_FIELD_KEYS"):
        everything(store)


@pytest.mark.parametrize("wrong", ["short", "%%%", ONE[:-4]], ids=["short", "odd", "long"])
def test_a_malformed_key_is_said(make, keys, wrong):
    keys(wrong)
    with pytest.raises(StoreError, match="BACKSPAN_FIELD_KEYS: each key is 32 bytes") as told:
        make()
    assert wrong not in str(told.value)


# --- sealing again --------------------------------------------------------------------------------------------------
def again(store, **more):
    writer, reading = connect(store.url)
    try:
        done = rekey.seal_all(writer, **more)
    finally:
        reading.dispose()
        writer.dispose()
    return {name: (one.sealed, one.damaged) for name, one in done.items()}


def test_plain_rows_are_read_and_sealed_by_the_command(make, keys):
    store = make()
    fill(store)
    expected = without_times(everything(store))
    keys(ONE)
    assert without_times(everything(store)) == expected
    would = again(store, dry_run=True)
    assert MARKER in stored(store)
    assert again(store, step=1) == would == {
        "calls": (7, 0), "turns": (3, 0), "votes": (3, 0), "vote_log": (3, 0)}
    assert MARKER not in stored(store) and without_times(everything(store)) == expected
    assert set(again(store).values()) == {(0, 0)}


def test_a_new_key_takes_the_place_of_the_old_one(make, keys):
    keys(ONE)
    store = make()
    fill(store)
    expected = without_times(everything(store))
    keys(TWO, ONE)
    put_spans(store, [chat("3333333333333333", "3" * 32)])
    again(store)
    keys(TWO)
    connect(store.url)[0].dispose()
    put_spans(store, [chat("3333333333333333", "3" * 32)])
    found = without_times(everything(store))
    assert found["turn"] == expected["turn"]


def test_a_run_that_was_stopped_goes_on(make, keys):
    store = make()
    fill(store)
    keys(ONE)

    class Stop(Exception):
        pass

    def stop(table, _done):
        if table == "turns":
            raise Stop

    with pytest.raises(Stop):
        again(store, step=1, tell=stop)
    assert MARKER in stored(store)
    assert again(store)["calls"] == (0, 0)
    assert MARKER not in stored(store)


def test_votes_that_come_meanwhile_are_sealed_and_none_is_lost(make, keys):
    store = make()
    for number in range(20):
        put(store, thumb(id=f"old{number}", comment=MARKER))
    keys(ONE)

    def vote(_table, _done):
        put(store, thumb(id=f"new{len(come)}", comment=MARKER))
        come.append(1)

    come = []
    again(store, step=5, tell=vote)
    assert come and MARKER not in stored(store)
    with store.reading() as conn:
        assert {row["comment"] for row in reads.list_feedback(conn, limit=100)[0]} == {MARKER}


def test_what_no_key_opens_is_left_and_told(make, keys):
    keys(ONE)
    store = make()
    put_spans(store, [chat(answer="mine"), chat("2222222222222222", "2" * 32, answer="yours")])
    move(store, sealed=True)
    keys(TWO, ONE)
    assert again(store)["calls"] == (3, 1)
    with pytest.raises(StoreError):  # the key is still needed, should the value come back to its place
        keys(TWO)
        connect(store.url)
