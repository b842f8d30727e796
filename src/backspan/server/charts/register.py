"""Alerts whose condition is looked at again and again, and which are held for a while after: Prometheus's life of one.

An alert fires at the first look at which its condition holds. It ends ``hold`` seconds after the first one at which it
no longer does, unless it holds again until then; all in whole intervals of the spec, as rules are evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import Connection

from backspan.store import charts

Case = tuple[str, str]
"""(cohort, rule): what tells alerts of one name and chart apart."""
Said = Callable[[], Mapping[str, Any]]
"""What an alert says when it fires: ``rating`` and the rest."""
_Id = tuple[str, str, str, str]
"""(name, chart, cohort, rule)."""


class Register:
    """The held alerts inside one transaction; ``interval`` are the seconds between two looks."""

    def __init__(self, conn: Connection, interval: int) -> None:
        self.conn, self.interval = conn, interval
        self._read: dict[_Id, dict[str, Any]] | None = None

    @property
    def _open(self) -> dict[_Id, dict[str, Any]]:
        if self._read is None:
            self._read = {
                (row["name"], row["chart"], row["cohort"], row["rule"]): row for row in charts.held_alerts(self.conn)}
        return self._read

    def fires(self, chart: str) -> bool:
        """Tell whether any held alert of a chart fires."""
        return any(id[1] == chart for id in self._open)

    def settle(self, name: str, chart: str, at: float, hold: float, firing: Mapping[Case, Said]) -> None:
        """One look at a condition, at ``at``: ``firing`` are the cases in which it holds."""
        for case, said in firing.items():
            self._keep(self._standing((name, chart, *case), at, said), None)
        for id, row in self._open.items():
            if id[:2] == (name, chart) and id[2:] not in firing and row["until"] is None:
                self._keep(row, self._whole(at + hold))

    def pulse(self, name: str, chart: str, at: float, hold: float, firing: Mapping[Case, Said]) -> None:
        """A condition that holds at ``at`` and not at the next look."""
        for case, said in firing.items():
            self._keep(self._standing((name, chart, *case), at, said), self._whole(at + self.interval + hold))

    def expire(self, now: float, raised: Mapping[str, Collection[str]]) -> None:
        """End what is over, and what no chart raises any more; ``raised`` are the names of the alerts by chart."""
        for id, row in list(self._open.items()):
            gone = id[0] not in raised.get(id[1], ())
            if gone or (row["until"] is not None and row["until"] <= now):
                self._end(id, now if gone else row["until"])

    def _standing(self, id: _Id, at: float, said: Said) -> dict[str, Any]:
        """The alert that fires already, or a new one."""
        row = self._open.get(id)
        if row is not None and row["until"] is not None and row["until"] < at:
            self._end(id, row["until"])
            row = None
        return row if row is not None else self._fire(id, at, dict(said()))

    def _fire(self, id: _Id, at: float, said: dict[str, Any]) -> dict[str, Any]:
        name, chart, cohort, rule = id
        row: dict[str, Any] = {
            "name": name, "chart": chart, "cohort": cohort, "rule": rule, "fired": at, "until": None,
            "rating": said.pop("rating"), "details": said}
        self._open[id] = {**row, "id": charts.fire(self.conn, row)}
        return self._open[id]

    def _keep(self, row: dict[str, Any], until: float | None) -> None:
        if row["until"] != until:
            charts.hold(self.conn, row["id"], until)
            row["until"] = until

    def _end(self, id: _Id, time: float) -> None:
        charts.end(self.conn, self._open.pop(id)["id"], time)

    def _whole(self, time: float) -> float:
        return -(-time // self.interval) * self.interval
