"""``/metrics``: the store's counts as Prometheus or OpenMetrics text, with the names that applications' SDKs use.

A series that was never shown is shown as 0 in its first two scrapes (`backspan.store.counters`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from starlette.requests import Request
from starlette.responses import Response

from backspan import semconv
from backspan.server.problems import busy
from backspan.store import Busy, Store
from backspan.store.counters import SUM, Series
from backspan.store.model import LABELS

INSTANCE = "gateway"
_COUNTERS = {
    semconv.PROM_ANSWERS: ("Answers given", ()),
    semconv.PROM_FEEDBACK: ("Acts of judgement", semconv.FEEDBACK_LABELS),
    semconv.PROM_FEEDBACK_REASONS: ("Reasons given", (*semconv.FEEDBACK_LABELS, semconv.LABEL_REASON)),
}
_HISTOGRAMS = {
    semconv.PROM_FEEDBACK_SCORE: ("Scores given", semconv.SCORE_BUCKETS),
    semconv.PROM_FEEDBACK_DELAY: ("Seconds from the answer to its judgement", semconv.DELAY_BUCKETS),
}
_MEASURED = (semconv.LABEL_NAME, semconv.LABEL_SOURCE)


class MetricsApi:
    """Handler for ``/metrics``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def show(self, request: Request) -> Response:
        """One scrape, in the format the client accepts; exemplars are in OpenMetrics only."""
        try:
            series = await asyncio.wrap_future(self._store.scrape())
        except Busy:
            raise busy() from None
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(_Snapshot(series)), media_type=None, headers={"Content-Type": kind})


class _Snapshot(Collector):
    """One scrape as `prometheus_client` collects it."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._by_metric: dict[str, list[Series]] = {}
        for one in series:
            self._by_metric.setdefault(one.metric, []).append(one)

    def collect(self) -> Iterable[Metric]:
        for name, (doc, own) in _COUNTERS.items():
            yield _counter(name, doc, own, self._by_metric.get(name, []))
        for name, (doc, bounds) in _HISTOGRAMS.items():
            yield _histogram(name, doc, bounds, self._by_metric.get(name, []))


def _names(own: Iterable[str]) -> list[str]:
    return [*own, *(semconv.prometheus_label(key) for key in LABELS), "instance"]


def _values(own: Iterable[str], labels: Mapping[str, str]) -> list[str]:
    return [*(labels.get(key, "") for key in (*own, *LABELS)), INSTANCE]


def _counter(name: str, doc: str, own: tuple[str, ...], series: Iterable[Series]) -> Metric:
    family = CounterMetricFamily(name.removesuffix("_total"), doc, labels=_names(own))
    for one in series:
        labels = dict(zip(_names(own), _values(own, one.labels), strict=True))
        family.add_sample(name, labels, one.value, exemplar=_exemplar(one.exemplar))
    return family


def _exemplar(stored: Mapping[str, Any] | None) -> Exemplar | None:
    if stored is None:
        return None
    ids = {key: stored[key] for key in ("trace_id", "span_id") if stored.get(key)}
    return Exemplar(ids, stored["value"], stored["time"])


def _histogram(name: str, doc: str, bounds: tuple[float, ...], series: Iterable[Series]) -> Metric:
    family = HistogramMetricFamily(name, doc, labels=_names(_MEASURED))
    groups: dict[tuple[str, ...], dict[str, Series]] = {}
    for one in series:
        groups.setdefault(tuple(_values(_MEASURED, one.labels)), {})[one.labels["le"]] = one
    for labels, rows in groups.items():
        fresh, total = rows[SUM].fresh, 0.0
        buckets: list[tuple[str, float]] = []
        for bound in (*bounds, inf):
            le = "+Inf" if bound == inf else repr(float(bound))
            total += rows[le].exact if le in rows and not fresh else 0.0
            buckets.append((le, total))
        family.add_metric(list(labels), buckets, 0.0 if fresh else rows[SUM].exact)
    return family
