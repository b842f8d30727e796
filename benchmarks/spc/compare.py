"""False alarms and delays of the detector that pages against rules as people write them, on the same streams.

    python benchmarks/spc/compare.py                 simulate (15 minutes on two cores), write compare.json and the page
    python benchmarks/spc/compare.py --runs 200      the same, rougher, printed only
    python benchmarks/spc/compare.py --check         simulate nothing; exit 1 if the page is not what compare.json says

Everything follows from the seed; the page names no machine, as nothing in it depends on one. Simulating needs the
dependency group `bench`; --check and --page need nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from math import exp, log
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.spc import page  # noqa: E402

RESULT = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "explanation" / "alert-comparison.md"
SEED, RUNS, ROBUST_RUNS = 20, 2000, 400
HOURS = 1300
"""Watched for false alarms, by run; longer intervals follow from how many runs see one."""
TARGET_H = 1000
SHIFTS = (0.12, 0.15, 0.20)
VOLUMES = (50, 100, 200)
FEWER = 1.1
"""A matched promise aims at this many times the rival's hours between false alarms."""
LEAST_PROMISE = 100
"""Rated events: what a spec accepts at least, with its n_ref of 10."""

Rules = dict[str, Any]


def rules_for(volume: int, limits: Mapping[str, float]) -> Rules:
    """The rules by name. ``limits`` are those that were found to give 1,000 hours at this volume, held constant."""
    from benchmarks.spc.methods import Caliper, Hourly, Robust, deviation, share, trailing

    return {
        "static: share > 15 %": Hourly(share, 0.15),
        "static, set to 1,000 h": Hourly(share, limits["static"]),
        "p-chart, 3 sigma": Hourly(deviation, 3.0),
        "p-chart, set to 1,000 h": Hourly(deviation, limits["p-chart"]),
        "z-score of 24 h > 3": Hourly(trailing(24), 3.0),
        "z-score of 24 h, set to 1,000 h": Hourly(trailing(24), limits["z 24"]),
        "z-score of 168 h > 3": Hourly(trailing(168), 3.0),
        "z-score of 168 h, set to 1,000 h": Hourly(trailing(168), limits["z 168"]),
        "drift-caliper EWMA, target 1,000 h": Caliper(TARGET_H),
        "robust.yml, as shipped": Robust(),
    }


def calibrate(volume: int, runs: int) -> dict[str, float]:
    """Limits that give 1,000 hours between false alarms at constant volume, found on streams of their own."""
    import numpy as np
    from benchmarks.spc import simulate
    from benchmarks.spc.methods import above, deviation, share, trailing

    statistics = {"static": share, "p-chart": deviation, "z 24": trailing(24), "z 168": trailing(168)}
    parts: dict[str, list[Any]] = {name: [] for name in statistics}
    for part in simulate.chunks(simulate.Volume(volume), HOURS + simulate.WARM_H, runs, [SEED, 1, volume]):
        hourly = part.every(60)
        for name, statistic in statistics.items():
            parts[name].append(statistic(*hourly))
    found = {name: np.concatenate(part) for name, part in parts.items()}

    def hours(name: str, limit: float) -> float:
        alarms = above(found[name], limit)
        return simulate.run_length(simulate.first_alarm(alarms, 1), HOURS)["hours"]

    limits = {"static": (0.1, 0.6), "p-chart": (2.0, 8.0), "z 24": (1.0, 12.0), "z 168": (1.0, 12.0)}
    return {name: _bisect(lambda limit, name=name: hours(name, limit), *limits[name]) for name in statistics}


def _bisect(hours: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if hours(middle) < TARGET_H else (low, middle)
    return high


class Evidence:
    """Highest evidence over time of many in-control runs: hours to a false alarm at any limit."""

    def __init__(self, highest: list[Any]) -> None:
        import numpy as np

        self._highest = np.concatenate(highest)

    def hours(self, limit: float) -> dict[str, float]:
        """As `simulate.run_length`."""
        import numpy as np
        from benchmarks.spc import simulate

        alarms = self._highest >= limit
        first = np.where(alarms.any(1), (alarms.argmax(1) + 1) / simulate.PER_HOUR, np.inf)
        return simulate.run_length(first, alarms.shape[1] / simulate.PER_HOUR)

    def limit(self, hours: float) -> float:
        """The smallest limit with so many hours between false alarms, not below that of the smallest promise."""
        low, high = log(LEAST_PROMISE / 10), 14.0
        if self.hours(low)["hours"] >= hours:
            return low
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if self.hours(middle)["hours"] < hours else (low, middle)
        return high


def in_control(volume: Any, rules: Rules, runs: int, purpose: int) -> tuple[dict[str, dict[str, float]], Evidence]:
    """Hours to a false alarm of each rule, and our evidence, on the same streams."""
    import numpy as np
    from benchmarks.spc import simulate
    from benchmarks.spc.mixture import Mixture

    first: dict[str, list[Any]] = {name: [] for name in rules}
    highest, done = [], 0
    seed = [SEED, purpose, volume.mean, int(volume.day)]
    for part in simulate.chunks(volume, HOURS + simulate.WARM_H, runs, seed):
        highest.append(Mixture([0.0]).highest(part).astype(np.float32))
        for name in _asked(rules, done):
            first[name].append(simulate.first_alarm(rules[name].alarms(part), rules[name].per_hour))
        done += len(part.n)
    return {name: simulate.run_length(np.concatenate(hours), HOURS) for name, hours in first.items()}, Evidence(highest)


def _asked(rules: Rules, done: int) -> list[str]:
    """All rules, without the slow one after its share of runs."""
    return [name for name in rules if done < ROBUST_RUNS or not name.startswith("robust")]


def delays(volume: Any, rules: Rules, limits: Mapping[str, float], runs: int, after: float) -> dict[str, Any]:
    """Delay of each rule, and of our detector at each of ``limits``, to a change to ``after``."""
    import numpy as np
    from benchmarks.spc import simulate
    from benchmarks.spc.mixture import Mixture

    ours, found, done = Mixture(list(limits.values())), {name: [] for name in (*rules, *limits)}, 0
    seed = [SEED, 3, volume.mean, int(volume.day), round(after * 100)]
    for part in simulate.chunks(volume, simulate.WARM_H + simulate.AFTER_H, runs, seed, after):
        for name in _asked(rules, done):
            found[name].append(simulate.first_alarm(rules[name].alarms(part), rules[name].per_hour))
        for name, alarms in zip(limits, ours.alarms(part), strict=True):
            found[name].append(simulate.first_alarm(alarms, ours.per_hour))
        done += len(part.n)
    return {name: simulate.delay(np.concatenate(hours)) for name, hours in found.items()}


def compare(volume: int, day: bool, runs: int) -> dict[str, Any]:
    """Everything at one volume and profile."""
    from benchmarks.spc import simulate

    rules = rules_for(volume, calibrate(volume, runs))
    one, constant = simulate.Volume(volume, day), simulate.Volume(volume)
    rules["drift-caliper EWMA, target 1,000 h"].check(simulate.ratings(one, 360, 1, [SEED, 4, volume]))
    alarms, evidence = in_control(one, rules, runs, 2)
    _, apart = in_control(one, {}, runs, 1)
    set_on = apart if not day else in_control(constant, {}, runs, 1)[1]
    limits = {"ours, promised": log(TARGET_H * volume / 10), "ours, set": set_on.limit(TARGET_H)}
    limits |= {f"for {name}": apart.limit(FEWER * found["hours"]) for name, found in alarms.items()}
    found = {f"{after:.2f}": delays(one, rules, limits, runs, after) for after in SHIFTS}
    rows = {name: {"false_alarms": alarms[name]} for name in rules}
    rows |= {name: {"false_alarms": evidence.hours(limit), "promise": round(10 * exp(limit))}
             for name, limit in limits.items()}
    for name, row in rows.items():
        row["delays"] = {after: by_rule[name] for after, by_rule in found.items()}
    return {"volume": volume, "day": day, "name": one.name, "rules": rows}


def simulate_all(runs: int, jobs: int) -> dict[str, Any]:
    """The result that the page is made of."""
    cases = [(volume, day) for day in (False, True) for volume in VOLUMES]
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(compare, *zip(*cases, strict=True), [runs] * len(cases)))
    return {"seed": SEED, "runs": runs, "robust_runs": min(runs, ROBUST_RUNS), "hours": HOURS, "cases": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write the page from compare.json")
    parser.add_argument("--check", action="store_true", help="only compare the page with compare.json")
    args = parser.parse_args()
    if args.check or args.page:
        text = page.render(json.loads(RESULT.read_text(encoding="utf-8")))
        if args.page:
            PAGE.write_text(text, encoding="utf-8")
        elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            print(f"{PAGE.name} is not what {RESULT.name} says; run `python benchmarks/spc/compare.py --page`")
            return 1
        return 0
    found = simulate_all(args.runs, args.jobs)
    text = page.render(found)
    if args.runs != RUNS:
        print(text)
        return 0
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
