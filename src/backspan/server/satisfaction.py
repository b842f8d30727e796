"""The gauge that says how well estimated satisfaction ranks answers that users voted on."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from backspan import semconv
from backspan.store import Store, estimates

_STATS = dict(zip(semconv.STATS, ("value", "low", "high"), strict=True))


def families(store: Store, instance: str) -> Sequence[Metric]:
    """The gauge as the worker noted it last; without samples while there are too few votes."""
    with store.reading() as conn:
        told = estimates.told_auc(conn)
    names = (semconv.LABEL_WEIGHTS, semconv.LABEL_STAT, "instance")
    family = GaugeMetricFamily(semconv.PROM_SATISFACTION_AUC, "Share of pairs of answers, voted up and down, that the "
                               "estimate ranks rightly", labels=names)
    if told is not None and told["auc"] is not None:
        for stat, key in _STATS.items():
            family.add_metric([told["weights"], stat, instance], told["auc"][key])
    return [family]
