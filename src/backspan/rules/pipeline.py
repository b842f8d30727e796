"""Alerts about the way itself: a part that is down, telemetry that was dropped, rules that do not run.

Without them a broken Collector would look like good quality. The names are those that the programs of
`docker-compose.yml` and `backspan stack` give themselves (Collector 0.159, Prometheus 3, Alertmanager).

The Collector's counters appear with their first count, and ``increase()`` does not see that one; so what is new is
counted as a difference, and a series that was not there before counts whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from backspan import semconv
from backspan.rules._node import write_duration
from backspan.rules.counting import label
from backspan.rules.spec import Spec

FILE = "pipeline"
"""Name of the file and the group; no chart or canary may be called so."""
SIGNAL = "signal"
"""Label: what was dropped or refused, ``spans``, ``metric_points`` or ``log_records``."""
RUNBOOK = "docs/how-to/telemetry-alert.md"
_SIGNALS = ("spans", "metric_points", "log_records")
_OURS = 'rule_group=~".*;backspan_.*"'
_LOOK = "10m"


@dataclass(frozen=True)
class Alert:
    """One alerting rule; ``summary`` is a template of Prometheus."""

    name: str
    expr: str
    severity: str
    summary: str
    clears: str
    lasting: str = "0s"
    held: str = "0s"


def alerts() -> tuple[Alert, ...]:
    """All of them, the worst first."""
    return (*_parts(), *_collector(), *_rules(), *_labels())


def rule_file(spec: Spec) -> dict[str, Any]:
    """The rule file ``pipeline.yml``, evaluated as often as the charts."""
    group = {
        "name": f"backspan_{FILE}",
        "interval": write_duration(spec.interval),
        "rules": [_rule(one) for one in alerts()],
    }
    return {"groups": [group]}


def _rule(one: Alert) -> dict[str, Any]:
    return {
        "alert": one.name,
        "expr": one.expr,
        "for": one.lasting,
        "keep_firing_for": one.held,
        "labels": {"severity": one.severity},
        "annotations": {"summary": one.summary, "clears": one.clears, "runbook_url": RUNBOOK},
    }


def _parts() -> Iterable[Alert]:
    yield Alert(
        "BackspanPartDown", 'up{job=~"gateway|otelcol|tempo|alertmanager"} == 0', "page",
        "{{ $labels.job }} at {{ $labels.instance }} has not answered Prometheus for two minutes",
        "when it answers again", lasting="2m",
    )


def _collector() -> Iterable[Alert]:
    yield Alert(
        "BackspanTelemetryDropped", _any_new("otelcol_exporter_send_failed"), "ticket",
        "{{ $value }} {{ $labels.signal }} were dropped in ten minutes: {{ $labels.exporter }} refused them for good"
        " (too old, too far in the future, too large, or malformed); the Collector's log says which",
        "an hour after the last one", held="1h",
    )
    yield Alert(
        "BackspanTelemetryQueueFull", _any_new("otelcol_exporter_enqueue_failed"), "page",
        "{{ $value }} {{ $labels.signal }} did not fit into the Collector's queue for {{ $labels.exporter }} in ten"
        " minutes: the disk or the queue is full; senders were told and repeat as long as they can",
        "ten minutes after the last one",
    )
    yield Alert(
        "BackspanTelemetryQueueFilling",
        "otelcol_exporter_queue_size > 0.5 * otelcol_exporter_queue_capacity", "ticket",
        "the Collector's queue for {{ $labels.exporter }} has been more than half full for ten minutes: its target does"
        " not take what comes in", "when the queue is less than half full", lasting="10m",
    )
    yield Alert(
        "BackspanTelemetryRefused", _any_new("otelcol_receiver_refused"), "ticket",
        "the Collector refused {{ $value }} {{ $labels.signal }} in ten minutes (its memory limit, or what comes after"
        " it is full); senders repeat", "ten minutes after the last one",
    )


def _rules() -> Iterable[Alert]:
    yield Alert(
        "BackspanRulesFail", f"sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total{{{_OURS}}}"
        f"[{_LOOK}])) > 0", "page",
        "rules of {{ $labels.rule_group }} fail, so that nobody would be paged about a regression; Prometheus's page"
        " Status > Rules shows the error", "ten minutes after the last failure",
    )
    yield Alert(
        "BackspanRulesLate", f"sum by (rule_group) (increase(prometheus_rule_group_iterations_missed_total{{{_OURS}}}"
        f"[{_LOOK}])) > 2", "ticket",
        "{{ $labels.rule_group }} takes longer than its interval: {{ $value | humanize }} evaluations were left out in"
        " ten minutes", "ten minutes after that ends",
    )
    yield Alert(
        "BackspanPagesUndelivered",
        f"sum by (integration) (increase(alertmanager_notifications_failed_total[{_LOOK}])) > 0", "ticket",
        "Alertmanager could not deliver {{ $value | humanize }} notifications by {{ $labels.integration }} in ten"
        " minutes", "ten minutes after the last failure",
    )


def _of_applications(key: str) -> str:
    """Answers whose label ``key`` an application counted as the rest; a gateway's are in its own counter."""
    rest = f'{semconv.PROM_ANSWERS}{{{semconv.prometheus_label(key)}="{semconv.LABEL_REST}",instance!="gateway"}}'
    return f'\nor {label(f"sum by () (increase({rest}[1h])) > 0", semconv.LABEL_LABEL, key)}'


def _labels() -> Iterable[Alert]:
    yield Alert(
        "BackspanLabelOverflow",
        f"sum by (label) (increase({semconv.PROM_LABEL_OVERFLOW}[1h])) > 0"
        f"{''.join(map(_of_applications, semconv.DIMENSIONS))}"
        '\nor count by (label) (label_replace({otel_metric_overflow="true",__name__=~"backspan_.*|gen_ai_.*"},'
        ' "label", "$1", "__name__", "(.*)"))', "ticket",
        "{{ $labels.label }} has more values than are kept apart, and the rest is counted as one: an id may stand where"
        " a version belongs, or names are made up", "an hour after the last one",
    )


def _any_new(metric: str) -> str:
    return "\nor ".join(label(_new(f"{metric}_{signal}"), SIGNAL, signal) for signal in _SIGNALS)


def _new(name: str) -> str:
    """What was added in ten minutes; after a restart of the Collector its counter begins anew, and counts whole."""
    before = f"{name} offset {_LOOK}"
    return f"(sum by (exporter, receiver) ({name} - {before} > 0 or {name} < {before} or {name} unless {before}) > 0)"
