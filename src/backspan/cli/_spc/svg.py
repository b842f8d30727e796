"""A control chart as SVG: rate, centre line, limits, points out, phases; below it the evidence against its limit.

No dependency and no style sheet: readable on white and on black alike, with points out told by shape as well as by
colour, and the numbers behind each point in its ``<title>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from html import escape
from math import ceil, floor, log10

from backspan.cli._spc.drawing import Mark, Picture, short
from backspan.cli._spc.episodes import Episode
from backspan.cli._spc.history import named
from backspan.cli._spc.times import stamp
from backspan.cli._spc.words import count, rate

WIDTH, TOP, HEIGHT, GAP, BELOW, LEFT, RIGHT = 960, 84, 300, 54, 110, 74, 20
"""Pixels: the picture, where the upper panel begins, its height, the gap, the lower one's height, the margins."""
GREY, BLUE, RED, GREEN, ORANGE, BAND = "#7d8590", "#4187d6", "#e0443e", "#2f9e6e", "#c98a1b", "#7d8590"
"""Each has a contrast of about 3 or more to white and to black."""
_STEPS = (300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400)


def draw(picture: Picture) -> str:
    """The SVG of a picture. Raises ValueError if it has no marks."""
    if not picture.marks:
        raise ValueError("a chart needs at least one point")
    panel = _Panel(picture)
    total = TOP + HEIGHT + GAP + BELOW + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}"'
        ' font-family="system-ui, sans-serif" font-size="12" role="img">',
        f"<title>{escape(short(picture))}</title>",
        *_heading(picture),
        *panel.rates(),
        *panel.evidence(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _heading(picture: Picture) -> list[str]:
    legend = [("●", BLUE, "in control"), ("▲", RED, "out of limits"), ("—", GREEN, "accepted rate"),
              ("┄", ORANGE, "control limits"), ("┃", RED, "alarm")]
    parts, x = list[str](), float(LEFT)
    for sign, colour, text in legend:
        parts.append(_text(x, 72, sign, fill=colour))
        parts.append(_text(x + 16, 72, text))
        x += 30 + 6.6 * len(text)
    return [
        _text(LEFT, 18, short(picture), size=15, weight="600"),
        _text(LEFT, 36, _cut(named(picture.cohort))),
        _text(LEFT, 53, _cut(f"{picture.kind}-chart: {picture.why}")),
        *parts,
    ]


def _cut(text: str, most: int = 140) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


class _Panel:
    """Both panels of one picture and how values become pixels."""

    def __init__(self, picture: Picture) -> None:
        self._picture, self._marks = picture, picture.marks
        first, last = self._marks[0].at, self._marks[-1].at
        self._first, self._span = first, max(last - first, 1.0)
        bounds = [m.limits.upper for m in self._marks if m.limits]
        most = max([m.value for m in self._marks] + sorted(bounds)[: max(1, 9 * len(bounds) // 10)])
        self._most = most * 1.08 or 1.0
        self._evidence_top = max([picture.limit * 1.25] + [m.evidence for m in self._marks if m.evidence is not None])

    def x(self, at: float) -> float:
        """Pixel of a moment."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - self._first) / self._span

    def y(self, value: float) -> float:
        """Pixel of a rate."""
        return TOP + HEIGHT * (1.0 - min(max(value / self._most, 0.0), 1.0))

    def low(self, evidence: float) -> float:
        """Pixel of the evidence; what is below 0 is drawn at 0."""
        base = TOP + HEIGHT + GAP
        return base + BELOW * (1.0 - min(max(evidence / self._evidence_top, 0.0), 1.0))

    # --- the rate ---
    def rates(self) -> list[str]:
        """The upper panel."""
        show: Callable[[float], str] = (lambda v: count(round(v))) if self._picture.kind == "g" else \
            (lambda v: rate(v, self._picture.chart))
        parts = [_line(LEFT, self.y(v), WIDTH - RIGHT, self.y(v), GREY, 0.5, opacity=0.35) for v in ticks(self._most)]
        parts += [_text(LEFT - 8, self.y(v) + 4, show(v), anchor="end") for v in ticks(self._most)]
        parts += self._band()
        parts += self._phases() + self._alarms(TOP, TOP + HEIGHT)
        path = " ".join(f"{self.x(m.at):.1f},{self.y(m.value):.1f}" for m in self._marks)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="1" opacity="0.7"/>')
        return parts + [self._point(mark, show) for mark in self._marks]

    def _band(self) -> list[str]:
        """Limits and centre as steps, one stretch for each run of points that have them."""
        parts: list[str] = []
        for run in _runs(self._marks):
            upper, lower = self._steps(run, "upper"), self._steps(run, "lower")
            back = " ".join(reversed(lower.split(" ")))
            parts.append(f'<polygon points="{upper} {back}" fill="{BAND}" opacity="0.13"/>')
            parts += [f'<polyline points="{points}" fill="none" stroke="{ORANGE}" stroke-dasharray="5 3"/>'
                      for points in (upper, lower)]
            parts.append(f'<polyline points="{self._steps(run, "centre")}" fill="none" stroke="{GREEN}"'
                         ' stroke-width="1.5"/>')
        return parts

    def _steps(self, run: Sequence[Mark], side: str) -> str:
        points: list[str] = []
        for here, after in zip(run, [*run[1:], None], strict=True):
            y = self.y(getattr(here.limits, side))
            end = self.x(after.at) if after else min(self.x(here.at) + 6, WIDTH - RIGHT)
            points += [f"{self.x(here.at):.1f},{y:.1f}", f"{end:.1f},{y:.1f}"]
        return " ".join(points)

    def _phases(self) -> list[str]:
        parts: list[str] = []
        free = 0.0
        for at, phase in self._picture.phases:
            x = self.x(at)
            parts.append(_line(x, TOP, x, TOP + HEIGHT, GREY, 1, dash="2 3"))
            if x >= free:
                parts.append(_text(x + 4, TOP + 12, phase, fill=GREY))
                free = x + 8 + 7 * len(phase)
        return parts

    def _alarms(self, top: float, bottom: float) -> list[str]:
        return [self._alarm(one, top, bottom) for one in self._picture.alarms]

    def _alarm(self, one: Episode, top: float, bottom: float) -> str:
        """A line where it fires, and a shade for as long as it does."""
        end = one.ended if one.ended is not None else self._first + self._span
        x, wide = self.x(one.fired), max(self.x(min(end, self._first + self._span)) - self.x(one.fired), 0.0)
        said = f"alarm {stamp(one.fired)} to {stamp(one.ended) if one.ended is not None else 'the end'}"
        shade = f'<rect x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{bottom - top}" fill="{RED}" opacity="0.10"/>'
        return f"<g><title>{escape(said)}</title>{shade}{_line(x, top, x, bottom, RED, 2)}</g>"

    def _point(self, mark: Mark, show: Callable[[float], str]) -> str:
        x, y = self.x(mark.at), self.y(mark.value)
        said = f"{stamp(mark.at)}: {show(mark.value)}, {count(mark.bad)} of n = {count(mark.n)}"
        if mark.limits:
            low, middle, high = (show(v) for v in (mark.limits.lower, mark.limits.centre, mark.limits.upper))
            said += f"; limits {low} to {high}, accepted {middle}"
        said += f"; {mark.phase}" + ("" if mark.evidence is None else f", evidence {mark.evidence:.2f}")
        if mark.out:
            shape = f'<path d="M{x:.1f} {y - 6:.1f}l5.5 9.5h-11z" fill="{RED}"/>'
        else:
            shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{BLUE}"/>'
        return f"<g><title>{escape(said)}</title>{shape}</g>"

    # --- the evidence ---
    def evidence(self) -> list[str]:
        """The lower panel, and the axis of time below it."""
        top, bottom = TOP + HEIGHT + GAP, TOP + HEIGHT + GAP + BELOW
        limit = self.low(self._picture.limit)
        parts = [
            _text(LEFT, top - 8, "evidence against its limit (ln of the Shiryaev-Roberts statistic)", fill=GREY),
            _line(LEFT, bottom, WIDTH - RIGHT, bottom, GREY, 0.5),
            _line(LEFT, limit, WIDTH - RIGHT, limit, RED, 1.2, dash="6 3"),
            _text(LEFT - 8, limit + 4, f"{self._picture.limit:.1f}", anchor="end", fill=RED),
            _text(LEFT - 8, bottom + 4, "0", anchor="end"),
            *self._alarms(top, bottom),
        ]
        for run in _runs(self._marks, lambda mark: mark.evidence is not None):
            path = " ".join(f"{self.x(m.at):.1f},{self.low(m.evidence or 0.0):.1f}" for m in run)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>')
        return parts + self._dates(bottom)

    def _dates(self, bottom: float) -> list[str]:
        parts: list[str] = []
        step = next((s for s in _STEPS if self._span / s <= 9), self._span / 8)
        form = "%d %b" if step >= 86400 else "%d %b %H:%M"
        at = ceil(self._first / step) * step
        while at <= self._first + self._span:
            x, said = self.x(at), datetime.fromtimestamp(at, timezone.utc).strftime(form)
            parts.append(_line(x, bottom, x, bottom + 5, GREY, 1))
            parts.append(_line(x, TOP + HEIGHT, x, TOP + HEIGHT + 4, GREY, 1))
            parts.append(_text(min(max(x, LEFT + 12), WIDTH - RIGHT - 24), bottom + 19, said, anchor="middle"))
            at += step
        return [*parts, _text(WIDTH - RIGHT, bottom + 33, "UTC", anchor="end", fill=GREY),
                _line(LEFT, TOP + HEIGHT, WIDTH - RIGHT, TOP + HEIGHT, GREY, 0.8)]


def _limited(mark: Mark) -> bool:
    return mark.limits is not None


def _runs(marks: Sequence[Mark], wanted: Callable[[Mark], bool] = _limited) -> list[list[Mark]]:
    runs: list[list[Mark]] = [[]]
    for mark in marks:
        if wanted(mark):
            runs[-1].append(mark)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def ticks(most: float) -> list[float]:
    """Round values from 0 to ``most``, four to eight of them."""
    size = 10 ** floor(log10(most / 4))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if most / (m * size) <= 7)
    return [i * step for i in range(int(most / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, *, dash: str = "",
          opacity: float = 1.0) -> str:
    more = f' stroke-dasharray="{dash}"' if dash else ""
    more += f' opacity="{opacity}"' if opacity < 1 else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"'
            f' stroke-width="{width}"{more}/>')


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "",
          fill: str = GREY) -> str:
    more = f' font-weight="{weight}"' if weight else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{more}>'
            f"{escape(text)}</text>")
