"""EWMA: the recursion and the limits on Montgomery's data (tables 9.1 and 9.10). Run lengths: test_arl.py."""

from __future__ import annotations

import json
from math import sqrt

import pytest

from backspan.spc import ewma
from backspan.spc.ewma import Ewma

VALUES = [
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08, 9.37, 10.62),
    *(10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
]


def check_the_textbook() -> None:
    points = ewma.chart(VALUES, centre=10.0, sigma=1.0, lam=0.1, width=2.7)
    assert [p.value for p in points[:2]] == pytest.approx([9.945, 9.7495], abs=1e-6)
    assert (points[0].lower, points[0].upper) == pytest.approx((9.73, 10.27), abs=1e-6)
    assert points[1].upper == pytest.approx(10.36, abs=5e-3)
    assert points[-1].upper == pytest.approx(10.62, abs=5e-3)
    assert [p.value for p in points[-2:]] == pytest.approx([10.6468, 10.6341], abs=5e-5)
    assert [i for i, p in enumerate(points, 1) if p.out] == [29, 30]


def test_the_textbook() -> None:
    check_the_textbook()


MUTANTS = {
    "constant limits": lambda lam, width, t=None: width * sqrt(lam / (2 - lam)),
    "one power too few": lambda lam, width, t=None: width * sqrt(lam / (2 - lam) * (1 - (1 - lam) ** (t or 1))),
    "limits of single values": lambda lam, width, t=None: width,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_limits_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ewma, "limit", MUTANTS[name])
    with pytest.raises(AssertionError):
        check_the_textbook()


def test_limits() -> None:
    assert ewma.limit(0.2, 3.0) == pytest.approx(1.0)
    assert ewma.limit(0.2, 3.0, 1) == pytest.approx(0.6)
    assert ewma.limit(0.2, 3.0, 10_000) == pytest.approx(ewma.limit(0.2, 3.0))
    assert ewma.limit(1.0, 3.0, 1) == 3.0


def test_the_state_goes_on_where_it_stopped_and_a_gap_changes_nothing() -> None:
    whole, first = Ewma(), Ewma()
    for z in (0.3, 1.2, -0.4):
        expected = whole.step(z)
    first.step(0.3)
    value, seen = json.loads(json.dumps(first.state))
    second = Ewma(state=(value, seen))
    second.step(1.2)
    assert second.step(-0.4) == expected and second.state == whole.state


def test_sides_and_recovery() -> None:
    up, down, both = (Ewma(side=side) for side in ("up", "down", "both"))
    assert [d.step(5.0).out for d in (up, down, both)] == [True, False, True]
    assert [both.step(0.0).out for _ in range(20)][-1] is False, "it clears by itself"
    assert [Ewma(side=side).step(-5.0).out for side in ("up", "down", "both")] == [False, True, True]
    assert not Ewma(exact=False).step(3.0).out and Ewma().step(3.0).out


@pytest.mark.parametrize(
    "call",
    [
        lambda: Ewma(0.0),
        lambda: Ewma(1.1),
        lambda: Ewma(0.2, 0.0),
        lambda: Ewma(side="left"),  # type: ignore[arg-type]
        lambda: Ewma(state=(float("nan"), 0)),
        lambda: Ewma(state=(0.0, -1)),
        lambda: ewma.limit(0.2, 3.0, 0),
        lambda: ewma.chart([1.0], sigma=0.0),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="need|must be"):
        call()  # type: ignore[operator]


def test_a_value_that_is_no_number_leaves_the_state_alone() -> None:
    detector = Ewma()
    detector.step(1.0)
    before = detector.state
    with pytest.raises(ValueError, match="z must be a finite number"):
        detector.step(float("nan"))
    assert detector.state == before
