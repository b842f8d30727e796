"""All charts of a spec: fed inside the writer's transactions, changed by a person's hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from backspan.rules.spec import Chart, Spec
from backspan.server.charts import looks
from backspan.server.charts.meter import Meter, why_not
from backspan.server.charts.register import Register
from backspan.server.charts.session import Session, Step
from backspan.server.charts.variants import Variants
from backspan.store import Event, charts


class ChartBook:
    """The charts that this server evaluates, by name (``meters``), and why it does not evaluate the others. ``raised``
    are the names of the alerts that it raises, by chart and canary.

    It satisfies `backspan.store.Watch`.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.charts: dict[str, Chart] = {chart.name: chart for chart in spec.charts}
        self.why: dict[str, str] = {name: why_not(chart) for name, chart in self.charts.items()}
        self.meters = {name: Meter(chart) for name, chart in self.charts.items() if not self.why[name]}
        self._by_kind: dict[str, list[Meter]] = {}
        for meter in self.meters.values():
            for kind in meter.kinds:
                self._by_kind.setdefault(kind, []).append(meter)
        self.variants = Variants(spec)
        self.raised = {**{name: looks.names(meter.chart) for name, meter in self.meters.items()},
                       **self.variants.raised}

    # --- inside the writer's transaction ---
    def observe(self, conn: Connection, events: Sequence[Event], now: float) -> None:
        """Feed the events of one transaction to the detectors, in their order."""
        register = self._register(conn)
        self.variants.observe(register, events, now)
        steps = [step for event in events for step in self._steps(event)]
        if not steps:
            return
        session = Session(conn, now, register)
        session.load(_keys(steps), self.meters)
        for step in steps:
            session.take(step)
        session.save()

    def _steps(self, event: Event) -> list[Step]:
        found: list[Step] = []
        for meter in self._by_kind.get(event.kind, ()):
            read = meter.read(event)
            if read is not None:
                found.append((meter, meter.cohorts(event), *read, event))
        return found

    def tick(self, conn: Connection, now: float) -> None:
        """Look at what is due though nothing came: ends of windows and intervals, and alerts that are over."""
        register = self._register(conn)
        session = Session(conn, now, register)
        for meter in self.meters.values():
            session.rest(meter.chart)
        for alert in charts.open_alerts(conn):
            session.idle(self.meters.get(alert[0]), alert)
        session.save()
        self.variants.tick(register, now)
        register.expire(now, self.raised)

    def _register(self, conn: Connection) -> Register:
        return Register(conn, self.spec.interval)

    def set_baselines(self, conn: Connection, chart: Chart, rows: Sequence[Mapping[str, Any]], now: float) -> None:
        """Set baselines of cohorts: evidence against the old ones ends, and with it their alerts."""
        charts.save_baselines(conn, [{**row, "chart": chart.name, "time": now} for row in rows])
        session = Session(conn, now, self._register(conn))
        session.run_to(chart, now)
        session.settle(chart, now, {row["cohort"] for row in rows})
        session.save()


def _keys(steps: Sequence[Step]) -> set[charts.Key]:
    found: set[charts.Key] = set()
    for meter, cohorts, *_ in steps:
        for key in cohorts:
            found.add((meter.chart.name, key))
            parent = meter.parent_key(key)
            if parent is not None:
                found.add((meter.chart.name, parent))
    return found
