"""The catalogue: what each signal means, what a file may change of it, and what `record_feedback` takes from it."""

import pytest

import backspan
from backspan import semconv
from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.signals import CATALOGUE, Catalogue, CatalogueError, catalogue, changed
from backspan.rules.indicators import INDICATORS

from .conftest import target


def test_every_signal_of_an_indicator_is_in_it():
    watched = {one.bad.where.get("name") or one.total.where.get("name") for one in INDICATORS.values() if one.bad}
    named = {name for name in watched if name and name.startswith("implicit_")}
    assert named and named <= {one.feedback_name for one in CATALOGUE.values()}


@pytest.mark.parametrize(("name", "value", "polarity"), [
    ("copy", 0.5, "positive"), ("revert", 1, "negative"), ("dwell", 1.2, "neutral"), ("escalation", True, "negative"),
    ("edit_distance", 0.05, "positive"), ("edit_distance", 0.3, "neutral"), ("edit_distance", 0.7, "negative"),
    ("accept", True, "positive"), ("nobody_knows", 1, "neutral")])
def test_feedback_takes_the_polarity_of_the_catalogue(out, name, value, polarity):
    backspan.record_feedback(target(), name=f"implicit_{name}", value=value)
    attributes = out.spans[0].attributes
    assert (attributes[semconv.FEEDBACK_POLARITY], attributes[semconv.FEEDBACK_SOURCE]) == (polarity, "implicit")
    counted = {tuple(point.attributes[label] for label in semconv.SIGNAL_LABELS): point.value
               for point in out.points(semconv.SIGNALS)}
    assert counted == {(f"implicit_{name}", polarity): 1}


def test_a_polarity_that_is_given_wins(out):
    backspan.record_feedback(target(), name="implicit_copy", value=1, polarity="negative")
    assert out.spans[0].attributes[semconv.FEEDBACK_POLARITY] == "negative"


@pytest.mark.parametrize(("name", "value"), [("copy", 0.1), ("copy", 1.1), ("dwell", 101), ("accept", -1)])
def test_a_value_that_cannot_be_is_refused(out, name, value):
    with pytest.raises(InvalidFeedback, match="value: must be a number from"):
        backspan.record_feedback(target(), name=f"implicit_{name}", value=value)
    assert not out.spans


def test_a_vote_is_no_signal(out):
    backspan.record_feedback(target(), thumbs=True)
    assert out.points(semconv.SIGNALS) == []


def test_a_signal_that_changes_or_goes_is_counted_once(out):
    for said in ({"value": 0.3}, {"value": 0.9}, {"retract": True}):
        backspan.record_feedback(target(), name="implicit_copy", **said)
    assert sum(point.value for point in out.points(semconv.SIGNALS)) == 1


def test_a_file_changes_numbers_phrases_and_consent(setenv, tmp_path):
    file = tmp_path / "signals.yaml"
    file.write_text("assume_consent: true\ncues: {ack: [Grazie]}\n"
                    "signals: {copy: {least: 0.1, prior: 0.2}, reformulation: {similar: 70, version: 2}}\n")
    setenv(BACKSPAN_SIGNALS=str(file))
    known = catalogue()
    copy, again = known.signals["copy"], known.signals["reformulation"]
    assert (copy.least, copy.band(1).prior, again.limits["similar"], again.label) == (0.1, 0.2, 70, "rule-2")
    assert "grazie" in known.cues["ack"] and "thanks" in known.cues["ack"]
    assert known.agreed(None) and not known.agreed("improve") and not Catalogue().agreed(None)


@pytest.mark.parametrize("said", [
    7, {"signal": {}}, {"signals": {"nonsense": {}}}, {"signals": {"copy": {"gap": 1}}}, {"signals": {"copy": 1}},
    {"signals": {"copy": {"least": "a"}}}, {"signals": {"copy": {"least": -1}}}, {"signals": {"copy": {"prior": 1}}},
    {"signals": {"edit_distance": {"prior": 0.1}}}, {"cues": {"ack": "thanks"}}, {"cues": {"x": []}},
    {"assume_consent": "yes"}])
def test_a_file_that_is_wrong(said):
    with pytest.raises(CatalogueError):
        changed(said)


def test_a_file_that_is_wrong_costs_an_application_nothing(setenv, out, tmp_path):
    setenv(BACKSPAN_SIGNALS=str(tmp_path / "nowhere.yaml"), BACKSPAN_RAISE="0")
    backspan.record_feedback(target(), name="implicit_copy", value=0.5)
    assert out.spans[0].attributes[semconv.FEEDBACK_POLARITY] == "positive"
    with pytest.raises(CatalogueError):
        catalogue()
