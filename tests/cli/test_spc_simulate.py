"""Run lengths: the fast walk against the detector itself, and the table of `spc simulate`."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log

import pytest

from backspan import cli
from backspan.cli._spc.runlength import Setting, simulate
from backspan.spc import pchart
from backspan.spc.shiryaev import ALTERNATIVES, MixtureSR, Model
from backspan.spc.simulate import binomial, poisson, run_length

RISE, FALL, COUNTS = Model(), Model(falls=True), Model("poisson")
SHARE = Setting(0.1, log(60), ALTERNATIVES, 10, RISE, batch=0.4)


def stepped(setting, rate, runs, n=1):
    """The same by `MixtureSR.step`, batch by batch."""
    draw = poisson(n * rate) if setting.model.family == "poisson" else binomial(n, rate)
    return run_length(
        lambda: MixtureSR(setting.p0, setting.alternatives, setting.n_ref, model=setting.model).step,
        lambda random, t: (n, draw(random)), alarmed=lambda value: value >= setting.limit, cost=lambda n, x: n,
        runs=runs, seed=9)


@pytest.mark.parametrize(
    ("setting", "rate", "n"),
    [
        (SHARE, 0.1, 1),
        (SHARE, 0.2, 1),
        (replace(SHARE, p0=0.4, model=FALL), 0.4, 1),
        (replace(SHARE, p0=0.4, model=FALL), 0.25, 1),
        (replace(SHARE, batch=20), 0.1, 20),
        (replace(SHARE, batch=20), 0.15, 20),
        (replace(SHARE, p0=0.3, model=COUNTS, batch=20), 0.3, 20),
        (replace(SHARE, p0=3.0, model=COUNTS, batch=5), 4.0, 5),
    ],
    ids=["share, false alarm", "share, doubled", "fall, false alarm", "fall", "batches, false alarm", "batches",
         "counts, false alarm", "counts"],
)
def test_the_fast_walk_is_the_detector(setting, rate, n):
    fast, slow = simulate(setting, rate, 250, seed=1), stepped(setting, rate, 250, n)
    assert fast.mean == pytest.approx(slow.mean, abs=3.5 * (fast.error**2 + slow.standard_error**2) ** 0.5)


def test_a_wrong_walk_is_noticed():
    """The comparison above sees a limit that is off by ln 2."""
    fast, slow = simulate(replace(SHARE, limit=log(120)), 0.1, 250, seed=1), stepped(SHARE, 0.1, 250)
    assert abs(fast.mean - slow.mean) > 3.5 * (fast.error**2 + slow.standard_error**2) ** 0.5


def test_counts_in_continuous_exposure():
    """Where less than one unit comes per evaluation, the exposure is taken as continuous: fine steps agree."""
    fast = simulate(replace(SHARE, limit=log(20), p0=2.0, model=COUNTS, batch=0.1), 2.0, 200, seed=1)
    slow = stepped(replace(SHARE, limit=log(20), p0=0.2, model=COUNTS, n_ref=100), 0.2, 200)
    assert fast.mean == pytest.approx(slow.mean / 10, abs=3.5 * (fast.error**2 + slow.standard_error**2 / 100) ** 0.5)


@pytest.mark.parametrize("setting", [SHARE, replace(SHARE, batch=10), replace(SHARE, phi=2.0),
                                     replace(SHARE, p0=0.3, model=FALL)])
def test_the_promise_is_kept(setting):
    found = simulate(setting, setting.p0, 400, seed=2)
    assert found.mean + 3 * found.error >= exp(setting.limit) * setting.n_ref


def test_clusters_slow_it_down_by_about_their_size():
    single, clumped = (simulate(replace(SHARE, phi=phi), 0.2, 400, seed=3).mean for phi in (1.0, 3.0))
    assert 1.8 * single < clumped < 3.5 * single


def test_the_same_seed_gives_the_same_numbers():
    assert simulate(SHARE, 0.15, 50, seed=4) == simulate(SHARE, 0.15, 50, seed=4) != simulate(SHARE, 0.15, 50, seed=5)


def test_a_single_run_has_no_standard_error():
    with pytest.raises(ValueError, match="at least 2 runs"):
        simulate(SHARE, 0.1, 1, seed=0)


# --- the command ----------------------------------------------------------------------------------------------------
ARGUMENTS = ["spc", "simulate", "--chart", "thumbs_down", "--volume", "100/h", "--p0", "0.1", "--promise", "2000",
             "--runs", "40"]


def test_the_table(capsys):
    assert cli.main([*ARGUMENTS, "--json", "--shifts", "1.5,2"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == "" and (found["p0"], found["per_hour"], found["promise"]) == (0.1, 100, 2000)
    alone, *shifted = found["rows"]
    assert alone["factor"] == 1 and alone["events"] > 2000 and alone["standard_error"] > 0
    assert alone["shewhart_hours"] == pytest.approx(pchart.run_length(0.1, 100))
    assert [row["factor"] for row in shifted] == [1.5, 2] and shifted[0]["events"] > shifted[1]["events"]
    assert alone["hours"] == pytest.approx(alone["events"] / 100)
    assert alone["ewma_hours"] == pytest.approx(20, rel=0.01) == alone["cusum_hours"]
    needs = found["fall_events"]
    assert needs["known"] < needs["two_groups"] < needs["compare"]


def test_the_table_for_people(capsys):
    assert cli.main([*ARGUMENTS, "--fall", "10", "--seed", "2"]) == 0
    said = capsys.readouterr().out
    assert "stays 10.0 %: a false alarm" in said and "±" in said and "a fall of 10 %" in said
    assert cli.main(ARGUMENTS) == 0
    assert capsys.readouterr().out != said


def test_a_rate_has_no_share_that_could_fall(capsys):
    arguments = ["spc", "simulate", "--chart", "regenerate", "--volume", "600/d", "--p0", "0.05", "--runs", "20"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "25 units of exposure an hour" in said and "How many outcomes" not in said


def test_what_cannot_be_found_is_said(capsys):
    """A fall of 0.01 % of the good share is too small for this chart's alternatives."""
    assert cli.main([*ARGUMENTS[:4], "--volume", "1/h", "--p0", "0.1", "--promise", "1000", "--runs", "5",
                     "--fall", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "never: its alternatives are too far away" in said and "too few bad events for the normal law" in said


def test_a_walk_that_falls_finds_the_moment_of_the_alarm():
    """With good events as evidence the alarm can come between two bad ones; not only after the next."""
    setting = Setting(0.5, log(20), (3.0,), 10, FALL)
    found = simulate(setting, 0.001, 100, seed=6)
    steps = MixtureSR(0.5, (3.0,), 10, model=FALL)
    count = next(i for i in range(1, 1000) if steps.step(1, 0) >= setting.limit)
    assert count <= found.mean < count + 3
