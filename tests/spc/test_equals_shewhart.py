"""The classical charts and run rules equal those of the package `shewhart` (0.1.1) on random series.

Where they differ it is on purpose:

- Laney's sigma_z and the sigma of single values: the house divides the mean moving range by the printed 1.128, as
  Laney and Minitab do; `shewhart` by the exact 1.12838. With ``d2=D2_EXACT`` they are equal.
- "2 of 3" and "4 of 5" at the start of a series: `shewhart` waits for 3 (5) points, the house signals as soon as 2
  (4) points meet the condition.
- `shewhart` has no X-bar-S for unequal subgroups, no head start, no single side: see the tests of each chart.
- Laney's chart of points that do not vary at all: `shewhart` refuses it, here its limits lie on the centre line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy
import pandas
import pytest
import shewhart

from backspan.spc import cusum, ewma, pchart, runs, uchart, variables
from backspan.spc.points import D2, D2_EXACT, Point
from backspan.spc.runs import NELSON, WESTERN_ELECTRIC, Rule, RunRules
from backspan.spc.simulate import binomial, poisson
from backspan.spc.variables import Process, Subgroup

SEEDS = range(8)
CLOSE = {"rel": 1e-12, "abs": 1e-12}
RULES = {"western_electric": WESTERN_ELECTRIC, "nelson": NELSON}


def same(points: Sequence[Point], table: pandas.DataFrame, value: str) -> None:
    """Value, limits and verdict of each point; `shewhart` was asked for no run rules, so its signals are the limits."""
    assert [p.value for p in points] == pytest.approx(list(table[value]), **CLOSE)
    assert [p.lower for p in points] == pytest.approx(list(table["lcl"]), **CLOSE)
    assert [p.upper for p in points] == pytest.approx(list(table["ucl"]), **CLOSE)
    assert [p.out for p in points] == list(table["signal"])


# --- attributes -----------------------------------------------------------------------------------------------------
def shares(seed: int) -> list[pchart.Window]:
    """60 windows of 5 to 300 events, some of them out of control."""
    random = Random(seed)
    sizes = [random.randint(5, 300) for _ in range(60)]
    return [pchart.Window(n, binomial(n, random.choice((0.1, 0.1, 0.1, 0.14, 0.25)))(random)) for n in sizes]


def counts(seed: int) -> list[uchart.Window]:
    random = Random(seed)
    sizes = [round(random.uniform(0.5, 40), 1) for _ in range(60)]
    return [uchart.Window(e, poisson(e * random.choice((1.4, 1.4, 1.4, 2.5)))(random)) for e in sizes]


def check_p(seed: int) -> int:
    windows = shares(seed)
    columns = {"defectives": [w.bad for w in windows], "size": [w.n for w in windows]}
    plain = shewhart.p_chart(pandas.DataFrame(columns), defectives="defectives", size="size", rules="none")
    same(pchart.chart(windows), plain.table, "proportion")
    laney = shewhart.laney_p(pandas.DataFrame(columns), defectives="defectives", size="size", rules="none")
    sigma_z = pchart.laney_sigma_z(windows, d2=D2_EXACT)
    assert sigma_z == pytest.approx(laney.stats["sigma_z"], **CLOSE)
    assert pchart.laney_sigma_z(windows) == pytest.approx(sigma_z * D2_EXACT / D2, **CLOSE)
    same(pchart.chart(windows, sigma_z=sigma_z), laney.table, "proportion")
    return len(plain.signals)


def check_u(seed: int) -> int:
    windows = counts(seed)
    columns = {"defects": [w.count for w in windows], "size": [w.exposure for w in windows]}
    plain = shewhart.u_chart(pandas.DataFrame(columns), defects="defects", size="size", rules="none")
    same(uchart.chart(windows), plain.table, "per_unit")
    laney = shewhart.laney_u(pandas.DataFrame(columns), defects="defects", size="size", rules="none")
    sigma_z = uchart.laney_sigma_z(windows, d2=D2_EXACT)
    assert sigma_z == pytest.approx(laney.stats["sigma_z"], **CLOSE)
    same(uchart.chart(windows, sigma_z=sigma_z), laney.table, "per_unit")
    return len(plain.signals)


# --- measured values ------------------------------------------------------------------------------------------------
def values(seed: int) -> list[float]:
    """80 values with a few outliers and a shift of one sigma in the second half."""
    random = Random(seed)
    return [random.gauss(20 + 3 * (i > 40), 3) * random.choice((*(1,) * 19, 1.6)) for i in range(80)]


def check_imr(seed: int) -> int:
    series = values(seed)
    theirs = shewhart.imr(series, rules="none")
    process = variables.fit_individuals(series, d2=D2_EXACT)
    points, ranges = variables.individuals_chart(series, process), variables.moving_range_chart(series, d2=D2_EXACT)
    got = (process.centre, process.sigma, points[0].lower, points[0].upper, ranges[0].centre, ranges[0].upper)
    keys = ("i_center", "sigma_within", "i_lcl", "i_ucl", "mr_center", "mr_ucl")
    assert got == pytest.approx(tuple(theirs.stats[key] for key in keys), **CLOSE)
    assert [p.value for p in ranges] == pytest.approx(list(theirs.table["moving_range"])[1:], **CLOSE)
    assert [p.out for p in ranges] == list(theirs.table["mr_signal"])[1:]
    ours = [abs(p.value - p.centre) > 3 * process.sigma for p in points]
    assert [p.out for p in points] == ours
    limits = {"i_center": 20.0, "sigma_within": 3.0, "mr_center": 3.0 * D2_EXACT}
    frozen = shewhart.imr(series, rules="nelson", limits=limits)
    marked = {p for s in frozen.signals if s.rule == "nelson_1" for p in s.points}
    assert marked == {i for i, p in enumerate(variables.individuals_chart(series, Process(20, 3))) if p.out}
    return len(marked) + sum(p.out for p in ranges)


def check_xbar_s(seed: int) -> int:
    random = Random(seed)
    n, signals = random.choice((2, 3, 5, 12)), 0
    groups = [[random.gauss(5 + (i % 9 == 0), 1 + (i % 11 == 0)) for _ in range(n)] for i in range(30)]
    frame = pandas.DataFrame({"x": sum(groups, []), "g": numpy.repeat(range(30), n)})
    subgroups = [Subgroup.of(group) for group in groups]
    for method, pooled in (("sbar", False), ("pooled", True)):
        theirs = shewhart.xbar_s(frame, value="x", subgroup="g", rules="nelson", method=method)
        process = variables.fit(subgroups, pooled=pooled)
        means, sds = variables.mean_chart(subgroups, process), variables.sd_chart(subgroups, process)
        got = (means[0].centre, means[0].lower, means[0].upper, sds[0].centre, sds[0].lower, sds[0].upper)
        keys = ("xbar_center", "xbar_lcl", "xbar_ucl", "s_center", "s_lcl", "s_ucl")
        assert got == pytest.approx(tuple(theirs.stats[key] for key in keys), **CLOSE)
        assert [p.value for p in means] == pytest.approx(list(theirs.table["mean"]), **CLOSE)
        assert [p.value for p in sds] == pytest.approx(list(theirs.table["stdev"]), **CLOSE)
        assert [p.out for p in sds] == list(theirs.table["stdev_signal"])
        marked = {p for s in theirs.signals if s.rule == "nelson_1" for p in s.points}
        assert marked == {i for i, p in enumerate(means) if p.out}
        z = [process.z(g.mean, g.n) for g in subgroups]
        assert runs.involved(z, NELSON) == theirs_involved(theirs, "xbar")
        signals += len(theirs.signals)
    return signals


def check_ewma(seed: int) -> int:
    series, signals = values(seed), 0
    for lam, width, exact in ((0.2, 2.962, True), (0.05, 2.615, False), (1.0, 3.0, True)):
        theirs = shewhart.ewma(series, lam=lam, k=width, center=20.0, sigma=3.0, asymptotic=not exact)
        same(ewma.chart(series, centre=20.0, sigma=3.0, lam=lam, width=width, exact=exact), theirs.table, "ewma")
        signals += len(theirs.signals)
    return signals


def check_cusum(seed: int) -> int:
    series = values(seed)
    theirs = shewhart.cusum(series, k=0.5, h=5.0, center=20.0, sigma=3.0)
    upper, lower = cusum.chart(series, centre=20.0, sigma=3.0)
    assert [p.value for p in upper] == pytest.approx(list(theirs.table["cusum_pos"]), **CLOSE)
    assert [p.value for p in lower] == pytest.approx(list(theirs.table["cusum_neg"]), **CLOSE)
    assert [a.out or b.out for a, b in zip(upper, lower, strict=True)] == list(theirs.table["signal"])
    assert upper[0].upper == theirs.stats["cusum_limit"]
    return len(theirs.signals)


CHARTS: dict[str, Callable[[int], int]] = {
    "p": check_p,
    "u": check_u,
    "imr": check_imr,
    "xbar_s": check_xbar_s,
    "ewma": check_ewma,
    "cusum": check_cusum,
}


@pytest.mark.parametrize("name", CHARTS)
def test_charts(name: str) -> None:
    assert sum(CHARTS[name](seed) for seed in SEEDS) > 10, "the series must hold signals for the verdicts to count"


# Each part broken in one way: the same comparison must notice.
MUTANTS: dict[str, tuple[str, object, str, object]] = {
    "p: mean of rates": ("p", pchart, "centre_line", lambda ws: sum(w.rate for w in ws) / len(ws)),
    "p: width": ("p", pchart.chart, "__kwdefaults__", {"sigma_z": 1.0, "width": 2.99}),
    "p: moving range": ("p", pchart, "mean_moving_range", lambda z: sum(map(abs, z)) / len(z)),
    "u: mean of rates": ("u", uchart, "centre_line", lambda ws: sum(w.rate for w in ws) / len(ws)),
    "u: moving range": ("u", uchart, "mean_moving_range", lambda z: 1.0),
    "imr: factor": ("imr", variables, "D4", 3.267),
    "imr: moving range": ("imr", variables, "mean_moving_range", lambda v: max(v) - min(v)),
    "xbar_s: c4": ("xbar_s", variables, "c4", lambda n: 1 - 1 / (4 * n)),
    "xbar_s: spread": ("xbar_s", variables, "_spread", lambda n: 0.1),
    "ewma: limit": ("ewma", ewma, "limit", lambda lam, width, t=None: width * (lam / (2 - lam)) ** 0.5),
    "cusum: allowance": ("cusum", cusum.chart, "__kwdefaults__", {**cusum.chart.__kwdefaults__, "k": 0.51}),
    "cusum: interval": ("cusum", cusum.chart, "__kwdefaults__", {**cusum.chart.__kwdefaults__, "h": 4.0}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_chart_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chart, owner, attribute, broken = MUTANTS[name]
    monkeypatch.setattr(owner, attribute, broken)
    with pytest.raises(AssertionError):
        for seed in SEEDS:
            CHARTS[chart](seed)


# --- run rules ------------------------------------------------------------------------------------------------------
def theirs_involved(result: object, chart: str) -> dict[str, tuple[int, ...]]:
    marked: dict[str, set[int]] = {}
    for signal in result.signals:  # type: ignore[attr-defined]
        if signal.chart == chart:
            marked.setdefault(signal.rule, set()).update(signal.points)
    return {rule: tuple(sorted(points)) for rule, points in marked.items()}


def ask(z: Sequence[float], ruleset: str) -> dict[str, tuple[int, ...]]:
    """The points that `shewhart` marks for each rule, on values that are z-scores already."""
    known = {"i_center": 0.0, "sigma_within": 1.0, "mr_center": D2_EXACT}
    return theirs_involved(shewhart.imr(list(z), rules=ruleset, limits=known), "i")


def drift(random: Random, n: int) -> list[float]:
    z, at = [], 0.0
    for _ in range(n):
        at = 0.9 * at + random.gauss(0, 0.5)
        z.append(at)
    return z


SERIES: dict[str, Callable[[Random, int], list[float]]] = {
    "noise": lambda random, n: [random.gauss(0, 1.3) for _ in range(n)],
    "shift": lambda random, n: [random.gauss(0.8, 1.0) for _ in range(n)],
    "on the lines": lambda random, n: [round(2 * random.gauss(0, 1.4)) / 2 for _ in range(n)],
    "drift": drift,
    "quiet": lambda random, n: [random.gauss(0, 0.6) for _ in range(n)],
    "two sides": lambda random, n: [random.choice((-1.4, 1.4)) + random.gauss(0, 0.3) for _ in range(n)],
    "zigzag": lambda random, n: [(-1) ** i * random.uniform(0.1, 1.5) * (random.random() > 0.03) for i in range(n)],
    "ramps": lambda random, n: [(i % random.choice((7, 7, 8))) - 3.0 for i in range(n)],
}


@pytest.mark.parametrize("ruleset", RULES)
@pytest.mark.parametrize("kind", SERIES)
def test_run_rules_mark_the_same_points(kind: str, ruleset: str) -> None:
    for seed in SEEDS:
        z = SERIES[kind](Random(seed), 200)
        assert runs.involved(z, RULES[ruleset]) == ask(z, ruleset)


def test_these_series_make_every_rule_signal() -> None:
    tried = [make(Random(0), 300) for make in SERIES.values()]
    marked = {name for z in tried for rules in RULES.values() for name in runs.involved(z, rules)}
    assert marked == {rule.name for rules in RULES.values() for rule in rules}


def signalling(z: Sequence[float], ruleset: str) -> set[str]:
    """The rules for which `shewhart`, given the series up to its last point, marks that point."""
    return {name for name, points in ask(z, ruleset).items() if points[-1] == len(z) - 1}


@pytest.mark.parametrize("ruleset", RULES)
@pytest.mark.parametrize("kind", SERIES)
def test_run_rules_signal_at_the_same_time(kind: str, ruleset: str) -> None:
    """Point by point: a signal now is a mark on the newest point of the series so far."""
    z = SERIES[kind](Random(99), 60)
    ours = runs.signals(z, RULES[ruleset])
    for last in range(4, len(z)):  # before the fifth point 4 of 5 waits there, not here
        assert set(ours[last]) == signalling(z[: last + 1], ruleset)


def test_the_one_difference_at_the_start_of_a_series() -> None:
    z = [2.5, 2.5]
    assert runs.signals(z)[1] == ("we_2",) and "we_2" not in ask(z, "western_electric")
    assert ask([*z, 0.0], "western_electric")["we_2"] == (0, 1) == runs.involved([*z, 0.0])["we_2"]


def broken(rule: Rule, **fields: object) -> Rule:
    kept = {name: getattr(rule, name) for name in Rule.__dataclass_fields__}
    return Rule(**{**kept, **fields})  # type: ignore[arg-type]


CHANGES: dict[str, Callable[[Rule], Rule | None]] = {
    "needs one less": lambda r: broken(r, needs=r.needs - 1) if r.needs > 1 else None,
    "looks one farther": lambda r: broken(r, of=r.of + 1, needs=r.needs + (r.needs == r.of)),
    "on the line too": lambda r: broken(r, flag=lambda m: r.flag(m) or abs(m.z) in (0.0, 1.0, 2.0, 3.0)),
}


@pytest.mark.parametrize("ruleset", RULES)
@pytest.mark.parametrize("change", CHANGES)
def test_every_broken_run_rule_is_noticed(ruleset: str, change: str) -> None:
    """Each rule in turn, wrong in one way; some series above must tell it from the right one."""
    tried = [make(Random(seed), 300) for seed in (0, 1, 2) for make in SERIES.values()]
    unnoticed = {rule.name for rule in RULES[ruleset] if (wrong := CHANGES[change](rule)) and agree(rule, wrong, tried)}
    assert not unnoticed


def agree(right: Rule, wrong: Rule, tried: Sequence[Sequence[float]]) -> bool:
    return all(runs.involved(z, [wrong]) == runs.involved(z, [right]) for z in tried)


def test_an_incremental_detector_and_a_batch_are_the_same() -> None:
    z = SERIES["noise"](Random(5), 200)
    detector = RunRules(NELSON)
    assert tuple(detector.step(value) for value in z) == runs.signals(z, NELSON)
