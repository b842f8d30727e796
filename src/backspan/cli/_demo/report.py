"""The outcome of the demo, for people and as JSON."""

from __future__ import annotations

import time
from textwrap import shorten
from typing import Any

from backspan import semconv
from backspan._assets import asset
from backspan.cli._demo import chart
from backspan.cli._demo.cast import Cast
from backspan.cli._demo.screen import Paint, wrap
from backspan.cli._demo.story import ALERT, BAD, CHART, GOOD, Json, Story

_EXCERPT = 200
"""Characters of an answer that are shown."""


def intended(story: Story, regress: bool) -> bool:
    """Tell whether the run showed what it was to show: an alarm after the release, by the bad version; or none."""
    if not regress:
        return story.alert is None
    if story.alarm_at is None or story.released_at is None or story.guilty is None:
        return False
    return story.alarm_at >= story.released_at and story.guilty["value"] == BAD


def as_json(story: Story, regress: bool, cast: Cast | None) -> Json:
    """The outcome as data. ``cast`` is given when everything stays up."""
    rated = {version: dict(zip(("ratings", "down"), story.tally(version), strict=True)) for version in (GOOD, BAD)}
    return {
        "seed": story.seed, "regression": regress, "as_intended": intended(story, regress),
        "alarm": story.alert is not None, "alarm_at_rating": story.alarm_at, "released_at_rating": story.released_at,
        "answers": story.answers, "ratings": len(story.ratings), "by_version": rated, "alert": story.alert,
        "guilty": story.guilty, "worst_turns": [_turn(turn) for turn in story.worst],
        "chart": {key: story.chart[key] for key in ("name", "centre", "threshold", "false_alarm_every")},
        "seconds": round(story.seconds, 1), "urls": _urls(cast) if cast else None,
    }


def as_text(story: Story, regress: bool, width: int, paint: Paint) -> str:
    """The outcome for a terminal of ``width`` columns."""
    parts = ["", paint("Thumbs down per 20 ratings", "bold"), _chart(story, width, paint), ""]
    if story.alert is None:
        parts += [_quiet(story, regress, width, paint)]
    else:
        parts += [_alert(story, story.alert, width, paint), "", _worst(story, width, paint)]
    return "\n".join(parts)


def _chart(story: Story, width: int, paint: Paint) -> str:
    released = (story.released_at, f"prompt {BAD}") if story.released_at else None
    return chart.draw(
        story.ratings, story.accepted, released=released, alarm_at=story.alarm_at, width=width, colour=paint.on
    )


def _quiet(story: Story, regress: bool, width: int, paint: Paint) -> str:
    rated, down = len(story.ratings), sum(story.ratings)
    said = (
        f"{down} of {rated} ratings were thumbs down ({down / max(rated, 1):.1%}; accepted are {story.accepted:.0%}), "
        f"and the detector stayed silent: it may raise one false alarm in {story.chart['false_alarm_every']:,} ratings."
    )
    head = paint("NO ALARM", "bold", "red" if regress else "green")
    why = " There should have been one." if regress else ""
    return f"{head}\n{wrap(said + why, width, '  ', '  ')}"


def _alert(story: Story, alert: Json, width: int, paint: Paint) -> str:
    rated, down = story.tally(BAD)
    guilty = story.guilty
    facts = [
        ("what", f"{alert['chart']}: {alert['bad']} of {alert['ratings']} ratings of {_cohort(alert)} are bad; "
                 f"accepted are {alert['baseline']:.0%}"),
        ("how sure", f"evidence ln R = {alert['statistic']:.1f} passed the limit {alert['threshold']:.1f}: "
                     f"one false alarm in {alert['false_alarm_every']:,} rated answers"),
        ("since", f"about rating {_since(story, alert)}, {_clock(alert['since'])}; "
                  f"{BAD} went out at rating {story.released_at}"),
        ("guilty", f"prompt support, version {guilty['value']}" if guilty else "no dimension stands out"),
        ("damage", f"{down} of {rated} ratings of {BAD} are thumbs down ({down / max(rated, 1):.0%})"),
        ("do", f"put {GOOD} back; the alarm ends by itself once ratings are good again ({alert['runbook']})"),
    ]  # fmt: skip
    head = paint(f"ALARM  {ALERT}  at rating {story.alarm_at}", "bold", "red")
    return "\n".join([head, *(_fact(name, text, width, paint, red=name == "guilty") for name, text in facts)])


def _fact(name: str, text: str, width: int, paint: Paint, *, red: bool) -> str:
    folded = wrap(text, width, f"  {name:<9} ", " " * 12)
    label, said = folded[:12], folded[12:]
    return paint(label, "dim") + (paint(said, "bold", "red") if red else said)


def _cohort(alert: Json) -> str:
    labels = {key: value for key, value in alert["cohort"]["labels"].items() if value}
    version = labels.get(semconv.PROMPT_VERSION)
    return f"prompt version {version}" if version else f"service {labels.get(semconv.SERVICE_NAME, '(all)')}"


def _since(story: Story, alert: Json) -> int:
    """The onset, counted over all ratings even when the cohort sees one version only."""
    assert story.alarm_at is not None
    return story.alarm_at - (int(alert["rating"]) - int(alert["since_rating"]))


def _clock(unix_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix_s))


def _worst(story: Story, width: int, paint: Paint) -> str:
    lines = [paint(f"The worst turns of {BAD}", "bold")]
    for number, turn in enumerate(map(_turn, story.worst), start=1):
        votes = ", ".join(turn["votes"])
        lines += [
            wrap(turn["question"], width, f"  {number} asked   ", " " * 12),
            wrap(shorten(turn["answer"], _EXCERPT, placeholder=" …"), width, "    answer  ", " " * 12),
            paint(wrap(votes, width, "    votes   ", " " * 12), "red"),
            paint(f"    trace   {turn['trace_id']}", "dim"),
        ]
    return "\n".join(lines)


def _turn(turn: Json) -> Json:
    """What is shown of a stored turn."""
    question = str(turn["query"]).rpartition("Question: ")[2]
    return {
        "question": question, "answer": turn["answer"], "prompt_version": turn["prompt_version"],
        "votes": [_vote(vote) for vote in sorted(turn["feedback"], key=lambda vote: _ORDER.get(vote["name"], 9))],
        "trace_id": turn["trace_id"], "turn_id": turn["turn_id"],
    }


_ORDER = {semconv.USER_THUMBS: 0, semconv.USER_CORRECTION: 1}


def _vote(vote: Json) -> str:
    reasons = ", ".join(vote["reasons"] or ())
    if vote["name"] == semconv.USER_THUMBS:
        return ("thumbs up" if vote["value"] else "thumbs down") + (f" ({reasons})" if reasons else "")
    if vote["name"] == semconv.USER_CORRECTION:
        return f"correction “{vote['correction']}”"
    return str(vote["name"]).removeprefix("implicit_")


def _urls(cast: Cast) -> dict[str, Any]:
    return {"up": cast.up.url, "application": cast.app.url, "model": cast.model.url, "live_prompt": str(cast.live)}


def next_steps(paint: Paint) -> str:
    """Three lines on where to go from here."""
    return "\n".join([
        "", paint("Next", "bold"),
        "  look around       backspan demo --keep",
        "  your own app      backspan up    then    BACKSPAN=content python app.py",
        f"  this demo's code  {asset('examples') / 'README.md'}",
    ])  # fmt: skip


def kept(cast: Cast, paint: Paint) -> str:
    """Where everything is, for `--keep`."""
    return "\n".join([
        "", paint("Everything stays up until you press Ctrl-C", "bold"),
        f"  alerts            {cast.up.url}/api/alerts",
        f"  judged turns      {cast.up.url}/api/turns?prompt_version={BAD}&polarity=negative",
        f"  chart             {cast.up.url}/api/charts/{CHART}",
        f"  metrics           {cast.up.url}/metrics",
        f"  ask and rate      {cast.app.url}/",
        f"  ask               curl {cast.app.url}/chat -H 'Content-Type: application/json' \\",
        "                         -d '{\"question\": \"How long are gift cards valid?\", \"session\": \"me\"}'",
        f"  roll back         echo {GOOD} > {cast.live}",
    ])  # fmt: skip
