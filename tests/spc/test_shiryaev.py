"""The Shiryaev-Roberts detector: published run lengths, the promise by simulation, and its arithmetic."""

from __future__ import annotations

import json
from itertools import cycle
from math import exp, inf, lgamma, log, pi, sqrt
from random import Random
from typing import Any

import pytest
from tests.spc.poisson import poisson_quantile

from backspan.spc.shiryaev import MixtureSR, Model, advance, log_mean_exp, threshold

EVENTS = 400_000
PROMISE = 1_000
P0 = 0.10


# --- the recursion, against published Gaussian run lengths ----------------------------------------------------------
def simpson(count: int, low: float, high: float) -> list[tuple[float, float]]:
    """Nodes and weights of Simpson's rule."""
    step = (high - low) / (count - 1)
    weights = [1.0 if i in (0, count - 1) else 4.0 if i % 2 else 2.0 for i in range(count)]
    return [(low + i * step, w * step / 3) for i, w in enumerate(weights)]


def gaussian_run_length(theta: float, limit: float, nodes: int = 121) -> float:
    """Zero-start ARL0 of SR, N(0, 1) against N(theta, 1): Nyström solution of L(s) = 1 + integral L(y) f(y | s) dy."""
    grid = simpson(nodes, -7.0 * theta - theta**2, log(limit))

    def density(y: float, s: float) -> float:
        mean = advance(s, 1.0, -(theta**2) / 2)
        return exp(-(((y - mean) / theta) ** 2) / 2) / (theta * sqrt(2 * pi))

    rows = [[(i == j) - w * density(y, s) for j, (y, w) in enumerate(grid)] + [1.0] for i, (s, _) in enumerate(grid)]
    lengths = solve(rows)
    return 1.0 + sum(w * density(y, -inf) * value for (y, w), value in zip(grid, lengths, strict=True))


def solve(rows: list[list[float]]) -> list[float]:
    """Gauss-Jordan elimination; the system is diagonally dominant enough to need no pivoting."""
    for i, row in enumerate(rows):
        pivot = row[i]
        rows[i] = row = [value / pivot for value in row]
        for j, other in enumerate(rows):
            if j != i and other[i]:
                factor = other[i]
                rows[j] = [a - factor * b for a, b in zip(other, row, strict=True)]
    return [row[-1] for row in rows]


@pytest.mark.parametrize(
    ("theta", "limit", "windows"), [(1.0, 280.19, 500.80), (1.0, 560.37, 1000.79), (0.5, 373.81, 500.45)]
)
def test_gaussian_run_lengths_of_moustakides_2009(theta: float, limit: float, windows: float) -> None:
    """Moustakides, Polunchenko, Tartakovsky (2009); the figures are those of R's spc package."""
    assert gaussian_run_length(theta, limit) == pytest.approx(windows, rel=1e-3)


# --- the promise ----------------------------------------------------------------------------------------------------
BOUND = poisson_quantile(EVENTS / PROMISE, 0.999)


def false_alarms(sizes: list[int], limit: float, *, rate: float = P0, seed: int = 7) -> int:
    """Alarms over `EVENTS` events in control, taken in batches of ``sizes``; the detector starts anew after each."""
    random, alarms, seen = Random(seed), 0, 0
    detector = MixtureSR(P0, cap=limit + 3)
    for n in cycle(sizes):
        if seen >= EVENTS:
            return alarms
        seen += n
        bad = sum(random.random() < rate for _ in range(n))
        if detector.step(n, bad) >= limit:
            alarms += 1
            detector = MixtureSR(P0, cap=limit + 3)
    raise AssertionError("unreachable")


DAY = [max(1, round(50 + 45 * (1 if 8 <= hour < 20 else -1))) for hour in range(24)]
VOLUMES = [[1], [5], [20], [100], [500], [3, 0, 40, 1, 200], DAY]


@pytest.mark.parametrize("sizes", VOLUMES, ids=lambda sizes: "-".join(map(str, sizes[:5])))
def test_the_promise_holds_at_every_volume(sizes: list[int]) -> None:
    assert false_alarms(sizes, threshold(PROMISE, 10)) <= BOUND


@pytest.mark.parametrize("n", [5, 20])
def test_a_threshold_lowered_by_ln_3_breaks_the_promise(n: int) -> None:
    """The twin: the test above can tell a detector that alarms too often."""
    assert false_alarms([n], threshold(PROMISE, 10) - log(3)) > BOUND


def test_a_rate_below_the_accepted_one_alarms_less() -> None:
    limit = threshold(PROMISE, 10)
    assert false_alarms([20], limit, rate=0.09) < false_alarms([20], limit) / 2


def test_the_promise_holds_for_overlapping_partitions_and_many_cohorts_together() -> None:
    """20 cohorts and their total share one promise: the limit grows by the number of partitions, not of cohorts."""
    random, limit, alarms, seen = Random(11), threshold(PROMISE, 10, partitions=2), 0, 0
    detectors = {k: MixtureSR(P0, cap=limit + 3) for k in range(-1, 20)}
    while seen < EVENTS // 2:
        bad = {k: sum(random.random() < P0 for _ in range(5)) for k in range(20)}
        over = [detectors[k].step(5, bad[k]) >= limit for k in bad]
        over.append(detectors[-1].step(100, sum(bad.values())) >= limit)
        seen += 100
        if any(over):
            alarms += 1
            detectors = {k: MixtureSR(P0, cap=limit + 3) for k in range(-1, 20)}
    assert alarms <= poisson_quantile(seen / PROMISE, 0.999)


def test_a_doubled_rate_is_found_soon() -> None:
    """Shipped promise and two partitions; mean over 200 runs, far below the 2,500 events that a person would wait."""
    random, limit = Random(3), threshold(100_000, 10, partitions=2)
    needed: list[int] = []
    for _ in range(200):
        detector, seen = MixtureSR(P0, cap=limit + 3), 0
        while detector.value < limit:
            seen += 10
            detector.step(10, sum(random.random() < 2 * P0 for _ in range(10)))
        needed.append(seen)
    assert sum(needed) / len(needed) < 300


# --- the arithmetic -------------------------------------------------------------------------------------------------
def test_one_step_by_hand() -> None:
    detector = MixtureSR(0.1, alternatives=(2.0,), n_ref=10)
    assert detector.step(10, 3) == pytest.approx(log(1.0 * (0.2 / 0.1) ** 3 * (0.8 / 0.9) ** 7))
    r = exp(detector.value)
    assert detector.step(5, 0) == pytest.approx(log((r + 0.5) * (0.8 / 0.9) ** 5))


def test_the_mixture_is_the_mean_of_its_alternatives() -> None:
    alone = [MixtureSR(0.1, alternatives=(r,)).step(40, 9) for r in (1.2, 1.5, 2.0, 3.0)]
    assert MixtureSR(0.1).step(40, 9) == pytest.approx(log(sum(map(exp, alone)) / 4))


def test_nothing_rated_changes_nothing() -> None:
    detector = MixtureSR(0.1)
    assert detector.step(0, 0) == -inf and detector.state == ()
    before = detector.step(7, 2)
    assert detector.step(0, 0) == before


def test_the_cap_bounds_the_statistic_and_so_the_recovery() -> None:
    limit = threshold(100_000, 10)
    capped, free = MixtureSR(0.1, cap=limit + 3), MixtureSR(0.1)
    for _ in range(50):
        capped.step(100, 40)
        free.step(100, 40)
    assert capped.value == pytest.approx(limit + 3)
    assert 690 < free.value <= 700

    def batches_to_clear(detector: MixtureSR) -> int:
        count = 0
        while detector.step(100, 10) >= limit:
            count += 1
        return count

    assert batches_to_clear(capped) < batches_to_clear(free) / 10


def test_huge_quiet_volume_stays_finite() -> None:
    detector = MixtureSR(0.1)
    assert detector.step(10_000_000, 0) == pytest.approx(-700)


def test_an_accepted_rate_near_one_caps_its_alternatives() -> None:
    assert MixtureSR(0.9, alternatives=(1.2, 3.0)).step(10, 10) == pytest.approx(10 * log(0.95 / 0.9))


def test_state_survives_json() -> None:
    one, two = MixtureSR(0.1, n_ref=20), MixtureSR(0.1, n_ref=20)
    one.step(30, 5)
    two = MixtureSR.from_state(json.loads(json.dumps(one.state)), 0.1, n_ref=20)
    assert (two.value, two.step(10, 4)) == (one.value, one.step(10, 4))
    assert MixtureSR.from_state((), 0.1).value == -inf


def test_threshold() -> None:
    assert threshold(100_000, 100) == pytest.approx(6.907755, abs=1e-6)
    assert threshold(100_000, 10, partitions=2) == pytest.approx(log(20_000))


def test_log_mean_exp_does_not_overflow() -> None:
    assert log_mean_exp([1000.0, 1000.0]) == pytest.approx(1000.0)
    assert log_mean_exp([]) == -inf


@pytest.mark.parametrize(
    "call",
    [
        lambda: MixtureSR(0.0),
        lambda: MixtureSR(0.96),
        lambda: MixtureSR(0.1, alternatives=()),
        lambda: MixtureSR(0.1, alternatives=(1.0,)),
        lambda: MixtureSR(0.1, n_ref=0),
        lambda: MixtureSR.from_state((1.0,), 0.1),
        lambda: MixtureSR(0.1).step(3, 4),
        lambda: MixtureSR(0.1).step(-1, 0),
        lambda: threshold(10, 10),
        lambda: threshold(inf, 10),
        lambda: threshold(1000, 10, 0),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]


# --- other families, falls, dispersion ------------------------------------------------------------------------------
POISSON, FALLS, FEWER = Model("poisson"), Model(falls=True), Model("poisson", falls=True)


@pytest.mark.parametrize(
    ("model", "p0", "ratio", "p1"),
    [(Model(), 0.5, 3.0, 0.95), (FALLS, 0.5, 2.0, 0.25), (POISSON, 0.5, 3.0, 1.5), (FEWER, 4.0, 2.0, 2.0)],
)
def test_alternatives_by_family_and_direction(model: Model, p0: float, ratio: float, p1: float) -> None:
    assert model.alternative(p0, ratio) == pytest.approx(p1)


def test_the_likelihood_of_counts() -> None:
    """Against the Poisson probability itself."""

    def log_probability(x: int, mean: float) -> float:
        return x * log(mean) - mean - lgamma(x + 1)

    assert POISSON.llr(30, 7, 0.2, 0.3) == pytest.approx(log_probability(7, 9.0) - log_probability(7, 6.0))


def test_dispersion_divides_the_evidence_of_a_step() -> None:
    alone, spread = (MixtureSR(0.1, (2.0,), phi=phi).step(40, 12) for phi in (1.0, 2.0))
    weight = log(40 / 10)
    assert spread - weight == pytest.approx((alone - weight) / 2)


def in_control(model: Model, p0: float, n: int, events: int, seed: int) -> int:
    """False alarms in a stream at the accepted rate, restarted after each; promise 1,000 events."""
    random, limit, found = Random(seed), threshold(1000, 10), 0
    detector = MixtureSR(p0, model=model)
    for _ in range(events // n):
        if model.family == "binomial":
            x = sum(random.random() < p0 for _ in range(n))
        else:
            x = _poisson(random, n * p0)
        if detector.step(n, x) >= limit:
            found, detector = found + 1, MixtureSR(p0, model=model)
    return found


def _poisson(random: Random, mean: float) -> int:
    count, left = 0, random.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + random.expovariate(1.0)
    return count


@pytest.mark.parametrize("model", [Model(), FALLS, POISSON, FEWER], ids=str)
def test_the_promise_holds_in_every_family_and_direction(model: Model) -> None:
    """60,000 events, 60 alarms promised at most: 84 is the Poisson 99.9 % bound."""
    assert in_control(model, 0.3, 5, 60_000, 7) <= 84


def test_a_fall_is_found() -> None:
    random, detector = Random(3), MixtureSR(0.3, model=FALLS)
    steps = next(i for i in range(1000) if detector.step(10, sum(random.random() < 0.15 for _ in range(10))) > 6.9)
    assert 3 < steps < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"p0": 0.95}, "between 0 and 0.95"), ({"p0": 1.0, "model": FALLS}, "between 0 and 1"),
     ({"p0": 0.0, "model": POISSON}, "between 0 and inf"), ({"p0": 0.1, "phi": 0.9}, "phi at least 1")],
)
def test_what_a_detector_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixtureSR(**arguments)


def test_counts_may_come_without_exposure_and_exceed_it() -> None:
    detector = MixtureSR(2.0, model=POISSON)
    detector.step(1, 5)
    before = detector.value
    assert detector.step(0, 3) > before
    with pytest.raises(ValueError, match="a step needs"):
        MixtureSR(0.1).step(1, 5)
