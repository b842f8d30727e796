"""Which alert is meant: by its id in `backspan up`, by its fingerprint or labels in a Prometheus or an Alertmanager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from backspan.cli._spc.embedded import Embedded, cohorts_of
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Cohort, by_keys, cohort_of, matches, named
from backspan.cli._spc.http import Api, mapping
from backspan.cli._spc.prometheus import Prometheus
from backspan.cli._spc.times import instant, stamp
from backspan.rules import series
from backspan.rules.spec import Chart, Spec

_PAST = 7 * 86400
"""Seconds back in which an alert that no longer fires is looked for."""
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Alert:
    """One alert of a chart. ``fired`` is Unix time; ``evidence``, ``limit`` and ``p0`` are None where nobody says."""

    id: str
    name: str
    chart: Chart
    cohort: Cohort
    fired: float
    firing: bool
    ended: float | None = None
    evidence: float | None = None
    limit: float | None = None
    p0: float | None = None
    said: Mapping[str, str] = field(default_factory=dict[str, str])
    """Annotations."""

    @property
    def title(self) -> str:
        """Id, chart and cohort on one line."""
        state = "" if self.firing else ", no longer firing"
        return f"{self.id}  {self.chart.name}  {named(self.cohort)}  (fired {stamp(self.fired)}{state})"


def fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's fingerprint of an alert: FNV-1a of 64 bits over its sorted labels (``model.LabelSet``)."""
    value = 0xCBF29CE484222325
    for name, text in sorted(labels.items()):
        for byte in (*name.encode(), 255, *text.encode(), 255):
            value = ((value ^ byte) * 0x100000001B3) & _MASK
    return f"{value:016x}"


def choose(found: list[Alert], wanted: str | None, labels: Mapping[str, str]) -> Alert:
    """The alert that is meant: the one named, or the only one that fires. Raises `Fault` that lists those there are."""
    mine = [alert for alert in found if _has(alert, labels)]
    if wanted is not None:
        mine = [alert for alert in mine if alert.id == wanted]
        if not mine:
            raise Fault(f"no alert {wanted}{_list(found)}")
    elif not labels:
        mine = [alert for alert in mine if alert.firing]
    if not mine:
        raise Fault(f"no alert has these labels{_list(found)}" if labels else f"no alert fires{_list(found)}")
    newest = [alert for alert in mine if alert.firing] or [max(mine, key=lambda alert: alert.fired)]
    if len(newest) > 1:
        raise Fault(f"which one? {len(newest)} alerts fire{_list(newest)}")
    return newest[0]


def _has(alert: Alert, labels: Mapping[str, str]) -> bool:
    own = {series.CHART: alert.chart.name, series.PARTITION: alert.cohort[0], "alertname": alert.name}
    rest = {key: value for key, value in labels.items() if key not in own}
    return all(own[key] == labels[key] for key in own if key in labels) and matches(alert.cohort, rest)


def _list(found: list[Alert]) -> str:
    return f"; there are:\n{chr(10).join('  ' + alert.title for alert in found)}" if found else ""


# --- backspan up ----------------------------------------------------------------------------------------------------
def of_embedded(server: Embedded, spec: Spec) -> list[Alert]:
    """Quality alerts of `backspan up`, newest first; those of charts that the spec does not have are left out."""
    charts = {chart.name: chart for chart in spec.charts}
    found: list[Alert] = []
    for row in server.alerts():
        chart = charts.get(row["chart"])
        partition = cohorts_of(chart).get(row["cohort"]["partition"]) if chart else None
        if chart is None or partition is None or row.get("alert", series.ALERT) != series.ALERT:
            continue
        found.append(Alert(
            str(row["id"]), series.ALERT, chart, by_keys(partition, row["cohort"]["labels"]), float(row["fired"]),
            row["state"] == "firing", row.get("cleared"), row.get("statistic"), row.get("threshold"),
            row.get("p0", row.get("baseline"))))
    return found


# --- Prometheus -----------------------------------------------------------------------------------------------------
def of_prometheus(server: Prometheus, spec: Spec, now: float) -> list[Alert]:
    """Quality alerts that fire, and those of the last week that no longer do."""
    charts = {chart.name: chart for chart in spec.charts}
    found: list[Alert] = []
    for row in server.alerts():
        labels = row["labels"]
        if labels.get("alertname") == series.ALERT and row["state"] == "firing":
            alert = _alert(charts, labels, instant(row["activeAt"]) or now, row.get("annotations") or {})
            found += [alert] if alert else []
    known = {alert.id for alert in found}
    return [*found, *(alert for alert in _past(server, charts, now) if alert.id not in known)]


def _past(server: Prometheus, charts: Mapping[str, Chart], now: float) -> list[Alert]:
    selector = f'ALERTS{{alertname="{series.ALERT}",alertstate="firing"}}'
    found: list[Alert] = []
    for said, points in server.over(selector, now - _PAST, now, 300).items():
        labels = {key: value for key, value in said if key != "alertstate"}
        alert = _alert(charts, labels, _began(points), {}, ended=points[-1][0])
        found += [alert] if alert else []
    return sorted(found, key=lambda alert: -alert.fired)


def _began(points: list[tuple[float, float]]) -> float:
    """The beginning of the last unbroken stretch."""
    began = points[0][0]
    for (then, _), (at, _) in zip(points, points[1:], strict=False):
        began = at if at - then > 900 else began
    return began


def _alert(
    charts: Mapping[str, Chart], labels: Mapping[str, str], fired: float, said: Mapping[str, str],
    ended: float | None = None,
) -> Alert | None:
    chart = charts.get(labels.get(series.CHART, ""))
    partition = cohorts_of(chart).get(labels.get(series.PARTITION, "")) if chart else None
    if chart is None or partition is None:
        return None
    return Alert(fingerprint(labels), str(labels.get("alertname", series.ALERT)), chart, cohort_of(partition, labels),
                 fired, ended is None, ended, said=said)


# --- Alertmanager ---------------------------------------------------------------------------------------------------
def of_alertmanager(base: str, headers: Mapping[str, str], timeout: float, spec: Spec) -> list[Alert]:
    """Quality alerts that an Alertmanager holds, by its own fingerprints."""
    charts = {chart.name: chart for chart in spec.charts}
    rows = Api(base, headers, timeout).get("/api/v2/alerts")
    if not isinstance(rows, list):
        raise Fault(f"{base} is no Alertmanager: it has no list at /api/v2/alerts")
    found: list[Alert] = []
    for row in (mapping(one) for one in cast("list[Any]", rows)):
        labels = mapping(row.get("labels"))
        if labels.get("alertname") == series.ALERT:
            alert = _alert(charts, labels, instant(str(row["startsAt"])) or 0.0, mapping(row.get("annotations")))
            found += [Alert(str(row["fingerprint"]), alert.name, alert.chart, alert.cohort, alert.fired, True,
                            said=alert.said)] if alert else []
    return found
