"""Counts of a chart by cohort and window, from the rows that the store keeps; any width, any stretch of time."""

from __future__ import annotations

from math import inf
from typing import Any

from sqlalchemy import Connection

from backspan.server.charts.evidence import whole
from backspan.server.charts.meter import Meter
from backspan.store import history

Cell = tuple[str, tuple[tuple[str, str], ...], float]
"""(partition, labels by OpenTelemetry key, start of the window)."""
Cells = dict[Cell, tuple[float, float]]

MOST_WINDOWS = 1_000_000
"""Windows that one question may ask for; past it the width is refused."""


def tally(conn: Connection, meter: Meter, since: float, until: float, width: float = inf) -> Cells:
    """(n, bad) per cohort and window of ``width`` seconds aligned to Unix time; one window if it is infinite."""
    cells: Cells = {}
    for kind in meter.kinds:
        for event in history.events(conn, kind, since, until):
            read = meter.read(event)
            if read is None:
                continue
            start = since if width == inf else event.time - event.time % width
            for partition in meter.chart.partitions:
                labels = tuple((key, event.get(key)) for key in partition.by)
                n, x = cells.get((partition.name, labels, start), (0.0, 0.0))
                cells[partition.name, labels, start] = (n + read[0], x + read[1])
    return cells


def windows(conn: Connection, meter: Meter, since: float, until: float, width: int) -> list[dict[str, Any]]:
    """`tally` as JSON, by time and cohort; a window in which nothing happened is left out."""
    cells = tally(conn, meter, since, until, width)
    return [
        {"partition": partition, "labels": dict(labels), "start": whole(start), "n": whole(n), "bad": whole(bad)}
        for (partition, labels, start), (n, bad) in sorted(cells.items(), key=lambda item: (item[0][2], item[0][:2]))
    ]
