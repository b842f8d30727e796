"""What one evaluation of the pager's rules costs a real Prometheus: 1,000 cohorts, 4 series each, 6 h of history.

    python benchmarks/spc/evaluation.py [--cohorts 1000] [--hours 6] [--evaluations 12] [--interval 15] [--json]

Prometheus runs on loopback twice. First with no past and short windows, only to learn which series the rules record.
Then each of these series, and every raw one, is given a past of ``--hours`` at the interval of the spec, by remote
write, and the rules of the spec's first chart run on as generated; an application with two instances is scraped. A
cohort is a prompt version; services come on top. Seconds are medians over evaluations, by Prometheus's own clock, of
the rules that the page depends on. CPU seconds of the whole process beside them, by evaluation, tell whether something
else was running. Exit 1 if the limit is missed. Needs `make stack` (or ``--prometheus``). Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.spc import history  # noqa: E402
from benchmarks.spc.live import CACHE, Exporter, Prometheus, prometheus  # noqa: E402

from backspan import semconv  # noqa: E402
from backspan.rules import series  # noqa: E402
from backspan.rules.expressions import pager_rules  # noqa: E402
from backspan.rules.generate import rule_file, write  # noqa: E402
from backspan.rules.spec import Spec, load  # noqa: E402

LIMIT_S = 0.6
SERVICES, INSTANCES = 10, ("a", "b")
RATINGS_A_MINUTE, BAD = 7.0, 0.1
"""Of each cohort: nearly every evaluation finds something new."""
_INTERVAL_S, _WINDOW_S, _LEAST_S = 10, 60, 200
"""The run that only learns names: windows pass and baselines freeze, so that what is recorded then shows too."""
_TENTH = 600
"""Seconds: what is recorded least often, apart from what is recorded at the end of a window."""


def raw_series(cohorts: int) -> list[dict[str, str]]:
    """Labels of the application's counters, as scraped: two instances, two polarities."""
    where = {"__name__": semconv.PROM_FEEDBACK, semconv.LABEL_NAME: semconv.USER_THUMBS, semconv.LABEL_OP: semconv.ADD}
    name, version = (semconv.prometheus_label(key) for key in (semconv.PROMPT_NAME, semconv.PROMPT_VERSION))
    out: list[dict[str, str]] = []
    for i in range(cohorts):
        cohort = {semconv.PROM_SERVICE: f"service-{i % SERVICES}", semconv.PROM_ENVIRONMENT: "production"}
        cohort |= {name: f"prompt-{i // SERVICES // 5}", version: f"v{i // SERVICES % 5}"}
        labels = {**where, **cohort, "job": "app"}
        out += [{**labels, "instance": instance, semconv.LABEL_POLARITY: polarity}
                for instance in INSTANCES for polarity in (semconv.POSITIVE, semconv.NEGATIVE)]
    return out


def exporter(raw: list[dict[str, str]]) -> Exporter:
    """The application: every cohort votes at the same pace."""
    shares = {semconv.POSITIVE: 1 - BAD, semconv.NEGATIVE: BAD}
    pace = np.array([shares[one[semconv.LABEL_POLARITY]] for one in raw]) * RATINGS_A_MINUTE / 60 / len(INSTANCES)
    return Exporter([_written(one) for one in raw], pace, seed=4)


def _written(labels: Mapping[str, str]) -> str:
    """In the text format, labels by name."""
    inside = ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(labels.items()) if key != "__name__")
    return f"{labels['__name__']}{{{inside}}}"


def config(rules: Path, address: str, scrape: int) -> str:
    """Prometheus's configuration: the rules and one target."""
    target = {"job_name": "app", "honor_labels": True, "scrape_interval": f"{scrape}s", "scrape_timeout": f"{scrape}s"}
    target["static_configs"] = [{"targets": [address]}]
    return json.dumps({"rule_files": [str(rules)], "scrape_configs": [target]})


@dataclass(frozen=True)
class Recorded:
    """A series that the rules record: labels, a value, and every how many seconds (0: at every evaluation)."""

    labels: dict[str, str]
    value: float
    every: int = 0


def recorded(program: Path, folder: Path, spec: Spec, app: Exporter) -> list[Recorded]:
    """Every series that the rules record: a short run with no past, in which baselines freeze soon."""
    rules = folder / "learn.yml"
    rules.write_text(write(rule_file(replace(spec, interval=_INTERVAL_S), _hasty(spec.charts[0]))), encoding="utf-8")
    with prometheus(program, folder / "learn") as server:
        server.configure(config(rules, app.address, _INTERVAL_S))
        began = time.time()
        end = ((began + _LEAST_S) // _TENTH + 1) * _TENTH + 3 * _INTERVAL_S
        time.sleep(end - began)
        names = [name for name in server.get("label/__name__/values") if name.startswith("spc:")]
        return [one for name in names for one in _series(server, name, round(end - began), spec.charts[0].window)]


def _hasty(chart: Any) -> Any:
    hasty = replace(chart, window=_WINDOW_S)
    return replace(hasty, baseline=replace(chart.baseline, ratings=1, windows=2)) if chart.baseline.learnt else hasty


def _series(server: Prometheus, name: str, seconds: int, window: int) -> Iterator[Recorded]:
    counts = server.get("query", query=f"avg(count_over_time({name}[{_WINDOW_S}s]))")["result"]
    often = bool(counts) and float(counts[0]["value"][1]) >= _WINDOW_S / _INTERVAL_S / 2
    every = 0 if often else _TENTH if name == series.KEPT else window
    for one in server.get("query", query=f"last_over_time({name}[{seconds}s])")["result"]:
        yield Recorded(one["metric"], _calm(one["metric"], float(one["value"][1])), every)


def _calm(labels: Mapping[str, str], value: float) -> float:
    """``value``, or what it would be long after the baseline froze, with nothing wrong: none of the cohorts alarms."""
    name = labels.get(series.STATE, labels["__name__"])
    if name in (series.SR_P0, series.P0, series.AGAINST, series.AGAINST_PREV) or labels.get(series.STAT) == "p0":
        return 1.2 * BAD
    if name == series.PHI or labels.get(series.STAT) == "phi":
        return 1.0
    return 1.0 if name in (series.SR_ALT, series.SR_PREV, series.SR) else value


class Past:
    """Values over the past: counters and their snapshots grow to what they are now, times are the time itself, and
    everything else keeps its size, with digits that change so that it takes the room that real values take."""

    def __init__(self, found: Sequence[Recorded], growth: Mapping[str, float], end: float, interval: int) -> None:
        names = [one.labels["__name__"] for one in found]
        self._now = np.array([one.value for one in found])
        self._every, self._interval = np.array([one.every for one in found]), interval
        self._growth = np.array([growth.get(identity(one.labels), 0.0) if counts(name) else 0.0
                                 for one, name in zip(found, names, strict=True)])
        self._time = np.array([one.labels.get(series.STATE, name) == series.RATED_AT
                               for one, name in zip(found, names, strict=True)])
        steady = self._growth.astype(bool) | self._time | (self._now == np.round(self._now))
        steady |= np.array([any(part in name for part in _STEADY) for name in names])
        self._wobble = np.where(steady, 0.0, 1e-3)
        self._end, self._random = end, np.random.default_rng(6)

    def __call__(self, times: np.ndarray) -> np.ndarray:
        noise = self._random.standard_normal((len(self._now), len(times)))
        values = self._now[:, None] * (1 + self._wobble[:, None] * noise)
        grown = np.floor(values + (times - self._end)[None, :] * self._growth[:, None] + noise)
        values = np.where(self._growth[:, None] > 0, np.minimum(np.maximum(grown, 0), self._now[:, None]), values)
        values = np.where(self._time[:, None], times[None, :], values)
        off = (self._every[:, None] > 0) & (times[None, :] % np.maximum(self._every, 1)[:, None] >= self._interval)
        return np.where(off, np.nan, values)


_STEADY = ("p0", "phi", "limit", "baseline", "against", "frozen", "promise", "kept")
"""Parts of the names of what stays as it is."""


def counts(name: str) -> bool:
    """Whether a series is the application's counter or a snapshot of it."""
    return name == semconv.PROM_FEEDBACK or name.endswith((":seen", ":prev"))


def identity(labels: Mapping[str, str]) -> str:
    """What a raw series and its snapshots have in common."""
    return _written({**labels, "__name__": ""})


def fill(
    server: Prometheus,
    spec: Spec,
    hours: float,
    app: Exporter,
    raw: Sequence[dict[str, str]],
    rules: Sequence[Recorded],
) -> int:
    """Write the past of every series up to now. Returns samples written."""
    start = float(int(time.time()))
    app.counts += np.round(app.pace * hours * 3600)
    keys = [identity(one) for one in raw]
    counted, pace = dict(zip(keys, app.counts, strict=True)), dict(zip(keys, app.pace, strict=True))
    known = [Recorded(one, count) for one, count in zip(raw, app.counts.tolist(), strict=True)]
    known += [replace(one, value=counted[identity(one.labels)]) if counts(one.labels["__name__"]) else one
              for one in rules]
    values = Past(known, pace, start, spec.interval)
    times = np.arange(start - hours * 3600, start, spec.interval)
    return history.send(server.url, [one.labels for one in known], times, values)


def settle(server: Prometheus) -> None:
    """Wait until the past has been cut into blocks, as it is in a Prometheus that has run for hours."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        found = server.metrics()
        span = found["prometheus_tsdb_head_max_time"] - found["prometheus_tsdb_head_min_time"]
        if span <= 3 * 3600_000:
            return
        time.sleep(2)
    raise RuntimeError("Prometheus has not cut its past into blocks within five minutes")


def watch(server: Prometheus, evaluations: int, interval: int) -> list[list[tuple[str, float]]]:
    """(name, seconds) of each rule, by evaluation; the first two, which are still catching up, are left out."""
    found: list[list[tuple[str, float]]] = []
    last = ""
    while len(found) < evaluations + 2:
        time.sleep(interval / 6)
        group = server.get("rules")["groups"][0]
        if group["lastEvaluation"] != last and group["evaluationTime"]:
            last = group["lastEvaluation"]
            found.append([(rule["name"], rule["evaluationTime"]) for rule in group["rules"]])
            say(f"evaluation {len(found)}: {group['evaluationTime']:.3f} s")
    return found[2:]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    spec = load(args.spec)
    spec = replace(spec, interval=args.interval or spec.interval)
    raw = raw_series(args.cohorts)
    app = exporter(raw)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules = folder / "rules.yml"
        rules.write_text(write(rule_file(spec, spec.charts[0])), encoding="utf-8")
        found = recorded(args.prometheus, folder, spec, app)
        say(f"{len(found)} recorded series")
        with prometheus(args.prometheus, folder / "run") as server:
            samples = fill(server, spec, args.hours, app, raw, found)
            say(f"{samples} samples written")
            settle(server)
            server.configure(config(rules, app.address, 15))
            before, began = server.metrics()["process_cpu_seconds_total"], time.time()
            evaluations = watch(server, args.evaluations, spec.interval)
            after = server.metrics()
            seconds = (after["process_cpu_seconds_total"] - before) / (time.time() - began) * spec.interval
    app.close()
    return {"interval_s": spec.interval, "cohorts": args.cohorts, "hours": args.hours, **summary(spec, evaluations),
            "cpu_s": round(seconds, 3), "series": int(after["prometheus_tsdb_head_series"]), "samples": samples,
            "rss_mb": round(after["process_resident_memory_bytes"] / 1e6)}


def summary(spec: Spec, evaluations: list[list[tuple[str, float]]]) -> dict[str, Any]:
    """Medians: of the whole group, of the pager's rules (what the page depends on, and the alert), and of each rule."""
    names = {name for name, _ in pager_rules(spec, spec.charts[0])} | {series.ALERT}
    pager = [sum(seconds for name, seconds in one if name in names) for one in evaluations]
    group = [sum(seconds for _, seconds in one) for one in evaluations]
    by_rule: dict[str, list[float]] = defaultdict(list)
    for one in evaluations:
        for name, seconds in one:
            by_rule[name].append(seconds)
    return {"pager_s": round(median(pager), 4), "pager_least_s": round(min(pager), 4),
            "pager_most_s": round(max(pager), 4), "group_s": round(median(group), 4),
            "rules_s": {name: round(median(seconds), 4) for name, seconds in by_rule.items()}}


def say(text: str) -> None:
    """Progress, where the figures are not."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=6)
    parser.add_argument("--evaluations", type=int, default=12)
    parser.add_argument("--interval", type=int, default=0, help="seconds; the spec's, if not given")
    parser.add_argument("--prometheus", type=Path, default=CACHE / "prometheus")
    parser.add_argument("--spec", type=Path, default=None, help="the shipped one, if not given")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args)
    if args.json:
        print(json.dumps(found))
    else:
        for rule, seconds in found.pop("rules_s").items():
            print(f"{seconds * 1000:8.1f} ms  {rule}")
        print("  ".join(f"{key} {value}" for key, value in found.items()))
    return int(found["pager_s"] > LIMIT_S)


if __name__ == "__main__":
    raise SystemExit(main())
