"""The alerts of one chart: what happened, how sure that is, in which cohort, against what, and what would clear it."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.rules import expressions, links, series
from backspan.rules._node import write_duration
from backspan.rules.counting import fresh
from backspan.rules.labels import alert_labels
from backspan.rules.selectors import select
from backspan.rules.spec import Chart, Spec
from backspan.rules.templates import COUNT, RATE, TWO, looked_up, named, remembered
from backspan.rules.tickets import TEXTS, ticket_alerts
from backspan.spc.phases import LEARNING, Effective

SILENCE = 9.2
"""Judgements that must have been expected before their absence means something: P(none) = exp(-9.2) = 1e-4."""
MISSING_HOLD = 300
"""Seconds for which that alert stays when the condition no longer holds."""


def alert_rules(spec: Spec, chart: Chart) -> list[dict[str, Any]]:
    """All alerting rules of ``chart`` as Prometheus reads them: the pager's, that of silence, those of the tickets."""
    rules = [alert_rule(spec, chart)]
    if about_silence(chart):
        rules.append(_missing(chart))
    tickets = ticket_alerts(chart)
    return [*rules, *({**rule, "annotations": _ticket(chart, rule["labels"][series.RULE])} for rule in tickets)]


def alert_rule(spec: Spec, chart: Chart) -> dict[str, Any]:
    """The pager's rule.

    It waits for nothing (``for: 0s``): the statistic already integrates over time. It is held for ``keep_firing_for``,
    so that evidence that wavers around the limit is one page.
    """
    return {
        "alert": series.ALERT,
        "expr": expressions.alarm(chart),
        "for": "0s",
        "keep_firing_for": write_duration(chart.keep_firing_for),
        "labels": alert_labels(chart, chart.severity),
        "annotations": _annotations(spec, chart),
    }


def about_silence(chart: Chart) -> bool:
    """Tell whether `series.ALERT_MISSING` belongs to ``chart``."""
    return chart.indicator in ("feedback_coverage", "feedback_volume") and not chart.better


def silent(base: Effective | None, n: float, bad: float) -> bool:
    """The condition of `series.ALERT_MISSING` in Python: no judgement in a window of ``n`` answers against ``base``."""
    return base is not None and base.phase != LEARNING and n * base.p0 >= SILENCE and bad == 0


def missing(chart: Chart) -> str:
    """The condition of `series.ALERT_MISSING`."""
    n, bad = fresh(select(series.WINDOW_N, chart)), fresh(select(series.WINDOW_BAD, chart))
    return f"{n} * {fresh(select(series.SR_P0, chart))} >= {SILENCE}\nand {bad} == 0"


def _missing(chart: Chart) -> dict[str, Any]:
    said, window = _at(chart), write_duration(chart.window)
    n_shown, p0_shown = looked_up(series.WINDOW_N, COUNT), looked_up(series.P0, RATE)
    return {
        "alert": series.ALERT_MISSING,
        "expr": missing(chart),
        "for": "0s",
        "keep_firing_for": write_duration(MISSING_HOLD),
        "labels": alert_labels(chart, chart.severity),
        "annotations": {
            "summary": f"{said}no judgement in the last {window} of {n_shown} answers, {p0_shown} of which were judged"
            f" before;{_cohort(chart)}",
            "evidence": "by chance once in 10,000 windows: the widget, the gateway or the way to it is broken",
            "clears": "with the first judgement",
            **_runbook(chart),
        },
    }


def _ticket(chart: Chart, rule: str) -> dict[str, str]:
    said, window = _at(chart), write_duration(chart.window)
    rate, n = looked_up(series.RATE, _form(chart)), looked_up(series.WINDOW_N, COUNT)
    return {
        "summary": f"{said}{chart.name}: {TEXTS[rule]}; {rate} of {n} in the last {window};{_cohort(chart)}",
        "evidence": "a rule of the drawn chart: alone it is by chance met about once in 700 windows (we_1, ewma)"
        " or 1,000 (we_2, we_3) of every cohort; worth a look, not a page",
        "phase": f"{said}{_phase(chart)}",
        "clears": f"by itself, after {write_duration(max(chart.window, chart.keep_firing_for))}",
        **_runbook(chart),
    }


def _runbook(chart: Chart) -> dict[str, str]:
    return {"runbook_url": chart.runbook} if chart.runbook else {}


def _form(chart: Chart) -> str:
    return RATE if chart.watched.unit == "percentunit" else "humanize"


def _annotations(spec: Spec, chart: Chart) -> dict[str, str]:
    at, window = _at(chart), write_duration(chart.window)
    accepted, rate = (looked_up(name, _form(chart)) for name in (series.P0, series.RATE))
    bad, n = (looked_up(name, COUNT) for name in (series.WINDOW_BAD, series.WINDOW_N))
    limit, idle = looked_up(series.SR_LIMIT, TWO), write_duration(chart.idle_after)
    cohort, side = _cohort(chart), "at least" if chart.model.falls else "up to"
    found = {
        "summary": f"{at}{chart.name}: {rate} ({bad} of {n} in the last {window}), accepted {side} {accepted};{cohort}",
        "evidence": f'{at}{{{{ $value | printf "%.2f" }}}}, limit {limit}:'
        f" on average at most one false alarm per {_promise(chart)} of the whole system",
        "since": f"{_since(chart)}",
        "cohort": f"{{{{ $labels.partition }}}}:{cohort}",
        "n": f"{at}{n} {_counted(chart)} in the last {window}, {bad} {_meant(chart)}",
        "baseline": f"{at}accepted {side} {accepted}, dispersion {looked_up(series.PHI, TWO)}, phase {_phase(chart)};"
        f" control limits for this n: {looked_up(series.LCL, _form(chart))} to {looked_up(series.UCL, _form(chart))}",
        "description": chart.watched.description,
        "clears": f"{at}when the evidence falls below {limit}, which takes ratings on the good side of the accepted"
        f" rate, or {idle} after the cohort's last rating; then it is held for {write_duration(chart.keep_firing_for)}",
    }
    return {**found, **_links(spec, chart), **_runbook(chart)}


def _links(spec: Spec, chart: Chart) -> dict[str, str]:
    """The panel, and the bad events: as a TraceQL query and as a link that runs it."""
    chosen = {name: label for name, label in _VARIABLES.items() if label in _labels(chart)}
    fixed = {"chart": chart.name}
    found = {"panel": links.panel(spec.grafana, fixed, {"partition": series.PARTITION, **chosen})}
    if not chart.watched.spans:
        return found
    keys = dict.fromkeys(key for p in chart.partitions for key in p.by)
    attributes = [(f"{_scope(key)}.{key}", semconv.prometheus_label(key)) for key in keys]
    shown = links.spans(spec.grafana, chart.watched.spans, attributes)
    return {**found, "traces": _traces(chart, chart.watched.spans), "spans": shown}


_VARIABLES = {
    "service": semconv.PROM_SERVICE,
    "environment": semconv.PROM_ENVIRONMENT,
    "prompt": semconv.prometheus_label(semconv.PROMPT_NAME),
    "version": semconv.prometheus_label(semconv.PROMPT_VERSION),
}
"""Variable of the dashboard -> label that it selects."""


def _counted(chart: Chart) -> str:
    return "rated events" if chart.watched.kind == "share" else "units of exposure"


def _meant(chart: Chart) -> str:
    return "of them bad" if chart.watched.kind == "share" else "events in them"


def _promise(chart: Chart) -> str:
    """The promise as a text; in days, with the events that it comes to at the measured volume."""
    if chart.promise.events:
        return f"{chart.promise.events} rated events"
    found = f'{{{{ with query `spc:promise{{chart="{chart.name}"}}` }}}}{{{{ . | first | value | printf "%.0f" }}}}'
    return f"{chart.promise} ({found} rated events){{{{ end }}}}"


def _since(chart: Chart) -> str:
    """When the evidence last stood at a chance level, by Prometheus's own history of it."""
    lowest = f"spc:sr{{%s}} < {expressions.number(chart.limit / 3)}"
    return (
        f"{_at(chart)}{{{{ with printf `max_over_time(timestamp({lowest})[7d:5m])` $at | query }}}}"
        "{{ . | first | value | humanizeTimestamp }}"
        "{{ else }}the cohort's first ratings, or more than 7 days ago{{ end }}"
    )


def _phase(chart: Chart) -> str:
    """The phases of the last day that are not the alarm itself."""
    selector = f'{series.PHASE_SERIES}{{%s,{series.PHASE}!="alarm"}}'
    return (
        f"{{{{ range printf `max by ({series.PHASE}) (last_over_time({selector}[1d]))` $at | query }}}}"
        f"{{{{ .Labels.{series.PHASE} }}}} {{{{ end }}}}"
    )


def _labels(chart: Chart) -> list[str]:
    """Labels of any partition, in order of appearance."""
    return list(dict.fromkeys(label for p in chart.partitions for label in p.labels))


def _at(chart: Chart) -> str:
    return remembered({series.CHART: chart.name}, [series.PARTITION, *_labels(chart)])


def _cohort(chart: Chart) -> str:
    return named(_labels(chart))


def _traces(chart: Chart, spans: str) -> str:
    """TraceQL for the spans behind the bad events of the alert's cohort; a judgement links to its answer."""
    keys = dict.fromkeys(key for p in chart.partitions for key in p.by)
    cohort = "".join(
        f"{{{{ with $labels.{semconv.prometheus_label(key)} }}}} && {_scope(key)}.{key}="
        "{{ . | printf `%q` }}{{ end }}"
        for key in keys
    )
    return f"{{ {spans}{cohort} }}"


def _scope(key: str) -> str:
    return "resource" if key in semconv.PROMOTED else "span"
