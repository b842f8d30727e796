"""The control charts: whether the rate of bad events is still what was accepted, and how sure that is.

These panels show recorded series as they are: their windows belong to the rules, and a limit that moved with the
visible range would be none. Alerts link here (`backspan.rules.links`).
"""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import statetimeline, table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from backspan import semconv
from backspan.dashboards import links, traceql
from backspan.dashboards.frame import Page, choice, page
from backspan.dashboards.panels import (
    Query,
    color,
    column,
    dashed,
    graph,
    legends,
    link,
    rows,
    share,
    spans,
    states,
    steps,
    styled,
    to_answer,
    unnamed,
)
from backspan.dashboards.promql import COHORT, VARIABLES, Share
from backspan.rules import series
from backspan.rules.spec import Spec

_VERSION = legends([VARIABLES[name] for name in ("service", "prompt", "version")])
_CHART = f'{series.CHART}="$chart",{series.PARTITION}="$partition",{COHORT}'


def dashboard(spec: Spec) -> models.Dashboard:
    """The dashboard for ``spec``; its first chart is the one shown at first."""
    chart = spec.charts[0]
    partitions = list(dict.fromkeys(p.name for one in spec.charts for p in one.partitions))
    about = Page(links.CHARTS, "control charts", "Whether quality is still what was accepted, for one chart.", (
        choice("chart", "Chart", [chart.name for chart in spec.charts], chart.name),
        choice("partition", "Partition", partitions, chart.partitions[-1].name),
    ), window=False)
    return page(about, {
        "Chart": [_rate(), _control_chart(), _evidence(), _sample_size()],
        "State": [_cohorts(), _phase()],
        "Latest bad judgements": [_traces()],
    })


def _selected(name: str) -> str:
    return f"{name}{{{_CHART}}}"


def _rate() -> timeseries.Panel:
    return share(
        "Rate with its 95 % interval",
        "Share of bad events in the sliding window of the rules, over all cohorts shown. If the interval is wide, n is "
        "small and the rate says little.",
        Share(f"sum({_selected(series.WINDOW_BAD)})", f"sum({_selected(series.WINDOW_N)})"))


def _control_chart() -> timeseries.Panel:
    rate, ucl, lcl = (_selected(name) for name in (series.RATE, series.UCL, series.LCL))
    panel = graph(
        "Control chart",
        "Rate per cohort, accepted rate (centre line) and 3-sigma limits for each window's n. Red points are outside. "
        "The limits are recorded series: they do not depend on the visible range. They draw; the evidence pages.",
        "percentunit",
        Query(rate, _VERSION), Query(_selected(series.P0), f"accepted {_VERSION}"),
        Query(ucl, f"upper limit {_VERSION}"), Query(lcl, f"lower limit {_VERSION}"),
        Query(f"{rate} and ({rate} > {ucl} or {rate} < {lcl})", f"outside {_VERSION}"),
    )
    styled(panel, "B", color=color("green"), custom__lineWidth=1)
    for ref in "CD":
        dashed(panel, ref, "orange")
    styled(panel, "E", color=color("red"), custom__drawStyle="points", custom__pointSize=5)
    return steps(unnamed(panel, *"BCDE")).min(0)


def _evidence() -> timeseries.Panel:
    panel = graph(
        "Evidence for a regression",
        "ln of the Shiryaev-Roberts statistic per cohort. At its limit the pager goes off: on average at most once per "
        "promised number of rated events if quality is as accepted. Carried forward while nobody rates.",
        "none",
        Query(_selected(series.SR), _VERSION), Query(f"max({_selected(series.SR_LIMIT)})", "limit"),
    )
    return steps(styled(panel, "B", color=color("red"), custom__lineWidth=1))


def _sample_size() -> timeseries.Panel:
    return graph(
        "Rated events in the window (n)", "What the control chart's points rest on, per cohort.", "short",
        Query(_selected(series.WINDOW_N), _VERSION),
    ).min(0)


def _phase() -> statetimeline.Panel:
    return states(
        "Phase of the baseline", "Which phase held when: learning, inherited, frozen, given, rebased, alarm. While it "
        "is learning the chart opens tickets only.",
        Query(_selected(series.PHASE_SERIES), f"{{{{{series.PHASE}}}}} {_VERSION}")).span(24)


def _cohorts() -> table.Panel:
    names = {label: name for name, label in VARIABLES.items()}
    by = f"sum by ({', '.join(names)})"
    columns = {
        "n": f"{by} ({_selected(series.WINDOW_N)})", "rate": f"{by} ({_selected(series.RATE)})",
        "accepted": f"{by} ({_selected(series.P0)})", "lower limit": f"{by} ({_selected(series.LCL)})",
        "upper limit": f"{by} ({_selected(series.UCL)})", "evidence": f"{by} ({_selected(series.SR)})",
        "its limit": f"{by} ({_selected(series.SR_LIMIT)})",
    }
    panel = rows("Cohorts now", "The last window of every cohort of the chart: n, rate, accepted rate, limits for that "
                 "n, evidence and the limit at which the pager goes off.", "percentunit", columns, names).decimals(1)
    column(panel, "n", unit="short", decimals=0)
    for name in ("evidence", "its limit"):
        column(panel, name, unit="none", decimals=2)
    url = links.dashboard(links.FEEDBACK, {"service": "${__data.fields.service}"}, kept=False)
    return link(panel, "service", ("Its feedback", url))


def _traces() -> table.Panel:
    columns = {semconv.EVALUATION_NAME: "kind", semconv.FEEDBACK_REASONS: "reasons", semconv.PROMPT_NAME: "prompt",
               semconv.PROMPT_VERSION: "version", semconv.FEEDBACK_TRACE_ID: "answer"}
    return to_answer(spans(
        "Latest bad judgements", "Of all kinds, newest first; the link of an alert leads to those of its chart. The "
        "answer's trace is one click away.",
        traceql.spans(traceql.equals(semconv.FEEDBACK_POLARITY, semconv.NEGATIVE), columns), columns, timed=False))
