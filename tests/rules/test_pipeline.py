"""The alerts about the way itself, through the real PromQL engine; each has a twin with nothing wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.rules.promtools import fails, found, need, passes

from backspan.rules import pipeline
from backspan.rules.spec import load

pytestmark = pytest.mark.promtool

CASES: dict[str, tuple[str, str, str, str]] = {
    "BackspanPartDown": ('up{job="gateway",instance="g"}', "1x10 0x20", "1x30", "13m"),
    "BackspanTelemetryDropped": (
        'otelcol_exporter_send_failed_metric_points{exporter="prometheus",instance="c"}', "_x10 106x20", "0x30", "12m"),
    "BackspanTelemetryQueueFull": (
        'otelcol_exporter_enqueue_failed_spans{exporter="tempo",instance="c"}', "0x10 5x20", "5x30", "12m"),
    "BackspanTelemetryQueueFilling": ('otelcol_exporter_queue_size{exporter="tempo"}', "60x30", "40x30", "12m"),
    "BackspanTelemetryRefused": (
        'otelcol_receiver_refused_spans{receiver="otlp",instance="c"}', "90x10 7x20", "7x30", "12m"),
    "BackspanRulesFail": (
        'prometheus_rule_evaluation_failures_total{rule_group="/x/errors.yml;backspan_spc_errors"}', "0x10 1+1x20",
        "3x30", "13m"),
    "BackspanRulesLate": (
        'prometheus_rule_group_iterations_missed_total{rule_group="/x/errors.yml;backspan_spc_errors"}', "0+1x30",
        "0x30", "13m"),
    "BackspanPagesUndelivered": (
        'alertmanager_notifications_failed_total{integration="webhook",reason="other"}', "0x10 1+1x20", "4x30", "13m"),
    "BackspanLabelOverflow": (
        'backspan_label_overflow_total{label="name",instance="gateway"}', "0x10 1+1x20", "3x30", "13m"),
}
"""Alert -> series, its values when something is wrong and when nothing is (`x30` at 11 minutes: old news), and when."""


_ANSWERS = 'backspan_answers_total{gen_ai_prompt_version="%s",service_name="chat",instance="%s"}'
OVERFLOWS = {
    _ANSWERS % ("__overflow__", "a"): True, _ANSWERS % ("v7", "a"): False,
    _ANSWERS % ("__overflow__", "gateway"): False,
    'backspan_feedback_total{otel_metric_overflow="true"}': True,
}
"""What an application counts; whether a label of it has overflown. A gateway tells by a counter of its own."""


@pytest.fixture(params=found(), ids=lambda path: Path(path).parent.name)
def tool(request: pytest.FixtureRequest) -> str:
    return need(request.param)


def case(alert: str, values: str, firing: bool) -> dict[str, Any]:
    series, _, _, at = CASES[alert]
    inputs = [{"series": series, "values": values}]
    if "queue_size" in series:
        inputs.append({"series": series.replace("queue_size", "queue_capacity"), "values": "100x30"})
    samples = [{"labels": "{}", "value": int(firing)}]
    asked = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    expected = {"eval_time": at, "expr": asked, "exp_samples": samples}
    return {"name": alert, "interval": "1m", "input_series": inputs, "promql_expr_test": [expected]}


def overflow(series: str, firing: bool) -> dict[str, Any]:
    given = case("BackspanLabelOverflow", "0x10 1+1x20", firing)
    return {**given, "name": series, "input_series": [{"series": series, "values": "0x10 1+1x20"}]}


def document(*tests: dict[str, Any]) -> dict[str, Any]:
    return {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": list(tests)}


def test_each_fires_when_something_is_wrong(tool: str, tmp_path: Path) -> None:
    cases = [case(name, wrong, firing=True) for name, (_, wrong, _, _) in CASES.items()]
    passes(tool, tmp_path, pipeline.rule_file(load()), document(*cases))


def test_each_is_silent_while_nothing_is(tool: str, tmp_path: Path) -> None:
    cases = [case(name, fine, firing=False) for name, (_, _, fine, _) in CASES.items()]
    passes(tool, tmp_path, pipeline.rule_file(load()), document(*cases))


def test_labels_of_applications(tool: str, tmp_path: Path) -> None:
    cases = [overflow(series, firing) for series, firing in OVERFLOWS.items()]
    passes(tool, tmp_path, pipeline.rule_file(load()), document(*cases))
    fails(tool, tmp_path, pipeline.rule_file(load()), document(overflow(next(iter(OVERFLOWS)), False)))


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_that_looks_elsewhere_is_noticed(tmp_path: Path, alert: str) -> None:
    """The twin."""
    rules = pipeline.rule_file(load())
    (rule,) = (one for one in rules["groups"][0]["rules"] if one["alert"] == alert)
    rule["expr"] = rule["expr"].replace("otelcol_", "otel_").replace("_total", "_sum").replace("up{", "down{")
    fails(need(found()[-1]), tmp_path, rules, document(case(alert, CASES[alert][1], firing=True)))


def test_every_alert_has_a_case() -> None:
    assert {one.name for one in pipeline.alerts()} == CASES.keys()
