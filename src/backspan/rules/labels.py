"""Labels of alerts."""

from __future__ import annotations

from backspan.rules import series
from backspan.rules.spec import Chart


def alert_labels(chart: Chart, severity: str) -> dict[str, str]:
    """Labels of an alert of ``chart`` beside those of its cohort."""
    return owned({"severity": severity, series.INDICATOR: chart.indicator}, chart.owner)


def owned(labels: dict[str, str], owner: str | None) -> dict[str, str]:
    """``labels`` with that of the owner, if there is one."""
    return {**labels, "owner": owner} if owner else labels
