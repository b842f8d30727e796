"""Quality beyond votes: what evaluators, reviewers and outcomes say, refusals, drift, and how sound the data are."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from backspan import semconv
from backspan.dashboards import implied, links, promql, traceql
from backspan.dashboards.frame import Page, page
from backspan.dashboards.panels import (
    Query,
    graph,
    legends,
    share,
    shares,
    spans,
    to_answer,
)
from backspan.dashboards.promql import PLACE, RANGE, VARIABLES, PerUnit
from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import Spec

_SERVICE = [VARIABLES["service"]]
_VERSION = [VARIABLES["service"], VARIABLES["version"]]
_FAMILIES = {"evaluator": "Evaluators", "review": "Reviewers", "outcome": "Outcomes"}


def dashboard(spec: Spec) -> models.Dashboard:
    """The dashboard; it does not depend on ``spec``."""
    about = Page(links.QUALITY, "quality", "Verdicts of evaluators and reviewers, outcomes, estimates, refusals, "
                 "drift.")
    return page(about, {
        **{words: [_over_time(family, words), _by_name(family, words)] for family, words in _FAMILIES.items()},
        "What came of it": [implied.after_votes(), implied.assisted(), implied.resolution()],
        "Estimated satisfaction": [implied.satisfaction(), implied.auc(), implied.by_version()],
        "Refusals and drift": [_refusals(), _drift()],
        "Soundness of the feedback": [_concentration(), _unreviewed()],
        "Latest bad verdicts": [_latest()],
    })


def _family(family: str) -> str:
    return f'{semconv.LABEL_NAME}=~"{family}_.+"'


def _over_time(family: str, words: str) -> timeseries.Panel:
    said = INDICATORS[f"{family}_failures"].description
    return share(f"{words}: bad verdicts", said, promql.negative(_family(family)))


def _by_name(family: str, words: str) -> table.Panel:
    by = (semconv.LABEL_NAME, VARIABLES["version"])
    return shares(f"{words} by name and version", "Share of bad verdicts.",
                  {semconv.LABEL_NAME: "name", VARIABLES["version"]: "prompt version"},
                  promql.negative(_family(family), RANGE, by)).span(12)


def _refusals() -> timeseries.Panel:
    found = INDICATORS["refusals"]
    return share("Refusals", f"{found.description} Waits for {found.needs}.",
                 PerUnit(promql.count(found.counted.name), promql.count(found.total.name), sparse=False))


def _gauge(indicator: str, title: str, labels: list[str]) -> timeseries.Panel:
    found = INDICATORS[indicator]
    expr = f"max by ({', '.join(labels)}) ({promql.matching(found.gauge, PLACE)})"
    return graph(title, f"{found.description} Waits for {found.needs}.", found.unit, Query(expr, legends(labels)))


def _drift() -> timeseries.Panel:
    return _gauge("input_drift", "Drift of inputs", _VERSION)


def _concentration() -> timeseries.Panel:
    return _gauge("rater_concentration", "Share of the busiest rater", _SERVICE).max(1).min(0)


def _unreviewed() -> timeseries.Panel:
    return _gauge("oldest_unreviewed", "Age of the oldest bad answer without a review", _SERVICE).min(0)


def _latest() -> table.Panel:
    sources = "|".join(("evaluator", "reviewer", "outcome"))
    condition = (f"{traceql.equals(semconv.FEEDBACK_POLARITY, semconv.NEGATIVE)}"
                 f' && span.{semconv.FEEDBACK_SOURCE} =~ "{sources}"')
    columns = {semconv.EVALUATION_NAME: "name", semconv.EVALUATION_SCORE_VALUE: "score",
               semconv.EVALUATION_SCORE_LABEL: "label", semconv.FEEDBACK_COMMENT: "comment",
               semconv.PROMPT_VERSION: "version", semconv.FEEDBACK_TRACE_ID: "answer"}
    return to_answer(spans(
        "Latest bad verdicts", "Of evaluators, reviewers and outcomes, newest first. The answer's trace is one click "
        "away.", traceql.spans(condition, columns), columns, timed=False))
