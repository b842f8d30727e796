"""The control chart in the terminal: share of thumbs down per window of ratings, drawn by plotext."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backspan.spc import pchart

WINDOW = 20
"""Ratings per point. The chart is for the eye; the detector that pages takes every rating by itself."""


def windows(ratings: Sequence[bool], boundary: int | None = None) -> list[tuple[int, pchart.Window]]:
    """Windows of 20 ratings (True is thumbs down), each with the number of its last rating, from 1.

    No window crosses ``boundary``, the number of the first rating of something new: a window that mixes two processes
    shows neither. A rest of at least half a window makes a window too, so that the newest ratings are seen.
    """
    split = boundary - 1 if boundary else 0
    stretches = ((0, split), (split, len(ratings)))
    cuts = [(at, min(at + WINDOW, end)) for start, end in stretches for at in range(start, end, WINDOW)]
    return [(end, pchart.Window(end - at, sum(ratings[at:end]))) for at, end in cuts if end - at >= WINDOW / 2]


def draw(
    ratings: Sequence[bool], p0: float, *, released: tuple[int, str] | None, alarm_at: int | None, width: int,
    colour: bool, height: int = 15,
) -> str:
    """The p-chart of ``ratings`` around the accepted share ``p0``.

    ``released`` is the number of the first rating of a new version, from 1, and what to call it; ``alarm_at`` the
    number of the rating that raised the alarm.
    """
    import plotext  # pyright: ignore[reportMissingTypeStubs]  # loaded only where something is drawn

    plot: Any = plotext
    points = windows(ratings, released[0] if released else None)
    limit, last = pchart.limits(p0, WINDOW).upper, max(len(ratings), 1)
    top = min(1.0, max([0.5, *(window.rate + 0.15 for _, window in points)]))
    plot.clear_figure()
    plot.limit_size(False, False)
    plot.plot_size(width, height)
    plot.theme("clear")
    plot.plot([1, last], [100 * p0] * 2, marker="braille", color="green")
    plot.plot([1, last], [100 * limit] * 2, marker="braille", color="orange")
    _marks(plot, released, alarm_at, 100 * top)
    _points(plot, points, p0)
    _axes(plot, {0.0: "0 %", p0: f"accepted {p0:.0%}", limit: f"limit {limit:.0%}", top: f"{top:.0%}"}, last)
    text: str = plot.build()
    return (text if colour else plot.uncolorize(text)).rstrip()


def _marks(plot: Any, released: tuple[int, str] | None, alarm_at: int | None, top: float) -> None:
    if released:
        plot.vline(released[0], "cyan")
        plot.text(f"{released[1]} out ", released[0], top, color="cyan", alignment="right")
    if alarm_at:
        plot.vline(alarm_at, "red")
        plot.text(f"ALARM at rating {alarm_at} ", alarm_at, 0.9 * top, color="red", alignment="right")


def _points(plot: Any, points: Sequence[tuple[int, pchart.Window]], p0: float) -> None:
    ends = [end for end, _ in points]
    shares = [100 * window.rate for _, window in points]
    out = set(pchart.points_out([window for _, window in points], p0))
    plot.plot(ends, shares, marker="braille", color="default")
    for position, (end, share) in enumerate(zip(ends, shares, strict=True)):
        high = position in out and share > 100 * p0
        plot.scatter([end], [share], marker="X" if high else "•", color="red" if high else "default")


def _axes(plot: Any, levels: dict[float, str], last: int) -> None:
    plot.ylim(0, 100 * max(levels))
    plot.xlim(1, last)
    plot.yticks([100 * level for level in levels], list(levels.values()))
    step = 50 if last <= 300 else 100
    numbers = [1, *(at for at in range(step, last, step) if last - at > step / 3), last]
    plot.xticks(numbers, [str(number) for number in numbers])
