"""Small builders over the typed Grafana SDK, so that a dashboard reads as a list of panels.

Every panel must say what it shows (`description`) and in which unit: the builders ask for both.
"""

from __future__ import annotations

# The SDK uses `typing.Self` and `StrEnum`, unknown to a checker of Python 3.10 (it needs 3.11, and so does this
# package); `pyright --pythonversion 3.11` checks them in full.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, statetimeline, table, tempo, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.tempo import SearchTableType

from backspan.dashboards import links
from backspan.dashboards.promql import Share

PROMETHEUS = common.DataSourceRef(type_val="prometheus", uid="${prometheus}")
TEMPO = common.DataSourceRef(type_val="tempo", uid="${tempo}")
"""The data sources are variables, so that the file can be imported into any Grafana."""

WIDTH, HEIGHT = 12, 8
"""Of a usual panel, in Grafana's grid of 24 columns."""
_LETTERS = "ABCDEFGH"

Panel = timeseries.Panel | stat.Panel | table.Panel | bargauge.Panel | statetimeline.Panel
"""What the builders here make."""
P = TypeVar("P", timeseries.Panel, stat.Panel)


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
    for ref, query in zip(_LETTERS, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref).range()
        panel.with_target(target.exemplar(True) if query.exemplar else target)
    return panel


def bars(title: str, description: str, unit: str, *queries: Query) -> timeseries.Panel:
    """Bars over time, one on the other: counts."""
    stacked = common_builders.StackingConfig().mode(common.StackingMode.NORMAL)
    return (graph(title, description, unit, *queries).draw_style(common.GraphDrawStyle.BARS).fill_opacity(60)
            .line_width(0).stacking(stacked).min(0))


def share(title: str, description: str, of: Share, *, unit: str = "percentunit") -> timeseries.Panel:
    """A rate over time, with its 95 % interval and, on the right, the n that it rests on."""
    panel = graph(
        title, f"{description} The dashed lines are the 95 % interval, the thin one on the right axis is n.", unit,
        Query(of.rate, "rate"), Query(of.n, "n"), Query(of.high, "95 % upper"), Query(of.low, "95 % lower"),
    )
    return with_interval(panel)


def with_interval(panel: timeseries.Panel) -> timeseries.Panel:
    """Style of a panel whose queries A to D are a rate, n, and the ends of the rate's interval."""
    for ref in "CD":
        dashed(panel, ref, "blue")
    styled(panel, "A", color=color("blue"))
    return beside(panel, "B").min(0)


def beside(panel: timeseries.Panel, ref: str) -> timeseries.Panel:
    """Draw one query as n: a thin gray line with an axis of its own on the right."""
    return styled(panel, ref, unit="short", decimals=0, min=0, color=color("gray"), custom__axisPlacement="right",
                  custom__axisLabel="n", custom__lineWidth=1)


def unnamed(panel: timeseries.Panel, *refs: str) -> timeseries.Panel:
    """Leave the series of some queries out of the legend, where there is one for every cohort."""
    for ref in refs:
        styled(panel, ref, custom__hideFrom={"legend": True, "tooltip": False, "viz": False})
    return panel


def number(title: str, description: str, unit: str, *queries: Query) -> stat.Panel:
    """One figure for the visible range, or several side by side."""
    panel = (
        stat.Panel().title(title).description(description).unit(unit).datasource(PROMETHEUS).span(6).height(4)
        .graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.NONE).no_value("no data")
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for ref, query in zip(_LETTERS, queries, strict=False):
        panel.with_target(prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref).instant())
    return panel


def figure(title: str, description: str, of: Share, *, unit: str = "percentunit") -> stat.Panel:
    """A rate of the visible range with its interval and n."""
    panel = number(title, f"{description} With its 95 % interval and n.", unit, Query(of.rate, "rate"),
                   Query(of.low, "95 % low"), Query(of.high, "95 % high"), Query(of.n, "n"))
    return override(panel.span(12).decimals(1), "D", {"unit": "short", "decimals": 0})


def states(title: str, description: str, query: Query) -> statetimeline.Panel:
    """One band per series, as long as the series is there; red where its name begins with "alarm"."""
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id("A").range()
    return (
        statetimeline.Panel().title(title).description(description).unit("none").datasource(PROMETHEUS).span(WIDTH)
        .height(HEIGHT).with_target(target).show_value(common.VisibilityMode.NEVER).no_value("no data")
        .legend(common_builders.VizLegendOptions().show_legend(False).placement(common.LegendPlacement.BOTTOM)
                .display_mode(common.LegendDisplayMode.LIST))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color("blue"))
        .override_by_regexp("/^alarm /", [_option("color", color("red"))])
    )


def ranking(title: str, description: str, unit: str, query: Query) -> bargauge.Panel:
    """One bar per series, for the visible range."""
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id("A").instant()
    return (
        bargauge.Panel().title(title).description(description).unit(unit).datasource(PROMETHEUS).span(WIDTH)
        .height(HEIGHT).with_target(target).orientation(common.VizOrientation.HORIZONTAL).min(0)
        .display_mode(common.BarGaugeDisplayMode.BASIC).no_value("no data")
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color("blue"))
    )


def rows(title: str, description: str, unit: str, columns: Mapping[str, str], names: Mapping[str, str] | None = None
         ) -> table.Panel:
    """One row per label set, one column per query: ``columns`` maps a heading to its PromQL.

    ``names`` maps labels to headings; only those labels are shown.
    """
    panel = (table.Panel().title(title).description(description).unit(unit).datasource(PROMETHEUS).span(24)
             .height(HEIGHT).no_value("–"))
    for ref, expr in zip(_LETTERS, columns.values(), strict=False):
        panel.with_target(prometheus.Dataquery().expr(expr).format(PromQueryFormat.TABLE).ref_id(ref).instant())
    values = ["Value"] if len(columns) == 1 else [f"Value #{ref}" for ref in _LETTERS[:len(columns)]]
    renamed = {**(names or {}), **dict(zip(values, columns, strict=True))}
    order = {key: place for place, key in enumerate(renamed)}
    organized = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": renamed}
    if names is not None:
        panel.with_transformation(models.DataTransformerConfig(
            id_val="filterFieldsByName", options={"include": {"names": ["Time", *names, *values]}}))
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    return panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organized))


def shares(title: str, description: str, names: Mapping[str, str], of: Share) -> table.Panel:
    """One row per cohort: n, the rate and its interval. ``names`` maps the labels that make a cohort to headings."""
    said = f"{description} One row per cohort over the visible range, with n and the 95 % interval."
    columns = {"n": f"{of.n} >= 1", "rate": of.rate, "95 % low": of.low, "95 % high": of.high}
    panel = largest_first(rows(title, said, "percentunit", columns, names).decimals(1))
    return panel.override_by_name("n", [_option("unit", "short"), _option("decimals", 0)])


def largest_first(panel: table.Panel) -> table.Panel:
    """Sort the rows by n."""
    return panel.sort_by([common_builders.TableSortByFieldState().display_name("n").desc(True)])


def spans(title: str, description: str, traceql: str, columns: Mapping[str, str], *, timed: bool = True) -> table.Panel:
    """Spans that a TraceQL query finds, newest first, one row each; the span's id opens its trace.

    ``columns`` maps span attributes to headings, from left to right; the query must select them. ``timed`` says that a
    span's duration means something.
    """
    target = (tempo.Dataquery().query(traceql).query_type("traceql").table_type(SearchTableType.SPANS).limit(50)
              .spss(20).ref_id("A"))
    fixed = {"startTime": "time", "traceService": "service", **columns, **({"duration": "took"} if timed else {}),
             "spanID": "span"}
    kept = {"include": {"names": ["traceIdHidden", *fixed]}}
    order = {"excludeByName": {}, "indexByName": {key: place for place, key in enumerate(fixed)},
             "renameByName": fixed}
    return (
        table.Panel().title(title).description(description).unit("none").datasource(TEMPO)
        .span(24).height(HEIGHT + 2).with_target(target).no_value("–")
        .with_transformation(models.DataTransformerConfig(id_val="filterFieldsByName", options=kept))
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=order))
    )


def link(panel: table.Panel, column: str, *links: tuple[str, str]) -> table.Panel:
    """Make the cells of a column lead somewhere: pairs of a title and a URL."""
    made = [{"title": title, "url": url, "targetBlank": False} for title, url in links]
    return panel.override_by_name(column, [_option("links", made)])


def to_answer(panel: table.Panel) -> table.Panel:
    """Make the column ``answer``, ids of judged traces, lead to that trace and to all that was said about it."""
    return link(panel, "answer", ("The answer that was judged", links.trace()),
                ("All judgements of it", links.feedback_on()))


def column(panel: table.Panel, name: str, **values: object) -> table.Panel:
    """Set field options of one column; a dot in an option's name is written as two underscores."""
    return panel.override_by_name(name, [_option(key.replace("__", "."), values[key]) for key in values])


def steps(panel: timeseries.Panel) -> timeseries.Panel:
    """Hold each value until the next, as limits do."""
    return panel.line_interpolation(common.LineInterpolation.STEP_AFTER)


def override(panel: P, ref: str, options: Mapping[str, object]) -> P:
    """Set field options of one query's series."""
    return panel.override_by_query(ref, [_option(key, options[key]) for key in options])


def styled(panel: timeseries.Panel, ref: str, **values: object) -> timeseries.Panel:
    """Set field options of one query's series; a dot in an option's name is written as two underscores."""
    return override(panel, ref, {key.replace("__", "."): values[key] for key in values})


def dashed(panel: timeseries.Panel, ref: str, shade: str) -> timeseries.Panel:
    """Draw one query's series as thin dashed lines of one colour."""
    line = {"fill": "dash", "dash": [6, 6]}
    return styled(panel, ref, color=color(shade), custom__lineStyle=line, custom__lineWidth=1)


def shaded(panel: timeseries.Panel, shades: Mapping[str, str]) -> timeseries.Panel:
    """Give series fixed colours, by name."""
    for name, shade in shades.items():
        panel.override_by_name(name, [_option("color", color(shade))])
    return panel


def color(name: str) -> dict[str, str]:
    """A fixed colour, as the option ``color`` wants it."""
    return {"mode": "fixed", "fixedColor": name}


def _option(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)


def legends(labels: Sequence[str]) -> str:
    """A legend made of label values."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)
