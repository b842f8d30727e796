"""``backspan spc explain``: an alert as evidence, and its possible causes with what speaks for and against each."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from backspan.cli import print_json
from backspan.cli._spc import alerts, options, standing, stored, tempo
from backspan.cli._spc.alerts import Alert
from backspan.cli._spc.causes import lifts, rank
from backspan.cli._spc.comparing import LEAST, Cause, percent
from backspan.cli._spc.embedded import Embedded
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.facts import Cell, Facts, Pair
from backspan.cli._spc.history import named
from backspan.cli._spc.http import Api, headers_of
from backspan.cli._spc.onset import onset
from backspan.cli._spc.prometheus import Prometheus
from backspan.cli._spc.queried import Queries
from backspan.cli._spc.recorded import read as read_history
from backspan.cli._spc.times import duration, iso, length, stamp
from backspan.cli._spc.words import count, rate
from backspan.rules.spec import Chart, Spec

HELP = "turn an alert into evidence: since when, which cohort, reasons, traces, and causes ranked"
_LEAST = 3600.0
"""Seconds that are looked at on each side of the change point, at least."""
_LAG = 300.0
"""Seconds by which Prometheus may count a vote later than Tempo dates it: scrapes, and evaluations."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``explain``."""
    parser.add_argument("alert", nargs="?", metavar="ALERT",
                        help="its id in `up`, or its fingerprint (default: the only one that fires)")
    options.add_source(parser)
    parser.add_argument("--labels", action="append", default=[], metavar="KEY=VALUE",
                        help="the alert with this label, instead of an id; may be repeated")
    parser.add_argument("--alertmanager", metavar="URL", help="take the alert from here, evidence from --prometheus")
    parser.add_argument("--before", default="7d", metavar="LENGTH",
                        help="how far back to compare with, at most (default %(default)s)")
    parser.add_argument("--tempo", metavar="URL", help="look up the traces of bad votes here")


@dataclass(frozen=True)
class Explanation:
    """All that is told of one alert."""

    alert: Alert
    facts: Facts
    causes: list[Cause]
    traceql: str
    untraced: str = ""
    """Why Tempo's traces could not be had."""


def run(args: argparse.Namespace) -> int:
    """1: the alert fires; 0: none does, or it no longer does. Raises `Fault`."""
    now, back = time.time(), duration(args.before, "--before")
    spec, server = options.spec_of(args), options.server_of(args)
    labels = _labels(args)
    found = _alerts(args, server, spec, now)
    if args.alert is None and not labels and not any(alert.firing for alert in found):
        return _quiet(args, found)
    alert = alerts.choose(found, args.alert, labels)
    facts = _facts(server, spec, alert, found, now, back)
    query, untraced = tempo.traceql(alert.chart, alert.cohort), ""
    if args.tempo and query and facts.since:
        api = Api(args.tempo, headers_of(args.header), args.timeout)
        try:
            ids = tempo.trace_ids(api, query, facts.since - _LAG, alert.ended or now)
            facts = replace(facts, traces=tuple(ids))
        except Fault as error:  # what else is known is worth telling all the same
            untraced = str(error)
    told = Explanation(alert, facts, rank(facts), query, untraced)
    if args.json:
        print_json(_json(told))
    else:
        print("\n".join(_lines(told)))
    return 1 if alert.firing else 0


def _labels(args: argparse.Namespace) -> dict[str, str]:
    pairs = [text.partition("=") for text in args.labels]
    for text, (key, equals, _) in zip(args.labels, pairs, strict=True):
        if not equals or not key:
            raise Fault(f"--labels: {text!r} is not KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _alerts(args: argparse.Namespace, server: options.Server, spec: Spec, now: float) -> list[Alert]:
    if isinstance(server, Embedded):
        if args.alertmanager:
            raise Fault("--alertmanager goes with --prometheus: `backspan up` has its own alerts")
        return alerts.of_embedded(server, spec)
    if args.alertmanager:
        return alerts.of_alertmanager(args.alertmanager, headers_of(args.header), args.timeout, spec)
    return alerts.of_prometheus(server, spec, now)


def _quiet(args: argparse.Namespace, found: list[Alert]) -> int:
    if args.json:
        print_json({"firing": [], "past": [alert.title for alert in found]})
        return 0
    print("no quality alert fires")
    for alert in found[:10]:
        print(f"  past: {alert.title}")
    return 0


# --- facts ----------------------------------------------------------------------------------------------------------
def _facts(server: options.Server, spec: Spec, alert: Alert, found: list[Alert], now: float, back: float) -> Facts:
    """What is known of the alert's cohort, and of what it is a part: a new version has no past of its own."""
    if isinstance(server, Embedded):
        narrow = _stored(server, alert)
        around = next((one for one in found if _holds(one, alert)), None)
        return _widened(narrow, _stored(server, around)) if around else narrow
    end = alert.ended or now
    since = _onset(server, spec, alert, back, now)
    spans = (since - max(back, _LEAST), since), (since, max(end, since + _LEAST))
    mine, wide = dict(alert.cohort[1]), _shared(alert)
    narrow = Queries(server, alert.chart, mine, *spans)
    if wide == mine:
        return narrow.facts()
    return _widened(replace(narrow.facts(), dimensions={}), Queries(server, alert.chart, wide, *spans).facts())


def _stored(server: Embedded, alert: Alert) -> Facts:
    document = server.facts(alert.id)
    try:
        return stored.read(document, alert.chart.model.falls)
    except (KeyError, TypeError, ValueError) as error:
        raise Fault(f"{server.base}: its facts about alert {alert.id} cannot be read: {error!r}") from None


def _shared(alert: Alert) -> dict[str, str]:
    """What the cohort shares with its parent: the same prompt, say, over all its versions."""
    partition = next((p for p in alert.chart.partitions if p.name == alert.cohort[0]), None)
    keys = (partition.inherit or partition.by) if partition else ()
    return {key: value for key, value in alert.cohort[1] if key in keys} if keys else dict(alert.cohort[1])


def _holds(wide: Alert, alert: Alert) -> bool:
    """Tell whether ``wide`` is an alert of the same chart and time about more than ``alert``."""
    together = wide.firing and alert.firing or abs(wide.fired - alert.fired) < _LEAST
    return together and wide.chart.name == alert.chart.name and set(wide.cohort[1]) < set(alert.cohort[1])


def _widened(narrow: Facts, wide: Facts) -> Facts:
    """``narrow`` with the dimensions of ``wide``, and its past where there is none of its own."""
    rated = narrow.rated
    if rated and wide.rated and rated.before.n < LEAST:
        rated = Pair(wide.rated.before, rated.after)
    answers = narrow.answers
    if answers and wide.answers and rated is not narrow.rated:
        answers = wide.answers[0], answers[1]
    return replace(
        narrow, rated=rated, answers=answers, dimensions={**narrow.dimensions, **wide.dimensions},
        reasons=(wide.reasons[0], narrow.reasons[1]) if narrow.reasons and wide.reasons else narrow.reasons,
        calls=narrow.calls or wide.calls, tokens=narrow.tokens or wide.tokens,
        retrievals=narrow.retrievals or wide.retrievals)


def _onset(server: Prometheus, spec: Spec, alert: Alert, back: float, now: float) -> float:
    """The change point, from the cohort's history; the firing itself where there is none."""
    chart = alert.chart
    try:
        history = read_history(server, spec, chart, alert.fired - back, min(alert.fired + 300, now))
    except Fault:
        return alert.fired
    base = standing.in_effect(server, chart, alert.fired).get(alert.cohort)
    batches = history.batches.get(alert.cohort, [])
    p0 = base.p0 if base else chart.baseline.p0 or _mean(batches)
    found = onset(batches, p0, chart.model, alert.fired, history.step) if p0 else None
    return alert.fired if found is None else found


def _mean(batches: list[Any]) -> float:
    n = sum(batch.n for batch in batches)
    return sum(batch.bad for batch in batches) / n if n else 0.0


# --- saying ---------------------------------------------------------------------------------------------------------
def _lines(told: Explanation) -> list[str]:
    alert, chart = told.alert, told.alert.chart
    state = "fires since" if alert.firing else "fired"
    lines = [f"{alert.name} {alert.id}: {chart.name}, {named(alert.cohort)}",
             f"  {chart.watched.description}",
             f"  {state} {stamp(alert.fired)}{_sure(alert, chart)}"]
    lines += _evidence(told)
    if not told.causes:
        return [*lines, "  causes: nothing that is known points to one"]
    lines.append("  causes, most likely first:")
    for number, cause in enumerate(told.causes, 1):
        lines.append(f"  {number}. {cause.name} ({cause.score:g} points)")
        lines += [f"       + {text}" for text in cause.for_]
        lines += [f"       - {text}" for text in cause.against]
    return lines


def _sure(alert: Alert, chart: Chart) -> str:
    evidence = f"; evidence {alert.evidence:.2f}, limit {alert.limit:.2f}" if alert.evidence and alert.limit else ""
    return evidence + (f"; accepted {rate(alert.p0, chart)}" if alert.p0 else "")


def _evidence(told: Explanation) -> list[str]:
    facts, chart = told.facts, told.alert.chart
    lines: list[str] = []
    if facts.since is not None:
        lag = told.alert.fired - facts.since
        lines.append(f"  since      {stamp(facts.since)} (change point), {length(max(lag, 0))} before the alarm")
    if facts.rated:
        before, after = facts.rated.before, facts.rated.after
        lines.append(f"  how many   {count(after.bad)} of {count(after.n)} = {rate(after.rate, chart)} since then;"
                     f" {count(before.bad)} of {count(before.n)} = {rate(before.rate, chart)} before{_span(facts)}")
    reasons = lifts(facts)
    if reasons and facts.reasons:
        shown = [f"{reason} {count(facts.reasons[1][reason])} (x{lift:.1f})" for reason, lift in reasons.items()]
        lines.append(f"  reasons    {', '.join(shown[:6])}; x: as often as before, per bad vote")
    lines += [f"  differs    {key}: {_worst(values, chart)}" for key, values in facts.dimensions.items()
              if len(values) > 1]
    if told.traceql:
        lines.append(f"  TraceQL    {told.traceql}")
    if facts.traces:
        lines.append(f"  traces     {' '.join(facts.traces)}")
    if told.untraced:
        lines.append(f"  traces     could not be had: {told.untraced}")
    return lines


def _span(facts: Facts) -> str:
    return f" ({length(facts.before[1] - facts.before[0])})" if facts.before else ""


def _worst(values: Any, chart: Chart) -> str:
    rows: list[tuple[str, Pair]] = list(values.items())
    rows.sort(key=lambda row: row[1].after.rate, reverse=not chart.model.falls)
    return "; ".join(f"{value or '(none)'} {_shown(pair.after)}" for value, pair in rows[:3])


def _shown(cell: Cell) -> str:
    return percent(cell) if cell.n else "none since"


def _json(told: Explanation) -> dict[str, Any]:
    alert, facts = told.alert, told.facts
    return {
        "alert": {"id": alert.id, "name": alert.name, "chart": alert.chart.name, "partition": alert.cohort[0],
                  "labels": dict(alert.cohort[1]), "fired": iso(alert.fired), "firing": alert.firing,
                  "evidence": alert.evidence, "limit": alert.limit, "p0": alert.p0},
        "since": iso(facts.since) if facts.since is not None else None,
        "reasons": [{"reason": reason, "lift": lift, "n": (facts.reasons or ({}, {}))[1][reason]}
                    for reason, lift in lifts(facts).items()],
        "traceql": told.traceql or None, "traces": list(facts.traces), "traces_fault": told.untraced or None,
        "causes": [{"name": c.name, "score": c.score, "for": c.for_, "against": c.against} for c in told.causes],
        "facts": {**asdict(facts), "changed": None if facts.changed is None else sorted(facts.changed)},
    }
