"""Cohorts: models, prompt versions, variants, segments, environments side by side, with the difference to one."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from backspan import semconv
from backspan.dashboards import links, promql
from backspan.dashboards.frame import Page, choice, one_of, page
from backspan.dashboards.panels import Query, beside, column, graph, largest_first, legends, link, rows, shares, unnamed
from backspan.dashboards.promql import COHORT, MODEL, RANGE, VARIABLES
from backspan.rules.spec import Spec

_KINDS = (semconv.USER_THUMBS, semconv.USER_STARS, "user_.+", "implicit_.+", "evaluator_.+", "review_.+", "outcome_.+")
_DIVISIONS = {
    "model": MODEL, "prompt version": VARIABLES["version"], "variant": semconv.prometheus_label(semconv.VARIANT),
    "segment": semconv.prometheus_label(semconv.SEGMENT), "environment": VARIABLES["environment"],
}
_DIVIDED = tuple(_DIVISIONS.values())
_NAMED = f'{semconv.LABEL_NAME}=~"$kind"'


def dashboard(spec: Spec) -> models.Dashboard:
    """The dashboard; it does not depend on ``spec``."""
    about = Page(links.COHORTS, "cohorts", "Quality and speed of cohorts side by side.", (
        choice("kind", "Judgements", _KINDS, semconv.USER_THUMBS, "Names of the judgements to compare, as a regex"),
        choice("division", "Divided by", _DIVIDED, VARIABLES["version"], "Label that makes the cohorts"),
        one_of("base", "Compared with", f"label_values({promql.matching(semconv.PROM_ANSWERS, COHORT)}, $division)",
               "control", "The cohort that the others are compared with: a control, or the version before"),
    ))
    return page(about, {
        "Difference to one cohort": [_difference(), _rates(), _latency()],
        "All divisions": [_division(name, label) for name, label in _DIVISIONS.items()] + [_errors()],
    })


def _difference() -> table.Panel:
    by = ("$division",)
    of = promql.negative(_NAMED, RANGE, by)
    base = promql.negative(f'{_NAMED},$division="$base"', RANGE)
    low, estimate, high = of.above(base)
    columns = {"n": f"{of.n} >= 1", "rate": of.rate, "95 % low": of.low, "95 % high": of.high, "difference": estimate,
               "diff. low": low, "diff. high": high}
    panel = rows(
        "Bad judgements, and the difference", "Share of negative ones among first judgements in the visible range, "
        "with n and Wilson's interval; and its difference to the cohort compared with, with the 95 % interval of "
        "Agresti and Caffo. A difference whose interval holds 0 may be chance.", "percentunit", columns).decimals(1)
    return largest_first(column(panel, "n", unit="short", decimals=0))


def _rates() -> timeseries.Panel:
    of = promql.negative(_NAMED, by=["$division"])
    panel = graph("Bad judgements by cohort", "Share of negative ones in the window; n is on the right axis, intervals "
                  "are in the table above.", "percentunit",
                  Query(of.rate, "{{$division}}"), Query(of.n, "n {{$division}}"))
    return unnamed(beside(panel, "B"), "B").min(0)


def _latency() -> timeseries.Panel:
    calls = (MODEL, VARIABLES["version"])
    panel = graph("Duration of model calls by model and version", "95th percentile; n is on the right axis. (Calls are "
                  "not labelled with segments.)", "s",
                  Query(promql.quantile(0.95, promql.CALLS, by=calls), legends(calls)),
                  Query(promql.count(f"{promql.CALLS}_count", window=promql.RATE, by=calls), f"n {legends(calls)}"))
    return unnamed(beside(panel, "B"), "B").min(0)


def _division(name: str, label: str) -> table.Panel:
    panel = shares(f"By {name}", "Share of negative ones among first judgements of the kind chosen.", {label: name},
                   promql.negative(_NAMED, RANGE, (label,))).span(12)
    variable = next((known for known, of in VARIABLES.items() if of == label), None)
    if variable is None:
        return panel
    url = links.dashboard(links.FEEDBACK, {variable: "${__value.raw}"}, kept=False)
    return link(panel, name, ("Its feedback", url))


def _errors() -> table.Panel:
    by = (MODEL, VARIABLES["version"])
    return shares("Failed calls by model and version", "Share of model calls that ended in an error.",
                  {MODEL: "model", VARIABLES["version"]: "prompt version"}, promql.failed(RANGE, by)).span(12)
