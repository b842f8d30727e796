"""promtool unit tests written from the oracle: the same raw samples, and what every recorded series must then be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.expressions import alarm
from backspan.rules.indicators import matchers
from backspan.rules.oracle import Labels, Oracle, Row, Samples
from backspan.rules.spec import Chart, Spec


class Sample(dict[str, Any]):
    """An expected sample; a type of its own so that it is written on one line."""


TOLERANCE = 1e-9
"""Largest difference to the oracle that a test accepts."""

_WHOLE = ("n", "bad", "window_n", "window_bad", "rated_at")


def document(
    spec: Spec,
    chart: Chart,
    rule_file: str,
    streams: Mapping[Labels, Samples],
    *,
    step: int,
    times: Iterable[int],
    name: str,
) -> dict[str, Any]:
    """A promtool test file for ``chart``.

    ``streams`` have a sample (or a gap) every ``step`` seconds from 0; ``times`` are the evaluations, in seconds and
    multiples of the interval, at which everything is compared.
    """
    wanted = sorted(times)
    return {
        "rule_files": [rule_file],
        "evaluation_interval": write_duration(spec.interval),
        "tests": [
            {
                "name": name,
                "interval": write_duration(step),
                "input_series": [_series(chart, key, samples, step) for key, samples in streams.items()],
                "promql_expr_test": list(_expectations(spec, chart, streams, wanted)),
            }
        ],
    }


def _series(chart: Chart, labels: Labels, samples: Samples, step: int) -> dict[str, str]:
    selector = f"{chart.watched.metric}{{{matchers(dict(labels))}}}"
    return {"series": selector, "values": write_values(samples, step)}


def write_values(samples: Samples, step: int) -> str:
    """Samples in promtool's notation; ``_`` is a gap. Raises ValueError for a sample off the grid of ``step``."""
    by_slot: dict[int, float | None] = {}
    for at, value in samples:
        slot, rest = divmod(at, step)
        if rest:
            raise ValueError(f"sample at {at}s is not on the grid of {step}s")
        by_slot[int(slot)] = value
    words = [_word(by_slot[i]) if i in by_slot else "_" for i in range(max(by_slot, default=-1) + 1)]
    return " ".join(_runs(words))


def _word(value: float | None) -> str:
    return "stale" if value is None else f"{value:g}" if value != int(value) else str(int(value))


def _runs(words: Sequence[str]) -> Iterable[str]:
    """Repeated values as ``5x3`` (which is 5 and three more), repeated gaps as ``_x3`` (which is three)."""
    i = 0
    while i < len(words):
        length = 1
        while i + length < len(words) and words[i + length] == words[i]:
            length += 1
        if length == 1 or words[i] == "stale":
            yield from words[i : i + length]
        else:
            yield f"_x{length}" if words[i] == "_" else f"{words[i]}x{length - 1}"
        i += length


def _expectations(
    spec: Spec, chart: Chart, streams: Mapping[Labels, Samples], times: Sequence[int]
) -> Iterable[dict[str, Any]]:
    oracle, left = Oracle(spec, chart, streams), set(times)
    for at in range(0, times[-1] + 1, spec.interval):
        rows = oracle.step(at)
        if at in left:
            left.discard(at)
            yield _count(chart, series.SR, len(rows), at)
            yield _count(chart, series.N, sum(row.n is not None for row in rows.values()), at)
            yield _alarms(chart, rows, at)
            for (partition, labels), row in rows.items():
                yield from _cohort(chart, partition, labels, row, at)
    if left:
        raise ValueError(f"not multiples of the interval of {spec.interval}s: {sorted(left)}")


def _cohort(chart: Chart, partition: str, labels: Labels, row: Row, at: int) -> Iterable[dict[str, Any]]:
    for field, value in asdict(row).items():
        if field == "alarm":
            continue
        selector = _selector(f"spc:{field}", chart, partition, labels)
        if value is None:
            yield _test(f"count({selector}) or vector(0)", at, 0)
        elif field in _WHOLE:
            yield _test(f"sum({selector})", at, value)
        else:
            yield _test(f"sum(abs({selector} - {value:.12g}) <= bool {TOLERANCE})", at, 1)


def _selector(name: str, chart: Chart, partition: str, labels: Labels) -> str:
    keys = next(p.labels for p in chart.partitions if p.name == partition)
    values = {series.CHART: chart.name, series.PARTITION: partition, **{key: dict(labels).get(key, "") for key in keys}}
    return f"{name}{{{matchers(values)}}}"


def _count(chart: Chart, name: str, count: int, at: int) -> dict[str, Any]:
    return _test(f"count({name}{{{matchers({series.CHART: chart.name})}}}) or vector(0)", at, count)


def _alarms(chart: Chart, rows: Mapping[Any, Row], at: int) -> dict[str, Any]:
    """Counts cohorts over the limit by the alert's own condition; firing also depends on ``keep_firing_for``."""
    return _test(f"count({' '.join(alarm(chart).split())}) or vector(0)", at, sum(r.alarm for r in rows.values()))


def _test(expr: str, at: int, value: float) -> dict[str, Any]:
    return {"expr": expr, "eval_time": write_duration(at), "exp_samples": [Sample(labels="{}", value=value)]}
