"""Outcomes in the store: by join key, before and after the turn, once and again, with and without a model."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from backspan import semconv
from backspan.context import Target
from backspan.store import Vote, outcomes
from backspan.store.outcomes import Outcome, outcome_id

from .conftest import NOW, SPAN, TRACE, chat, counts, put_spans

KEY = "ticket-4711"


def solved(value=True, **fields):
    said = {"id": outcome_id(None, f"join:{KEY}", "outcome_solved"), "name": "outcome_solved", "value": float(value),
            "polarity": semconv.POSITIVE if value else semconv.NEGATIVE, "label": "pass" if value else "fail",
            "time": NOW, "join_key": KEY}
    return Outcome(**{**said, **fields})


def tell(store, *told):
    return store.work(lambda batch: outcomes.accept(batch, list(told), store.identify)).result()


def tick(store):
    store.write(store._inside.tick).result()


def votes(store):
    with store.reading() as conn:
        return conn.execute(sa.text("select name, value, op, turn_id, source, trace_id from votes")).all()


def test_after_the_turn(store):
    put_spans(store, [chat(join_key=KEY)])
    [noted] = tell(store, solved())
    assert (noted.status, noted.waiting) == ("add", False)
    assert votes(store) == [("outcome_solved", 1.0, "add", f"{TRACE}-{SPAN}", "outcome", TRACE)]
    assert counts(store) == {("outcome_solved", "positive", "add", "outcome", "le_1h"): 1}


def test_before_the_turn(store):
    [noted] = tell(store, solved())
    assert (noted.status, noted.waiting, votes(store)) == ("add", True, [])
    tick(store)
    assert votes(store) == []
    put_spans(store, [chat(join_key=KEY)])
    tick(store)
    tick(store)
    assert [row[:3] for row in votes(store)] == [("outcome_solved", 1.0, "add")]
    assert [one.status for one in tell(store, solved())] == ["unchanged"]


def test_an_outcome_that_changes_before_its_turn_comes_is_one_vote(store):
    assert [one.status for one in tell(store, solved(), solved(False))] == ["add", "change"]
    put_spans(store, [chat(join_key=KEY)])
    tick(store)
    assert [row[:3] for row in votes(store)] == [("outcome_solved", 0.0, "add")]


def test_it_is_told_again_and_changes(store):
    put_spans(store, [chat(join_key=KEY)])
    said = [tell(store, solved(value))[0].status for value in (True, True, False)]
    assert said == ["add", "unchanged", "change"]
    assert [row[:3] for row in votes(store)] == [("outcome_solved", 0.0, "change")]
    assert tell(store, solved(False), solved(True))[1].status == "change"
    assert [row[:3] for row in votes(store)] == [("outcome_solved", 1.0, "change")]


def test_it_goes_to_the_last_answer_before_it(store):
    spans = [chat(f"{number:016x}", f"{number:032x}", join_key=KEY, ended=NOW + at)
             for number, at in ((1, -90), (2, -30), (3, +30))]
    put_spans(store, spans)
    tell(store, solved())
    assert [row.trace_id for row in votes(store)] == [f"{2:032x}"]


def test_else_to_the_first_after_it(store):
    put_spans(store, [chat(f"{number:016x}", f"{number:032x}", join_key=KEY, ended=NOW + number) for number in (9, 8)])
    tell(store, solved())
    assert [row.trace_id for row in votes(store)] == [f"{8:032x}"]


def test_another_key_is_another_matter(store):
    put_spans(store, [chat(join_key="ticket-1")])
    assert tell(store, solved())[0].waiting
    tick(store)
    assert votes(store) == []


def test_work_without_a_model_is_kept_and_judges_nothing(store):
    put_spans(store, [chat(join_key=KEY)])
    [noted] = tell(store, solved(assisted=False))
    assert (noted.waiting, votes(store)) == (False, [])
    with store.reading() as conn:
        assert conn.execute(sa.select(outcomes.outcomes.c.assisted)).scalars().all() == [False]


def test_a_target_by_ids_is_a_vote_at_once(store):
    target = Target(trace_id=TRACE, span_id=SPAN)
    vote = Vote(store.identify(target, "outcome_solved", None), "outcome_solved", NOW, value=1.0, label="pass",
                polarity="positive", source="outcome", trace_id=TRACE, span_id=SPAN)
    told = replace(solved(), join_key=None, vote=vote, id="o1")
    assert [one.status for one in tell(store, told, told)] == ["add", "unchanged"]
    assert [row[:3] for row in votes(store)] == [("outcome_solved", 1.0, "add")]


# --- an outcome that moves to another answer --------------------------------------------------------------------------
OTHER = f"{9:032x}"


def standing(store):
    """{trace id: value} of the votes that stand, and their net count."""
    net = sum(-number if op == "retract" else number for (_, _, op, *_), number in counts(store).items())
    return {row.trace_id: row.value for row in votes(store) if row.op != "retract"}, net


def by_ids(store, trace_id, value=True, **fields):
    target = Target(trace_id=trace_id, span_id=SPAN)
    said = solved(value, join_key=None, id="o1", **fields)
    vote = Vote(store.identify(target, said.name, None), said.name, NOW, value=said.value, label=said.label,
                polarity=said.polarity, source="outcome", trace_id=trace_id, span_id=SPAN)
    return replace(said, vote=vote)


MOVES = {
    "by another key": lambda store: (solved(id="o1"), solved(id="o1", join_key="ticket-2")),
    "by other ids": lambda store: (by_ids(store, TRACE), by_ids(store, OTHER)),
    "from a key to ids": lambda store: (solved(id="o1"), by_ids(store, OTHER)),
}


def moved(store, way, together):
    put_spans(store, [chat(join_key=KEY), chat(trace_id=OTHER, join_key="ticket-2")])
    first, second = MOVES[way](store)
    told = tell(store, first, second) if together else tell(store, first) + tell(store, second)
    assert [one.status for one in told] == ["add", "change"]
    tick(store)
    return standing(store)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("way", MOVES)
def test_an_outcome_that_moves_judges_one_answer(store, way, together):
    assert moved(store, way, together) == ({OTHER: 1.0}, 1)


def test_one_that_stays_where_it_was_would_be_noticed(store, monkeypatch):
    monkeypatch.setattr(outcomes, "_left", lambda _conn, rows, _stood, _time: outcomes._vote_of(rows["o1"]))
    assert moved(store, "by another key", together=False) == ({TRACE: 1.0, OTHER: 1.0}, 2)


def test_one_that_turns_out_to_be_no_models_work_judges_nothing(store):
    put_spans(store, [chat(join_key=KEY)])
    tell(store, solved(id="o1"))
    assert [one.status for one in tell(store, solved(id="o1", assisted=False))] == ["change"]
    assert standing(store) == ({}, 0)
    tell(store, solved(id="o1", assisted=True))
    assert standing(store) == ({TRACE: 1.0}, 1)


def test_what_an_outcome_leaves_is_that_of_the_other_one_there(store):
    put_spans(store, [chat(join_key=KEY)])
    tell(store, solved(False, id="o1"))
    tell(store, solved(id="o2"))
    tell(store, solved(id="o2", join_key="ticket-2"))
    assert standing(store) == ({TRACE: 0.0}, 1)


def test_it_survives_a_restart(make):
    first = make()
    tell(first, solved())
    first.close()
    again = make()
    put_spans(again, [chat(join_key=KEY)])
    tick(again)
    assert len(votes(again)) == 1
