"""``/metrics``: the store's counts as Prometheus or OpenMetrics text, with the names that applications' SDKs use.

A series that was never shown is shown as 0 in its first two scrapes (`backspan.store.counters`). Beside the counts come
gauges of the worst documents (`backspan.server.documents`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
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
from backspan.server import asking, documents, outcome_gauges, satisfaction
from backspan.server.problems import busy
from backspan.server.rejections import Rejections
from backspan.store import Busy, Store
from backspan.store.counters import SUM, Series
from backspan.store.model import LABELS

INSTANCE = "gateway"
_COUNTERS = {
    semconv.PROM_ANSWERS: ("Answers given", ()),
    semconv.PROM_FEEDBACK: ("Acts of judgement", semconv.FEEDBACK_LABELS),
    semconv.PROM_FEEDBACK_REASONS: ("Reasons given", (*semconv.FEEDBACK_LABELS, semconv.LABEL_REASON)),
    semconv.PROM_FEEDBACK_SOLICITED: (
        "First judgements of users, asked for or volunteered", semconv.SOLICITED_LABELS),
    semconv.PROM_FEEDBACK_SKIPS: ("Questions that were passed over", (semconv.LABEL_NAME,)),
    semconv.PROM_FEEDBACK_QUARANTINED: ("Votes held or let go", (semconv.LABEL_RULE, semconv.LABEL_ACTION)),
    semconv.PROM_LABEL_OVERFLOW: ("Judgements and answers with a label past its limit", (semconv.LABEL_LABEL,)),
    semconv.PROM_COMPARISONS: ("Pairs of answers that were compared", semconv.COMPARISON_LABELS),
    semconv.PROM_SIGNALS: ("First implicit signals", semconv.SIGNAL_LABELS),
}
_HISTOGRAMS = {
    semconv.PROM_FEEDBACK_SCORE: ("Scores given", semconv.SCORE_BUCKETS),
    semconv.PROM_FEEDBACK_DELAY: ("Seconds from the answer to its judgement", semconv.DELAY_BUCKETS),
    semconv.PROM_TURNS_TO_RESOLUTION: ("Turns until the user said that it works", semconv.TURN_BUCKETS),
    semconv.PROM_SATISFACTION: ("What signals say of answers, from 0 to 1", semconv.SATISFACTION_BUCKETS),
}
_MEASURED = (semconv.LABEL_NAME, semconv.LABEL_SOURCE)
_OWN = {semconv.PROM_TURNS_TO_RESOLUTION: (), semconv.PROM_SATISFACTION: (semconv.LABEL_WEIGHTS,)}
"""Labels of a histogram beside the dimensions, where they are not `_MEASURED`."""


class MetricsApi:
    """Handler for ``/metrics``."""

    def __init__(self, store: Store, rejections: Rejections) -> None:
        self._store = store
        self._rejections = rejections
        self._documents = documents.Gauges(store)
        self._estimates = asking.Gauges(store)
        self._outcomes = asking.Gauges(store, outcome_gauges.families)

    async def show(self, request: Request) -> Response:
        """One scrape, in the format the client accepts; exemplars are in OpenMetrics only.

        Of several replicas one shows what the store counts; the others show what is counted per process.
        """
        try:
            series = await asyncio.wrap_future(self._store.scrape())
        except Busy:
            raise busy() from None
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        found = () if series is None else await self._documents.rows()
        more: list[Metric] = []
        if series is not None:
            more = [*await self._estimates.families(), *await self._outcomes.families(),
                    *await asyncio.to_thread(satisfaction.families, self._store, INSTANCE)]
        shown = _Snapshot(series, self._rejections, found, more)
        text = await asyncio.to_thread(encode, shown)  # megabytes, where there are many cohorts: votes do not wait
        return Response(text, media_type=None, headers={"Content-Type": kind})


class _Snapshot(Collector):
    """One scrape as `prometheus_client` collects it."""

    def __init__(
        self, series: Iterable[Series] | None, rejections: Rejections, found: Sequence[Mapping[str, Any]] = (),
        more: Sequence[Metric] = (),
    ) -> None:
        self._more = more
        self._documents = found
        self._rejections = rejections
        self._shown = series is not None
        self._by_metric: dict[str, list[Series]] = {}
        for one in series or ():
            self._by_metric.setdefault(one.metric, []).append(one)

    def collect(self) -> Iterable[Metric]:
        yield self._rejections.family()
        if self._shown:
            yield from self._stored()

    def _stored(self) -> Iterable[Metric]:
        for name, (doc, own) in _COUNTERS.items():
            yield _counter(name, doc, own, self._by_metric.get(name, []))
        for name, (doc, bounds) in _HISTOGRAMS.items():
            yield _histogram(name, doc, bounds, self._by_metric.get(name, []))
        yield from documents.families(self._documents, INSTANCE)
        yield from self._more


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
    own = _OWN.get(name, _MEASURED)
    family = HistogramMetricFamily(name, doc, labels=_names(own))
    groups: dict[tuple[str, ...], dict[str, Series]] = {}
    for one in series:
        groups.setdefault(tuple(_values(own, one.labels)), {})[one.labels["le"]] = one
    for labels, rows in groups.items():
        fresh, total = rows[SUM].fresh, 0.0
        buckets: list[tuple[str, float]] = []
        for bound in (*bounds, inf):
            le = "+Inf" if bound == inf else repr(float(bound))
            total += rows[le].exact if le in rows and not fresh else 0.0
            buckets.append((le, total))
        family.add_metric(list(labels), buckets, 0.0 if fresh else rows[SUM].exact)
    return family
