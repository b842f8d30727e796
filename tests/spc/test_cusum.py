"""Tabular CUSUM: sums, signal and change point on Montgomery's data (table 9.2). Run lengths: test_arl.py."""

from __future__ import annotations

import json
from random import Random

import pytest

from backspan.spc import cusum
from backspan.spc.cusum import Cusum

VALUES = [
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08, 9.37, 10.62),
    *(10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
]


def check_the_textbook(detector: Cusum) -> None:
    """Signal at 29 with C+ = 5.28 and N+ = 7: the change came between the 22nd and the 23rd value."""
    readings = [detector.step(x - 10.0) for x in VALUES]
    assert [i for i, r in enumerate(readings, 1) if r.out] == [29, 30]
    assert readings[0][:2] == pytest.approx((0.0, 0.05))
    assert readings[6].down == pytest.approx(1.46)
    assert readings[28].up == pytest.approx(5.28) and readings[28].since == 7
    assert 29 - readings[28].since == 22


def test_the_textbook() -> None:
    check_the_textbook(Cusum())


@pytest.mark.parametrize("change", [{"k": 0.4}, {"h": 5.29}, {"side": "down"}, {"head_start": 0.5}])
def test_another_design_is_noticed(change: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        check_the_textbook(Cusum(**change))  # type: ignore[arg-type]


def test_a_head_start_halves_the_way_to_the_limit() -> None:
    detector = Cusum(k=0.5, h=5.0, head_start=0.5)
    assert detector.state == (2.5, 0, 2.5, 0)
    reading = detector.step(3.1)
    assert (reading.up, reading.down, reading.out, reading.since) == (pytest.approx(5.1), 0.0, True, 1)
    assert Cusum(head_start=0.5, side="up").state.down == 0.0


def test_a_sum_on_the_limit_is_in_control() -> None:
    assert not Cusum(k=0.5, h=5.0).step(5.5).out
    assert Cusum(k=0.5, h=5.0).step(5.5000001).out


def test_sides_mirror_each_other() -> None:
    random = Random(4)
    zs = [random.gauss(0.3, 1) for _ in range(300)]
    up, down, both = Cusum(side="up"), Cusum(side="down"), Cusum()
    for z in zs:
        a, b, c = up.step(z), down.step(-z), both.step(z)
        assert (a.up, a.out, a.since, a.down) == (b.down, b.out, b.since, 0.0)
        assert c.up == a.up and (c.out or not a.out)


def test_the_state_goes_on_where_it_stopped() -> None:
    one, two = Cusum(), Cusum()
    for z in (0.9, 1.2, -3.0, 0.8):
        one.step(z)
        two = Cusum(state=json.loads(json.dumps(two.state)))
        two.step(z)
    assert one.state == two.state and one.step(2.0) == two.step(2.0)


def test_the_chart_is_in_the_unit_of_the_values() -> None:
    upper, lower = cusum.chart([20 + 2 * (x - 10) for x in VALUES], centre=20.0, sigma=2.0)
    assert upper[28].value == pytest.approx(2 * 5.28) and upper[28].upper == 10.0
    assert [i for i, p in enumerate(upper, 1) if p.out] == [29, 30] and not any(p.out for p in lower)
    assert lower[6].value == pytest.approx(-2 * 1.46) and lower[6].lower == -10.0
    assert cusum.chart([1.0], side="up")[1] == () == cusum.chart([1.0], side="down")[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: Cusum(k=-0.1),
        lambda: Cusum(h=0),
        lambda: Cusum(head_start=1.0),
        lambda: Cusum(side="x"),  # type: ignore[arg-type]
        lambda: Cusum(state=(1, 2)),
        lambda: Cusum(state=(float("nan"), 0, 0, 0)),
        lambda: Cusum(state=(-1, 0, 0, 0)),
        lambda: Cusum().step(float("inf")),
        lambda: cusum.chart([1.0], sigma=0.0),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="need|must be"):
        call()  # type: ignore[operator]
