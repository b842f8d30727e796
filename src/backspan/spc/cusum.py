"""Tabular CUSUM: sums of what exceeds an allowance, for small lasting shifts, with an estimate of when they began.

    up_t = max(0, up_{t-1} + z_t - k),   down_t = max(0, down_{t-1} - z_t - k),   signal when one exceeds h

Sources: E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); J. M. Lucas, R. B. Crosier, "Fast initial
response for CUSUM quality-control schemes", Technometrics 24 (1982) for the head start; Montgomery, *Introduction to
Statistical Quality Control*, 9.1 for the counters N+ and N- that date the change. Run lengths:
`backspan.spc.arl.cusum`.

Feed z-scores, as for `backspan.spc.ewma`. The sums are correlated, so run rules do not apply to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from backspan.spc.points import Point, Side, check_finite, check_side

K = 0.5
"""Allowance, in sigma: half the shift to be found soonest."""
H = 5.0
"""Decision interval, in sigma; with `K`, two-sided: 465 windows to a false alarm."""


class CusumState(NamedTuple):
    """Both sums, and for each the number of newest values in a row since it was last 0. JSON can carry it."""

    up: float = 0.0
    up_since: int = 0
    down: float = 0.0
    down_since: int = 0


class CusumReading(NamedTuple):
    """What `Cusum.step` returns.

    ``up`` and ``down`` are the sums (0 for a side that is not watched), ``out`` whether one exceeds h now. ``since`` is
    the change-point estimate: that many newest values, this one included, belong to the change (0 if none is seen).
    It is that of the larger sum.
    """

    up: float
    down: float
    out: bool
    since: int


class Cusum:
    """The detector of one stream of z-scores: feed `step`; a missing window is simply not fed.

    ``head_start`` is the sums' first value as a share of h: 0.5 is the usual fast initial response. It goes on after a
    signal; make a new one after the cause is mended. Not thread-safe.
    Raises ValueError unless k >= 0, h > 0, 0 <= head_start < 1, or for a bad ``side`` or ``state``.
    """

    __slots__ = ("_state", "h", "k", "side")

    def __init__(
        self,
        k: float = K,
        h: float = H,
        *,
        side: Side = "both",
        head_start: float = 0.0,
        state: Sequence[float] | None = None,
    ) -> None:
        if not k >= 0 or not h > 0 or not 0.0 <= head_start < 1.0:
            raise ValueError(f"a CUSUM needs k >= 0, h > 0 and 0 <= head_start < 1, got {k}, {h}, {head_start}")
        check_side(side)
        self.k, self.h, self.side = k, h, side
        self._state = _fresh(head_start * h, side) if state is None else _restored(state)

    @property
    def state(self) -> CusumState:
        """Sums and counters. JSON can carry it; give it back as ``state``."""
        return self._state

    def step(self, z: float) -> CusumReading:
        """Take the next z-score. Raises ValueError if it is not finite; the state is then unchanged."""
        check_finite(z=z)
        now = self._state
        up = 0.0 if self.side == "down" else max(0.0, now.up + z - self.k)
        down = 0.0 if self.side == "up" else max(0.0, now.down - z - self.k)
        up_since = now.up_since + 1 if up > 0 else 0
        down_since = now.down_since + 1 if down > 0 else 0
        self._state = CusumState(up, up_since, down, down_since)
        return CusumReading(up, down, max(up, down) > self.h, up_since if up >= down else down_since)


def _fresh(start: float, side: Side) -> CusumState:
    return CusumState(up=0.0 if side == "down" else start, down=0.0 if side == "up" else start)


def _restored(state: Sequence[float]) -> CusumState:
    if len(state) != 4 or not all(0 <= v < float("inf") for v in state):
        raise ValueError(f"a state needs four numbers of at least 0, got {tuple(state)}")
    return CusumState(float(state[0]), int(state[1]), float(state[2]), int(state[3]))


def chart(
    values: Sequence[float],
    *,
    centre: float = 0.0,
    sigma: float = 1.0,
    k: float = K,
    h: float = H,
    side: Side = "both",
    head_start: float = 0.0,
) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """The upper and the lower sums, one point a value, in the unit of ``values`` (the lower ones below 0, as drawn).

    The defaults of centre and sigma fit z-scores. A side that is not watched is empty.
    Raises ValueError as `Cusum` does, or unless sigma > 0.
    """
    if not sigma > 0:
        raise ValueError(f"a CUSUM chart needs sigma > 0, got {sigma}")
    detector, bound = Cusum(k, h, side=side, head_start=head_start), sigma * h
    readings = [detector.step((value - centre) / sigma) for value in values]
    upper = tuple(Point(sigma * r.up, 0.0, 0.0, bound, 1, r.up > h) for r in readings)
    lower = tuple(Point(-sigma * r.down, -bound, 0.0, 0.0, 1, r.down > h) for r in readings)
    return () if side == "down" else upper, () if side == "up" else lower
