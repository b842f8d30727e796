"""Small builders over the typed Grafana SDK, so that a dashboard reads as a list of panels.

Every panel must say what it shows (`description`) and in which unit: the builders ask for both.
"""

from __future__ import annotations

# The SDK uses `typing.Self` and `StrEnum`, unknown to a checker of Python 3.10 (it needs 3.11, and so does this
# package); `pyright --pythonversion 3.11` checks them in full.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import prometheus, stat, table, tempo, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

PROMETHEUS = common.DataSourceRef(type_val="prometheus", uid="${prometheus}")
TEMPO = common.DataSourceRef(type_val="tempo", uid="${tempo}")
"""The data sources are variables, so that the file can be imported into any Grafana."""

WIDTH, HEIGHT = 12, 8
"""Of a usual panel, in Grafana's grid of 24 columns."""


@dataclass(frozen=True)
class Query:
    """One PromQL query: ``legend`` is Grafana's template; ``exemplar`` asks for links to traces (raw series only)."""

    expr: str
    legend: str
    exemplar: bool = False


def graph(title: str, description: str, unit: str, *queries: Query) -> timeseries.Panel:
    """Lines over time. ``unit`` is Grafana's name of the unit."""
    panel = (
        timeseries.Panel().title(title).description(description).unit(unit).datasource(PROMETHEUS)
        .span(WIDTH).height(HEIGHT).fill_opacity(0).line_width(2)
        .legend(common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
                .display_mode(common.LegendDisplayMode.LIST))
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref).range()
        panel.with_target(target.exemplar(True) if query.exemplar else target)
    return panel


def number(title: str, description: str, unit: str, query: Query) -> stat.Panel:
    """One figure for the visible range."""
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id("A").instant()
    return (
        stat.Panel().title(title).description(description).unit(unit).datasource(PROMETHEUS)
        .span(6).height(4).with_target(target).graph_mode(common.BigValueGraphMode.NONE).no_value("no data")
    )


def spans(title: str, description: str, traceql: str) -> table.Panel:
    """Spans that a TraceQL query finds, newest first as far as Tempo can, each a link to its trace."""
    target = tempo.Dataquery().query(traceql).query_type("traceql").limit(20).ref_id("A")
    return (
        table.Panel().title(title).description(description).unit("none").datasource(TEMPO)
        .span(24).height(HEIGHT).with_target(target)
    )


def steps(panel: timeseries.Panel) -> timeseries.Panel:
    """Hold each value until the next, as limits do."""
    return panel.line_interpolation(common.LineInterpolation.STEP_AFTER)


def styled(panel: timeseries.Panel, ref: str, **values: object) -> timeseries.Panel:
    """Set field options of one query's series; a dot in an option's name is written as two underscores."""
    options = {key.replace("__", "."): value for key, value in values.items()}
    return panel.override_by_query(ref, [models.DynamicConfigValue(id_val=key, value=options[key]) for key in options])


def dashed(panel: timeseries.Panel, ref: str, shade: str) -> timeseries.Panel:
    """Draw one query's series as thin dashed lines of one colour."""
    line = {"fill": "dash", "dash": [6, 6]}
    return styled(panel, ref, color=color(shade), custom__lineStyle=line, custom__lineWidth=1)


def color(name: str) -> dict[str, str]:
    """A fixed colour, as the option ``color`` wants it."""
    return {"mode": "fixed", "fixedColor": name}
