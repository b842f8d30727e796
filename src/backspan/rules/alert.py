"""The alert of one chart: what happened, how sure that is, in which cohort, against what, and what would clear it."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.rules import expressions, series
from backspan.rules._node import write_duration
from backspan.rules.spec import Chart

_SPAN_KEYS = {semconv.LABEL_POLARITY: semconv.FEEDBACK_POLARITY}
"""Attribute of a feedback span that says what a metric label says."""


def alert_rule(chart: Chart) -> dict[str, Any]:
    """The alerting rule of ``chart`` as Prometheus reads it.

    It waits for nothing (``for: 0s``): the statistic already integrates over time. It is held for ``keep_firing_for``,
    so that evidence that wavers around the limit is one page.
    """
    labels = {"severity": chart.severity}
    if chart.owner:
        labels["owner"] = chart.owner
    return {
        "alert": series.ALERT,
        "expr": expressions.alarm(chart),
        "for": "0s",
        "keep_firing_for": write_duration(chart.keep_firing_for),
        "labels": labels,
        "annotations": _annotations(chart),
    }


def _annotations(chart: Chart) -> dict[str, str]:
    at, window = _at(chart), write_duration(chart.window)
    accepted = _query(series.P0, "humanizePercentage")
    rate = _query(series.RATE, "humanizePercentage")
    bad = _query(series.WINDOW_BAD, 'printf "%.0f"')
    n = _query(series.WINDOW_N, 'printf "%.0f"')
    limit, idle = f"{chart.limit:.2f}", write_duration(chart.idle_after)
    cohort = _cohort(chart)
    found = {
        "summary": f"{at}{chart.name}: {rate} ({bad} of {n} in the last {window}), accepted {accepted};{cohort}",
        "evidence": f'{{{{ $value | printf "%.2f" }}}}, limit {limit}:'
        f" on average at most one false alarm per {chart.false_alarm_every} rated events of the whole system",
        "cohort": f"{{{{ $labels.partition }}}}:{cohort}",
        "n": f"{at}{n} rated events in the last {window}, {bad} of them bad",
        "baseline": f"{at}{accepted} accepted ({chart.baseline.kind}); control limits for this n:"
        f" {_query(series.LCL, 'humanizePercentage')} to {_query(series.UCL, 'humanizePercentage')}",
        "description": chart.watched.description,
        "clears": f"when the evidence falls below {limit}, which takes ratings at or below the accepted rate,"
        f" or {idle} after the cohort's last rating; then it is held for {write_duration(chart.keep_firing_for)}",
    }
    found["traces"] = _traces(chart)
    return {**found, "runbook_url": chart.runbook} if chart.runbook else found


def _labels(chart: Chart) -> list[str]:
    """Labels of any partition, in order of appearance."""
    return list(dict.fromkeys(label for p in chart.partitions for label in p.labels))


def _cohort(chart: Chart) -> str:
    return "".join(f"{{{{ with $labels.{label} }}}} {label}={{{{ . }}}}{{{{ end }}}}" for label in _labels(chart))


def _traces(chart: Chart) -> str:
    """TraceQL for the bad votes of the alert's cohort; each of these spans links to the answer that was judged."""
    indicator = chart.watched
    span = semconv.EVALUATION_SPAN.format(name=indicator.where[semconv.LABEL_NAME])
    conditions = [f"name={_quote(span)}"]
    conditions += [f"span.{_SPAN_KEYS[label]}={_quote(value)}" for label, value in indicator.bad.items()]
    keys = dict.fromkeys(key for p in chart.partitions for key in p.by)
    cohort = "".join(
        f"{{{{ with $labels.{semconv.prometheus_label(key)} }}}} && {_scope(key)}.{key}="
        "{{ . | printf `%q` }}{{ end }}"
        for key in keys
    )
    return f"{{ {' && '.join(conditions)}{cohort} }}"


def _scope(key: str) -> str:
    return "resource" if key in semconv.PROMOTED else "span"


def _quote(value: str) -> str:
    return f'"{value}"'


def _query(name: str, form: str) -> str:
    """Template that shows ``name`` for the alert's cohort; a question mark once nobody rates any more."""
    found, shown = f"{{{{ with printf `{name}{{%s}}` $at | query }}}}", f"{{{{ . | first | value | {form} }}}}"
    return f"{found}{shown}{{{{ else }}}}?{{{{ end }}}}"


def _at(chart: Chart) -> str:
    """Template that keeps the matchers of the alert's cohort in ``$at``; it writes nothing itself."""
    labels = [series.PARTITION, *_labels(chart)]
    wanted = ",".join([f'{series.CHART}="{chart.name}"', *(f"{label}=%q" for label in labels)])
    values = " ".join(f"$labels.{label}" for label in labels)
    return f"{{{{ $at := printf `{wanted}` {values} }}}}"
