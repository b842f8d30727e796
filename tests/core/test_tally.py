"""A new series of a sum of ours is exported as 0 first, so that `increase()` sees a short worker's first answers."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from backspan import semconv, telemetry
from backspan._instruments import Tally
from tests.support.otlp_sink import OtlpSink


@pytest.fixture
def tally():
    """A tally, and a function that collects it: values by label."""
    reader = InMemoryMetricReader()
    made = Tally(MeterProvider([reader], shutdown_on_exit=False).get_meter("t"), "t", "1", "")

    def collect() -> dict:
        data = reader.get_metrics_data()
        points = [point for resource in (data.resource_metrics if data else []) for scope in resource.scope_metrics
                  for metric in scope.metrics for point in metric.data.data_points]
        return {point.attributes["k"]: point.value for point in points}

    return made, collect


def test_zero_then_the_sum(tally):
    made, collect = tally
    assert not made.owes and collect() == {}
    made.add(3, {"k": "a"})
    assert made.owes and collect() == {"a": 0}
    assert made.owes and collect() == {"a": 3}
    made.add(1, {"k": "b"})
    made.add(1, {"k": "a"})
    assert collect() == {"a": 4, "b": 0}
    assert collect() == {"a": 4, "b": 1} and not made.owes


def test_a_settled_tally_gives_its_sums_at_once(tally):
    made, collect = tally
    made.settle()
    made.add(3, {"k": "a"})
    assert collect() == {"a": 3} and not made.owes


def test_flush_sends_the_zero_and_the_sum(monkeypatch):
    telemetry.reset_for_tests()
    with OtlpSink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        telemetry.instruments().answers.add(2, {"k": "a"})
        assert telemetry.flush()
        assert [point.value for point in sink.points if point.metric == semconv.ANSWERS] == [0, 2]
        telemetry.shutdown()
    telemetry.reset_for_tests()


WORKER = """
import opentelemetry.metrics, sys
from backspan import telemetry
if sys.argv[1] == "theirs":
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    opentelemetry.metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
telemetry.get_tracer()
telemetry.instruments().answers.add(5, {"k": "a"})
"""


@pytest.mark.parametrize("whose, values", [("ours", [0, 5]), ("theirs", [5])])
def test_a_worker_that_ends_at_once_loses_nothing(whose, values, tmp_path):
    """With our provider the zero goes ahead; an application's own is asked for nothing more at its end."""
    with OtlpSink() as sink:
        env = {"PATH": "", "HOME": str(tmp_path), "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, "BACKSPAN": "1"}
        subprocess.run([sys.executable, "-c", WORKER, whose], env=env, timeout=60, check=True)
        points = [point for point in sink.points if point.metric == semconv.ANSWERS]
    assert [point.value for point in points] == values
