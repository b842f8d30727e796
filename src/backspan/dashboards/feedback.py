"""Feedback: who judges what and when, for which reasons, what the signals say, and the latest bad answers."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import bargauge, table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from backspan import semconv
from backspan.dashboards import asked, implied, links, promql, traceql, uncounted
from backspan.dashboards.frame import Page, page
from backspan.dashboards.panels import (
    Query,
    bars,
    beside,
    column,
    graph,
    legends,
    link,
    ranking,
    rows,
    share,
    shares,
    spans,
    to_answer,
)
from backspan.dashboards.promql import BAD, BY_USERS, FIRST, RANGE, RATE, PerUnit, count
from backspan.rules.spec import Spec

_NAME, _SOURCE, _REASON = semconv.LABEL_NAME, semconv.LABEL_SOURCE, semconv.LABEL_REASON
_AGE, _OP = semconv.LABEL_AGE, semconv.LABEL_OP


def dashboard(spec: Spec) -> models.Dashboard:
    """The dashboard; it does not depend on ``spec``."""
    about = Page(links.FEEDBACK, "feedback", "What people and signals say about the answers, and why.")
    return page(about, {
        "Judgements of users": [_bad(), _coverage(), _kinds(), _changes(), _compared()],
        "Asked for or volunteered": [asked.share_of_asked(), asked.by_asking(), asked.over_time()],
        "Whom they stand for": [asked.estimates(), asked.alike(), asked.skips()],
        "Reasons": [_reasons(), _reasons_over_time()],
        "When": [_delay(), _ages()],
        "Sources and implicit signals": [_sources(), _scores(), _signals(), implied.signals()],
        "What does not count": [uncounted.held(), uncounted.refused(), uncounted.past_limit()],
        "Latest bad answers": [_latest()],
    })


def _bad() -> timeseries.Panel:
    return share("Bad judgements", "Share of negative ones among the first judgements of users in the window.",
                 promql.negative(BY_USERS))


def _coverage() -> timeseries.Panel:
    return share("Judgements per answer", "First judgements of users per answer in the window: whether the ones who "
                 "judge can stand for all.", promql.coverage())


def _kinds() -> table.Panel:
    return shares("Judgements by kind", "Share of negative ones among first judgements, by name and source.",
                  {_NAME: "kind", _SOURCE: "source"}, promql.negative(FIRST, RANGE, (_NAME, _SOURCE))).span(12)


def _changes() -> timeseries.Panel:
    return bars("Votes given, changed and taken back (n)", "Acts of judging in each step. Charts and alerts count "
                "only first ones (add).", "short",
                Query(count(semconv.PROM_FEEDBACK, window=RATE, by=[_OP]), legends([_OP])))


def _compared() -> table.Panel:
    by = (_NAME, semconv.LABEL_WINNER, semconv.LABEL_LOSER)
    won, tied = (count(semconv.PROM_COMPARISONS, f'{FIRST},{semconv.LABEL_RESULT}="{result}"', RANGE, by)
                 for result in ("win", "tie"))
    names = {_NAME: "name", semconv.LABEL_WINNER: "better", semconv.LABEL_LOSER: "worse"}
    return rows("Compared variants (n)", "Pairs of answers that a user set side by side for the first time in the "
                "visible range, by the variants of the better and the worse one. Of a tie the two come in the order of "
                "their names.", "short", {"preferred": won, "tied": tied}, names).decimals(0)


def _reasons() -> bargauge.Panel:
    return ranking("Reasons for bad judgements (n)", "Reasons that users gave in the visible range, most frequent "
                   "first. One judgement may have several.", "short",
                   Query(f"sort_desc({count(semconv.PROM_FEEDBACK_REASONS, f'{BY_USERS},{BAD}', RANGE, [_REASON])})",
                         legends([_REASON]))).decimals(0)


def _reasons_over_time() -> timeseries.Panel:
    of = PerUnit(count(semconv.PROM_FEEDBACK_REASONS, f"{BY_USERS},{BAD}", by=[_REASON]),
                 count(semconv.PROM_FEEDBACK, f"{BY_USERS},{BAD}"))
    n = f"scalar({of.n})"
    panel = graph("Reasons per bad judgement", "How often each reason is given, per bad judgement of a user in the "
                  "window; n, the bad judgements, is on the right axis.", "percentunit",
                  Query(f"{of.bad} / {n}", legends([_REASON])),
                  Query(of.n, "n"))
    return beside(panel, "B").min(0)


def _delay() -> timeseries.Panel:
    users = f'{_SOURCE}="{semconv.END_USER}"'
    found = [Query(promql.quantile(q, semconv.PROM_FEEDBACK_DELAY, users), f"{q * 100:.0f} %") for q in (0.5, 0.95)]
    n = Query(count(f"{semconv.PROM_FEEDBACK_DELAY}_count", users, RATE), "n")
    panel = graph("Time from answer to judgement", "Median and 95th percentile, as far as the buckets tell; n is on "
                  "the right axis.", "s", *found, n)
    return beside(panel, "C")


def _ages() -> table.Panel:
    return shares("Bad judgements by age of the answer", "Share of negative ones among first judgements of users: "
                  "within an hour, within a day, later.", {_AGE: "age"},
                  promql.negative(BY_USERS, RANGE, (_AGE,))).span(12)


def _sources() -> timeseries.Panel:
    return bars("Judgements by source (n)", "First judgements in each step: users, signals, evaluators, reviewers, "
                "outcomes.", "short", Query(count(semconv.PROM_FEEDBACK, FIRST, RATE, [_SOURCE]), legends([_SOURCE])))


def _scores() -> table.Panel:
    score, by = semconv.PROM_FEEDBACK_SCORE, (_NAME,)
    n = count(f"{score}_count", window=RANGE, by=by)
    panel = rows("Mean score by kind", "Mean of the scores in the visible range: 0 to 1 for thumbs, 1 to 5 for stars. "
                 "n is how many there were.", "none",
                 {"n": n, "mean": f"{count(f'{score}_sum', window=RANGE, by=by)} / ({n} > 0)"}, {_NAME: "kind"})
    return column(panel.decimals(2), "n", decimals=0).span(12)


def _signals() -> table.Panel:
    implicit = f'{FIRST},{_NAME}=~"implicit_.+"'
    bad = count(semconv.PROM_FEEDBACK, implicit, RANGE, [_NAME])
    answers = f"(0 * {bad} + scalar({count(semconv.PROM_ANSWERS, window=RANGE)}))"
    return shares("Implicit signals per answer", "Regenerated, copied, stopped and so on, per answer (n).",
                  {_NAME: "signal"}, PerUnit(bad, answers)).span(12)


def _latest() -> table.Panel:
    columns = {semconv.EVALUATION_NAME: "kind", semconv.FEEDBACK_REASONS: "reasons",
               semconv.FEEDBACK_COMMENT: "comment", semconv.PROMPT_NAME: "prompt", semconv.PROMPT_VERSION: "version",
               semconv.CONVERSATION_ID: "conversation", semconv.FEEDBACK_TRACE_ID: "answer"}
    panel = spans("Latest bad answers", "Bad judgements, newest first. The answer's trace is one click away; comments "
                  "are there while content is recorded (`BACKSPAN=content`).",
                  traceql.spans(traceql.equals(semconv.FEEDBACK_POLARITY, semconv.NEGATIVE), columns), columns,
                  timed=False)
    trail = links.dashboard(links.CONVERSATION, {"conversation": "${__value.raw}"})
    return to_answer(link(panel, "conversation", ("The whole conversation", trail)))
