"""What does not count: votes that are held, requests that were refused, labels that were cut."""

from __future__ import annotations

# As in `backspan.dashboards.panels`: the SDK needs Python 3.11, and the checker is told 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false
from grafana_foundation_sdk.builders import timeseries

from backspan import semconv
from backspan.dashboards.panels import Query, bars, legends
from backspan.dashboards.promql import RATE, count


def held() -> timeseries.Panel:
    """Quarantine."""
    by = [semconv.LABEL_RULE, semconv.LABEL_ACTION]
    return bars("Votes held and let go (n)", "Votes that a rule against spam held in each step, and so took out of the "
                "net, and those that were let go again, of all services, by rule.", "short",
                Query(count(semconv.PROM_FEEDBACK_QUARANTINED, window=RATE, by=by, cohort=""), legends(by)))


def refused() -> timeseries.Panel:
    """Refusals, of all gateways."""
    by = [semconv.LABEL_REASON]
    return bars("Refused requests (n)", "Judgements, signals and outcomes that gateways refused in each step, of all "
                "services, by reason.", "short",
                Query(f"{count(semconv.PROM_FEEDBACK_REJECTED, window=RATE, by=by, cohort='')} > 0", legends(by)))


def past_limit() -> timeseries.Panel:
    """Labels with too many values."""
    by = [semconv.LABEL_LABEL]
    return bars("Labels past their limit (n)", "Judgements and answers in each step that were counted with a label as "
                f"`{semconv.LABEL_REST}`, as it has more values than are kept apart, by label, of all services.",
                "short",
                Query(count(semconv.PROM_LABEL_OVERFLOW, window=RATE, by=by, cohort=""), legends(by))).span(24)
