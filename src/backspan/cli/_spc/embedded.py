"""The API of `backspan up`: charts, windows, baselines, alerts and the facts behind one."""

from __future__ import annotations

from math import floor
from typing import Any
from urllib.parse import quote

from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Batch, Cohort, History, by_keys
from backspan.cli._spc.http import Api, Refused, mapping
from backspan.cli._spc.progress import Progress
from backspan.cli._spc.times import stamp
from backspan.rules.spec import Chart

PAGE = 7 * 86400
"""Seconds of windows asked for at once."""


class Embedded:
    """Questions to the API of `backspan up` at ``api``."""

    def __init__(self, api: Api) -> None:
        self.base = api.base
        self._api = api

    def charts(self) -> dict[str, dict[str, Any]]:
        """Every chart that it evaluates, by name. Raises `Fault` if it evaluates none."""
        found = mapping(self._api.get("/api/charts"))
        if "charts" not in found:
            raise Fault(f"{self.base} is no `backspan up`: it has no /api/charts")
        if found.get("evaluated_by") != "backspan":
            raise Fault(f"{self.base} leaves the charts to Prometheus: ask that one, by --prometheus URL")
        return {chart["name"]: chart for chart in found["charts"]}

    def history(self, chart: Chart, since: float, until: float, width: float) -> History:
        """The history of ``chart`` in steps of ``width`` seconds, counted from the stored votes and turns."""
        start, end = floor(since / chart.window) * chart.window, floor(until / width) * width
        self._known(chart.name)
        history = History(chart, f"{self.base}, its own store, in steps of {width:g} s", start, end, width)
        at = start
        with Progress(f"reading {chart.name}", end - start) as bar:
            while at < end:
                last = min(end, at + PAGE)
                self._page(history, at, last)
                at = last
                bar.at(at - start)
        if not history.batches:
            raise Fault(f"chart {chart.name} has no events from {stamp(start)} to {stamp(end)} at {self.base}")
        return history

    def _page(self, history: History, since: float, until: float) -> None:
        chart, width = history.chart, history.step
        partitions = {partition.name: partition for partition in chart.partitions}
        path = f"/api/charts/{quote(chart.name, safe='')}/windows"
        found = self._api.get(path, width=f"{width:.0f}", since=f"{since:.0f}", until=f"{until:.0f}")
        for row in found["windows"]:
            partition = partitions.get(row["partition"])
            at = float(row["start"]) + width
            if partition is not None and since < at <= until:
                cohort = by_keys(partition, row["labels"])
                history.batches.setdefault(cohort, []).append(Batch(at, float(row["n"]), float(row["bad"])))

    def _known(self, name: str) -> None:
        known = self.charts()
        if name not in known:
            raise Fault(f"{self.base} has no chart {name}; it has {', '.join(known) or 'none'}")

    def baselines(self, chart: str) -> list[dict[str, Any]]:
        """Baselines that a person set: partition, labels, p0, phi, phase, reason, excluded."""
        return list(self._api.get(f"/api/charts/{quote(chart, safe='')}/baselines")["baselines"])

    def set_baselines(self, chart: str, baselines: list[dict[str, Any]]) -> None:
        """Merge baselines by cohort."""
        self._api.put(f"/api/charts/{quote(chart, safe='')}/baselines", {"baselines": baselines})

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts, newest first."""
        return list(self._api.get("/api/alerts")["alerts"])

    def facts(self, alert: str) -> dict[str, Any]:
        """What the store knows about an alert (`backspan.cli._spc.facts`)."""
        try:
            return dict(self._api.get("/api/explain", alert=alert))
        except Refused as error:
            if error.status == 404:
                raise Fault(f"{self.base} has no alert {alert}") from None
            raise


def cohorts_of(chart: Chart) -> dict[str, Any]:
    """Partitions of ``chart`` and their parents, by name."""
    found = {partition.name: partition for partition in chart.partitions}
    return {**found, **{p.parent.name: p.parent for p in chart.partitions if p.parent}}


def cohort_in(chart: Chart, partition: str, labels: dict[str, str]) -> Cohort | None:
    """The cohort that a partition's name and OpenTelemetry keys mean, parents included; None for an unknown one."""
    known = cohorts_of(chart).get(partition)
    return by_keys(known, labels) if known is not None else None
