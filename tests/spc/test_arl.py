"""Run lengths against the published tables, to the digits printed there.

The figures are those that R's spc package (0.6.7) prints, which equal the tables of the papers named at each.
"""

from __future__ import annotations

from math import inf

import pytest

from backspan.spc import arl, ewma, runs_arl
from backspan.spc.runs import NELSON, WESTERN_ELECTRIC, Rule, select

DIGITS = 0.006
"""Half of the last printed digit, and a little."""


@pytest.mark.parametrize(
    ("shift", "windows"),
    [(0, 370.40), (0.25, 281.15), (0.5, 155.22), (0.75, 81.22), (1, 43.89), (1.5, 14.97), (2, 6.30), (3, 2.00)],
)
def test_shewhart(shift: float, windows: float) -> None:
    assert arl.shewhart(shift) == pytest.approx(windows, abs=DIGITS)
    assert arl.ewma(1.0, 3.0, shift) == arl.shewhart(shift)


def test_shewhart_on_one_side() -> None:
    assert arl.shewhart(side="up") == arl.shewhart(side="down") == pytest.approx(740.80, abs=DIGITS)
    assert arl.shewhart(1, side="up") < arl.shewhart(side="up") < arl.shewhart(1, side="down")
    assert arl.shewhart(0, 60.0) == inf


SHIFTS = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4)
LUCAS_SACCUCCI = {
    (0.40, 3.054): (499.95, 223.73, 71.20, 28.42, 14.26, 5.87, 3.52, 2.54, 2.02, 1.44),
    (0.25, 2.998): (499.84, 170.30, 48.29, 20.11, 11.14, 5.46, 3.61, 2.74, 2.26, 1.73),
    (0.20, 2.962): (499.74, 150.22, 41.76, 18.15, 10.54, 5.50, 3.74, 2.88, 2.38, 1.86),
    (0.10, 2.814): (499.58, 106.32, 31.30, 15.85, 10.33, 6.08, 4.36, 3.44, 2.87, 2.19),
    (0.05, 2.615): (499.93, 84.01, 28.76, 16.37, 11.38, 7.11, 5.22, 4.17, 3.50, 2.69),
}


@pytest.mark.parametrize(("lam", "width"), LUCAS_SACCUCCI)
def test_ewma(lam: float, width: float) -> None:
    """Lucas and Saccucci (1990), constant limits."""
    assert ewma.DESIGNS[lam] == width
    got = [arl.ewma(lam, width, shift) for shift in SHIFTS]
    assert got == pytest.approx(list(LUCAS_SACCUCCI[lam, width]), abs=DIGITS)


def test_ewma_with_widening_limits() -> None:
    assert arl.ewma(0.2, 2.962, exact=True) == pytest.approx(494.39, abs=DIGITS)
    assert arl.ewma(0.2, 2.962, 1.0, exact=True) == pytest.approx(9.55, abs=DIGITS)
    assert arl.ewma(0.1, 2.814, exact=True) == pytest.approx(486.43, abs=DIGITS)
    assert arl.ewma(0.1, 2.814, 1.0, exact=True) == pytest.approx(8.16, abs=DIGITS)


@pytest.mark.parametrize(("lam", "width"), [(0.05, 2.490), (0.10, 2.702), (0.20, 2.859), (0.25, 2.898), (0.40, 2.959)])
def test_width_for_a_run_length(lam: float, width: float) -> None:
    assert arl.ewma_width(370.4, lam) == pytest.approx(width, abs=1e-3)


def test_ewma_on_one_side() -> None:
    up = arl.ewma(side="up")
    assert up == pytest.approx(arl.ewma(side="down")) and 2 * arl.ewma() < up * 1.01
    assert arl.ewma(shift=1.0, side="up") == pytest.approx(arl.ewma(shift=1.0), rel=1e-3)
    assert arl.ewma(0.2, arl.ewma_width(1000, side="up"), side="up") == pytest.approx(1000, rel=1e-6)


CUSUM_SHIFTS = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3)
LUCAS_CROSIER = {
    (4, 0.0): (167.68, 74.22, 26.63, 13.29, 8.38, 4.75, 3.34, 2.19),
    (5, 0.0): (465.44, 139.49, 38.00, 17.05, 10.38, 5.75, 4.01, 2.57),
    (4, 0.5): (148.70, 62.70, 20.06, 8.97, 5.29, 2.86, 2.01, 1.33),
    (5, 0.5): (430.39, 121.69, 28.67, 11.24, 6.35, 3.37, 2.36, 1.54),
}


@pytest.mark.parametrize(("h", "head_start"), LUCAS_CROSIER)
def test_cusum(h: float, head_start: float) -> None:
    """Lucas and Crosier (1982), two-sided, k = .5."""
    got = [arl.cusum(0.5, h, shift, head_start=head_start) for shift in CUSUM_SHIFTS]
    assert got == pytest.approx(list(LUCAS_CROSIER[h, head_start]), abs=DIGITS)


def test_cusum_on_one_side() -> None:
    """The last two: D. Brook, D. A. Evans, Biometrika 59 (1972)."""
    assert arl.cusum(0.5, 4, side="up") == pytest.approx(335.37, abs=DIGITS)
    assert arl.cusum(0.5, 5, side="down") == pytest.approx(930.89, abs=DIGITS)
    assert arl.cusum(0.5, 3, side="up") == pytest.approx(117.59, abs=DIGITS)
    assert arl.cusum(0.5, 3, 1.5, side="up") == pytest.approx(3.75, abs=DIGITS)


@pytest.mark.parametrize(
    ("k", "h"), [(0.25, 8.008), (0.5, 4.774), (0.75, 3.339), (1, 2.516), (1.25, 1.986), (1.5, 1.604)]
)
def test_limit_for_a_run_length(k: float, h: float) -> None:
    """Hawkins and Olwell's table of h for 370, two-sided."""
    assert arl.cusum_limit(370, k) == pytest.approx(h, abs=6e-4)


@pytest.mark.parametrize(
    ("theta", "limit", "false", "delay"),
    [
        (1.0, 280.19, 500.80, 9.78),
        (1.0, 560.37, 1000.79, 11.14),
        (0.5, 373.81, 500.45, 28.84),
        (0.5, 747.62, 1000.45, 34.13),
    ],
)
def test_shiryaev_roberts(theta: float, limit: float, false: float, delay: float) -> None:
    """Moustakides, Polunchenko and Tartakovsky (2009)."""
    assert arl.shiryaev_roberts(theta, limit) == pytest.approx(false, abs=DIGITS)
    assert arl.shiryaev_roberts(theta, limit, theta) == pytest.approx(delay, abs=DIGITS)


CHAMP_WOODALL = {
    ("we_1",): (370.40, 43.89, 6.30),
    ("we_1", "we_2"): (225.44, 20.01, 3.65),
    ("we_1", "we_3"): (166.05, 12.66, 3.68),
    ("we_1", "we_4"): (152.73, 14.58, 4.89),
    ("we_1", "we_2", "we_3", "we_4"): (91.75, 9.22, 3.13),
}


@pytest.mark.parametrize("names", CHAMP_WOODALL, ids="+".join)
def test_run_rules(names: tuple[str, ...]) -> None:
    """Champ and Woodall (1987), two-sided."""
    rules = select(WESTERN_ELECTRIC, *names)
    got = [runs_arl.run_length(rules, shift) for shift in (0, 1, 2)]
    assert got == pytest.approx(list(CHAMP_WOODALL[names]), abs=DIGITS)


def test_run_rules_on_one_side() -> None:
    """A run of eight alone: 2^9 - 2 points, however the rest is set. All four: 184 by simulation."""
    assert runs_arl.run_length(select(WESTERN_ELECTRIC, "we_4", side="up")) == pytest.approx(510.0)
    one_sided = runs_arl.run_length(select(WESTERN_ELECTRIC, side="up"))
    assert one_sided == pytest.approx(184, rel=0.01)
    assert one_sided == pytest.approx(runs_arl.run_length(select(WESTERN_ELECTRIC, side="down")))


@pytest.mark.parametrize("needs", [3, 5])
def test_other_run_rules_are_noticed(needs: int) -> None:
    def wrong(rule: Rule) -> Rule:
        return Rule(rule.name, rule.text, rule.side, needs, rule.of, rule.flag) if rule.name == "we_3" else rule

    got = runs_arl.run_length(wrong(rule) for rule in select(WESTERN_ELECTRIC, "we_1", "we_3"))
    assert got != pytest.approx(166.05, rel=0.03)


@pytest.mark.parametrize("mutant", ["kernel", "atom"])
def test_a_wrong_equation_is_noticed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"kernel": "normal_pdf", "atom": "normal_cdf"}[mutant]
    right = getattr(arl, name)
    monkeypatch.setattr(arl, name, lambda x: 0.99 * right(x))
    assert arl.cusum(0.5, 4) != pytest.approx(167.68, rel=0.03)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: arl.shewhart(width=0), "width > 0"),
        (lambda: arl.shewhart(shift=inf), "finite"),
        (lambda: arl.ewma(0.0), "lam"),
        (lambda: arl.ewma(0.001), "lam >= 0.01"),
        (lambda: arl.ewma(0.2, 7.0), "beyond 1e"),
        (lambda: arl.ewma_width(1), "3 to 1e7"),
        (lambda: arl.cusum(0.5, 0), "h <= 40"),
        (lambda: arl.cusum(0.5, 4, head_start=0.8), "h / 2"),
        (lambda: arl.cusum_limit(1e9), "3 to 1e7"),
        (lambda: arl.shiryaev_roberts(0, 100), "theta > 0"),
        (lambda: arl.cusum(side="x"), "side must be"),  # type: ignore[arg-type]
        (lambda: runs_arl.run_length(()), "at least one rule"),
        (lambda: runs_arl.run_length(NELSON), "nelson_3, nelson_4"),
    ],
)
def test_bad_input_is_refused(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
