"""Which baselines hold now: those that people set, and those in effect."""

from __future__ import annotations

from backspan.cli._spc.embedded import Embedded, cohort_in, cohorts_of
from backspan.cli._spc.history import Cohort, cohort_of
from backspan.cli._spc.http import mapping
from backspan.cli._spc.options import Server
from backspan.cli._spc.prometheus import Prometheus
from backspan.rules import series
from backspan.rules.spec import Chart
from backspan.spc.phases import ALARM, FROZEN, LEARNING, Effective

Effects = dict[Cohort, Effective]


def set_by_hand(server: Server, chart: Chart, now: float) -> Effects:
    """The baselines of ``chart`` that a person set, as the server knows them."""
    if isinstance(server, Embedded):
        found: Effects = {}
        for row in server.baselines(chart.name):
            cohort = cohort_in(chart, row["partition"], row["labels"])
            if cohort is not None:
                found[cohort] = Effective(float(row["p0"]), max(1.0, float(row["phi"])), row["phase"])
        return found
    return _by_hand(server, chart, now)


def _by_hand(prometheus: Prometheus, chart: Chart, now: float) -> Effects:
    rates = _values(prometheus, chart, series.BASELINE_P0, now)
    spreads = _values(prometheus, chart, series.BASELINE_PHI, now)
    return {
        cohort: Effective(rate, max(1.0, spreads.get(cohort, (1.0, ""))[0]), phase or FROZEN)
        for cohort, (rate, phase) in rates.items()
    }


def in_effect(server: Server, chart: Chart, now: float) -> Effects:
    """The baseline that each cohort's evidence is against, as far as the server says; not one that is still learnt."""
    found = _of_embedded(server, chart) if isinstance(server, Embedded) else _of_prometheus(server, chart, now)
    settled = {cohort: base for cohort, base in found.items() if base.phase != LEARNING}
    return {**settled, **set_by_hand(server, chart, now)}


def _of_prometheus(prometheus: Prometheus, chart: Chart, now: float) -> Effects:
    """What the rules recorded, parents too; during an alarm nobody says which phase holds."""
    rates = _values(prometheus, chart, series.P0, now)
    phases = _values(prometheus, chart, series.PHASE_SERIES, now)
    spreads = _values(prometheus, chart, series.PHI, now)
    found = {
        cohort: Effective(rate, max(1.0, spreads.get(cohort, (1.0, ""))[0]), _named(phases[cohort][1]))
        for cohort, (rate, _) in rates.items() if cohort in phases}
    parents = {p.parent.name for p in chart.partitions if p.parent}
    learnt = _values(prometheus, chart, series.FROZEN, now, f'{series.STAT}="p0"', "7d")
    return {**{c: Effective(rate, 1.0, FROZEN) for c, (rate, _) in learnt.items() if c[0] in parents}, **found}


def _named(phase: str) -> str:
    return "in effect" if phase == ALARM else phase


def _values(
    prometheus: Prometheus, chart: Chart, name: str, now: float, more: str = "", back: str = "1h"
) -> dict[Cohort, tuple[float, str]]:
    """Value and label ``phase`` of the newest sample of each cohort within ``back``."""
    known = cohorts_of(chart)
    found: dict[Cohort, tuple[float, str]] = {}
    inside = ",".join(part for part in (f'{series.CHART}="{chart.name}"', more) if part)
    rows = prometheus.query(f"last_over_time({name}{{{inside}}}[{back}])", now)
    for labels, value in rows:
        partition = known.get(labels.get(series.PARTITION, ""))
        if partition is not None:
            found[cohort_of(partition, labels)] = value, labels.get(series.PHASE, "")
    return found


def _of_embedded(server: Embedded, chart: Chart) -> Effects:
    found: Effects = {}
    shown = server.charts().get(chart.name, {})
    for row in (*(shown.get("cohorts") or ()), *(shown.get("parents") or ())):
        said = mapping(row)
        cohort = cohort_in(chart, str(said.get("partition")), said.get("labels") or {})
        phase = _named(str(said.get("baseline") or said.get("phase") or LEARNING))
        if cohort is not None and said.get("p0") is not None:
            found[cohort] = Effective(float(said["p0"]), max(1.0, float(said.get("phi") or 1.0)), phase)
    return found
