"""Any API that speaks Prometheus's: Prometheus, Mimir, Thanos, VictoriaMetrics, at any path."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Any

from backspan.cli._spc.errors import Fault
from backspan.cli._spc.http import Api, mapping
from backspan.cli._spc.progress import note

Labels = tuple[tuple[str, str], ...]
"""Label names and values of one series, sorted, without the metric's name."""
Samples = dict[Labels, list[tuple[float, float]]]
"""(Unix time, value) of each series, in order of time."""
Told = Callable[[float], None]
"""Is told the moment up to which the answer has come."""

POINTS = 11_000
"""Most points of a series in one answer; Prometheus refuses more."""
_FIRST, _LEAST, _AIM = 720, 60, 400_000
"""Points asked for in the first page, at least in any, and in all series of a page together."""
_RAW = 6 * 3600
"""Seconds of raw samples asked for at once."""


def _quiet(_: float) -> None:
    """Nobody is told."""


class Prometheus:
    """Questions to ``api``, whose base ends where ``/api/v1`` begins."""

    def __init__(self, api: Api) -> None:
        if api.base.endswith("/api/v1"):
            api.base = api.base[: -len("/api/v1")]
        self.base = api.base
        self._api = api
        self._warned: set[str] = set()

    def ask(self, path: str, **query: str | float | None) -> Any:
        """The ``data`` that ``/api/v1`` + ``path`` answers. Raises `Fault`."""
        body = mapping(self._api.get(f"/api/v1{path}", **query))
        if body.get("status") != "success":
            raise Fault(f"{self.base} does not speak Prometheus's API: {str(body)[:80]}")
        for warning in body.get("warnings") or ():
            if warning not in self._warned:
                self._warned.add(warning)
                note(f"{self.base} warns: {warning}")
        return body.get("data")

    def query(self, expression: str, at: float) -> list[tuple[dict[str, str], float]]:
        """Labels (with ``__name__``, if any) and value of each series at one moment."""
        data = self.ask("/query", query=expression, time=f"{at:.3f}")
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(row["metric"], float(row["value"][1])) for row in data["result"]]

    def over(self, expression: str, start: float, end: float, step: float, told: Told = _quiet) -> Samples:
        """Values every ``step`` seconds from ``start`` to ``end``, both included, in as many pages as it takes."""
        found: Samples = {}
        points, at = _FIRST, start
        while at <= end:
            last = min(end, at + (min(points, POINTS) - 1) * step)
            page = self.ask("/query_range", query=expression, start=f"{at:.3f}", end=f"{last:.3f}", step=f"{step:.3f}")
            _collect(found, page["result"])
            points = max(_LEAST, min(POINTS, _AIM // max(1, len(page["result"]))))
            at = last + step
            told(last)
        return found

    def raw(self, selector: str, start: float, end: float, told: Told = _quiet) -> Samples:
        """The samples themselves, after ``start`` and up to ``end``.

        Pages meet at a sample that Prometheus 2 puts in both and 3 in one; it is taken once.
        """
        found: Samples = {}
        at = start
        while at < end:
            last = min(end, at + _RAW)
            page = self.ask("/query", query=f"{selector}[{round((last - at) * 1000)}ms]", time=f"{last:.3f}")
            _collect(found, page["result"], at)
            at = last
            told(at)
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts that are pending or firing, as ``/api/v1/alerts`` shows them."""
        return list(self.ask("/alerts")["alerts"])


def _collect(found: Samples, result: list[dict[str, Any]], after: float = -1.0) -> None:
    for row in result:
        labels = tuple(sorted((key, value) for key, value in row["metric"].items() if key != "__name__"))
        points = found.setdefault(labels, [])
        newest = max(after, points[-1][0] if points else -1.0)
        for at, text in row["values"]:
            value = float(text)
            if at > newest and not isnan(value):
                points.append((float(at), value))
