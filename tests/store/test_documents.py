"""Votes by document: what counts for which document, how sure one can be, and that reading stays bounded."""

import itertools

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from backspan import semconv
from backspan.spc.pchart import wilson
from backspan.spc.ratio import ratio
from backspan.store import documents
from backspan.store.documents import Asked
from backspan.store.reads import BadCursor
from backspan.store.schema import calls

from .conftest import NOW, chat, put, put_spans, thumb

WEEK = Asked(NOW - 7 * 86400)
_numbers = itertools.count(1)


def answer(store, *found, verdicts=(), **fields):
    """One answer that rests on ``found``, judged by as many people as there are verdicts (True: up)."""
    number = next(_numbers)
    trace, turn = f"{number:032x}", f"turn-{number}"
    listed = [{"id": one, "score": 0.9} for one in found]
    retrieval = chat(f"{number:014x}aa", trace, operation=semconv.RETRIEVAL, response_id="", model="",
                     documents=listed, **{"turn_id": turn, "index_name": "kb", "index_version": "v1", **fields})
    put_spans(store, [retrieval, chat(f"{number:014x}bb", trace, turn_id=turn)])
    put(store, *(thumb(up, id=f"f{number}-{i}", trace_id=trace, span_id=f"{number:014x}bb", rater=f"r{i}", time=NOW + i)
                 for i, up in enumerate(verdicts)))
    return turn


def worst(store, asked=WEEK, **more):
    with store.reading() as conn:
        return documents.worst(conn, asked, **{"limit": 100, **more})[0]


def by_id(store, asked=WEEK):
    return {one["document"]: one for one in worst(store, asked)}


def test_a_vote_counts_for_every_document_of_the_answer(store):
    answer(store, "a", "b", verdicts=[False])
    answer(store, "b", "c", verdicts=[True])
    answer(store, "c", "a")
    found = by_id(store)
    assert {id: (one["votes"]["negative"], one["votes"]["positive"], one["judged"], one["bad"], one["shown"])
            for id, one in found.items()} == {"a": (1, 0, 1, 1, 2), "b": (1, 1, 2, 1, 2), "c": (0, 1, 1, 0, 2)}
    assert {id: one["position"] for id, one in found.items()} == {"a": 1, "b": 1.5, "c": 2}
    one = found["a"]
    assert [one[name] for name in documents.PLACE] == ["chat", "prod", "kb", "v1"]


def test_an_answer_counts_once_however_many_judge_it_and_however_often_it_was_found(store):
    answer(store, "a", "a", verdicts=[False, False, True])
    answer(store, "a", verdicts=[True, True, False])
    [one] = worst(store)
    assert (one["votes"], one["judged"], one["bad"], one["shown"]) == (
        {"negative": 3, "neutral": 0, "positive": 3}, 2, 1, 2)


def test_a_retrieval_that_names_no_turn_belongs_to_the_answer_of_its_trace(store):
    answer(store, "a", verdicts=[False], turn_id="")
    answer(store, "b", verdicts=[False], turn_id="another")
    [one] = worst(store)
    assert (one["document"], one["votes"]["negative"], one["shown"]) == ("a", 1, 1)


def test_only_what_stands_of_a_vote_counts(store):
    answer(store, "a", verdicts=[False])
    [vote] = votes_of(store)
    put(store, thumb(True, id=vote, trace_id=None, span_id=None, time=NOW + 9))
    assert worst(store)[0]["votes"] == {"negative": 0, "neutral": 0, "positive": 1}
    put(store, thumb(id=vote, retract=True, trace_id=None, span_id=None, time=NOW + 10))
    assert worst(store) == []


def votes_of(store):
    with store.reading() as conn:
        return conn.execute(sa.text("SELECT id FROM votes")).scalars().all()


def test_who_judged_and_when(store):
    turn = answer(store, "a", verdicts=[False])
    put(store, thumb(False, id="e1", name="evaluator_grounded", source="evaluator", turn_id=turn, time=NOW + 50,
                     trace_id=f"{int(turn[5:]):032x}", span_id=f"{int(turn[5:]):014x}bb"))
    assert [one["votes"]["negative"] for one in worst(store)] == [1]
    assert [one["votes"]["negative"] for one in worst(store, Asked(0, source=documents.EVERYBODY))] == [2]
    assert [one["votes"]["negative"] for one in worst(store, Asked(0, source="evaluator"))] == [1]
    assert worst(store, Asked(NOW + 60)) == [] == worst(store, Asked(0, until=NOW))


def test_the_same_id_in_another_index_version_is_another_document(store):
    answer(store, "a", verdicts=[False])
    answer(store, "a", verdicts=[False, False], index_version="v2")
    assert [(one["index_version"], one["votes"]["negative"]) for one in worst(store)] == [("v2", 2), ("v1", 1)]
    assert len(worst(store, Asked(0, index_version="v2"))) == 1 == len(worst(store, Asked(0, index_name="kb",
                                                                                          index_version="v1")))
    assert worst(store, Asked(0, document="b")) == []


# --- how sure -------------------------------------------------------------------------------------------------------
def test_share_and_lift_are_those_of_the_books(store):
    for verdict in (False, False, True):
        answer(store, "a", "b", verdicts=[verdict])
    for verdict in (False, True, True, True, True):
        answer(store, "b", verdicts=[verdict])
    answer(store, "a", verdicts=[False], index_version="v2")
    one = {(one["document"], one["index_version"]): one for one in worst(store)}
    assert one["a", "v1"]["share"] == {"value": 2 / 3, **dict(zip(("low", "high"), wilson(2, 3), strict=True))}
    assert list(one["a", "v1"]["lift"].values()) == list(ratio(2, 3, 1, 5, groups=3)), "three documents are compared"
    assert one["b", "v1"]["lift"] is None is one["a", "v2"]["lift"], "nothing without it to compare with"


def test_what_is_shown_often_has_most_votes_and_what_is_bad_most_excess(store):
    """The twin of the order by votes: a document in every answer is on top of it, and is no worse than the others."""
    for i in range(20):
        answer(store, "common", f"d{i}", verdicts=[i % 5 != 0])
    for _ in range(3):
        answer(store, "common", "bad", verdicts=[False])
    assert worst(store)[0]["document"] == "common"
    assert worst(store, Asked(0, order="excess"))[0]["document"] == "bad"
    with store.reading() as conn:
        assert [one["document"] for one in documents.top(conn, 0, 1)] == ["common", "bad"]
        assert {one["votes"]["negative"] > 0 for one in documents.top(conn, 0, 50)} == {True}


# --- pages and bounds -----------------------------------------------------------------------------------------------
def test_pages_cover_everything_once(store):
    for i in range(7):
        answer(store, f"d{i}", verdicts=[False])
    seen, cursor = [], None
    with store.reading() as conn:
        while True:
            rows, cursor = documents.worst(conn, WEEK, limit=3, cursor=cursor)
            seen += [one["document"] for one in rows]
            if cursor is None:
                break
    assert seen == [f"d{i}" for i in range(7)]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 10, "٣"])
def test_a_cursor_of_somebody_else_is_refused(store, cursor):
    with store.reading() as conn, pytest.raises(BadCursor):
        documents.worst(conn, WEEK, cursor=cursor)


def test_of_too_many_only_the_newest_are_read_and_it_is_said(store, monkeypatch):
    for number in range(4):
        answer(store, "a", verdicts=[False] * (number + 1), ended=NOW - 60 + number)
    with store.reading() as conn:
        assert documents.reach(conn, WEEK) == {"votes_since": WEEK.since, "answers_since": WEEK.since}
        assert documents.page(conn, WEEK, 5)["documents"][0]["votes"]["negative"] == 10
        monkeypatch.setattr(documents, "MOST_VOTES", 3)
        monkeypatch.setattr(documents, "MOST_CALLS", 2)
        found = documents.page(conn, WEEK, 5)
    [one] = found["documents"]
    assert (one["votes"]["negative"], one["shown"]) == (3, 2)
    assert (found["votes_since"], found["answers_since"]) == (NOW + 1, NOW - 60 + 1)


def plan(store, statement=lambda conn: sa.select(documents._compared(conn, WEEK)), **values):
    """How SQLite goes about a statement."""
    with store.reading() as conn:
        text = statement(conn).params(**values).compile(conn.engine, compile_kwargs={"literal_binds": True})
        return [row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]


@pytest.mark.sqlite
def test_rows_are_found_by_index_whether_or_not_turns_are_named(store):
    for found in (plan(store), plan(store, lambda conn: documents._of_votes("sqlite"), ids=["a"])):
        assert not [line for line in found if line.startswith(("SCAN votes", "SCAN calls"))]
        ways = [line.partition(" (")[0] for line in found if line.startswith("SEARCH calls")]
        assert ways == ["SEARCH calls USING INDEX calls_turn", "SEARCH calls USING INDEX sqlite_autoindex_calls_1"]


@pytest.mark.sqlite
def test_a_table_that_is_read_whole_is_noticed(store):
    store.write(lambda conn: conn.exec_driver_sql("DROP INDEX votes_time")).result()
    store.write(lambda conn: conn.exec_driver_sql("DROP INDEX calls_turn")).result()
    assert [line for line in plan(store) if line.startswith("SCAN votes")]
    assert [line for line in plan(store) if line.startswith("SCAN calls")]


@pytest.mark.sqlite
def test_documents_that_are_no_json_to_sqlite_are_passed_over(store):
    answer(store, "a", verdicts=[False])
    answer(store, "b", verdicts=[False])
    rotten = sa.update(calls).where(calls.c.turn_id == "rotten").values(documents=[{"id": "z", "score": float("nan")}])
    answer(store, "z", verdicts=[False], turn_id="rotten")
    store.write(lambda conn: conn.execute(rotten)).result()
    assert [one["document"] for one in worst(store)] == ["a", "b"]


def test_a_document_without_an_id_is_none(store):
    turn = answer(store, verdicts=[False])
    found = calls.c.turn_id == turn, calls.c.operation == semconv.RETRIEVAL
    nameless = sa.update(calls).where(*found).values(documents=[{"score": 0.5}, {"id": 7}])
    store.write(lambda conn: conn.execute(nameless)).result()
    assert [(one["document"], one["position"]) for one in worst(store)] == [("7", 2.0)]


def test_postgresql_is_asked_in_its_own_words():
    text = str(documents._found("postgresql", sa.select(calls.c.turn_id, calls.c.trace_id).cte("asked")).compile(
        dialect=postgresql.dialect()))
    assert text.count("json_array_elements") == 2 == text.count("WITH ORDINALITY") and "json_each" not in text


# --- for the judgement's span ---------------------------------------------------------------------------------------
def test_the_documents_of_a_vote_come_best_first(store):
    turn = answer(store, "c", "a", "b", "a", verdicts=[False])
    answer(store, verdicts=[True])
    with store.reading() as conn:
        ids = votes_of(store)
        assert documents.of_votes(conn, ids) == {turn: ("c", "a", "b")}
        assert documents.of_votes(conn, ids, most=2) == {turn: ("c", "a")}
        assert documents.of_votes(conn, ["nobody"]) == {}
