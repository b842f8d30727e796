"""Gauges against a limit: one alert per limit of the spec, in a rule group of their own.

A gauge is a level, not a count of events, so there is no run length to promise: the value must stay above the limit
for the whole of ``for``. A gauge that nobody sends says nothing.

``spc:limit``, with labels limit and indicator, is the limit itself, so that a panel can draw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backspan import semconv
from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.counting import number
from backspan.rules.indicators import INDICATORS
from backspan.rules.labels import owned
from backspan.rules.spec import Limit, Spec

ALERT = "BackspanLimitExceeded"
"""A gauge stays above its limit. Its labels are those of the gauge, without the process that sends it, and ``limit``,
``indicator``, ``severity`` (and ``owner``)."""
SERIES = "spc:limit"
LABEL = "limit"
FILE = "limits"
"""Name of the file and the group; no chart or canary may be called so."""

_PROCESS = ("instance", "job")
"""Of several processes that send the same gauge the worst one counts, once."""
_SHOWN = {"percentunit": "humanizePercentage", "s": "humanizeDuration"}


def rule_file(spec: Spec) -> dict[str, Any] | None:
    """The rule file ``limits.yml`` for all limits of ``spec``; None if it has none."""
    if not spec.limits:
        return None
    group = {
        "name": f"backspan_spc_{FILE}",
        "interval": write_duration(spec.interval),
        "rules": [*map(_recorded, spec.limits), *map(_alert, spec.limits)],
    }
    return {"groups": [group]}


def condition(limit: Limit) -> str:
    """PromQL of the gauges above ``limit``; its value is the gauge's."""
    return f"max without ({', '.join(_PROCESS)}) ({INDICATORS[limit.indicator].gauge}) > {number(limit.above)}"


def _recorded(limit: Limit) -> dict[str, Any]:
    labels = {LABEL: limit.name, series.INDICATOR: limit.indicator}
    return {"record": SERIES, "expr": f"vector({number(limit.above)})", "labels": labels}


def _alert(limit: Limit) -> dict[str, Any]:
    labels = {LABEL: limit.name, series.INDICATOR: limit.indicator, "severity": limit.severity}
    return {
        "alert": ALERT,
        "expr": condition(limit),
        "for": write_duration(limit.lasting),
        "labels": owned(labels, limit.owner),
        "annotations": _annotations(limit),
    }


def _annotations(limit: Limit) -> dict[str, str]:
    indicator, lasting = INDICATORS[limit.indicator], write_duration(limit.lasting)
    shown = f"{{{{ $value | {_SHOWN.get(indicator.unit, 'humanize')} }}}}"
    whose = "".join(f"{{{{ with $labels.{name} }}}} {name}={{{{ . }}}}{{{{ end }}}}"
                    for name in (semconv.PROM_SERVICE, semconv.PROM_ENVIRONMENT))
    found = {
        "summary": f"{limit.name}: {limit.indicator} is {shown}, limit {limit.above:g};{whose}",
        "description": indicator.description,
        "clears": f"when the value is no longer above {limit.above:g}; it was above for {lasting} before this came",
    }
    return {**found, "runbook_url": limit.runbook} if limit.runbook else found


# --- the shipped test -----------------------------------------------------------------------------------------------
def firing(limit: Limit, values: Sequence[float | None], interval: int) -> list[bool]:
    """The oracle: whether the alert fires at each evaluation, for one gauge with these values at the evaluations.

    It fires once the condition held at every evaluation for ``lasting`` seconds; None is a gauge that is not sent.
    """
    out: list[bool] = []
    since: int | None = None
    for step, value in enumerate(values):
        above = value is not None and value > limit.above
        since = (since if since is not None else step) if above else None
        out.append(since is not None and (step - since) * interval >= limit.lasting)
    return out


def promtool_tests(spec: Spec, rule_path: str) -> dict[str, Any] | None:
    """A promtool test file for `rule_file`: each gauge above, at and below its limit. None if there is no limit."""
    if not spec.limits:
        return None
    return {
        "rule_files": [rule_path],
        "evaluation_interval": write_duration(spec.interval),
        "tests": [_test(spec, limit, *story) for limit in spec.limits for story in _stories(spec, limit)],
    }


def _stories(spec: Spec, limit: Limit) -> list[tuple[str, list[float | None]]]:
    below, above, step = limit.above - 1, limit.above + 1, spec.interval
    long, brief = limit.lasting // step + 3, limit.lasting // (2 * step) + 1
    return [
        ("above for long enough, then too briefly", [*[below] * 3, *[above] * long, below, *[above] * brief, below]),
        ("exactly at the limit", [limit.above] * long),
    ]


def _test(spec: Spec, limit: Limit, name: str, values: Sequence[float | None]) -> dict[str, Any]:
    expected, gauge = firing(limit, values, spec.interval), INDICATORS[limit.indicator].gauge
    changes = [step for step in range(1, len(values)) if expected[step] != expected[step - 1]]
    looks = sorted({0, len(values) - 1, *changes, *(step - 1 for step in changes)})
    said = f'{gauge}{{{semconv.PROM_SERVICE}="chat",instance="a"}}'
    return {
        "name": f"{limit.name}: {name}",
        "interval": write_duration(spec.interval),
        "input_series": [{"series": said, "values": " ".join("_" if v is None else number(v) for v in values)}],
        "promql_expr_test": [_firing(limit, step * spec.interval, expected[step]) for step in looks],
    }


def _firing(limit: Limit, at: int, fires: bool) -> dict[str, Any]:
    selector = f'ALERTS{{alertname="{ALERT}",{LABEL}="{limit.name}",alertstate="firing"}}'
    return {"expr": f"count({selector}) or vector(0)", "eval_time": write_duration(at),
            "exp_samples": [{"labels": "{}", "value": int(fires)}]}
