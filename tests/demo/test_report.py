"""What the demo says, given what happened."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backspan.cli._demo import report
from backspan.cli._demo.screen import Paint
from backspan.cli._demo.story import Story, worst_first

TURN = {
    "query": "Documents:\n[a] b.\n\nQuestion: How long are gift cards valid?", "answer": "Sure! " + "3 years. " * 30,
    "prompt_version": "v2", "trace_id": "ab" * 16, "turn_id": "ab" * 16 + "-" + "cd" * 8,
    "feedback": [
        {"name": "implicit_regenerate", "value": 1.0, "reasons": [], "correction": None, "polarity": "negative"},
        {"name": "user_correction", "value": None, "reasons": [], "correction": "It is 5 years.",
         "polarity": "negative"},
        {"name": "user_thumbs", "value": 0.0, "reasons": ["inaccurate"], "correction": None, "polarity": "negative"},
    ],
}  # fmt: skip
ALERT = {
    "id": 1, "chart": "thumbs_down", "rating": 112, "bad": 17, "ratings": 112, "baseline": 0.1, "statistic": 10.3,
    "threshold": 9.9, "false_alarm_every": 100_000, "since_rating": 101, "since": 1.8e9,
    "runbook": "docs/how-to/quality-alert.md",
    "cohort": {"partition": "service", "labels": {"service.name": "rag-chat"}},
    "guilty": [{"key": "gen_ai.prompt.version", "value": "v2", "n": 12, "bad": 9}],
}  # fmt: skip
CHART = {"name": "thumbs_down", "centre": 0.1, "threshold": 9.9, "false_alarm_every": 100_000, "cohorts": []}


@pytest.fixture
def story() -> Story:
    told = Story(seed=7, chart=dict(CHART))
    for index in range(100):
        told.note("v1", "down" if index % 20 == 0 else "up")
    for index in range(40):
        told.note("v2", "up" if index % 4 == 0 else "down")
    told.alert, told.alarm_at, told.worst = dict(ALERT), 112, [TURN]
    return told


@pytest.mark.parametrize("width", [60, 80, 110])
def test_the_text_fits_the_width(story: Story, width: int) -> None:
    text = report.as_text(story, True, width, Paint(False))
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_the_text_says_what_who_and_where(story: Story) -> None:
    text = report.as_text(story, True, 110, Paint(False))
    for said in (
        "ALARM  BackspanQualityRegression  at rating 112", "17 of 112 ratings of service rag-chat",
        "one false alarm in 100,000", "v2 went out at rating 101", "prompt support, version v2",
        "asked   How long are gift cards valid?", "thumbs down (inaccurate), correction “It is 5 years.”, regenerate",
        "ab" * 16,
    ):  # fmt: skip
        assert said in " ".join(text.split()) or said in text, said


def test_the_worst_turns_are_those_that_people_say_are() -> None:
    """The check of the application may come a while after them, so that it would be chance which turns are shown."""
    def turn(query: str, *sources: str) -> dict[str, Any]:
        votes = [{"source": source, "polarity": "negative", "reasons": [], "correction": None} for source in sources]
        return {"query": query, "answer": "", "conversation_id": "", "feedback": votes}

    for late in ((), ("evaluator",)):
        turns = [turn("b", "end_user", *late), turn("a", "end_user"), turn("c", "end_user", "implicit")]
        assert [one["query"] for one in worst_first(turns)] == ["c", "a", "b"]


def test_json_says_the_same(story: Story) -> None:
    said: dict[str, Any] = json.loads(json.dumps(report.as_json(story, True, None)))
    assert (True, 112, 101, "v2") == (
        said["as_intended"], said["alarm_at_rating"], said["released_at_rating"], said["guilty"]["value"]
    )
    assert {"v1": {"ratings": 100, "down": 5}, "v2": {"ratings": 40, "down": 30}} == said["by_version"]
    assert "How long are gift cards valid?" == said["worst_turns"][0]["question"]


def test_an_alarm_before_the_release_is_not_as_intended(story: Story) -> None:
    assert report.intended(story, True)
    assert not report.intended(story, False)
    story.alarm_at = 90
    assert not report.intended(story, True)


def test_an_alarm_that_blames_another_version_is_not_as_intended(story: Story) -> None:
    story.alert = {**ALERT, "guilty": [{"key": "gen_ai.prompt.version", "value": "v1"}]}
    assert not report.intended(story, True)
    story.alert = {**ALERT, "guilty": []}
    assert not report.intended(story, True)


def test_silence_is_intended_only_without_a_regression(story: Story) -> None:
    story.alert = story.alarm_at = None
    assert report.intended(story, False)
    assert not report.intended(story, True)
    assert "NO ALARM" in report.as_text(story, False, 80, Paint(False))
    assert "There should" in report.as_text(story, True, 80, Paint(False))


def test_an_alert_of_one_version_names_it(story: Story) -> None:
    labels = {"service.name": "rag-chat", "gen_ai.prompt.name": "support", "gen_ai.prompt.version": "v2"}
    cohort = {"partition": "prompt", "labels": labels}
    story.alert = {**ALERT, "cohort": cohort, "rating": 12, "ratings": 12, "bad": 9, "since_rating": 1, "guilty": []}
    assert report.intended(story, True)
    text = report.as_text(story, True, 110, Paint(False))
    assert "9 of 12 ratings of prompt version v2" in text
    assert "since     about rating 101" in text
