"""Sends, over OTLP, the metrics of the catalogue that no part of backspan sends yet, under the catalogue's names, and
those that a gateway sends hours after an answer, or of more answers than a test gives.

So the panels that wait for them can be shown to work. `python -m tests.stack.waiting http://127.0.0.1:4318`
"""

from __future__ import annotations

import sys
import time

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from backspan import semconv
from backspan.rules.indicators import INDICATORS

COUNTERS = {"cost": 0.25, "refusals": 2, "empty_retrievals": 3, "weak_retrievals": 5}
"""Indicator -> what its counter grows by at each export."""
GAUGES = {"rater_concentration": 0.2, "oldest_unreviewed": 7200, "input_drift": 0.07}
LATE = {semconv.SATISFACTION: (0.2, 0.7), semconv.TURNS_TO_RESOLUTION: (1, 3)}
"""Histogram of a gateway -> values that are added at each export."""
WEIGHTS = {semconv.LABEL_WEIGHTS: "w-1"}
BOUNDED = {semconv.SATISFACTION_AUC: WEIGHTS,
           semconv.FEEDBACK_ESTIMATE: {semconv.LABEL_NAME: semconv.USER_THUMBS, semconv.LABEL_ESTIMATOR: "raw"}}
"""Gauge of a gateway with an interval -> its other labels."""
LEVELS = {semconv.FEEDBACK_COVERAGE: 0.1, semconv.FEEDBACK_STABILITY: 0.05}
EXPOSURE = 40
"""What the counter of retrievals grows by."""
LABELS = {semconv.REQUEST_MODEL: "sim-small-1", semconv.PROMPT_NAME: "support", semconv.PROMPT_VERSION: "v1"}


def names() -> set[str]:
    """Prometheus names of all that is sent."""
    counted = {INDICATORS[name].counted.metric for name in COUNTERS}
    return counted | {INDICATORS[name].gauge for name in GAUGES} | {INDICATORS["empty_retrievals"].total.metric}


def send(endpoint: str, service: str = "rag-chat", times: int = 3, pause: float = 2) -> None:
    """Export each metric ``times`` times; a counter that is seen once has not grown."""
    resource = Resource({semconv.SERVICE_NAME: service, semconv.ENVIRONMENT: "test"})
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"), 1e9)
    provider = MeterProvider([reader], resource)
    meter = provider.get_meter("tests")
    counters = {INDICATORS[name].counted.metric: step for name, step in COUNTERS.items()}
    counters[INDICATORS["empty_retrievals"].total.metric] = EXPOSURE
    made = {meter.create_counter(name.removesuffix("_total")): step for name, step in counters.items()}
    gauges = {meter.create_gauge(INDICATORS[name].gauge): value for name, value in GAUGES.items()}
    histograms = {meter.create_histogram(name): values for name, values in LATE.items()}
    bounded = {meter.create_gauge(name): labels for name, labels in BOUNDED.items()}
    levels = {meter.create_gauge(name): value for name, value in LEVELS.items()}
    cut = meter.create_counter(semconv.LABEL_OVERFLOW_METRIC)
    for _ in range(times):
        for counter, step in made.items():
            counter.add(step, LABELS)
        for gauge, value in gauges.items():
            gauge.set(value, LABELS)
        for histogram, values in histograms.items():
            for value in values:
                histogram.record(value, {**LABELS, **WEIGHTS})
        for gauge, labels in bounded.items():
            for stat, value in zip(semconv.STATS, (0.7, 0.6, 0.8), strict=True):
                gauge.set(value, {**labels, semconv.LABEL_STAT: stat})
        for gauge, value in levels.items():
            gauge.set(value)
        cut.add(1, {semconv.LABEL_LABEL: semconv.SEGMENT})
        assert provider.force_flush()
        time.sleep(pause)
    provider.shutdown()


if __name__ == "__main__":
    send(sys.argv[1], times=int(sys.argv[2]) if len(sys.argv) > 2 else 3)
