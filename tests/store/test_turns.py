"""Spans become turns whatever their order, grouping and repetition."""

import itertools
import json
import random
from dataclasses import replace

import pytest

from backspan import semconv
from backspan.store import reads, turns
from backspan.store.counters import totals
from backspan.store.turns import QUIET_SECONDS
from backspan.store.votes import GRACE_SECONDS

from .conftest import NOW, SPAN, TRACE, chat, counts, put, put_spans, thumb

ROOT = "1111111111111111"
TURN = f"{TRACE}-{ROOT}"


def root(**fields):
    given = {"operation": semconv.INVOKE_WORKFLOW, "turn_id": TURN, "started": NOW - 70, "ended": NOW - 50,
             "response_id": "", "query": "", "answer": "", "input_tokens": None, "output_tokens": None}
    return chat(ROOT, **{**given, **fields})


def retrieval(span_id="2222222222222222", **fields):
    given = {"operation": semconv.RETRIEVAL, "turn_id": TURN, "started": NOW - 68, "ended": NOW - 67, "model": "",
             "response_id": "", "answer": "", "query": "keywords", "index_name": "kb", "index_version": "4",
             "documents": [{"id": "d1", "score": 0.9}], "prompt_name": "", "prompt_version": "",
             "input_tokens": None, "output_tokens": None}
    return chat(span_id, **{**given, **fields})


def first_call():
    return chat("3333333333333333", turn_id=TURN, started=NOW - 66, ended=NOW - 64, answer="let me look", model="m-0")


def last_call():
    return chat("4444444444444444", turn_id=TURN, started=NOW - 63, ended=NOW - 51)


def _turn(store, turn_id=TURN):
    with store.reading() as conn:
        return reads.get_turn(conn, turn_id)


def _tick(store):
    store._writer.submit(lambda conn, items: [store._inside.tick(conn) for _ in items], None).result()


def _answers(store):
    with store.reading() as conn:
        return {labels: value for (name, labels), value in totals(conn).items() if name == semconv.PROM_ANSWERS}


def test_the_turn_says_what_the_user_saw(store):
    put_spans(store, [retrieval(), first_call(), last_call(), root()])
    turn = _turn(store)
    assert (turn["query"], turn["answer"], turn["model"], turn["index_version"]) == ("why?", "because", "m-1", "4")
    assert (turn["span_id"], turn["duration"], turn["input_tokens"]) == (ROOT, 20.0, 20)
    assert turn["documents"] == [{"id": "d1", "score": 0.9}]
    assert len(turn["calls"]) == 4


def test_any_order_and_any_grouping_give_the_same_turn_and_count(make):
    spans, seen, chance = [retrieval(), first_call(), last_call(), root()], set(), random.Random(5)
    for number, order in enumerate(list(itertools.permutations(spans))[::2]):
        store, left = make(f"{number}.db"), [*order, chance.choice(spans)]
        while left:
            size = chance.randint(1, len(left))
            put_spans(store, left[:size])
            left = left[size:]
        turn = _turn(store)
        seen.add(repr({**turn, "calls": sorted(call["span_id"] for call in turn["calls"])}))
        assert list(_answers(store).values()) == [1.0]
        store.close()
    assert len(seen) == 1


def test_a_call_outside_of_a_turn_is_one(store):
    put_spans(store, [chat()])
    put_spans(store, [chat()])
    assert _turn(store, f"{TRACE}-{SPAN}")["answer"] == "because"
    assert list(_answers(store).values()) == [1.0]


def test_a_retrieval_without_a_turn_is_shown_with_the_answer_of_its_trace(store):
    put_spans(store, [retrieval(turn_id=""), chat()])
    assert _turn(store, f"{TRACE}-{SPAN}")["documents"] == [{"id": "d1", "score": 0.9}]
    assert len(_answers(store)) == 1


def test_a_turn_whose_own_span_is_lost_counts_after_a_while(store, clock):
    put_spans(store, [last_call()])
    _tick(store)
    assert _answers(store) == {}
    clock.now += QUIET_SECONDS + 1
    _tick(store)
    _tick(store)
    assert list(_answers(store).values()) == [1.0]
    put_spans(store, [root()])
    assert list(_answers(store).values()) == [1.0]


def test_a_failed_call_is_no_answer_and_a_broken_one_is(store):
    put_spans(store, [chat(error="APIError", answered=False)])
    assert _answers(store) == {}
    put_spans(store, [chat("5555555555555555", error="APIError", answered=True)])
    assert list(_answers(store).values()) == [1.0]


def test_the_first_answer_of_a_cohort_opens_its_feedback_series(store):
    put_spans(store, [chat()])
    series = counts(store, zeros=True)
    assert len(series) == 12 and set(series.values()) == {0}
    assert {key[:3] for key in series} == {
        (name, polarity, "add") for name in ("user_thumbs", "user_stars") for polarity in ("negative", "positive")}


def test_filters_and_pages(store):
    spans = [chat(f"{n:016x}", f"{n:032x}", started=NOW + n, ended=NOW + n + 1, model=f"m-{n % 2}",
                  conversation_id="c1" if n < 3 else "") for n in range(1, 8)]
    put_spans(store, spans)
    with store.reading() as conn:
        assert [turn["started"] - NOW for turn in reads.list_turns(conn, model="m-1")[0]] == [7, 5, 3, 1]
        assert len(reads.list_turns(conn, session="c1")[0]) == 2
        assert len(reads.list_turns(conn, since=NOW + 6)[0]) == 2
        assert len(reads.list_turns(conn, trace_id=f"{2:032x}")[0]) == 1
        pages, cursor = [], None
        while True:
            rows, cursor = reads.list_turns(conn, limit=3, cursor=cursor)
            pages.append([turn["started"] - NOW for turn in rows])
            if cursor is None:
                break
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]


# --- a vote among the spans of its turn -------------------------------------------------------------------------------
JUDGED = {
    "by its response": {"trace_id": None, "span_id": None, "response_id": "resp-4444444444444444"},
    "by its call": {"span_id": "4444444444444444"},
    "by its turn": {"span_id": ROOT},
}


def cohorts(make, name, way, order):
    """Label dimensions under which a vote was counted that came among the spans of its turn."""
    store = make(name)
    parts = {"call": last_call(), "root": root(model=""), "retrieval": retrieval()}
    for step in order:
        if step == "vote":
            put(store, thumb(False, at=None, dims=None, **JUDGED[way]))
        else:
            put_spans(store, [replace(parts[step], prompt_name="support" if step == "root" else "",
                                      prompt_version="7" if step == "root" else "")])
    with store.reading() as conn:
        vote = reads.list_feedback(conn)[0][0]
        found = [json.loads(labels) for (metric, labels), value in totals(conn).items()
                 if metric == semconv.PROM_FEEDBACK and value]
    assert vote["turn_id"] == TURN
    return [(one[semconv.REQUEST_MODEL], one[semconv.PROMPT_NAME]) for one in found]


@pytest.mark.parametrize("way", JUDGED)
def test_wherever_a_vote_comes_among_its_spans_it_counts_in_the_same_cohort(make, way):
    for number, order in enumerate(itertools.permutations(("vote", "call", "root", "retrieval"))):
        assert cohorts(make, f"{number}.db", way, order) == [("m-1", "support")], order


def test_a_vote_that_takes_half_of_a_turn_for_the_whole_is_noticed(make, monkeypatch):
    monkeypatch.setattr(turns, "_whole", lambda row: row.answered or row.rooted)
    assert cohorts(make, "half.db", "by its response", ("call", "vote", "root")) == [("m-1", "")]


def test_a_vote_on_half_of_a_turn_counts_after_a_while_by_what_is_known(make, clock):
    store = make()
    put_spans(store, [last_call()])
    put(store, thumb(False, at=None, dims=None, **JUDGED["by its call"]))
    assert counts(store) == {}
    clock.now += GRACE_SECONDS + 1
    _tick(store)
    with store.reading() as conn:
        [vote] = reads.list_feedback(conn)[0]
    assert (vote["turn_id"], vote["dims"][semconv.REQUEST_MODEL]) == (TURN, "m-1")
    assert sum(counts(store).values()) == 1
