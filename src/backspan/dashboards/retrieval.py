"""Retrieval: how many, how fast, how well they match, and what people think of the answers that rest on them."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import common, table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from backspan import semconv
from backspan.dashboards import links, promql, traceql
from backspan.dashboards.frame import Page, choice, page, text
from backspan.dashboards.panels import (
    Query,
    beside,
    column,
    graph,
    legends,
    link,
    rows,
    share,
    shares,
    spans,
    to_answer,
    unnamed,
)
from backspan.dashboards.promql import BAD, BY_USERS, INDEX, OPERATIONS, PLACE, RANGE, VARIABLES, PerUnit
from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import Spec

_RETRIEVALS = f'{semconv.prometheus_label(semconv.OPERATION_NAME)}="{semconv.RETRIEVAL}"'
_SOURCE = semconv.prometheus_label(semconv.DATA_SOURCE_ID)
_IS_RETRIEVAL = traceql.equals(semconv.OPERATION_NAME, semconv.RETRIEVAL)
_COLUMNS = {
    semconv.RETRIEVAL_QUERY: "query", semconv.RETRIEVAL_SCORE_MAX: "best score",
    semconv.RETRIEVAL_DOCUMENT_COUNT: "documents", semconv.RETRIEVAL_DOCUMENT_IDS: "ids", semconv.INDEX_NAME: "index",
    semconv.INDEX_VERSION: "version",
}
_WITH_DOCUMENT = traceql.equals(semconv.RETRIEVAL_DOCUMENT_IDS, "$document")
_DOCUMENT = {
    VARIABLES["service"]: "service", VARIABLES["environment"]: "environment",
    semconv.prometheus_label(semconv.INDEX_NAME): "index", INDEX: "index version", semconv.LABEL_DOCUMENT: "document",
}
"""Labels of the gauges by document -> headings."""
_LIMITS = tuple(f"0.{tenth}" for tenth in range(1, 10))
"""With a decimal point: TraceQL needs one."""


def dashboard(spec: Spec) -> models.Dashboard:
    """The dashboard; it does not depend on ``spec``."""
    about = Page(links.RETRIEVAL, "retrieval", "What the retriever finds, and what becomes of the answers.", (
        choice("score", "Weak below", _LIMITS, "0.3", "A retrieval whose best score is below this is shown as weak"),
        text("document", "Document", "Id of a document, to find the answers that rest on it"),
    ))
    return page(about, {
        "Retrievals": [_traffic(), _duration(), _empty(), _weak()],
        "Votes": [_votes(), _votes_by_index(), _worst()],
        "Matches": [_weakest(), _latest()],
        "One document": [_of_document(), _judged()],
    })


def _traffic() -> timeseries.Panel:
    return graph("Retrievals per second", "By index. (Labels of prompt and version are on answers, not on retrievals: "
                 "only service and environment narrow these panels.)", "reqps",
                 Query(promql.rate(f"{OPERATIONS}_count", _RETRIEVALS, [_SOURCE], PLACE), legends([_SOURCE]))).min(0)


def _duration() -> timeseries.Panel:
    found = [Query(promql.quantile(q, OPERATIONS, _RETRIEVALS, cohort=PLACE), f"{q * 100:.0f} %") for q in (0.5, 0.95)]
    n = Query(promql.count(f"{OPERATIONS}_count", _RETRIEVALS, promql.RATE, cohort=PLACE), "n")
    panel = graph("Duration of retrievals", "Median and 95th percentile; n is on the right axis.", "s", *found, n)
    return beside(panel, "C")


def _counted(indicator: str) -> PerUnit:
    found = INDICATORS[indicator]
    return PerUnit(promql.count(found.counted.name, cohort=PLACE), promql.count(found.total.name, cohort=PLACE),
                   sparse=False)


def _empty() -> timeseries.Panel:
    return share("Empty retrievals", "Share of retrievals that found nothing. Waits for instrumentation that counts "
                 "retrievals.", _counted("empty_retrievals"))


def _weak() -> timeseries.Panel:
    return share("Weak retrievals", "Share of retrievals whose best score is below the index's limit. Waits for "
                 "instrumentation that counts retrievals; the table below shows single ones without it.",
                 _counted("weak_retrievals"))


def _votes() -> timeseries.Panel:
    of = promql.negative(BY_USERS, by=[INDEX])
    panel = graph("Bad judgements by index version", "Share of negative ones among first judgements of users in the "
                  "window; n is on the right axis, intervals are in the table beside. Answers whose retriever names "
                  "no version are one line without a name.", "percentunit",
                  Query(of.rate, legends([INDEX])), Query(of.n, f"n {legends([INDEX])}"))
    return unnamed(beside(panel, "B"), "B").min(0)


def _votes_by_index() -> table.Panel:
    return shares("Votes by index version", "Share of negative ones among first judgements of users.",
                  {INDEX: "index version"}, promql.negative(BY_USERS, RANGE, [INDEX])).span(12)


def _worst() -> table.Panel:
    columns = {
        "n": _gauge(semconv.PROM_DOCUMENT_JUDGED), "negative": _gauge(semconv.PROM_DOCUMENT_VOTES, BAD),
        "rate": _stat(semconv.PROM_DOCUMENT_SHARE, "value"), "95 % low": _stat(semconv.PROM_DOCUMENT_SHARE, "low"),
        "95 % high": _stat(semconv.PROM_DOCUMENT_SHARE, "high"), "lift": _stat(semconv.PROM_DOCUMENT_LIFT, "value"),
        "lift low": _stat(semconv.PROM_DOCUMENT_LIFT, "low"),
    }
    panel = rows(
        "Worst documents", "Documents with the most negative votes of users, or the most beyond what is expected, in "
        "the last 7 days, whatever the visible range. A vote counts for every document that the answer rests on. n: "
        "judged answers; rate: share of bad ones, with its 95 % interval; lift: that share by the one of the answers "
        "of the same index version without the document. Chance does not explain a document whose lift low is above "
        "1: these bounds hold for all documents at once.", "percentunit", columns, _DOCUMENT).decimals(1)
    for name in ("n", "negative"):
        panel = column(panel, name, unit="short", decimals=0)
    for name in ("lift", "lift low"):
        panel = column(panel, name, unit="none", decimals=2)
    panel = panel.sort_by([common.TableSortByFieldState().display_name("negative").desc(True)])
    here = links.dashboard(links.RETRIEVAL, {"document": "${__value.raw}"})
    return link(panel, "document", ("Its retrievals and judgements, below", here),
                ("Bad judgements of answers with it", links.bad_feedback_with()))


def _gauge(metric: str, matchers: str = "") -> str:
    """A gauge of the gateway by document; of replicas, one."""
    return f"max by ({', '.join(_DOCUMENT)}) ({promql.matching(metric, matchers, PLACE)})"


def _stat(metric: str, stat: str) -> str:
    return _gauge(metric, f'{semconv.LABEL_STAT}="{stat}"')


def _matches(title: str, description: str, condition: str) -> table.Panel:
    panel = spans(title, description, traceql.spans(condition, _COLUMNS, traceql.PLACE), _COLUMNS)
    return link(column(panel, "best score", decimals=3), "ids",
                ("Judgements of the answer", links.feedback_on("${__data.fields.traceIdHidden}")))


def _weakest() -> table.Panel:
    return _matches("Weak retrievals", "Retrievals whose best score is below the limit chosen above, newest first. "
                    "A query is there while content is recorded, if the retriever was given words.",
                    f"{_IS_RETRIEVAL} && span.{semconv.RETRIEVAL_SCORE_MAX} < $score")


def _latest() -> table.Panel:
    return _matches("Latest retrievals", "With what they found; an empty one has 0 documents and no score.",
                    _IS_RETRIEVAL)


def _of_document() -> table.Panel:
    return _matches("Retrievals that found the document", "Retrievals that returned the document whose id is typed "
                    "above; the ids lead to the judgements of the answer.",
                    f'{_IS_RETRIEVAL} && {_WITH_DOCUMENT}')


def _judged() -> table.Panel:
    columns = {semconv.EVALUATION_NAME: "kind", semconv.FEEDBACK_REASONS: "reasons",
               semconv.FEEDBACK_COMMENT: "comment", semconv.RETRIEVAL_DOCUMENT_IDS: "ids",
               semconv.INDEX_VERSION: "version", semconv.FEEDBACK_TRACE_ID: "answer"}
    bad = traceql.equals(semconv.FEEDBACK_POLARITY, semconv.NEGATIVE)
    return to_answer(spans(
        "Bad judgements of answers with the document", "Bad judgements that came through the gateway, newest first: "
        "it writes beside them the ids of what the answer rests on, if the answer's spans have come by then. Those of "
        "quick voters are found through the table above.",
        traceql.spans(f"{bad} && {_WITH_DOCUMENT}", columns), columns, timed=False))
