"""Simulated run lengths against the exact ones, for every detector of the classical charts; and the honest counts."""

from __future__ import annotations

from random import Random

import pytest

from backspan.spc import arl, pchart, simulate, uchart
from backspan.spc.cusum import Cusum
from backspan.spc.ewma import Ewma
from backspan.spc.runs import NELSON, WESTERN_ELECTRIC, RunRules, select
from backspan.spc.simulate import RunLength, binomial, normal, poisson, run_length


def near(got: RunLength, exact: float) -> bool:
    """Within four standard errors, and those below a twentieth of the mean."""
    return abs(got.mean - exact) < 4 * got.standard_error < 0.2 * exact and not got.capped


DETECTORS = {
    "ewma": (lambda: Ewma(0.2, 2.2, exact=False).step, lambda r: r.out, lambda: arl.ewma(0.2, 2.2)),
    "ewma widening": (lambda: Ewma(0.1, 2.0).step, lambda r: r.out, lambda: arl.ewma(0.1, 2.0, exact=True)),
    "ewma up": (
        lambda: Ewma(0.2, 2.0, exact=False, side="up").step,
        lambda r: r.out,
        lambda: arl.ewma(0.2, 2.0, side="up"),
    ),
    "cusum": (lambda: Cusum(0.5, 3.0).step, lambda r: r.out, lambda: arl.cusum(0.5, 3.0)),
    "cusum head start": (
        lambda: Cusum(0.5, 3.0, head_start=0.5).step,
        lambda r: r.out,
        lambda: arl.cusum(0.5, 3.0, head_start=0.5),
    ),
    "cusum down": (
        lambda: Cusum(0.5, 2.0, side="down").step,
        lambda r: r.out,
        lambda: arl.cusum(0.5, 2.0, side="down"),
    ),
    "western electric": (lambda: RunRules(select(WESTERN_ELECTRIC)).step, bool, lambda: 91.75),
    "nelson": (lambda: RunRules(NELSON).step, bool, lambda: 74.0),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_simulation_and_exact_run_lengths_agree(name: str) -> None:
    make, alarmed, exact = DETECTORS[name]
    assert near(run_length(make, normal(), alarmed=alarmed, runs=700, seed=1), exact())


@pytest.mark.parametrize(
    ("make", "exact"),
    [
        (lambda: Ewma(0.2, 2.0, exact=False).step, arl.ewma(0.2, 2.2)),
        (lambda: Cusum(0.4, 3.0).step, arl.cusum(0.5, 3.0)),
    ],
)
def test_another_detector_is_noticed(make: object, exact: float) -> None:
    assert not near(run_length(make, normal(), alarmed=lambda r: r.out, runs=700, seed=1), exact)  # type: ignore[arg-type]


def test_attribute_charts() -> None:
    """Exact binomial and Poisson tails against draws, at a rate that has risen."""
    share, count = binomial(50, 0.2), poisson(8.0)
    upper, most = pchart.limits(0.1, 50).upper, uchart.limits(0.4, 10).upper
    p = run_length(lambda: lambda bad: bad / 50 > upper, lambda r, t: (share(r),), runs=700, seed=2)
    u = run_length(lambda: lambda x: x / 10 > most, lambda r, t: (count(r),), runs=700, seed=2)
    assert near(p, pchart.run_length(0.1, 50, 0.2))
    assert near(u, uchart.run_length(0.4, 10, 0.8))


def test_a_change_after_quiet_windows() -> None:
    """In steady state a two-sided CUSUM (.5, 4) needs a little less than the 8.38 of a fresh start."""
    got = run_length(
        lambda: Cusum(0.5, 4.0).step, normal(1.0, since=60), alarmed=lambda r: r.out, quiet=60, runs=1500, seed=3
    )
    assert 7.4 < got.mean < 8.38 and got.dropped + got.runs == 1500
    assert 0.15 < got.dropped / 1500 < 0.45


def test_a_cap_is_told() -> None:
    got = run_length(lambda: lambda z: False, normal(), runs=5, most_steps=10)
    assert (got.mean, got.capped, got.runs) == (10.0, 5, 5)


def test_cost_changes_the_unit() -> None:
    steps = run_length(lambda: lambda n: n == 3, lambda r, t: (t,), runs=2)
    events = run_length(lambda: lambda n: n == 3, lambda r, t: (t,), runs=2, cost=lambda n: n)
    assert (steps.mean, steps.standard_error, events.mean) == (4.0, 0.0, 6.0)


def test_the_same_seed_gives_the_same_numbers_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    one = run_length(lambda: lambda z: z > 1, normal(), runs=250, seed=5, progress=lambda a, b: told.append((a, b)))
    assert one == run_length(lambda: lambda z: z > 1, normal(), runs=250, seed=5)
    assert one != run_length(lambda: lambda z: z > 1, normal(), runs=250, seed=6)
    assert told[0] == (2, 250) and told[-1] == (250, 250) and len(told) == 125


@pytest.mark.parametrize(("n", "p"), [(50, 0.1), (1000, 0.001), (100_000, 0.3), (7, 0.95)])
def test_binomial_draws(n: int, p: float) -> None:
    random, draw = Random(1), binomial(n, p)
    values = [draw(random) for _ in range(4000)]
    mean = sum(values) / 4000
    variance = sum((v - mean) ** 2 for v in values) / 3999
    assert mean == pytest.approx(n * p, abs=5 * (n * p * (1 - p) / 4000) ** 0.5)
    assert variance == pytest.approx(n * p * (1 - p), rel=0.12)
    assert 0 <= min(values) and max(values) <= n


@pytest.mark.parametrize("mean", [0.01, 3.0, 5000.0])
def test_poisson_draws(mean: float) -> None:
    random, draw = Random(1), poisson(mean)
    values = [draw(random) for _ in range(20_000 if mean < 1 else 4000)]
    got = sum(values) / len(values)
    assert got == pytest.approx(mean, abs=5 * (mean / len(values)) ** 0.5)
    assert sum((v - got) ** 2 for v in values) / len(values) == pytest.approx(mean, rel=0.2)


def test_draws_without_chance() -> None:
    random = Random(0)
    assert [binomial(5, 0.0)(random), binomial(5, 1.0)(random), binomial(0, 0.5)(random), poisson(0.0)(random)] == [
        0,
        5,
        0,
        0,
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda: run_length(lambda: bool, normal(), runs=0),
        lambda: run_length(lambda: bool, normal(), most_steps=0),
        lambda: run_length(lambda: bool, normal(), quiet=-1),
        lambda: run_length(lambda: lambda z: True, normal(), quiet=1, runs=3),
        lambda: simulate.binomial(-1, 0.5),
        lambda: simulate.binomial(5, 1.5),
        lambda: simulate.poisson(-1.0),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="needs|every one"):
        call()  # type: ignore[operator]
