"""A label of an application's metrics has a limited number of values; the rest is one, and spans keep what was said."""

import pytest

from backspan import context, semconv, telemetry
from backspan._instruments import Bounds
from backspan.feedback.record import record_feedback

from .conftest import DIMS, target

REST = semconv.LABEL_REST


def test_the_first_values_of_each_label_are_kept_apart():
    bounds = Bounds(2)
    said = [bounds.of({"v": value, "w": value})["v"] for value in ("a", "b", "c", "b", "", "d")]
    assert said == ["a", "b", REST, "b", "", REST]
    labels = {"v": "a", "w": "b"}
    assert bounds.of(labels) is labels  # nothing is made where nothing is new


def _answer(version):
    with context.prompt("support", version=version):
        labels, series = context.cohort(context.current(), "gpt-5-mini", None, None)
    return labels, dict(series)


@pytest.mark.parametrize(("limit", "kept"), [("3", 3), ("100", 7)])
def test_answers_of_too_many_versions_are_counted_as_one(out, setenv, limit, kept):
    """With room for all of them, the twin, each is counted by itself."""
    setenv(BACKSPAN="1", BACKSPAN_LABEL_VALUES=limit)
    counted = []
    for number in range(7):
        labels, series = _answer(f"v{number}")
        assert labels[semconv.PROMPT_VERSION] == f"v{number}"
        counted.append(series[semconv.PROMPT_VERSION])
        telemetry.instruments().answers.add_to(frozenset(series.items()), 1)
    assert counted == [f"v{n}" if n < kept else REST for n in range(7)]
    out.collect()  # a new series is 0 first
    found = {point.attributes[semconv.PROMPT_VERSION]: point.value for point in out.points(semconv.ANSWERS)}
    assert found == {**{f"v{n}": 1 for n in range(kept)}, **({REST: 7 - kept} if kept < 7 else {})}


def test_votes_on_them_and_made_up_reasons_too(out, setenv):
    setenv(BACKSPAN_LABEL_VALUES="3")
    for number in range(5):
        dims = {**DIMS, semconv.PROMPT_VERSION: f"v{number}"}
        given = target(trace_id=f"{number + 1:032x}", dims=dims)
        record_feedback(given, thumbs="down", reasons=[f"because_{number}"])
    found = out.collect()
    versions = {}
    for point in found[semconv.FEEDBACK]:
        key = point.attributes[semconv.PROMPT_VERSION]
        versions[key] = versions.get(key, 0) + point.value
    assert versions == {"v0": 1, "v1": 1, "v2": 1, REST: 2}
    reasons = {point.attributes[semconv.LABEL_REASON] for point in found[semconv.FEEDBACK_REASONS]}
    assert reasons == {"because_0", "because_1", "because_2", REST}
    assert {span.attributes[semconv.PROMPT_VERSION] for span in out.spans} == {f"v{n}" for n in range(5)}
