"""Outcomes of the last 30 days as gauges: after votes up and down, with a model and without."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from sqlalchemy import Connection

from backspan import semconv
from backspan.store.outcomes_report import report
from backspan.store.retention import DAY

WINDOW = 30 * DAY
MOST = 50
"""Names of outcomes that are shown: the most frequent ones."""
_ROWS = (("votes", "up"), ("votes", "down"), ("assistance", "assisted"), ("assistance", "unassisted"))
"""Where `report` has each of `semconv.GROUPS`."""


def families(conn: Connection) -> list[Metric]:
    """The gauge; without samples while there are no outcomes."""
    names = (semconv.LABEL_NAME, semconv.LABEL_POLARITY, semconv.LABEL_GROUP, "instance")
    family = GaugeMetricFamily(semconv.PROM_OUTCOMES, "Outcomes of the last 30 days, beside votes and with or without "
                               "a model", labels=names)
    told = sorted(report(conn, time.time() - WINDOW)["outcomes"], key=_size, reverse=True)[:MOST]
    for one in told:
        for polarity, group, number in _counts(one):
            family.add_metric([one["name"], polarity, group, "gateway"], number)
    return [family]


def _size(one: Mapping[str, Any]) -> int:
    return one["votes"]["n"] + one["assistance"]["n"]


def _counts(one: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    for group, (part, row) in zip(semconv.GROUPS, _ROWS, strict=True):
        if one[part][row]["n"]:
            yield semconv.POSITIVE, group, one[part][row]["good"]
            yield semconv.NEGATIVE, group, one[part][row]["bad"]
