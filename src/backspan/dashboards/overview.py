"""The overview: how much is asked, how fast and how well it is answered, what it costs, what people think of it."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from backspan import semconv
from backspan.dashboards import links, promql, traceql
from backspan.dashboards.frame import Page, page
from backspan.dashboards.panels import (
    Query,
    bars,
    beside,
    column,
    figure,
    graph,
    legends,
    link,
    number,
    rows,
    shaded,
    share,
    spans,
)
from backspan.dashboards.promql import CALLS, CHUNKS, COHORT, MODEL, RANGE, VARIABLES, PerUnit
from backspan.rules import series
from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import Spec

_SERVICE = [VARIABLES[name] for name in ("service", "prompt", "version")]
_COST = INDICATORS["cost"].counted.name
_INPUT = semconv.prometheus_name(semconv.INFERENCE_INPUT_TOKENS, counter=True)
_OUTPUT = semconv.prometheus_name(semconv.INFERENCE_OUTPUT_TOKENS, counter=True)
_SHADES = {semconv.NEGATIVE: "red", semconv.NEUTRAL: "yellow", semconv.POSITIVE: "green"}


def dashboard(spec: Spec) -> models.Dashboard:
    """The dashboard; it does not depend on ``spec``."""
    about = Page(links.OVERVIEW, "overview", "Traffic, errors, latency, tokens, cost and feedback at a glance.")
    return page(about, {
        "In the visible range": [_answered(), _judged(), _cost(), _firing(), _failed(), _bad(), _covered()],
        "Traffic and errors": [_answers(), _errors(), _kinds(), _tokens()],
        "Latency": [_latency(), _first_chunk(), _first_content()],
        "Cost": [_cost_per_call(), _cost_by_model()],
        "Feedback": [_feedback(), _share()],
        "Alerts and failures": [_alerts(), _failures()],
    })


def _answered() -> stat.Panel:
    return number("Answers", "Answers given in the visible range, counted at the source, sampled or not.", "short",
                  Query(promql.count(semconv.PROM_ANSWERS, window=RANGE), "answers")).decimals(0)


def _judged() -> stat.Panel:
    return number("Judgements by users (n)", "First votes of users; changed votes are not counted again.", "short",
                  Query(promql.count(semconv.PROM_FEEDBACK, promql.BY_USERS, RANGE), "n")).decimals(0)


def _cost() -> stat.Panel:
    return number("Cost", "What the model calls cost, by the price list of `genai-prices`. Waits for the extra `cost` "
                  "in the app.", "currencyUSD", Query(promql.count(_COST, window=RANGE), "cost"))


def _firing() -> stat.Panel:
    alerts = f'count(ALERTS{{alertname="{series.ALERT}",alertstate="firing",{COHORT}}}) or vector(0)'
    return number("Quality alerts firing", "Cohorts for which the pager's rule holds at this moment.", "short",
                  Query(alerts, "firing")).decimals(0)


def _failed() -> stat.Panel:
    return figure("Failed calls", "Share of model calls that ended in an error.", promql.failed(RANGE)).span(8)


def _bad() -> stat.Panel:
    return figure("Bad judgements", "Share of negative ones among the first judgements of users.",
                  promql.negative(promql.BY_USERS, RANGE)).span(8)


def _covered() -> stat.Panel:
    return figure("Judgements per answer", "First judgements of users. If few, the judges may not be typical.",
                  promql.coverage(RANGE)).span(8)


def _answers() -> timeseries.Panel:
    return graph("Answers per second", "By service, prompt and prompt version.", "reqps",
                 Query(promql.rate(semconv.PROM_ANSWERS, by=_SERVICE), legends(_SERVICE))).min(0)


def _errors() -> timeseries.Panel:
    return share("Failed calls", "Share of model calls that ended in an error.", promql.failed())


def _kinds() -> timeseries.Panel:
    error = semconv.prometheus_label(semconv.ERROR_TYPE)
    return bars("Errors by type", "Failed model calls in each step, by type of error and model.", "short", Query(
        promql.count(f"{CALLS}_count", f'{error}!=""', promql.RATE, (error, MODEL)), legends([error, MODEL])))


def _tokens() -> timeseries.Panel:
    return graph(
        "Tokens per second", "Tokens sent to and answered by each model. Calls whose provider does not say how many "
        "there were add none.", "short",
        Query(promql.rate(_INPUT, by=[MODEL]), f"sent {legends([MODEL])}"),
        Query(promql.rate(_OUTPUT, by=[MODEL]), f"answered {legends([MODEL])}"),
    ).min(0)


def _quantiles(title: str, description: str, histogram: str) -> timeseries.Panel:
    found = [Query(promql.quantile(q, histogram), f"{q * 100:.0f} %", exemplar=q == 0.95) for q in (0.5, 0.95, 0.99)]
    n = Query(promql.count(f"{histogram}_count", window=promql.RATE), "n")
    panel = graph(title, f"{description} The dots are calls that lead to their trace; n is on the right axis.", "s",
                  *found, n)
    return beside(panel, "D")


def _latency() -> timeseries.Panel:
    return _quantiles("Duration of model calls", "Median, 95th and 99th percentile, to the end of the stream.", CALLS)


def _first_chunk() -> timeseries.Panel:
    return _quantiles("Time to the first chunk", "Of streams: median, 95th and 99th percentile.", CHUNKS)


def _first_content() -> table.Panel:
    columns = {semconv.STREAM_TIME_TO_FIRST_CONTENT: "first content", semconv.STREAM_OUTCOME: "outcome",
               semconv.STREAM_CHUNKS: "chunks", semconv.REQUEST_MODEL: "model", semconv.PROMPT_VERSION: "version"}
    panel = spans(
        "Time to the first content", "Latest streams: time until the first piece that a user could read, which is "
        "recorded on the span only; how the stream ended, in how many chunks.",
        traceql.spans(f"span.{semconv.STREAM_TIME_TO_FIRST_CONTENT} > 0.0", columns), columns)
    return column(panel, "first content", unit="s").height(8)


def _cost_per_call() -> timeseries.Panel:
    of = PerUnit(promql.count(_COST), promql.count(f"{CALLS}_count"), sparse=False)
    panel = graph("Cost per model call", "Mean cost of a call in the window, with n on the right axis. Waits for "
                  "the extra `cost` in the app.", "currencyUSD",
                  Query(of.rate, "cost"), Query(of.n, "n"))
    return beside(panel, "B").min(0)


def _cost_by_model() -> timeseries.Panel:
    return bars("Cost by model", "What the calls of each step cost, by model. Waits for the extra `cost` in the app.",
                "currencyUSD", Query(promql.count(_COST, window=promql.RATE, by=[MODEL]), legends([MODEL])))


def _feedback() -> timeseries.Panel:
    polarity = semconv.LABEL_POLARITY
    panel = bars(
        "Judgements by polarity (n)",
        "First votes of users in each step. The dots are votes; each leads to the trace of the answer that was judged.",
        "short", Query(promql.count(semconv.PROM_FEEDBACK, promql.BY_USERS, promql.RATE, [polarity]),
                       legends([polarity]), exemplar=True))
    return shaded(panel, _SHADES)


def _share() -> timeseries.Panel:
    return share("Bad judgements", "Share of negative ones among the first judgements of users in the window.",
                 promql.negative(promql.BY_USERS))


def _alerts() -> table.Panel:
    names = {"alertname": "alert", series.CHART: "chart", series.PARTITION: "partition", "severity": "severity",
             **{label: name for name, label in VARIABLES.items()}}
    panel = rows("Alerts firing", "All alerts of the generated rules that fire now; the chart's name leads to its "
                 "control chart.", "none",
                 {"firing": f'ALERTS{{alertstate="firing",{series.CHART}!="",{COHORT}}}'}, names)
    url = links.dashboard(links.CHARTS, {"chart": "${__value.raw}", "partition": "${__data.fields.partition}"})
    hidden = {"viz": True, "legend": True, "tooltip": True}
    return link(column(panel, "firing", custom__hideFrom=hidden), "chart", ("Control chart", url)).span(12)


def _failures() -> table.Panel:
    columns = {semconv.ERROR_TYPE: "error", semconv.REQUEST_MODEL: "model", semconv.PROMPT_VERSION: "version"}
    condition = f"status = error && {traceql.known(semconv.REQUEST_MODEL)}"
    return spans("Latest failed calls", "Model calls that ended in an error, newest first.",
                 traceql.spans(condition, columns), columns).span(12).height(8)
