"""Decisions of asking and what they make of votes: two strata, of which one is asked more and is worse."""

import random

import pytest

from backspan.store import asking, guards

from .conftest import NOW, chat, put, put_spans, thumb

STRATA = {"quiet": (600, 0.05, 0.1, 0.9), "loud": (120, 0.5, 1.0, 0.4)}
"""Answers, share of bad ones, probability of being asked, share of those who then answer."""
TRUTH = sum(n * bad for n, bad, _, _ in STRATA.values()) / sum(n for n, *_ in STRATA.values())


def filled(store, seed=3):
    draw, votes, number = random.Random(seed), [], 0
    rows = []
    for stratum, (answers, bad, probability, willing) in STRATA.items():
        for n in range(answers):
            number += 1
            ids = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}
            asked = draw.random() < probability
            rows.append({"id": f"a{number}", "stratum": stratum, "rater": f"p{number}", **ids, "response_id": None,
                         "asked": asked, "probability": probability, "time": NOW})
            if asked and draw.random() < willing:
                votes.append(thumb(n >= bad * answers, id=f"v{number}", rater=f"p{number}", **ids))
    store.write(lambda conn: [asking.note(conn, row) for row in rows]).result()
    put(store, *votes)
    return len(votes)


def test_the_weighted_share_is_near_the_truth_and_the_raw_one_is_not(store):
    answered = filled(store)
    with store.reading() as conn:
        found = asking.estimates(conn, "user_thumbs", NOW - 60)
    assert (found["population"], found["answered"]) == (720, answered)
    assert found["hajek"]["low"] <= TRUTH <= found["hajek"]["high"]
    assert abs(found["horvitz_thompson"]["value"] - TRUTH) < 0.06
    assert found["raw"]["low"] > TRUTH  # the twin: without weights it is not


def test_a_decision_stands_and_counts_for_the_person(store):
    row = {"id": "a1", "stratum": "s", "rater": "p", "trace_id": "1" * 32, "span_id": "1" * 16, "response_id": None,
           "asked": True, "probability": 0.25, "time": NOW}
    store.write(lambda conn: asking.note(conn, row)).result()
    store.write(lambda conn: asking.note(conn, {**row, "asked": False})).result()
    put(store, thumb(trace_id="1" * 32, span_id="1" * 16, rater="p"))
    with store.reading() as conn:
        assert asking.decided(conn, "a1") == (True, 0.25, "s") and asking.decided(conn, "a2") is None
        assert asking.seen(conn, "s", "p", NOW - 1, NOW - 1) == (1, 1, 1)
        assert asking.seen(conn, "s", "q", NOW - 1, NOW - 1) == (1, 1, 0)
        assert asking.seen(conn, "s", "p", NOW + 1, NOW + 1) == (0, 0, 0)
        voted = [{"id": "f1", "trace_id": "1" * 32, "span_id": "1" * 16, "rater": "p"},
                 {"id": "f2", "trace_id": "1" * 32, "span_id": "1" * 16, "rater": "q"}]
        assert asking.probabilities(conn, voted) == {"f1": 0.25}


def test_coverage_and_representativeness(store):
    calls = [chat(f"{n:016x}", f"{n:032x}", segment="free" if n <= 90 else "pro") for n in range(1, 101)]
    put_spans(store, calls)
    with store.reading() as conn:
        assert asking.coverage(conn, NOW - 600) == {"answers": 100.0, "coverage": 0.0, "stability": 0.0}
    put(store, *(thumb(id=f"v{n}", trace_id=f"{n:032x}", span_id=f"{n:016x}") for n in range(91, 101)))
    with store.reading() as conn:
        found = asking.coverage(conn, NOW - 600)
    assert found["coverage"] == pytest.approx(0.1) and found["stability"] > 0.2  # only one segment votes
    store.write(lambda conn: guards.hold(conn, {"v91": "burst"}, NOW)).result()
    with store.reading() as conn:
        assert asking.coverage(conn, NOW - 600)["coverage"] == pytest.approx(0.09)
