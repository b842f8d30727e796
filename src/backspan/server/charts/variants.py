"""The alerts of canaries: every variant against its control, and the split between them, as the generated rules say.

Sums and comparison are those of `backspan.rules.canary_arms`, fed at the end of every interval. All that is known of a
canary is one row of the store, read and written in the transaction of the events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.rules import canary_alert, canary_kinds, canary_series, canary_split
from backspan.rules.canary_arms import Arms, Group, Key, Row, Traffic
from backspan.rules.oracle_counting import labels_of
from backspan.rules.spec import Baseline, Canary, Chart, Partition, Promise, Spec
from backspan.server.charts.canary import comparisons
from backspan.server.charts.evidence import whole
from backspan.server.charts.meter import Meter, cohort_key, count
from backspan.server.charts.register import Register
from backspan.store import Event, charts

_COHORT = "canary"
"""Name of the partition in alerts."""
_ROW = cohort_key(Partition(_COHORT, ()), {})
"""Name of the row, in the way of a chart's cohorts."""


@dataclass
class _State:
    """What is known of a canary: when it was last looked at, what came since then, and the sums."""

    looked: float
    arms: Arms
    traffic: Traffic
    arrived: dict[Key, tuple[float, float]] = field(default_factory=dict[Key, tuple[float, float]])
    exposed: dict[tuple[Group, str], float] = field(default_factory=dict[tuple[Group, str], float])


class Variants:
    """The canaries of a spec. ``raised`` are the names of the alerts of each."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._meters = {canary.name: _meters(canary) for canary in spec.canaries}
        self._canaries = [canary for canary in spec.canaries if self._meters[canary.name] or canary.expect]
        self.raised: Mapping[str, list[str]] = {
            canary.name: [*([canary_series.ALERT] if self._meters[canary.name] else []),
                          *([canary_series.ALERT_SPLIT] if canary.expect else [])] for canary in spec.canaries}

    def observe(self, register: Register, events: Sequence[Event], now: float) -> None:
        """Count the events of one transaction, in their order."""
        for canary in self._canaries:
            told = [event for event in events if event.get(canary.by)]
            if told:
                self._count(register, canary, told, now)

    def tick(self, register: Register, now: float) -> None:
        """Look at what is due though nothing came."""
        for canary in self._canaries:
            state = self._load(register.conn, canary, None)
            if state is not None and self._run_to(register, canary, state, now):
                self._save(register.conn, canary, state)

    def _count(self, register: Register, canary: Canary, events: Sequence[Event], now: float) -> None:
        state, exposures = self._load(register.conn, canary, min(events[0].time, now)), canary_split.exposures(canary)
        assert state is not None
        for event in events:
            self._run_to(register, canary, state, min(event.time, now))
            said = {semconv.prometheus_label(key): event.get(key) for key in canary.within}
            group, variant = labels_of(said), event.get(canary.by)
            for name, meter in self._meters[canary.name].items():
                n, x = meter.read(event) or (0.0, 0.0)
                if n or x:
                    before = state.arrived.get((name, group, variant), (0.0, 0.0))
                    state.arrived[name, group, variant] = (before[0] + n, before[1] + x)
            if canary.expect and count(exposures, event):
                state.exposed[group, variant] = state.exposed.get((group, variant), 0.0) + 1.0
        self._save(register.conn, canary, state)

    # --- looking ----------------------------------------------------------------------------------------------------
    def _run_to(self, register: Register, canary: Canary, state: _State, time: float) -> bool:
        """Look at the ends of the intervals until ``time``; True if there was any."""
        interval = self._spec.interval
        last = time - time % interval
        if last <= state.looked:
            return False
        while state.looked < last:
            state.looked += interval
            new = bool(state.arrived or state.exposed)
            if new or register.fires(canary.name) or (canary.expect and state.traffic.ends(state.looked)):
                self._look(register, canary, state)
        return True

    def _look(self, register: Register, canary: Canary, state: _State) -> None:
        at = state.looked
        rows, state.arrived = state.arms.step(at, state.arrived), {}
        worse = {(self._cohort(canary, group, variant), name): partial(_worse, canary, name, variant, row)
                 for (name, group, variant), row in rows.items() if row.alarm}
        register.settle(canary_series.ALERT, canary.name, at, canary_alert.HOLD, worse)
        if canary.expect:
            state.traffic.step(at, state.exposed)
            off = {(self._cohort(canary, group, ""), canary_split.expected(canary)): partial(_off, canary, value)
                   for group, value in state.traffic.firing(at).items()}
            register.settle(canary_series.ALERT_SPLIT, canary.name, at, canary_split.HOLD, off)
        state.exposed = {}

    @staticmethod
    def _cohort(canary: Canary, group: Group, variant: str) -> str:
        said = dict(group)
        labels = {key: said.get(semconv.prometheus_label(key), "") for key in canary.within}
        by = (*canary.within, canary.by) if variant else canary.within
        return cohort_key(Partition(_COHORT, by), {**labels, canary.by: variant})

    # --- keeping it -------------------------------------------------------------------------------------------------
    def _load(self, conn: Connection, canary: Canary, first: float | None) -> _State | None:
        """As it was kept. If it was not, or compared something else: new at ``first``; None without one."""
        row = charts.load(conn, [(canary.name, _ROW)]).get((canary.name, _ROW))
        kept = row["state"] if row is not None and row["state"]["of"] == _of(canary) else None
        if kept is None:
            if first is None:
                return None
            looked = first - first % self._spec.interval
            return _State(looked, Arms(canary), Traffic(self._spec, canary))
        return _State(
            kept["looked"], Arms(canary, kept["arms"]), Traffic(self._spec, canary, kept["traffic"]),
            {(name, _group(group), variant): (n, x) for name, group, variant, n, x in kept["arrived"]},
            {(_group(group), variant): n for group, variant, n in kept["exposed"]})

    @staticmethod
    def _save(conn: Connection, canary: Canary, state: _State) -> None:
        kept = {
            "of": _of(canary), "looked": state.looked, "arms": state.arms.state, "traffic": state.traffic.state,
            "arrived": [[name, group, variant, n, x] for (name, group, variant), (n, x) in state.arrived.items()],
            "exposed": [[group, variant, n] for (group, variant), n in state.exposed.items()]}
        charts.save(conn, [{"chart": canary.name, "cohort": _ROW, "state": kept, "ratings": 0.0, "bad": 0.0,
                            "updated": state.looked}], [])


def _meters(canary: Canary) -> dict[str, Meter]:
    """How each indicator of a canary is counted; those that the store cannot count are left out."""
    partition = (Partition(_COHORT, (*canary.within, canary.by)),)
    return {
        name: Meter(Chart(canary.name, name, partition, Promise(events=10**6), Baseline("learnt"),
                          custom=canary_kinds.watched(canary, name)))
        for name, (_, why) in comparisons(canary).items() if not why}


def _of(canary: Canary) -> list[Any]:
    """What makes the sums of a canary what they are."""
    return [canary.by, canary.control, list(canary.within)]


def _group(pairs: Sequence[Sequence[str]]) -> Group:
    return tuple((key, value) for key, value in pairs)


# --- what they say --------------------------------------------------------------------------------------------------
def _said(canary: Canary, severity: str, statistic: float, threshold: float, **more: Any) -> dict[str, Any]:
    return {
        "severity": severity, "runbook": canary.runbook, "owner": canary.owner, "statistic": statistic,
        "threshold": threshold, "false_alarm_every": None, "promise": None, "baseline": None, "p0": None, "phi": None,
        "phase": None, "since_rating": None, "guilty": [], "canary": canary.name, **more}


def _worse(canary: Canary, name: str, variant: str, row: Row) -> dict[str, Any]:
    """By the names of the contract in `backspan.rules.canary_alert`; numbers are numbers here."""
    evidence, limit = row.evidence or 0.0, row.limit or 0.0
    return _said(
        canary, canary.severity, evidence, limit, rating=round(row.n), indicator=name, ratings=whole(row.n),
        bad=whole(row.bad), since=row.since, variant=variant, verdict=row.verdict, control=canary.control, by=canary.by,
        evidence=evidence, limit=limit, variant_n=whole(row.n), variant_bad=whole(row.bad), variant_rate=row.rate,
        control_n=whole(row.control_n or 0.0), control_bad=whole(row.control_bad or 0.0),
        control_rate=row.control_rate, difference=row.difference)


def _off(canary: Canary, evidence: float) -> dict[str, Any]:
    severity = "info" if canary.severity == "info" else "ticket"
    return _said(canary, severity, evidence, canary_split.limit(), rating=0, indicator="", ratings=None, bad=None,
                 since=None, expect=canary_split.expected(canary))
