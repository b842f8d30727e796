"""A past that a Prometheus can be filled with: a service whose users vote, a bad release, and a restart on the way."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import cos, pi
from pathlib import Path
from random import Random

from tests.support.prometheus import NEW, Prometheus, binary

from backspan import semconv
from backspan.rules.counting import NEW_SERIES
from backspan.rules.oracle_counting import Labels, labels_of
from backspan.rules.spec import Spec, parse
from backspan.spc.simulate import poisson

START = 1_767_225_600
"""2026-01-01T00:00Z."""
STEP = 60
HOUR, DAY = 3600, 86400
VOTE = {semconv.LABEL_NAME: "user_thumbs", semconv.LABEL_OP: "add", semconv.LABEL_SOURCE: "end_user"}
CHAT = {"service_name": "chat", "deployment_environment_name": "production", "gen_ai_prompt_name": "support"}


@dataclass
class Past:
    """Raw counters by family and labels, one sample per `STEP`, and the truth behind them."""

    days: float
    start: int = START
    series: dict[tuple[str, Labels], list[tuple[int, float]]] = field(default_factory=dict)
    truth: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    """(version, hour) -> [n, bad]."""

    @property
    def end(self) -> int:
        return self.start + round(self.days * DAY)

    def text(self, since: float, until: float) -> str:
        """The samples from ``since`` to ``until``, without the latter, as OpenMetrics."""
        lines: list[str] = []
        for family in dict.fromkeys(name for name, _ in self.series):
            lines.append(f"# TYPE {family} counter")
            for (name, labels), points in self.series.items():
                if name == family:
                    said = ",".join(f'{key}="{value}"' for key, value in labels)
                    lines += [f"{family}_total{{{said}}} {value:g} {at}" for at, value in points if since <= at < until]
        return "\n".join([*lines, "# EOF", ""])


def past(
    days: float = 14, *, per_hour: float = 60, p: float = 0.08, seed: int = 5, release: float | None = 12,
    worse: float = 0.2, bad_hours: Mapping[int, float] | None = None, restart: float | None = 3.3,
    swing: float = 0.0, start: int = START,
) -> Past:
    """``release``: the day on which version v2 replaces v1, with a share ``worse`` of bad votes. ``bad_hours``: hours
    since the start with another share. ``restart``: the day on which the counters begin at 0 again. ``swing``: how
    much the share follows the hour of the day."""
    random, made = Random(seed), Past(days, start)
    arrivals, asked = poisson(per_hour * STEP / HOUR), poisson(per_hour * STEP / HOUR * 4)
    counts: dict[tuple[str, Labels], float] = {}
    for at in range(start, made.end + 1, STEP):
        since = at - start
        version = "v2" if release is not None and since >= release * DAY else "v1"
        if restart is not None and since == round(restart * DAY / STEP) * STEP:
            counts = dict.fromkeys(counts, 0.0)
        fresh = _exist(counts, version)
        share = _share(since - STEP, p, version, worse, bad_hours or {}, swing)
        if not fresh and since:
            _vote(made, counts, random, version, since - STEP, arrivals(random), share)
            counts["backspan_answers", labels_of({**CHAT, "gen_ai_prompt_version": version})] += asked(random)
        for key, value in counts.items():
            made.series.setdefault(key, []).append((at, value))
    return made


def _exist(counts: dict[tuple[str, Labels], float], version: str) -> bool:
    """Every series of a version is there at 0 before its first vote; True if they are made just now."""
    keys = [_vote_key(version, polarity) for polarity in ("positive", "negative")]
    keys.append(("backspan_answers", labels_of({**CHAT, "gen_ai_prompt_version": version})))
    fresh = keys[0] not in counts
    for key in keys:
        counts.setdefault(key, 0.0)
    return fresh


def _vote_key(version: str, polarity: str) -> tuple[str, Labels]:
    said = {**VOTE, **CHAT, "gen_ai_prompt_version": version, semconv.LABEL_POLARITY: polarity, "instance": "app"}
    return "backspan_feedback", labels_of(said)


def _share(
    since: int, p: float, version: str, worse: float, bad_hours: Mapping[int, float], swing: float
) -> float:
    hour = since // HOUR
    share = bad_hours.get(hour, worse if version == "v2" else p)
    return share * (1.0 + swing * cos(2 * pi * (hour % 24) / 24))


def _vote(
    made: Past, counts: dict[tuple[str, Labels], float], random: Random, version: str, since: int, n: int, share: float
) -> None:
    bad = sum(random.random() < share for _ in range(n))
    cell = made.truth.setdefault((version, since // HOUR), [0, 0])
    cell[0] += n
    cell[1] += bad
    counts[_vote_key(version, "positive")] += n - bad
    counts[_vote_key(version, "negative")] += bad


def backfill(folder: Path, made: Past, version: str = NEW, rules: Mapping[str, object] | None = None) -> Prometheus:
    """A running Prometheus that has lived through it. Day by day, because promtool reads a file once per block."""
    tool, data = binary(version).with_name("promtool"), folder / "server" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for day in range(made.start, made.end + 1, DAY):
        path = folder / "day.om"
        path.write_text(made.text(day, day + DAY), encoding="utf-8")
        command = [tool, "tsdb", "create-blocks-from", "openmetrics", path, data]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    options = ["--storage.tsdb.retention.time=100y"]
    return Prometheus(version, folder / "server", rules or {}, options=options).start()


def spec(baseline: object = "learnt", **more: object) -> Spec:
    """One chart of thumbs down, as the shipped one."""
    assert NEW_SERIES > 2 * STEP
    keys = [semconv.SERVICE_NAME, semconv.ENVIRONMENT]
    chart = {
        "name": "thumbs_down", "indicator": "thumbs_down", "false_alarm_every": 20_000, "baseline": baseline,
        "cohorts": {"service": keys, "prompt": [*keys, semconv.PROMPT_NAME, semconv.PROMPT_VERSION]}, **more,
    }
    return parse({"version": 1, "charts": [chart]})
