"""Options that the subcommands share, and what they mean."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

from backspan.cli._spc import recorded
from backspan.cli._spc.embedded import Embedded
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Cohort, History, matches
from backspan.cli._spc.http import TIMEOUT, Api, Refused, headers_of
from backspan.cli._spc.progress import note
from backspan.cli._spc.prometheus import Prometheus
from backspan.cli._spc.times import duration, moment
from backspan.rules.spec import Chart, Spec, SpecError, load

UP, PROMETHEUS = "http://127.0.0.1:4318", "http://127.0.0.1:9090"
"""Where each listens by default."""
_PROBE = 2.0
_FINEST_UP = 60

Server = Prometheus | Embedded


def add_source(parser: argparse.ArgumentParser) -> None:
    """Where the history is."""
    group = parser.add_argument_group("where the history is (default: whichever answers on its usual port)")
    where = group.add_mutually_exclusive_group()
    where.add_argument("--prometheus", metavar="URL", help="an API like Prometheus's: Prometheus, Mimir, Thanos")
    where.add_argument("--up", metavar="URL", help="a `backspan up`")
    group.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'",
                       help="a header to send, such as X-Scope-OrgID; may be repeated")
    group.add_argument("--token-from", metavar="VARIABLE",
                       help="environment variable that holds a bearer token (for `up`: BACKSPAN_API_KEY is used)")
    group.add_argument("--timeout", type=float, default=TIMEOUT, metavar="S", help="seconds to wait for an answer")
    parser.add_argument("--spec", type=Path, metavar="FILE", help="the charts (default: those shipped with backspan)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_period(parser: argparse.ArgumentParser, since: str) -> None:
    """Which part of the history, of which cohorts."""
    parser.add_argument("--chart", metavar="NAME", help="one chart of the spec (default: all)")
    parser.add_argument("--cohort", action="append", default=[], metavar="KEY=VALUE",
                        help="only cohorts with this value; may be repeated; partition=NAME too")
    parser.add_argument("--since", default=since, metavar="WHEN",
                        help="a date, a time, or so long ago: 30d, 2026-11-20, 2026-11-20T03:00Z (default %(default)s)")
    parser.add_argument("--until", default="now", metavar="WHEN", help="the end (default %(default)s)")
    parser.add_argument("--history", choices=("auto", "raw", "recorded"), default="auto",
                        help="Prometheus: raw counters, or what the rules recorded (default: raw unless gone)")
    parser.add_argument("--step", metavar="LENGTH",
                        help="resolution in which raw counters are read (default: a minute, less for short windows)")


@dataclass(frozen=True)
class Period:
    """Unix seconds of the history's two ends, and the present."""

    since: float
    until: float
    now: float


def spec_of(args: argparse.Namespace) -> Spec:
    """The spec that ``--spec`` names. Raises `Fault` if it cannot be used."""
    try:
        return load(args.spec)
    except (SpecError, OSError) as error:
        raise Fault(f"{args.spec or 'the shipped spec'}: {error}") from None


def charts_of(args: argparse.Namespace, spec: Spec) -> list[Chart]:
    """The chart that ``--chart`` names, or all of them. Raises `Fault` for an unknown one."""
    if args.chart is None:
        return list(spec.charts)
    found = [chart for chart in spec.charts if chart.name == args.chart]
    if not found:
        raise Fault(f"--chart: no chart {args.chart!r} in the spec; it has {', '.join(c.name for c in spec.charts)}")
    return found


def one_chart(args: argparse.Namespace, spec: Spec) -> Chart:
    """The chart that is meant. Raises `Fault` if there are several and none is named."""
    found = charts_of(args, spec)
    if len(found) > 1:
        raise Fault(f"--chart: which one? {', '.join(chart.name for chart in found)}")
    return found[0]


def period_of(args: argparse.Namespace) -> Period:
    """``--since`` and ``--until``. Raises `Fault` unless the one lies before the other."""
    now = time.time()
    since, until = moment(args.since, now, "--since"), moment(args.until, now, "--until")
    if not since < until:
        raise Fault(f"--since {args.since} is not before --until {args.until}")
    return Period(since, min(until, now), now) if since < now else _future(args.since)


def _future(said: str) -> Period:
    raise Fault(f"--since {said} lies in the future")


def wanted(args: argparse.Namespace) -> dict[str, str]:
    """``--cohort`` as a mapping. Raises `Fault` unless each is KEY=VALUE."""
    found: dict[str, str] = {}
    for text in args.cohort:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Fault(f"--cohort: {text!r} is not KEY=VALUE, such as gen_ai.prompt.version=v2")
        found[key] = value
    return found


def chosen(cohorts: list[Cohort], args: argparse.Namespace) -> list[Cohort]:
    """Those that ``--cohort`` means. Raises `Fault` if it means none."""
    said = wanted(args)
    partition = said.pop("partition", None)
    found = [c for c in cohorts if (partition is None or c[0] == partition) and matches(c, said)]
    if cohorts and not found:
        raise Fault(f"--cohort: no cohort is {' '.join(args.cohort)}")
    return found


# --- servers --------------------------------------------------------------------------------------------------------
def server_of(args: argparse.Namespace) -> Server:
    """The server that the options name; else the first that answers on its usual port, which is said on stderr."""
    if not args.timeout > 0:
        raise Fault("--timeout must be above 0")
    if args.prometheus:
        return Prometheus(Api(args.prometheus, _headers(args, ""), args.timeout))
    if args.up:
        return Embedded(Api(args.up, _headers(args, "BACKSPAN_API_KEY"), args.timeout))
    return _found(args)


def _found(args: argparse.Namespace) -> Server:
    for base, kind in ((UP, "a `backspan up`"), (PROMETHEUS, "a Prometheus")):
        try:
            _probe(base)
        except Fault:
            continue
        note(f"using {kind} at {base}; --prometheus URL or --up URL chooses another")
        if base == UP:
            return Embedded(Api(base, _headers(args, "BACKSPAN_API_KEY"), args.timeout))
        return Prometheus(Api(base, _headers(args, ""), args.timeout))
    raise Fault(
        f"neither `backspan up` ({UP}) nor Prometheus ({PROMETHEUS}) answers: give --prometheus URL or --up URL")


def _probe(base: str) -> None:
    """Raises `Fault` unless the server that should be at ``base`` is there."""
    api = Api(base, _environment_token("BACKSPAN_API_KEY") if base == UP else {}, _PROBE)
    if base == UP:
        Embedded(api).charts()
        return
    try:
        Prometheus(api).ask("/query", query="1")
    except Refused as error:
        if error.status not in (401, 403):
            raise


def _headers(args: argparse.Namespace, usual: str) -> dict[str, str]:
    found = _environment_token(usual)
    if args.token_from:
        token = os.environ.get(args.token_from, "").strip()
        if not token:
            raise Fault(f"--token-from: {args.token_from} is not set")
        found = {"Authorization": f"Bearer {token}"}
    return {**found, **headers_of(args.header)}


def _environment_token(variable: str) -> dict[str, str]:
    token = os.environ.get(variable, "").strip() if variable else ""
    return {"Authorization": f"Bearer {token}"} if token else {}


def history_of(
    server: Server, args: argparse.Namespace, spec: Spec, chart: Chart, period: Period, *, fine: bool = False
) -> History:
    """The history of ``chart``. ``fine``: in the finest steps at hand, not in whole windows."""
    step = _step(args, chart)
    if isinstance(server, Prometheus):
        return recorded.read(server, spec, chart, period.since, period.until, source=args.history, step=step)
    if args.history != "auto":
        raise Fault("--history is for Prometheus: `backspan up` counts its own store")
    width = step or (min(_FINEST_UP, chart.window) if fine and chart.window % _FINEST_UP == 0 else chart.window)
    return server.history(chart, period.since, period.until, width)


def _step(args: argparse.Namespace, chart: Chart) -> float | None:
    if args.step is None:
        return None
    step = duration(args.step, "--step")
    if step < 1 or chart.window % step or step > 300:
        raise Fault(f"--step: must divide the window of {chart.window} s, from 1s to 5m, got {args.step}")
    return step
