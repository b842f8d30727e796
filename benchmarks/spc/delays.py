"""How fast the detector finds a change at 100 ratings an hour when it rings for nothing once in 1,000 hours.

    python benchmarks/spc/delays.py [--runs 3000] [--json]

Ten ratings every six minutes, 10 % bad. The limit that gives 1,000 hours is found on simulated streams with numpy; the
delays to 12, 15 and 20 % are then those of `backspan.spc.shiryaev.MixtureSR` itself, after 60 quiet hours, without
the runs that rang in them. Everything follows from the seed. Exit 1 if a limit is missed. Takes about a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from math import exp
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.spc.mixture import N_REF, Mixture  # noqa: E402
from benchmarks.spc.simulate import P0, PER_HOUR, Ratings, run_length  # noqa: E402

from backspan.spc.shiryaev import CAP_ABOVE_LIMIT, MixtureSR  # noqa: E402

LIMITS_H = {0.12: 21.0, 0.15: 5.3, 0.20: 2.1}
TARGET_H, BATCH, QUIET_H, MOST_H = 1000, 10, 60, 500


def in_control(runs: int, hours: int, seed: int) -> np.ndarray:
    """Highest evidence so far, by run and evaluation, while nothing is wrong."""
    random = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    for _ in range(0, runs, 500):
        bad = np.zeros((500, hours * 60), np.int8)
        bad[:, :: 60 // PER_HOUR] = random.binomial(BATCH, P0, (500, hours * PER_HOUR))
        n = np.zeros_like(bad)
        n[:, :: 60 // PER_HOUR] = BATCH
        parts.append(Mixture([0.0]).highest(Ratings(n, bad)).astype(np.float32))
    return np.concatenate(parts)


def false_alarms(highest: np.ndarray, limit: float) -> dict[str, float]:
    """Hours between false alarms at ``limit``."""
    alarms = highest >= limit
    first = np.where(alarms.any(1), (alarms.argmax(1) + 1) / PER_HOUR, np.inf)
    return run_length(first, alarms.shape[1] / PER_HOUR)


def calibrated(highest: np.ndarray) -> float:
    """The smallest limit with `TARGET_H` hours between false alarms."""
    low, high = 4.0, 12.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if false_alarms(highest, middle)["hours"] < TARGET_H else (low, middle)
    return high


def delay(limit: float, after: float, runs: int, seed: int) -> float | None:
    """Mean hours from the change to the alarm; None if every run rang before."""
    found = [_one(limit, after, Random(f"{seed} {after} {run}")) for run in range(runs)]
    counted = [hours for hours in found if hours is not None]
    return sum(counted) / len(counted) if counted else None


def _one(limit: float, after: float, random: Random) -> float | None:
    detector = MixtureSR(P0, n_ref=N_REF, cap=limit + CAP_ABOVE_LIMIT)
    for _ in range(QUIET_H * PER_HOUR):
        if detector.step(BATCH, _bad(random, P0)) >= limit:
            return None
    for step in range(1, MOST_H * PER_HOUR):
        if detector.step(BATCH, _bad(random, after)) >= limit:
            return step / PER_HOUR
    return float(MOST_H)


def _bad(random: Random, p: float) -> int:
    return sum(random.random() < p for _ in range(BATCH))


def measure(runs: int, shifts: Sequence[float] = tuple(LIMITS_H)) -> dict[str, Any]:
    """Promise in events, hours between false alarms, and the mean delay in hours by change."""
    highest = in_control(runs, 2000, seed=8)
    limit = calibrated(highest)
    delays = {f"{after:.2f}": delay(limit, after, runs, seed=9) for after in shifts}
    return {"promise": round(N_REF * exp(limit)), "hours": false_alarms(highest, limit)["hours"], "delay_h": delays}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.runs)
    missed = [after for after, most in LIMITS_H.items() if not found["delay_h"][f"{after:.2f}"] <= most]
    if args.json:
        print(json.dumps(found))
    else:
        print(f"promise {found['promise']:,} events: a false alarm every {found['hours']:,.0f} h")
        for after, most in LIMITS_H.items():
            print(f"10 -> {after:.0%}: {found['delay_h'][f'{after:.2f}']:.2f} h (at most {most})")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
