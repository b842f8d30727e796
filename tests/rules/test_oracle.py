"""The oracle's counting by hand: what is new since the previous evaluation, for every way a counter can behave."""

from __future__ import annotations

import pytest
from tests.rules.documents import given

from backspan.rules.oracle import Oracle
from backspan.rules.oracle_counting import STALE, Counter, labels_of
from backspan.rules.spec import parse

SPEC = parse(given())
"""Evaluations every 15 s, a look-back of 6 h."""
HOUR = 3600


def counted(samples: list[tuple[float, float | None]], evaluations: list[float]) -> list[float | None]:
    counter = Counter(SPEC, samples)
    return [counter.step(at) for at in evaluations]


@pytest.mark.parametrize(
    ("samples", "evaluations", "expected"),
    [
        pytest.param([(0, 0), (15, 3), (30, 7)], [0, 15, 30, 45], [0, 3, 4, 0], id="growth"),
        pytest.param([(5, 0), (10, 2)], [0, 15], [None, 2], id="new, began at 0 between evaluations"),
        pytest.param([(5, 40), (20, 42)], [0, 15, 30], [None, 0, 2], id="new, with a past"),
        pytest.param([(0, 9), (15, 2)], [0, 15], [0, 2], id="reset"),
        pytest.param([(0, 9), (5, 12), (15, 2)], [0, 15], [0, 5], id="reset after growth that was scraped"),
        pytest.param([(0, 100), (15, 1), (30, 3), (45, 1)], [0, 15, 30, 45], [0, 1, 2, 1], id="two resets"),
        pytest.param([(0, 4), (14, STALE), (60, 6)], [0, 15, 30, 60], [0, None, None, 2], id="stale, back"),
        pytest.param([(0, 4)], [0, 285, 300], [0, 0, None], id="silent for five minutes"),
        pytest.param([(0, 4), (5 * HOUR, 9)], [0, 5 * HOUR], [0, 5], id="back within the look-back"),
        pytest.param([(0, 4), (7 * HOUR, 9)], [0, 7 * HOUR], [0, 0], id="back after the look-back"),
        pytest.param([(0, 4), (7 * HOUR, 0), (7 * HOUR + 5, 1)], [0, 7 * HOUR + 15], [0, 1], id="back, began at 0"),
    ],
)
def test_counting(
    samples: list[tuple[float, float | None]], evaluations: list[float], expected: list[float | None]
) -> None:
    assert counted(samples, evaluations) == expected


def votes(polarity: str, *values: float, op: str = "add", **labels: str) -> tuple[object, list[tuple[float, float]]]:
    key = labels_of({"name": "user_thumbs", "op": op, "polarity": polarity, "service_name": "chat", **labels})
    return key, [(i * 15.0, value) for i, value in enumerate(values)]


def test_cohorts_add_up_instances_and_leave_out_changed_votes() -> None:
    streams = dict(
        [
            votes("positive", 0, 4, instance="a", gen_ai_prompt_version="1"),
            votes("positive", 0, 3, instance="b", gen_ai_prompt_version="2"),
            votes("negative", 0, 2, instance="b", gen_ai_prompt_version="2"),
            votes("negative", 0, 99, op="change"),
        ]
    )
    oracle = Oracle(SPEC, SPEC.charts[0], streams)  # type: ignore[arg-type]
    assert oracle.step(0) == {}
    rows = oracle.step(15)
    total = rows["service", labels_of({"service_name": "chat"})]
    second = rows["prompt", labels_of({"service_name": "chat", "gen_ai_prompt_version": "2"})]
    assert (total.n, total.bad, second.n, second.bad, len(rows)) == (9, 2, 5, 2, 3)
    assert total.sr == SPEC.charts[0].detector().step(9, 2)
    quiet = oracle.step(30)["service", labels_of({"service_name": "chat"})]
    assert (quiet.n, quiet.window_n, quiet.sr, quiet.rated_at) == (None, 9, total.sr, 15)


def test_a_silent_cohort_stops_alarming_and_is_forgotten() -> None:
    chart = SPEC.charts[0]
    oracle = Oracle(SPEC, chart, dict([votes("negative", 0, 60)]))  # type: ignore[arg-type]
    oracle.step(0)
    key = ("service", labels_of({"service_name": "chat"}))
    assert oracle.step(15)[key].alarm
    assert oracle.step(15 + chart.idle_after - 15)[key].alarm
    assert not oracle.step(15 + chart.idle_after)[key].alarm
    assert key in oracle.step(15 + chart.forget_after - 15)
    assert oracle.step(15 + chart.forget_after) == {}
