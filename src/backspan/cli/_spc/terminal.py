"""A control chart in the terminal, drawn by plotext."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from backspan.cli._spc.drawing import Picture
from backspan.cli._spc.words import count, rate


def draw(picture: Picture, width: int, colour: bool) -> str:
    """The rate with its limits, and below it the evidence, ``width`` columns wide."""
    import plotext  # pyright: ignore[reportMissingTypeStubs]  # loaded only where something is drawn

    plot: Any = plotext
    text = f"{_rates(plot, picture, width)}\n{_evidence(plot, picture, width)}"
    found = text if colour else str(plot.uncolorize(text))
    return "\n".join(line.rstrip() for line in found.splitlines())


def _begin(plot: Any, width: int, height: int, picture: Picture) -> None:
    plot.clear_figure()
    plot.limit_size(False, False)
    plot.plot_size(width, height)
    plot.theme("clear")
    first, last = picture.marks[0].at, picture.marks[-1].at
    plot.xlim(first, max(last, first + 1))
    times = [first + (last - first) * i / 4 for i in range(5)]
    form = "%d %b" if last - first > 5 * 86400 else "%d %b %H:%M"
    plot.xticks(times, [datetime.fromtimestamp(at, timezone.utc).strftime(form) for at in times])


def _rates(plot: Any, picture: Picture, width: int) -> str:
    _begin(plot, width, 20, picture)
    marks = picture.marks
    limited = [mark for mark in marks if mark.limits is not None]
    for side, paint in (("upper", "orange"), ("lower", "orange"), ("centre", "green")):
        if limited:
            values = [getattr(mark.limits, side) for mark in limited]
            plot.plot([mark.at for mark in limited], values, marker="braille", color=paint)
    for at, _ in picture.phases[1:]:
        plot.vline(at, "cyan")
    for alarm in picture.alarms:
        plot.vline(alarm.fired, "red")
    plot.plot([m.at for m in marks], [m.value for m in marks], marker="braille", color="default")
    for mark in marks:
        plot.scatter([mark.at], [mark.value], marker="X" if mark.out else "•", color="red" if mark.out else "default")
    uppers = sorted(m.limits.upper for m in limited if m.limits)
    top = 1.1 * max([m.value for m in marks] + uppers[: max(1, 9 * len(uppers) // 10)]) or 1.0
    plot.ylim(0, top)
    levels = [top * i / 5 for i in range(6)]
    plot.yticks(levels, [count(round(v)) if picture.kind == "g" else rate(v, picture.chart) for v in levels])
    return str(plot.build()).rstrip()


def _evidence(plot: Any, picture: Picture, width: int) -> str:
    _begin(plot, width, 9, picture)
    known = [mark for mark in picture.marks if mark.evidence is not None]
    first, last = picture.marks[0].at, picture.marks[-1].at
    plot.plot([first, max(last, first + 1)], [picture.limit] * 2, marker="braille", color="red")
    if known:
        plot.plot([m.at for m in known], [max(m.evidence or 0.0, 0.0) for m in known], marker="braille")
    top = max([picture.limit * 1.25] + [m.evidence or 0.0 for m in known])
    plot.ylim(0, top)
    plot.yticks([0, picture.limit], ["evidence 0", f"limit {picture.limit:.1f}"])
    return str(plot.build()).rstrip()
