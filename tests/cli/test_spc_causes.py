"""Causes: each ranks first in an incident made of it, and is not named where its evidence is taken away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backspan import semconv
from backspan.cli._spc.causes import NAMED, lifts, rank
from backspan.cli._spc.comparing import fold_of, moved_by, risen, worsened
from backspan.cli._spc.facts import Cell, Facts, Pair
from backspan.cli._spc.stored import OTHERS, read

VERSION, MODEL, INDEX = semconv.PROMPT_VERSION, semconv.REQUEST_MODEL, semconv.INDEX_VERSION


def pair(n0, bad0, n1, bad1):
    return Pair(Cell(n0, bad0), Cell(n1, bad1))


CALM_CALLS = {"n": 4000, "errors": 40, "slow": 80, "truncated": 40, "refused": 20}
CALLS = {"n": 1000, "errors": 10, "slow": 20, "truncated": 10, "refused": 5}
BASE = Facts(
    rated=pair(2000, 160, 500, 125),
    answers=(20_000, 5_000),
    raters={"known": 125, "raters": 110, "top": 3, "suspect": 0},
    reasons=({"wrong": 80, "slow": 20}, {"wrong": 62, "slow": 16}),
    calls=(CALM_CALLS, CALLS),
    retrievals=({"n": 2000, "empty": 40, "weak": 100}, {"n": 500, "empty": 10, "weak": 25}),
    tokens=({"input": 800.0, "output": 200.0}, {"input": 810.0, "output": 205.0}),
    dimensions={
        VERSION: {"v1": pair(1000, 80, 250, 62), "v2": pair(1000, 80, 250, 63)},
        MODEL: {"m-1": pair(2000, 160, 500, 125)},
        semconv.SEGMENT: {"free": pair(1200, 96, 300, 75), "paid": pair(800, 64, 200, 50)},
    },
    drift=(0.05, 0.06),
)
"""A rise from 8 % to 25 % behind which nothing is visible but the rise itself."""


def dimension(key, values):
    return {**BASE.dimensions, key: values}


INCIDENTS = {
    "few raters": {"raters": {"known": 125, "raters": 12, "top": 100, "suspect": 90},
                   "rated": pair(2000, 160, 500, 140)},
    "feedback form": {"answers": (20_000, 1_000)},
    "errors": {"calls": (CALM_CALLS, {**CALLS, "errors": 200})},
    "latency": {"calls": (CALM_CALLS, {**CALLS, "slow": 300}),
                "reasons": ({"wrong": 80, "slow": 20}, {"wrong": 30, "slow": 80})},
    "truncation": {"calls": (CALM_CALLS, {**CALLS, "truncated": 150})},
    "refusals": {"calls": (CALM_CALLS, {**CALLS, "refused": 90})},
    "change of prompt version": {"dimensions": dimension(
        VERSION, {"v1": pair(2000, 160, 200, 17), "v2": pair(0, 0, 300, 108)})},
    "change of model": {"dimensions": dimension(MODEL, {"m-1": pair(2000, 160, 0, 0), "m-2": pair(0, 0, 500, 125)})},
    "change of index version": {"dimensions": dimension(
        INDEX, {"7": pair(2000, 160, 0, 0), "8": pair(0, 0, 500, 125)})},
    "change of served model": {"dimensions": dimension(
        semconv.RESPONSE_MODEL, {"m-1-05": pair(2000, 160, 200, 18), "m-1-08": pair(0, 0, 300, 107)})},
    "change of variant or router": {"dimensions": dimension(
        semconv.VARIANT, {"large": pair(1800, 100, 100, 6), "small": pair(200, 60, 400, 119)})},
    "input drift": {"drift": (0.05, 0.4), "tokens": ({"input": 800.0}, {"input": 1900.0})},
    "concept drift": {},
}


@pytest.mark.parametrize("name", INCIDENTS)
def test_each_cause_ranks_first_in_its_own_incident(name):
    found = rank(replace(BASE, **INCIDENTS[name]))
    assert found[0].name == name, [(c.name, c.score) for c in found]
    assert found[0].for_ and (len(found) == 1 or found[0].score > found[1].score)


@pytest.mark.parametrize("name", [name for name in INCIDENTS if name != "concept drift"])
def test_without_its_evidence_it_is_not_named(name):
    assert name not in [cause.name for cause in rank(BASE)]


def test_concept_drift_is_what_remains_and_nothing_else():
    """With a better explanation it is not first; with nothing known at all it is not named."""
    for name in INCIDENTS:
        if name != "concept drift":
            assert rank(replace(BASE, **INCIDENTS[name]))[0].name != "concept drift"
    assert rank(Facts(rated=BASE.rated)) == [] == rank(Facts())
    assert rank(replace(BASE, rated=pair(2000, 160, 500, 41))) == []


def test_what_speaks_against_is_said():
    shared = dimension(VERSION, {"v1": pair(2000, 160, 250, 62), "v2": pair(0, 0, 250, 63)})
    assert "change of prompt version" not in [cause.name for cause in rank(replace(BASE, dimensions=shared))]
    alone = replace(BASE, **INCIDENTS["errors"], dimensions=INCIDENTS["change of prompt version"]["dimensions"])
    [errors] = [cause for cause in rank(alone) if cause.name == "errors"]
    assert errors.against == ["only prompt version v2 is worse"]
    still_bad = replace(BASE, raters={"known": 125, "raters": 40, "top": 40, "suspect": 0})
    assert "few raters" not in [cause.name for cause in rank(still_bad)]


def test_an_index_that_changed_explains_what_retrieval_lost():
    lost = {"n": 500, "empty": 200, "weak": 25}
    facts = replace(BASE, retrievals=({"n": 2000, "empty": 40, "weak": 100}, lost))
    assert rank(facts)[0].name == "input drift"
    changed = replace(facts, dimensions=INCIDENTS["change of index version"]["dimensions"])
    assert rank(changed)[0].name == "change of index version"


def test_a_new_version_without_a_present_to_compare_with():
    """A complete switch, of which the estimated change point caught a few votes on the old version."""
    values = {"v1": pair(2000, 160, 30, 6), "v2": pair(0, 0, 300, 75)}
    assert rank(replace(BASE, dimensions=dimension(VERSION, values)))[0].name == "change of prompt version"
    harmless = {"v1": pair(2000, 160, 30, 6), "v2": pair(0, 0, 300, 25)}
    names = [cause.name for cause in rank(replace(BASE, dimensions=dimension(VERSION, harmless)))]
    assert "change of prompt version" not in names


def test_one_old_value_alone_has_become_worse():
    values = {"m-1": pair(1000, 80, 250, 100), "m-2": pair(1000, 80, 250, 21)}
    found = rank(replace(BASE, dimensions=dimension(MODEL, values)))
    assert found[0].name == "change of model" and "only m-1 has become worse" in found[0].for_[0]


def test_where_a_fall_is_worse():
    assert worsened(Cell(1000, 400), Cell(300, 60), Facts(worse_down=True))
    assert not worsened(Cell(1000, 400), Cell(300, 60), Facts())


def test_significance_by_hand():
    assert risen(Cell(1000, 80), Cell(300, 60)) and not risen(Cell(1000, 80), Cell(300, 28))
    assert not risen(Cell(10, 0), Cell(10, 10))
    assert risen(Cell(100, 200), Cell(100, 400))  # events per exposure
    assert (fold_of(2, 6), fold_of(6, 2), fold_of(0, 0), fold_of(0, 3)) == (3, 3, 1, 10)
    assert moved_by((100, 1000), (300, 1000)) == pytest.approx(300.5 / 100.5)
    assert moved_by((100, 1000), (110, 1000)) == 1


def test_lift_is_how_many_times_as_often_a_bad_vote_says_so():
    facts = Facts(rated=pair(1000, 100, 500, 200), reasons=({"slow": 9.5}, {"slow": 60, "rude": 4}))
    assert lifts(facts) == {"slow": pytest.approx(0.3 / 0.1)}
    assert lifts(Facts()) == {}


# --- facts from `backspan up` ---------------------------------------------------------------------------------------
ANSWER = {
    "since": 1000.0, "from": 500.0, "until": 1500.0,
    "before": {"n": 720, "bad": 54, "rate": 0.075}, "after": {"n": 246, "bad": 58, "rate": 0.236},
    "reasons": [{"reason": "wrong", "n": 40, "of": 58, "lift": 3.0, "before": {"n": 5, "of": 54}}],
    "raters": {"after": {"n": 246, "unknown": 0, "distinct": 200, "top_bad": {"n": 3, "of": 58}}},
    "dimensions": [{"key": VERSION, "value": "v2", "n": 210, "bad": 52, "before": {"n": 0, "bad": 0},
                    "after": {"n": 210, "bad": 52}}],
    "calls": {"before": {"n": 900, "errors": 9, "slow": 3, "truncated": 2, "input_tokens": 100.0},
              "after": {"n": 300, "errors": 3, "slow": 1, "truncated": 1, "input_tokens": 101.0}},
    "coverage": {"before": {"answers": 7000, "judged": 720}, "after": {"answers": 2400, "judged": 246}},
    "changes": [{"key": VERSION, "value": "v2", "what": "came"}],
    "documents": {"before": {"with_documents": 890, "without": 10}, "after": {"with_documents": 290, "without": 10}},
    "samples": [{"trace_id": "a"}, {"trace_id": "b"}, {"trace_id": "a"}],
}


def test_what_up_knows_becomes_facts():
    facts = read(ANSWER, worse_down=False)
    assert facts.rated == pair(720, 54, 246, 58) and facts.answers == (7000, 2400)
    assert facts.raters == {"known": 58, "top": 3, "raters": 200}
    assert facts.dimensions[VERSION] == {"v2": pair(0, 0, 210, 52), OTHERS: pair(720, 54, 36, 6)}
    assert facts.retrievals == ({"n": 900, "empty": 10}, {"n": 300, "empty": 10})
    assert facts.tokens == ({"input": 100.0}, {"input": 101.0}) and facts.changed == {VERSION}
    assert facts.traces == ("a", "b") and (facts.since, facts.before, facts.after) == (1000, (500, 1000), (1000, 1500))
    assert rank(facts)[0].name == "change of prompt version"


def test_what_up_does_not_say_is_not_known():
    facts = read({"before": {"n": 10, "bad": 1}, "after": {"n": 10, "bad": 2}}, worse_down=True)
    assert (facts.answers, facts.calls, facts.reasons, facts.changed, facts.raters) == (None, None, None, None, {})
    assert facts.worse_down and rank(facts) == [] and NAMED > 1
