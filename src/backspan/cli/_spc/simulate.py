"""``backspan spc simulate``: what a chart would do at your volume, before you choose it."""

from __future__ import annotations

import argparse
from math import inf, isfinite, sqrt

from backspan.cli import print_json
from backspan.cli._spc import options
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import History
from backspan.cli._spc.progress import Progress
from backspan.cli._spc.runlength import Setting, simulate
from backspan.cli._spc.simulate_report import NORMAL, Case, Row, as_json, fall, head, legend, rows_of
from backspan.cli._spc.times import duration
from backspan.rules.spec import Chart
from backspan.spc import arl, pchart, power, uchart
from backspan.spc.baseline import Learner
from backspan.spc.points import Side
from backspan.spc.shiryaev import threshold

HELP = "the run-length table for your volume: time to a false alarm and to a true one, against other charts"
_FACTORS = (1.1, 1.2, 1.5, 2.0, 3.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``simulate``."""
    options.add_source(parser)
    options.add_period(parser, "30d")
    parser.add_argument("--volume", metavar="N/h", help="rated events, such as 100/h or 2000/d (default: measured)")
    parser.add_argument("--p0", type=float, metavar="RATE", help="accepted rate (default: the spec's, else measured)")
    parser.add_argument("--phi", type=float, metavar="X", help="dispersion (default: the spec's, else measured)")
    parser.add_argument("--promise", metavar="N|LENGTH",
                        help="events or time to a false alarm: 100000, 60d (default: the spec's)")
    parser.add_argument("--shifts", metavar="A,B", help="factors by which it gets worse (default 1.1,1.2,1.5,2,3)")
    parser.add_argument("--fall", type=float, default=5.0, metavar="PERCENT",
                        help="how many outcomes reveal a fall of so much in the good share (default %(default)g)")
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="simulated runs a row (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """0: done. Raises `Fault`."""
    factors = _checked(args)
    spec = options.spec_of(args)
    chart = options.one_chart(args, spec)
    history = _measured(args, chart)
    case = _case(args, chart, history, spec.interval)
    rows = _rows(case, factors, args)
    needs = _needs(case, args.fall)
    if args.json:
        print_json(as_json(case, rows, needs, args))
    else:
        print("\n".join([*head(case, args), "", *rows_of(case, rows), "", *legend(case, rows), *fall(needs, args)]))
    return 0


def _checked(args: argparse.Namespace) -> tuple[float, ...]:
    if args.volume:
        volume(args.volume)
    if not 2 <= args.runs <= 1_000_000:
        raise Fault(f"--runs: must be from 2 to 1000000, got {args.runs}")
    if not 0 < args.fall < 100:
        raise Fault(f"--fall: must be between 0 and 100 per cent, got {args.fall:g}")
    if args.phi is not None and not 1 <= args.phi <= 1000:
        raise Fault(f"--phi: must be from 1 to 1000, got {args.phi:g}")
    if args.shifts is None:
        return _FACTORS
    try:
        found = tuple(sorted({float(part) for part in args.shifts.split(",")}))
    except ValueError:
        found = ()
    if not found or not all(1 < factor <= 100 for factor in found):
        raise Fault(f"--shifts: must be factors above 1 such as 1.2,1.5,2, got {args.shifts!r}")
    return found


def volume(text: str) -> float:
    """Events an hour of ``100/h``, ``2000/d``, ``3/min`` or ``1/s``. Raises `Fault`."""
    number, slash, unit = text.partition("/")
    hours = {"h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0, "min": 1 / 60, "s": 1 / 3600, "w": 168.0}.get(unit)
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not slash or hours is None or not 0 < value < 1e12:
        raise Fault(f"--volume: {text!r} is no volume; write 100/h, 2000/d or 3/min")
    return value / hours


def _measured(args: argparse.Namespace, chart: Chart) -> History | None:
    """The history, where something has to be measured."""
    if args.volume and (args.p0 is not None or not chart.baseline.learnt):
        return None
    spec = options.spec_of(args)
    return options.history_of(options.server_of(args), args, spec, chart, options.period_of(args))


def _case(args: argparse.Namespace, chart: Chart, history: History | None, interval: int) -> Case:
    per_hour = volume(args.volume) if args.volume else (history.per_day / 24 if history else 0.0)
    fit = _fit(history) if history else None
    p0 = args.p0 if args.p0 is not None else chart.baseline.p0 if not chart.baseline.learnt else fit[0] if fit else 0.0
    given = chart.baseline.phi if not chart.baseline.learnt else fit[1] if fit else 1.0
    phi = args.phi if args.phi is not None else given
    try:
        chart.model.check(p0)
    except ValueError as error:
        raise Fault(f"--p0: {error}") from None
    promise = _promise(args, chart, per_hour)
    limit = threshold(promise, chart.n_ref, len(chart.partitions))
    setting = Setting(p0, limit, chart.alternatives, chart.n_ref, chart.model, phi, per_hour * interval / 3600)
    said = f"measured from {history.source}" if history else "as given"
    return Case(chart, per_hour, setting, promise, said)


def _fit(history: History) -> tuple[float, float]:
    """p0 and phi of the busiest cohort of the first partition."""
    first = history.chart.partitions[0].name
    mine = [cohort for cohort in history.batches if cohort[0] == first]
    busiest = max(mine, key=lambda cohort: sum(batch.n for batch in history.batches[cohort]), default=None)
    windows = history.windows(busiest) if busiest else []
    if len(windows) < 2:
        raise Fault("too little history to measure a rate: give --p0")
    fit = Learner.of([(w.n, w.bad) for w in windows]).fit(history.chart.model)
    return fit.p0, fit.phi


def _promise(args: argparse.Namespace, chart: Chart, per_hour: float) -> float:
    if args.promise is None:
        return chart.promise.in_events(per_hour * 24)
    try:
        events_said = float(args.promise)
    except ValueError:
        events_said = duration(args.promise, "--promise") / 3600 * per_hour
    if not (isfinite(events_said) and events_said >= 10 * chart.n_ref):
        raise Fault(f"--promise: {args.promise} is {events_said:.3g} events; {10 * chart.n_ref} at least")
    return events_said


def _rows(case: Case, factors: tuple[float, ...], args: argparse.Namespace) -> list[Row]:
    setting, rows = case.setting, list[Row]()
    rates = [(1.0, setting.p0)] + [(f, setting.model.alternative(setting.p0, f)) for f in factors]
    with Progress("simulating", args.runs * len(rates)) as bar:
        for number, (factor, p) in enumerate(rates):
            quiet = case.quiet if number else 0.0
            found = simulate(setting, p, args.runs, args.seed, quiet=quiet,
                             told=lambda done, at=number: bar.at(at * args.runs + done, f"{done} of {args.runs} runs"))
            rows.append(Row(factor, p, found, *_others(case, p)))
    return rows


# --- other charts ---------------------------------------------------------------------------------------------------
def _others(case: Case, p: float) -> tuple[float | None, float | None, float | None]:
    """Windows until the p- (or u-) chart signals, exactly; EWMA and CUSUM with the same promise, by the normal law."""
    return _shewhart(case, p), *_smoothed(case, p)


def _shewhart(case: Case, p: float) -> float | None:
    setting, n = case.setting, case.window_n
    if setting.phi > 1 or n < 1:
        return None
    side: Side = "down" if setting.model.falls else "up"
    if setting.model.family == "poisson":
        return uchart.run_length(setting.p0, n, p, side=side) if n * max(p, setting.p0) < 1e5 else None
    return pchart.run_length(setting.p0, round(n), p, side=side) if n < 1e6 else None


def _smoothed(case: Case, p: float) -> tuple[float | None, float | None]:
    setting, n = case.setting, case.window_n
    windows = case.promise / n if n else inf
    if n * min(setting.p0, p) < NORMAL or not 10 <= windows <= 1e6:
        return None, None
    sd = sqrt(setting.phi * setting.model.variance(setting.p0) / n)
    shift = abs(p - setting.p0) / sd
    return arl.ewma(0.2, arl.ewma_width(windows, 0.2, side="up"), shift, side="up"), \
        arl.cusum(0.5, arl.cusum_limit(windows, 0.5, side="up"), shift, side="up")


# --- how many outcomes ----------------------------------------------------------------------------------------------
def _needs(case: Case, fall: float) -> dict[str, float]:
    """Events that reveal a fall of the good share, by method; nothing for a rate."""
    setting = case.setting
    if setting.model.family == "poisson":
        return {}
    good = setting.p0 if setting.model.falls else 1.0 - setting.p0
    after = power.changed(good, -fall / 100)
    plan = power.plan(good, -fall / 100, max(case.per_hour * 24, 1e-9), setting.limit, phi=setting.phi)
    found = {need.method: need.events for need in plan if need.method != "chart"}
    rising = after if setting.model.falls else 1.0 - after
    chart = power.detection_events(setting.p0, rising, setting.limit, n_ref=setting.n_ref, phi=setting.phi,
                                   alternatives=setting.alternatives, model=setting.model)
    return {**found, "chart": chart}
