"""Phase I of one cohort: what rate is normal, which windows do not belong, and whether the assumptions hold.

Points out of limits are only left out for a reason that a person gave, in at most two passes: more would trim ordinary
variation (Montgomery, *Introduction to Statistical Quality Control*, 7.2). Beside the baseline of
`backspan.spc.baseline` it reports what can be wrong with it:

- ``sigma_z`` (Laney, from moving ranges) against ``sd`` (of all windows): slow waves hide from the first, so that a
  difference of more than 15 % says that the rate wanders;
- ``r1``, the autocorrelation of neighbours;
- whether the rate follows the hour of the day: Pearson's chi-square over 24 bins, divided by the dispersion, so that
  clustering is not taken for a pattern (McCullagh, Nelder, *Generalized Linear Models*, 4.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from backspan.cli._spc.history import Window
from backspan.rules.spec import Chart
from backspan.spc import pchart, uchart
from backspan.spc.baseline import Fit, Learner
from backspan.spc.points import Limits
from backspan.spc.shiryaev import Model
from backspan.spc.split import chi_square_tail

PASSES = 2
LEAST_WINDOWS = 2
APART = 0.15
"""Relative difference of sigma_z and SD that is worth a warning."""
PATTERN = 0.001
"""p-value below which the hour of the day matters."""
_EXPECTED = 5.0
"""Least expected bad events of an hour for chi-square to hold (Cochran's rule)."""

Reason = Callable[[Window, Limits], str]
"""Why a window out of limits does not belong, or "" if there is no reason."""


@dataclass(frozen=True)
class Point:
    """A window out of limits, and the reason to leave it out ("": it stays)."""

    window: Window
    limits: Limits
    reason: str


@dataclass(frozen=True)
class Report:
    """The baseline of one cohort, and what to think of it."""

    fit: Fit
    out: tuple[Point, ...]
    first: float
    last: float
    """Unix time of the first window's beginning and the last one's end."""
    sigma_z: float
    sd: float
    pattern: float | None
    """p-value of "the rate does not depend on the hour of the day"; None where there is too little to tell."""
    busiest: tuple[int, int] | None
    """Hours of the day (UTC) with the worst and the best rate."""
    warnings: tuple[str, ...]

    @property
    def excluded(self) -> list[Point]:
        """The windows left out."""
        return [point for point in self.out if point.reason]

    @property
    def kept(self) -> list[Point]:
        """Windows out of limits that stay, because nobody gave a reason."""
        return [point for point in self.out if not point.reason]


def study(chart: Chart, windows: Sequence[Window], reason: Reason) -> Report:
    """Phase I of ``windows``. Raises ValueError if fewer than two are left."""
    kept, out = screened(chart.model, windows, reason)
    fit = Learner.of([(w.n, w.bad) for w in kept]).fit(chart.model)
    sigma_z, sd = _laney(chart.model, kept, fit.p_hat), sqrt(fit.sd2)
    pattern, busiest = hours(chart.model, kept, fit.p_hat, max(1.0, fit.sd2))
    return Report(
        fit, tuple(out), windows[0].start, windows[-1].start + chart.window, sigma_z, sd, pattern, busiest,
        tuple(_warnings(fit, sigma_z, sd, pattern, busiest)))


def screened(model: Model, windows: Sequence[Window], reason: Reason) -> tuple[list[Window], list[Point]]:
    """The windows that stay, and all that were found out of limits."""
    kept, found = list(windows), dict[float, Point]()
    for _ in range(PASSES):
        gone: set[float] = set()
        for window, limits in _out(model, kept):
            if window.start not in found:
                found[window.start] = Point(window, limits, reason(window, limits))
            if found[window.start].reason:
                gone.add(window.start)
        kept = [window for window in kept if window.start not in gone]
        if not gone:
            break
    return kept, [found[start] for start in sorted(found)]


def _out(model: Model, windows: Sequence[Window]) -> list[tuple[Window, Limits]]:
    if not windows:
        return []
    centre = sum(w.bad for w in windows) / sum(w.n for w in windows)
    bounds = [(window, limits_of(model, centre, window.n)) for window in windows]
    return [(window, limits) for window, limits in bounds if not limits.holds(window.rate)]


def limits_of(model: Model, centre: float, n: float, phi: float = 1.0) -> Limits:
    """Control limits of a window of ``n`` events (or exposure)."""
    make = uchart.limits if model.family == "poisson" else pchart.limits
    return make(centre, n, sigma_z=sqrt(phi))


def _laney(model: Model, windows: Sequence[Window], p: float) -> float:
    z = [(w.bad - w.n * p) / sqrt(w.n * model.variance(p)) for w in windows]
    return sum(abs(b - a) for a, b in zip(z, z[1:], strict=False)) / (len(z) - 1) / pchart.D2


def hours(
    model: Model, windows: Sequence[Window], p: float, spread: float
) -> tuple[float | None, tuple[int, int] | None]:
    """p-value of the rate being the same at every hour of the day, and the hours with the highest and lowest rate."""
    cells: dict[int, list[float]] = {}
    for window in windows:
        cell = cells.setdefault(int(window.start % 86400 // 3600), [0.0, 0.0])
        cell[0] += window.n
        cell[1] += window.bad
    known = {hour: (n, x) for hour, (n, x) in cells.items() if n * p >= _EXPECTED}
    if len(known) < 2:
        return None, None
    chi2 = sum((x - n * p) ** 2 / (n * model.variance(p)) for n, x in known.values()) / spread
    ranked = sorted(known, key=lambda hour: known[hour][1] / known[hour][0])
    return chi_square_tail(chi2, len(known) - 1), (ranked[-1], ranked[0])


def _warnings(
    fit: Fit, sigma_z: float, sd: float, pattern: float | None, busiest: tuple[int, int] | None
) -> list[str]:
    found: list[str] = []
    if abs(sigma_z - sd) > APART * max(sigma_z, sd):
        found.append(
            f"spread from moving ranges {sigma_z:.2f}, from all windows {sd:.2f}: they differ by more than"
            f" {100 * APART:.0f} %, the rate wanders or jumps; look at the chart before you trust one baseline")
    if fit.phi > 1:
        found.append(
            f"events come in clusters (phi {fit.phi:.2f}): limits are {sqrt(fit.phi):.2f} times as wide, the evidence"
            f" grows {fit.phi:.2f} times slower, and the false-alarm promise is approximate")
    if pattern is not None and pattern < PATTERN and busiest:
        found.append(
            f"the rate follows the hour of the day (p = {pattern:.1g}): highest at {busiest[0]:02d} h, lowest at"
            f" {busiest[1]:02d} h UTC; one baseline for all hours alarms too often at the one, too late at the other")
    return found
