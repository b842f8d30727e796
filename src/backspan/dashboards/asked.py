"""Who judges: those who were asked and those who came by themselves, and whom they stand for."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from collections.abc import Iterable

from grafana_foundation_sdk.builders import table, timeseries

from backspan import semconv
from backspan.dashboards import promql
from backspan.dashboards.panels import Query, bars, graph, legends, rows, share, shares
from backspan.dashboards.promql import BAD, BY_USERS, RANGE, RATE, Share, count

_NAME, _STAT, _ESTIMATOR = semconv.LABEL_NAME, semconv.LABEL_STAT, semconv.LABEL_ESTIMATOR
_SOLICITED = semconv.LABEL_SOLICITED
_UNLIKE = 0.2
"""Above this index the judged answers come from other segments than the rest."""


def share_of_asked() -> timeseries.Panel:
    """How many were asked."""
    return share("Asked for", "Share of first judgements of users that the application had asked for, among those of "
                 "which it was said (`solicited`). The two kinds of judges differ: whoever comes by himself is mostly "
                 "annoyed or delighted.",
                 Share(count(semconv.PROM_FEEDBACK_SOLICITED, f'{_SOLICITED}="{semconv.ASKED}"'),
                       count(semconv.PROM_FEEDBACK_SOLICITED)))


def by_asking() -> table.Panel:
    """What either kind says."""
    said = Share(count(semconv.PROM_FEEDBACK_SOLICITED, BAD, RANGE, (_SOLICITED,)),
                 count(semconv.PROM_FEEDBACK_SOLICITED, window=RANGE, by=(_SOLICITED,)))
    return shares("Bad judgements, asked for and volunteered", "Share of negative ones among first judgements of "
                  "users.", {_SOLICITED: "came"}, said).span(12)


def over_time() -> timeseries.Panel:
    """Judgements of either kind, and of none."""
    said = count(semconv.PROM_FEEDBACK_SOLICITED, window=RATE)
    rest = f"clamp_min({count(semconv.PROM_FEEDBACK, BY_USERS, RATE)} - ({said} or vector(0)), 0)"
    return bars("Judgements by how they came (n)", "First judgements of users in each step: asked for, volunteered, "
                "and those of which nobody said.", "short",
                Query(count(semconv.PROM_FEEDBACK_SOLICITED, window=RATE, by=[_SOLICITED]), legends([_SOLICITED])),
                Query(rest, "not said")).span(24)


def estimates() -> table.Panel:
    """Raw and weighted shares."""
    names = {_NAME: "kind", _ESTIMATOR: "estimator"}
    found = {heading: _largest(semconv.PROM_FEEDBACK_ESTIMATE, f'{_STAT}="{stat}"', by=names)
             for heading, stat in zip(("rate", "95 % low", "95 % high"), semconv.STATS, strict=True)}
    return rows("Bad judgements, raw and weighted to all", "Share of negative judgements of the last 7 days: `raw` "
                "among those who were asked and answered; `hajek` and `horvitz_thompson` weigh each by the chance with "
                "which its answer was asked about. With 95 % intervals. A gateway counts them over all services.",
                "percentunit", found, names).decimals(1).span(12)


def alike() -> timeseries.Panel:
    """Coverage and representativeness."""
    return graph("Coverage and representativeness", "Of the last 7 days, as a gateway counts them over all services: "
                 "the share of answers that a user judged, and the population stability index of the segments of those "
                 "answers against those of all: 0 is alike; above the line they come from other segments than the "
                 "rest, and votes do not stand for all.", "none",
                 Query(_largest(semconv.PROM_FEEDBACK_STABILITY), "stability index"),
                 Query(f"vector({_UNLIKE})", "too unlike"),
                 Query(_largest(semconv.PROM_FEEDBACK_COVERAGE), "share of answers judged")).decimals(2).min(0)


def skips() -> timeseries.Panel:
    """Questions that were not answered."""
    return bars("Questions passed over (n)", "Questions that a user skipped in each step, by what was asked; a skip is "
                "no judgement.", "short",
                Query(count(semconv.PROM_FEEDBACK_SKIPS, window=RATE, by=[_NAME]), legends([_NAME]))).span(24)


def _largest(gauge: str, *matchers: str, by: Iterable[str] = ()) -> str:
    labels = ", ".join(by)
    of = promql.matching(gauge, *matchers) if matchers else gauge
    return f"max by ({labels}) ({of})" if labels else f"max({of})"
