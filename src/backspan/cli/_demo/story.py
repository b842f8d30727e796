"""What happens: users come in rounds, half way a bad prompt goes out, `up` raises the alarm, and we look at why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from backspan import semconv
from backspan.cli._demo.cast import Cast, load_users
from backspan.cli._demo.children import Children
from backspan.cli._demo.screen import Progress
from backspan.cli._local import fetch

ALERT, CHART = "BackspanQualityRegression", "thumbs_down"
GOOD, BAD = "v1", "v2"
VISITS = 800
ROUND = 25
"""Visits after which we ask `up` for alerts; a round is finished even when it raised one."""
AFTERMATH = 1
"""Rounds that follow the one with the alarm, so that the chart shows what it was about."""
_ARRIVE_S = 20.0
_WORST = 3

Json = dict[str, Any]


class Unexpected(Exception):
    """`up` did not do what it must: an answer or a vote is missing there."""


@dataclass
class Story:
    """What has happened so far. Ratings are counted from 1."""

    seed: int
    answers: int = 0
    ratings: list[bool] = field(default_factory=list[bool])
    """True is thumbs down."""
    versions: list[str] = field(default_factory=list[str])
    """Prompt version behind each rating."""
    released_at: int | None = None
    """Number of the first rating of the bad version; None when it never went out, or was never rated."""
    alert: Json | None = None
    alarm_at: int | None = None
    """Number of the rating that raised the alarm."""
    chart: Json = field(default_factory=dict[str, Any])
    worst: list[Json] = field(default_factory=list[Json])
    seconds: float = 0.0

    def tally(self, version: str) -> tuple[int, int]:
        """(ratings, thumbs down) of a prompt version."""
        mine = [down for down, seen in zip(self.ratings, self.versions, strict=True) if seen == version]
        return len(mine), sum(mine)

    def note(self, version: str, thumbs: str | None) -> None:
        """Count an answer, and its rating if there is one."""
        self.answers += 1
        if thumbs is None:
            return
        self.ratings.append(thumbs == "down")
        self.versions.append(version)
        if version == BAD and self.released_at is None:
            self.released_at = len(self.ratings)

    @property
    def accepted(self) -> float:
        """The share of thumbs down that the chart accepts."""
        return float(self.chart["centre"])

    @property
    def guilty(self) -> Json | None:
        """The prompt version that the alert names: the worst value of that dimension, or its cohort."""
        if self.alert is None:
            return None
        labels: Json = self.alert["cohort"]["labels"]
        if semconv.PROMPT_VERSION in labels:
            return {"key": semconv.PROMPT_VERSION, "value": labels[semconv.PROMPT_VERSION]}
        named: list[Json] = [entry for entry in self.alert["guilty"] if entry["key"] == semconv.PROMPT_VERSION]
        return named[0] if named else None


def tell(cast: Cast, children: Children, seed: int, regress: bool, progress: Progress) -> Story:
    """Play it and look at the outcome. Raises ChildFailed, Unexpected, or RuntimeError of a refused request."""
    started, story = time.monotonic(), Story(seed)
    for release, first in _rounds(regress):
        if release:
            cast.release(BAD)
            progress.say(f"  prompt support {BAD} goes out", "bold")
        _round(story, cast, children, first, progress)
        if story.alert is not None:
            _aftermath(story, cast, children, first + ROUND, progress)
            break
    _look(story, cast)
    story.seconds = time.monotonic() - started
    return story


def _rounds(regress: bool) -> Iterator[tuple[bool, int]]:
    for first in range(0, VISITS, ROUND):
        yield regress and first == VISITS // 2, first


def _aftermath(story: Story, cast: Cast, children: Children, first: int, progress: Progress) -> None:
    for number in range(AFTERMATH):
        _round(story, cast, children, first + number * ROUND, progress)


def _round(story: Story, cast: Cast, children: Children, first: int, progress: Progress) -> None:
    children.check()
    with closing(load_users().run(cast.app.url, cast.up.url, first, ROUND, story.seed)) as visits:
        for answered in visits:
            story.note(answered.prompt_version, answered.thumbs)
            rated, down = story.tally(answered.prompt_version)
            share = f", {down / rated:.0%} thumbs down" if rated else ""
            said = f"prompt {answered.prompt_version}: {story.answers} answers, {rated} rated{share}"
            progress.update(answered.visit.index + 1, VISITS, said)
    if story.alert is None:
        _watch(story, cast)


def _watch(story: Story, cast: Cast) -> None:
    """Take the first alarm of the pager, and find the number of its rating among all ratings."""
    found: list[Json] = _get(cast, "/api/alerts")["alerts"]
    alerts = [alert for alert in found if (alert["chart"], alert["alert"]) == (CHART, ALERT)]
    if not alerts:
        return
    numbered = [(_overall(story, alert), alert) for alert in alerts]
    story.alarm_at, story.alert = min(numbered, key=lambda pair: (pair[0], pair[1]["id"]))


def _overall(story: Story, alert: Json) -> int:
    """An alert counts the ratings of its own cohort; a cohort of one prompt version sees only that version's."""
    version, number = alert["cohort"]["labels"].get(semconv.PROMPT_VERSION), int(alert["rating"])
    if version is None:
        return number
    return [at for at, seen in enumerate(story.versions, start=1) if seen == version][number - 1]


def _look(story: Story, cast: Cast) -> None:
    story.chart = _get(cast, f"/api/charts/{CHART}")
    counted = sum(cohort["ratings"] for cohort in story.chart["cohorts"] if cohort["partition"] == "service")
    if counted != len(story.ratings):
        raise Unexpected(f"{len(story.ratings)} ratings were accepted, but the chart counted {counted}")
    if story.guilty is not None:
        story.worst = _worst_turns(cast, story.guilty["value"])


def _worst_turns(cast: Cast, version: str) -> list[Json]:
    """The turns of a prompt version with the most votes against them.

    A vote may be here before the spans of the turn it judges; we wait for those, so that equal runs show equal turns.
    """
    deadline = time.monotonic() + _ARRIVE_S
    asked = urlencode({"prompt_version": version, "polarity": "negative", "limit": 500})
    voted = urlencode({"polarity": "negative", "limit": 500})
    while True:
        votes: list[Json] = _get(cast, f"/api/feedback?{voted}")["feedback"]
        turns: list[Json] = _get(cast, f"/api/turns?{asked}")["turns"]  # after the votes: those with a turn are in it
        missing = sum(not vote["turn_id"] for vote in votes)
        missing += sum(not (turn["query"] and turn["answer"]) for turn in turns)
        if not missing:
            return worst_first(turns)[:_WORST]
        if time.monotonic() > deadline:
            raise Unexpected(f"the spans of {missing} judged answers did not arrive within {_ARRIVE_S:.0f} s")
        time.sleep(0.2)


def worst_first(turns: Iterable[Json]) -> list[Json]:
    """Stored turns by what people think of them."""
    return sorted(turns, key=_badness)


def _badness(turn: Json) -> tuple[Any, ...]:
    """Most votes of people against first, then those that say most; ties in an order that no clock decides.

    The application's own check is left out: its verdict comes as a span, in a while of its own.
    """
    against = [vote for vote in turn["feedback"]
               if vote["polarity"] == "negative" and vote["source"] in (semconv.END_USER, semconv.IMPLICIT)]
    said = sum(len(vote["reasons"] or ()) + bool(vote["correction"]) for vote in against)
    return -len(against), -said, turn["query"], turn["answer"], turn["conversation_id"]


def _get(cast: Cast, path: str) -> Json:
    return json.loads(fetch(cast.up.url + path))
