"""What nobody voted: implicit signals, the satisfaction that they let one guess, and what came of the work."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import table, timeseries

from backspan import semconv
from backspan.dashboards import promql
from backspan.dashboards.panels import (
    Query,
    bars,
    beside,
    color,
    column,
    dashed,
    graph,
    legends,
    rows,
    shares,
    styled,
)
from backspan.dashboards.promql import RANGE, RATE, VARIABLES, WINDOW, Share, count, total

_NAME, _POLARITY, _WEIGHTS = semconv.LABEL_NAME, semconv.LABEL_POLARITY, semconv.LABEL_WEIGHTS
_GROUP, _STAT, _VERSION = semconv.LABEL_GROUP, semconv.LABEL_STAT, VARIABLES["version"]


def signals() -> timeseries.Panel:
    """Signals over time."""
    return bars("Implicit signals (n)", "First signals in each step, by name and by what they speak for. They are no "
                "votes and enter no chart of votes.", "short",
                Query(count(semconv.PROM_SIGNALS, window=RATE, by=[_NAME, _POLARITY]), legends([_NAME, _POLARITY])))


def satisfaction() -> timeseries.Panel:
    """The mean estimate."""
    n = count(f"{semconv.PROM_SATISFACTION}_count", window=WINDOW, by=[_WEIGHTS])
    mean = f"{count(f'{semconv.PROM_SATISFACTION}_sum', window=WINDOW, by=[_WEIGHTS])} / ({n} >= 1)"
    panel = graph("Estimated satisfaction", "Mean of what signals let one guess of each answer, 0 to 1, in the "
                  "window, by version of the weights; n, the answers, is on the right axis. It ranks answers and is no "
                  "share of satisfied people: see how well it ranks in the panel beside it.", "none",
                  Query(mean, legends([_WEIGHTS])), Query(total(n), "n"))
    return beside(panel, "B").decimals(2).min(0)


def auc() -> timeseries.Panel:
    """How well estimates rank."""
    found = [Query(f'max by ({_WEIGHTS}) ({promql.matching(semconv.PROM_SATISFACTION_AUC, _is(stat))})',
                   f"{legends([_WEIGHTS])}{words}")
             for stat, words in zip(semconv.STATS, ("", " 95 % lower", " 95 % upper"), strict=True)]
    panel = graph("How well the estimate ranks (AUC)", "Share of the pairs of answers, one voted up and one voted "
                  "down, of which the estimate puts the right one first, with its 95 % interval, by version of the "
                  "weights: 0.5 is chance, 1 is always. Empty while there are too few votes.", "none",
                  *found).decimals(2).min(0).max(1)
    for ref in "BC":
        dashed(panel, ref, "blue")
    return styled(panel, "A", color=color("blue"))


def _is(stat: str) -> str:
    return f'{_STAT}="{stat}"'


def by_version() -> table.Panel:
    """The estimate of each prompt version."""
    metric, by = semconv.PROM_SATISFACTION, (_VERSION, _WEIGHTS)
    n = count(f"{metric}_count", window=RANGE, by=by)
    panel = rows("Estimated satisfaction by version", "Mean of the estimates in the visible range, 0 to 1. Compare "
                 "rows of the same weights only. n is how many answers there were.", "none",
                 {"n": n, "mean": f"{count(f'{metric}_sum', window=RANGE, by=by)} / ({n} > 0)"},
                 {_VERSION: "prompt version", _WEIGHTS: "weights"})
    return column(panel.decimals(2), "n", decimals=0)


def resolution() -> timeseries.Panel:
    """How long it takes."""
    metric = semconv.PROM_TURNS_TO_RESOLUTION
    found = [Query(f"ceil({promql.quantile(q, metric)})", f"{q * 100:.0f} %") for q in (0.5, 0.95)]  # turns are whole
    panel = graph("Turns to resolution", "Turns of a conversation until its user said that it works, or a good outcome "
                  "came: median and 95th percentile, as far as the buckets tell; n, the conversations, is on the right "
                  "axis.", "none", *found, Query(count(f"{metric}_count", window=RATE), "n"))
    return beside(panel, "C").min(0).span(24)


def after_votes() -> table.Panel:
    """Outcomes against votes."""
    return _groups("Outcomes after votes", "Share of bad outcomes of answers that were voted up and of answers that "
                   "were voted down, of the last 30 days. Where both are alike, the votes do not tell what comes of "
                   "it.",
                   "after_up|after_down")


def assisted() -> table.Panel:
    """Outcomes with and without a model."""
    return _groups("Outcomes with and without a model", "Share of bad outcomes of work that a model helped with and of "
                   "work without one, of the last 30 days. Who was helped was not drawn by lot.", "assisted|unassisted")


def _groups(title: str, description: str, groups: str) -> table.Panel:
    def sums(*matchers: str) -> str:
        of = promql.matching(semconv.PROM_OUTCOMES, f'{_GROUP}=~"{groups}"', *matchers)
        return total(of, (_NAME, _GROUP))

    return shares(title, description, {_NAME: "outcome", _GROUP: "group"}, Share(sums(promql.BAD), sums())).span(12)
