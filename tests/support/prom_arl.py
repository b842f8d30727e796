"""False alarms of the generated rules, counted by the real PromQL engine: replicate cohorts, begun anew after alarms.

Every service is a system of its own with one partition, so each has the limit of a one-cohort system, and the expected
number of alarms in all of them together is at most all events / promise. Two things are added to the product's rules,
neither of which computes anything: the state before an evaluation is left out where the evaluation before alarmed (the
detector begins anew, as in the definition of a run length), and one series marks the alarms. Recording rules that the
alarm does not read, such as those of the panel, are left out to save time.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, pi, sin
from pathlib import Path
from random import Random
from typing import Any

from backspan import semconv
from backspan.rules import series
from backspan.rules.expressions import alarm, recording_rules
from backspan.rules.generate import write
from backspan.rules.promtool import write_values
from backspan.rules.spec import Chart, Spec, parse
from backspan.spc.shiryaev import MixtureSR, threshold

P0, N_REF, INTERVAL = 0.1, 10, 15
MARK = "test:alarm"

Stream = list[tuple[int, int]]
"""(rated, bad) of each evaluation of one cohort."""


@dataclass(frozen=True)
class Volume:
    """``sizes`` rated events of each evaluation, for each of ``cohorts``; ``shift`` moves each in the profile."""

    name: str
    sizes: tuple[int, ...]
    cohorts: int
    shift: int = 0

    @property
    def events(self) -> int:
        """All rated events."""
        return sum(self.sizes) * self.cohorts

    def streams(self, seed: int) -> list[Stream]:
        """In-control streams, the same for the same ``seed``."""
        out: list[Stream] = []
        for cohort in range(self.cohorts):
            random, at = Random(f"{seed} {self.name} {cohort}"), cohort * self.shift % len(self.sizes)
            sizes = self.sizes[at:] + self.sizes[:at]
            out.append([(n, _binomial(random, n)) for n in sizes])
        return out


def constant(n: int, events: int, cohorts: int) -> Volume:
    """``events`` in batches of ``n``."""
    return Volume(f"constant {n}", (n,) * (events // (n * cohorts)), cohorts)


def day(events: int, cohorts: int, mean: int = 20, steps: int = 40) -> Volume:
    """``events`` in batches that follow a day of ``steps`` evaluations, its busiest 19 times its quietest."""
    profile = [round(mean * (1 - 0.9 * sin(2 * pi * i / steps))) for i in range(steps)]
    days = round(events / (sum(profile) * cohorts))
    return Volume("day profile 19:1", tuple(profile) * days, cohorts, shift=7)


@lru_cache
def _cumulative(n: int) -> tuple[float, ...]:
    mass, total, out = (1 - P0) ** n, 0.0, []
    for k in range(n + 1):
        total += mass
        out.append(total)
        mass *= (n - k) / (k + 1) * P0 / (1 - P0)
    return tuple(out)


def _binomial(random: Random, n: int) -> int:
    u = random.random()
    return next((k for k, below in enumerate(_cumulative(n)) if u < below), n)


def poisson_bound(mean: float, confidence: float = 0.999) -> int:
    """Smallest count that a Poisson variable exceeds with a chance of at most 1 - ``confidence``."""
    mass = total = exp(-mean)
    count = 0
    while total < confidence:
        count += 1
        mass *= mean / count
        total += mass
    return count


def spec(promise: int) -> Spec:
    """One chart, one partition, the accepted rate given, short times so that less is read at each evaluation."""
    chart = {
        "name": "arl",
        "indicator": "thumbs_down",
        "cohorts": {"service": [semconv.SERVICE_NAME]},
        "false_alarm_every": promise,
        "n_ref": N_REF,
        "window": "1m",
        "baseline": {"kind": "given", "p0": P0},
    }
    return parse({"version": 1, "interval": f"{INTERVAL}s", "lookback": "10m", "charts": [chart]})


def rules(one: Spec) -> dict[str, Any]:
    """The rule document: what the alarm reads, the restart, and the mark."""
    chart = one.charts[0]
    named = needed(recording_rules(one, chart), alarm(chart))
    assert series.SR_PREV in dict(named)
    made = [(name, _restarting(chart, expr) if name == series.SR_PREV else expr) for name, expr in named]
    made.append((MARK, f"({alarm(chart)}) * 0 + 1"))
    group = {"name": "arl", "rules": [{"record": name, "expr": expr} for name, expr in made]}
    return {"groups": [group]}


def needed(named: Sequence[tuple[str, str]], expression: str) -> list[tuple[str, str]]:
    """Those of the rules that ``expression`` reads, itself or through others, in their order."""
    wanted: set[str] = set()
    texts = [expression]
    while texts:
        found = set(re.findall(r"spc:[a-z0-9_:]+", texts.pop())) - wanted
        wanted |= found
        texts += [expr for name, expr in named if name in found]
    return [(name, expr) for name, expr in named if name in wanted]


def _restarting(chart: Chart, expr: str) -> str:
    selected = f'{series.SR}{{{series.CHART}="{chart.name}"}}'
    before = f"last_over_time({selected}[10m]) >= {chart.limit!r}"
    return f"(\n{expr}\n) unless ignoring ({series.ALT}) ({before})"


def case(streams: Sequence[Stream]) -> dict[str, Any]:
    """The test document. It expects -1 of everything, so promtool says what it got."""
    end = len(streams[0])
    inputs = [entry for cohort, stream in enumerate(streams) for entry in _inputs(cohort, stream)]
    span = f"[{(end + 1) * INTERVAL}s]"
    wanted = [f"sum(count_over_time({MARK}{span})) or vector(0)", f"sum(sum_over_time({series.N}{span}))"]
    expected = [
        {"expr": expr, "eval_time": f"{end * INTERVAL}s", "exp_samples": [{"labels": "{}", "value": -1}]}
        for expr in wanted
    ]
    test = {"interval": f"{INTERVAL}s", "input_series": inputs, "promql_expr_test": expected}
    return {"rule_files": ["rules.yml"], "evaluation_interval": f"{INTERVAL}s", "tests": [test]}


def _inputs(cohort: int, stream: Stream) -> list[dict[str, str]]:
    labels = {semconv.LABEL_NAME: semconv.USER_THUMBS, semconv.LABEL_OP: semconv.ADD}
    labels[semconv.PROM_SERVICE] = f"s{cohort}"
    counts = {semconv.NEGATIVE: [bad for _, bad in stream], semconv.POSITIVE: [n - bad for n, bad in stream]}
    out: list[dict[str, str]] = []
    for polarity, steps in counts.items():
        total, samples = 0, [(0.0, 0.0)]
        for i, step in enumerate(steps):
            total += step
            samples.append(((i + 1.0) * INTERVAL, float(total)))
        inside = ",".join(f'{k}="{v}"' for k, v in {**labels, semconv.LABEL_POLARITY: polarity}.items())
        out.append({"series": f"{semconv.PROM_FEEDBACK}{{{inside}}}", "values": write_values(samples, INTERVAL)})
    return out


def in_promql(tool: str, document: dict[str, Any], streams: Sequence[Stream], timeout: float = 600) -> tuple[int, int]:
    """(alarms, events) as counted by ``tool``, a promtool.

    Raises RuntimeError if it does not say both.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.yml").write_text(write(document), encoding="utf-8")
        (folder / "test.yml").write_text(write(case(streams)), encoding="utf-8")
        command = [tool, "test", "rules", str(folder / "test.yml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    said = done.stdout + done.stderr
    got = re.findall(r"got:\s*\{\}\s+([0-9.eE+]+)", said.replace("\n", " "))
    if len(got) != 2:
        raise RuntimeError(f"promtool did not say two numbers:\n{said[:3000]}")
    alarms, events = (round(float(value)) for value in got)
    return alarms, events


def in_python(promise: int, streams: Sequence[Stream]) -> int:
    """Alarms of the detector in Python, on the same streams with the same restarts."""
    limit, alarms = threshold(promise, N_REF), 0
    for stream in streams:
        detector = MixtureSR(P0, n_ref=N_REF, cap=limit + 3)
        for n, bad in stream:
            if detector.step(n, bad) >= limit:
                alarms += 1
                detector = MixtureSR(P0, n_ref=N_REF, cap=limit + 3)
    return alarms
