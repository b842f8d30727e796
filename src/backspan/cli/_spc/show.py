"""``backspan spc show``: the chart, in the terminal or as SVG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from backspan.cli import print_json
from backspan.cli._demo.screen import terminal_width, wants_colour
from backspan.cli._spc import options, standing, svg, terminal
from backspan.cli._spc.drawing import Picture, picture
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Cohort, History, named
from backspan.cli._spc.progress import note
from backspan.cli._spc.times import duration, iso, stamp
from backspan.cli._spc.words import count, events, rate

HELP = "draw a control chart in the terminal, or as SVG"
_MOST = 120
"""Points that fit a terminal; more are put together to wider windows unless --window says otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``show``."""
    options.add_source(parser)
    options.add_period(parser, "7d")
    parser.add_argument("--window", metavar="LENGTH", help="width of a point (default: the chart's window, or wider)")
    parser.add_argument("--replay", action="store_true",
                        help="learn the baseline from the history shown, instead of drawing the one in effect now")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write an SVG instead")


def run(args: argparse.Namespace) -> int:
    """1: the cohort alarms at the end; 0: it does not. Raises `Fault`."""
    spec = options.spec_of(args)
    chart, period = options.one_chart(args, spec), options.period_of(args)
    server = options.server_of(args)
    history = options.history_of(server, args, spec, chart, period, fine=True)
    cohort = _cohort(history, args)
    which = standing.set_by_hand if args.replay else standing.in_effect
    overrides = which(server, chart, period.now)
    found = picture(history, cohort, overrides, _width(args, history))
    if not found.marks:
        raise Fault(f"{named(cohort)} has no points in that time")
    if args.json:
        print_json(_json(found, history))
    elif args.svg:
        _write(args.svg, svg.draw(found))
    else:
        print("\n".join([*_head(found, history), terminal.draw(found, terminal_width(), wants_colour(sys.stdout)),
                         *_foot(found)]))
    return 1 if found.marks[-1].phase == "alarm" else 0


def _cohort(history: History, args: argparse.Namespace) -> Cohort:
    """The one that ``--cohort`` means; of several the busiest, which is said."""
    found = options.chosen(sorted(history.batches), args)
    busiest = max(found, key=lambda c: (sum(b.n for b in history.batches[c]), c[0] == history.chart.partitions[0].name))
    if len(found) > 1:
        note(f"{len(found)} cohorts; this is {named(busiest)}. --cohort KEY=VALUE chooses another:")
        for cohort in found[:10]:
            if cohort != busiest:
                note(f"  {named(cohort)}")
    return busiest


def _width(args: argparse.Namespace, history: History) -> float:
    if args.window:
        width = duration(args.window, "--window")
        if width < history.step or width % history.step:
            raise Fault(f"--window: must be a multiple of the history's step of {history.step:g} s, got {args.window}")
        return width
    width = float(history.chart.window)
    while not args.svg and not args.json and (history.until - history.since) / width > _MOST:
        width *= 2
    return width


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Fault(f"--svg: {error}") from None
    print(f"wrote {path}")


# --- saying ---------------------------------------------------------------------------------------------------------
def _head(found: Picture, history: History) -> list[str]:
    return [f"{found.chart.name}: {found.chart.watched.description}", f"  {named(found.cohort)}",
            f"  {found.kind}-chart: {found.why}", f"  from {history.source}",
            *(f"  gap: nothing recorded from {stamp(a)} to {stamp(b)}" for a, b in history.gaps)]


def _foot(found: Picture) -> list[str]:
    chart, last = found.chart, found.marks[-1]
    out = [mark for mark in found.marks if mark.out]
    unit = events(chart)
    lines = [f"  {count(sum(m.n for m in found.marks))} {unit} in {len(found.marks)} points; {len(out)} out of limits"
             if found.kind != "g" else f"  {len(found.marks)} points; {len(out)} out of limits"]
    if last.limits and found.kind != "g":
        lines.append(f"  accepted {rate(last.limits.centre, chart)}, last point {rate(last.value, chart)} of"
                     f" {count(last.n)}, limits {rate(last.limits.lower, chart)} to {rate(last.limits.upper, chart)}")
    shown = "none yet" if last.evidence is None else f"{last.evidence:.2f}"
    lines.append(f"  phase {last.phase}; evidence {shown}, limit {found.limit:.2f}")
    for one in found.alarms:
        ended = f"to {stamp(one.ended)}" if one.ended is not None else "and still firing at the end"
        lines.append(f"  ALARM {stamp(one.fired)} {ended}")
    return lines


def _json(found: Picture, history: History) -> dict[str, Any]:
    return {
        "chart": found.chart.name, "partition": found.cohort[0], "labels": dict(found.cohort[1]), "kind": found.kind,
        "why": found.why, "source": history.source, "gaps": [[iso(a), iso(b)] for a, b in history.gaps],
        "limit": found.limit, "alarms": [
            {"fired": iso(one.fired), "ended": None if one.ended is None else iso(one.ended)} for one in found.alarms],
        "points": [{"at": iso(m.at), "value": m.value, "n": m.n, "bad": m.bad, "out": m.out, "phase": m.phase,
                    "evidence": m.evidence, "lower": m.limits.lower if m.limits else None,
                    "centre": m.limits.centre if m.limits else None,
                    "upper": m.limits.upper if m.limits else None} for m in found.marks],
    }
