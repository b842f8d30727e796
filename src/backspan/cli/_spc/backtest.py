"""``backspan spc backtest``: alarms that the rules would have raised on your history, and how fast a shift is found.

The chart's own detector runs over the history in steps, with its phases. An alarm is at most one step late; the
evidence differs from that of the rules, which evaluate more often, by what one larger batch does to it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from backspan.cli import print_json
from backspan.cli._spc import baselines, options, standing
from backspan.cli._spc.episodes import Delay, Episode, Snapshots, Watch, delay, places, poisson_tail, replay_with
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Cohort, History, named
from backspan.cli._spc.progress import Progress, note
from backspan.cli._spc.replay import Overrides, Replay, limit_of
from backspan.cli._spc.times import iso, length, moment, stamp
from backspan.cli._spc.words import count, events, rate
from backspan.rules.spec import Chart, Spec

HELP = "replay history through the chart: which alarms there would have been, and how fast a shift is found"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``backtest``."""
    options.add_source(parser)
    options.add_period(parser, "30d")
    parser.add_argument("--baselines", type=Path, metavar="FILE",
                        help="baselines of `spc fit` to replay with (default: those the server has)")
    parser.add_argument("--no-baselines", action="store_true", help="replay without baselines set by hand")
    parser.add_argument("--shift", type=float, metavar="FACTOR", help="inject a shift: the rate becomes FACTOR times")
    parser.add_argument("--at", metavar="WHEN", help="where the shift begins (default: at --places random places)")
    parser.add_argument("--places", type=int, default=20, metavar="N", help="random places (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all that is random (default %(default)s)")


@dataclass(frozen=True)
class Outcome:
    """One chart's backtest."""

    history: History
    replay: Replay
    watch: Watch
    episodes: list[Episode]
    delays: list[Delay]
    refused: dict[str, int]

    @property
    def promised(self) -> float:
        """Rated events of the whole system to a false alarm."""
        return self.history.chart.promise.in_events(self.history.per_day)

    @property
    def watched(self) -> float:
        """Rated events of the whole system that were watched: the most of any partition."""
        return max(self.watch.watched.values(), default=0.0)


def run(args: argparse.Namespace) -> int:
    """0: no alarm; 1: at least one. Raises `Fault`."""
    _check(args)
    spec = options.spec_of(args)
    charts, period = options.charts_of(args, spec), options.period_of(args)
    server = options.server_of(args)
    at = moment(args.at, period.now, "--at") if args.at else None
    outcomes: list[Outcome] = []
    for chart in charts:
        try:
            history = options.history_of(server, args, spec, chart, period, fine=True)
        except Fault as fault:
            if len(charts) == 1:
                raise
            note(f"{chart.name}: passed over: {fault}")
            continue
        outcomes.append(_outcome(args, history, _overrides(args, server, spec, chart, period), at))
    if not outcomes:
        raise Fault("no chart has a history")
    if args.json:
        print_json({"charts": [_json(one, args) for one in outcomes]})
    else:
        print("\n".join(line for one in outcomes for line in _lines(one, args)))
    return 1 if any(one.episodes for one in outcomes) else 0


def _check(args: argparse.Namespace) -> None:
    if args.shift is None and args.at:
        raise Fault("--at says where --shift begins: give --shift FACTOR too")
    if args.shift is not None and not (0.01 <= args.shift <= 100 and args.shift != 1):
        raise Fault(f"--shift: must be a factor from 0.01 to 100 and not 1, got {args.shift:g}")
    if not 1 <= args.places <= 10_000:
        raise Fault(f"--places: must be from 1 to 10000, got {args.places}")
    if args.baselines and args.no_baselines:
        raise Fault("--baselines and --no-baselines contradict each other")


def _overrides(
    args: argparse.Namespace, server: options.Server, spec: Spec, chart: Chart, period: options.Period
) -> Overrides:
    if args.no_baselines:
        return {}
    if args.baselines:
        if not args.baselines.is_file():
            raise Fault(f"--baselines: {args.baselines} is no file")
        return baselines.overrides(baselines.read(args.baselines, spec), chart.name)
    return standing.set_by_hand(server, chart, period.now)


def _outcome(args: argparse.Namespace, history: History, overrides: Overrides, at: float | None) -> Outcome:
    wanted = options.chosen(sorted(history.batches), args)
    if at is not None and not history.since <= at < history.until:
        raise Fault(f"--at: {stamp(at)} is not within the history, {stamp(history.since)} to {stamp(history.until)}")
    begin = places(history, wanted, at, args.places, args.seed) if args.shift else {}
    replay, watch, snapshots = Replay(history.chart, history.step, limit_of(history), overrides), Watch(history), \
        Snapshots(begin)
    with Progress(f"replaying {history.chart.name}", history.until - history.since) as bar:
        replay_with(history, replay, watch, snapshots, lambda now: bar.at(now - history.since, stamp(now)))
    episodes = [episode for episode in watch.end(history.until) if episode.cohort in wanted]
    return Outcome(history, replay, watch, episodes, _delays(args, history, replay, snapshots), snapshots.refused)


def _delays(args: argparse.Namespace, history: History, replay: Replay, snapshots: Snapshots) -> list[Delay]:
    found: list[Delay] = []
    with Progress("injecting shifts", len(snapshots.taken)) as bar:
        for number, place in enumerate(snapshots.taken):
            batches = history.batches[place.cohort]
            mean = sum(b.bad for b in batches) / max(sum(b.n for b in batches), 1e-12)
            found.append(delay(replay, place, batches, args.shift, mean, args.seed))
            bar.at(number + 1)
    return found


# --- saying ---------------------------------------------------------------------------------------------------------
def _lines(one: Outcome, args: argparse.Namespace) -> list[str]:
    history, chart = one.history, one.history.chart
    lines = [
        f"{chart.name}: {chart.watched.description}",
        f"  from {history.source}; {stamp(history.since)} to {stamp(history.until)}",
        *(f"  gap: nothing recorded from {stamp(a)} to {stamp(b)}" for a, b in history.gaps),
        f"  {_watched(one)}",
        f"  limit {one.replay.limit:.2f}: on average at most one false alarm per {count(one.promised)} {events(chart)};"
        f" over this history that allows {one.watched / one.promised:.2g}",
        f"  {_found(one)}",
        *(line for episode in one.episodes for line in _episode(episode, chart)),
    ]
    if args.shift:
        lines += _shifts(one, args)
    return [*lines, f"  resolution: alarms are found in steps of {length(history.step)}; the rules look more often"]


def _watched(one: Outcome) -> str:
    unit = events(one.history.chart)
    learning = max(one.watch.learning.values(), default=0.0)
    said = f", after {count(learning)} while it learnt" if learning else ""
    return f"{count(one.watched)} {unit} watched in {len(one.history.batches)} cohorts{said}"


def _found(one: Outcome) -> str:
    k, mean = len(one.episodes), one.watched / one.promised
    if not k:
        return "found: no alarm"
    chance = poisson_tail(k, mean)
    return (f"found: {k} alarm{'s' if k > 1 else ''}; if nothing was ever wrong, so many have a chance of"
            f" {'less than 0.001' if chance < 0.001 else f'{chance:.2g}'}")


def _episode(episode: Episode, chart: Chart) -> list[str]:
    ended = f"to {stamp(episode.ended)}" if episode.ended else "and still firing at the end"
    return [
        f"  ALARM {stamp(episode.fired)} {ended}  {named(episode.cohort)}",
        f"        evidence up to {episode.peak:.2f}; {count(episode.bad)} of {count(episode.n)} while it was over the"
        f" limit = {rate(episode.bad / episode.n if episode.n else 0.0, chart)}, accepted"
        f" {rate(episode.p0, chart)} ({episode.phase})",
    ]


def _shifts(one: Outcome, args: argparse.Namespace) -> list[str]:
    lines = [f"  a shift to {args.shift:g} times the rate, injected"
             f" {'at ' + args.at if args.at else f'at {len(one.delays)} random places (seed {args.seed})'}:"]
    for what, number in one.refused.items():
        if number:
            why = "the cohort was still learning there" if what == "learning" else "the chart alarmed there already"
            lines.append(f"    {number} not tried: {why}")
    for partition in sorted({d.place.cohort[0] for d in one.delays}):
        mine = [d for d in one.delays if d.place.cohort[0] == partition]
        lines.append(f"    {partition}: {_summary(mine, one.history.chart)}")
    return lines


def _summary(delays: list[Delay], chart: Chart) -> str:
    found = [d for d in delays if d.found]
    if not found:
        return f"found in none of {len(delays)}: the history ends before"
    return (
        f"found in {len(found)} of {len(delays)}; {events(chart)}: mean {count(fmean(d.events for d in found))},"
        f" median {count(median(d.events for d in found))}; time: mean {length(fmean(d.seconds for d in found))},"
        f" median {length(median(d.seconds for d in found))}"
        + ("" if len(found) == len(delays) else " (of those found: the others would take longer)"))


def _json(one: Outcome, args: argparse.Namespace) -> dict[str, Any]:
    history = one.history
    found: dict[str, Any] = {
        "chart": history.chart.name, "source": history.source, "from": iso(history.since), "to": iso(history.until),
        "step": history.step, "gaps": [[iso(a), iso(b)] for a, b in history.gaps], "limit": one.replay.limit,
        "promise": one.promised, "watched": one.watched,
        "learning": max(one.watch.learning.values(), default=0.0),
        "alarms": [_alarm(episode) for episode in one.episodes],
    }
    if args.shift:
        found["shift"] = {
            "factor": args.shift, "seed": args.seed, "not_tried": one.refused,
            "delays": [{**_labels(d.place.cohort), "at": iso(d.place.at), "events": d.events, "seconds": d.seconds,
                        "found": d.found} for d in one.delays]}
    return found


def _alarm(episode: Episode) -> dict[str, Any]:
    return {**_labels(episode.cohort), "fired": iso(episode.fired),
            "ended": iso(episode.ended) if episode.ended else None, "evidence": episode.peak, "limit": episode.limit,
            "n": episode.n, "bad": episode.bad, "p0": episode.p0, "phase": episode.phase}


def _labels(cohort: Cohort) -> dict[str, Any]:
    return {"partition": cohort[0], "labels": dict(cohort[1])}
