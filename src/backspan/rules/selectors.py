"""Selectors of one chart's series, and sums by its partitions."""

from __future__ import annotations

from backspan import semconv
from backspan.rules import series
from backspan.rules.counting import fresh, label
from backspan.rules.spec import Chart, Partition


def select(name: str, chart: Chart, more: str = "", **labels: str | None) -> str:
    """``name{chart="..."}``, narrowed by further labels (None: not by this one) and by the matchers ``more``."""
    said = [f'{series.CHART}="{chart.name}"', *(f'{key}="{value}"' for key, value in labels.items() if value)]
    return f"{name}{{{','.join([*said, *([more] if more else [])])}}}"


def stat(name: str, value: str, chart: Chart, wrap: str) -> str:
    """One statistic without its label; ``wrap`` is a template such as ``last_over_time({}[1h])``."""
    return f"max without ({series.STAT}) ({wrap.format(select(name, chart, stat=value))})"


def inc(chart: Chart, prefix: str = "") -> str:
    """Name of the increments of the raw series."""
    return series.raw(chart.name, f"{prefix}inc")


def any_of(chart: Chart, selector: str) -> list[str]:
    """What is new in ``selector``, summed by each partition."""
    return [_total(chart, partition, selector) for partition in chart.partitions]


def _total(chart: Chart, partition: Partition, selector: str) -> str:
    return placed(chart, partition.name, f"sum by ({', '.join(partition.labels)}) ({fresh(selector)})")


def placed(chart: Chart, partition: str, expression: str) -> str:
    """``expression`` with the labels of the chart and of a partition."""
    return label(label(expression, series.CHART, chart.name), series.PARTITION, partition)


def variance(chart: Chart, p: str) -> str:
    """Variance of one of the chart's events at rate ``p``, as `backspan.spc.shiryaev.Model.variance` has it."""
    return p if chart.model.family == "poisson" else f"({p} * (1 - {p}))"


def set_by_hand(chart: Chart, override: str, partition: str | None = None) -> str:
    """The baselines that a person set, without the labels that say why."""
    return f"max without ({series.PHASE}, {series.REASON}) ({select(override, chart, partition=partition)})"


def parent_of(partition: Partition) -> Partition:
    """The parent of a division that has one."""
    assert partition.parent is not None
    return partition.parent


def parent_labels(partition: Partition) -> str:
    """Prometheus labels that a cohort shares with its parent."""
    return ", ".join(semconv.prometheus_label(key) for key in partition.inherit)
