"""promtool unit tests written from the oracle: the same raw samples, and what every recorded series must then be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.alert import about_silence, missing
from backspan.rules.expressions import alarm
from backspan.rules.indicators import matchers
from backspan.rules.oracle import Oracle, Row
from backspan.rules.oracle_counting import Key, Labels, Samples
from backspan.rules.spec import Chart, Spec
from backspan.rules.tickets import conditions
from backspan.spc.phases import Effective


class Sample(dict[str, Any]):
    """An expected sample; a type of its own so that it is written on one line."""


TOLERANCE = 1e-9
"""Largest difference to the oracle that a test accepts; relative for values above 1."""

_WHOLE = ("n", "bad", "window_n", "window_bad", "rated_at")
_TOLD_APART = ("alarm", "phase", "tickets", "missing")


def document(
    spec: Spec,
    chart: Chart,
    rule_file: str,
    streams: Mapping[Labels, Samples],
    *,
    step: int,
    times: Iterable[int],
    name: str,
    overrides: Mapping[Key, Effective] | None = None,
) -> dict[str, Any]:
    """A promtool test file for ``chart``.

    ``streams`` have a sample (or a gap) every ``step`` seconds from 0; ``times`` are the evaluations, in seconds and
    multiples of the interval, at which everything is compared. ``overrides`` are baselines that a person set; they
    become series like the rest.
    """
    wanted = sorted(times)
    return {
        "rule_files": [rule_file],
        "evaluation_interval": write_duration(spec.interval),
        "tests": [
            {
                "name": name,
                "interval": write_duration(step),
                "input_series": [
                    *(_series(chart, key, samples, step) for key, samples in streams.items()),
                    *_set_by_hand(chart, overrides or {}, wanted[-1] // step),
                ],
                "promql_expr_test": list(_expectations(spec, chart, Oracle(spec, chart, streams, overrides), wanted)),
            }
        ],
    }


def _series(chart: Chart, labels: Labels, samples: Samples, step: int) -> dict[str, str]:
    said = dict(labels)
    name = said.pop("__name__", chart.watched.total.name)
    return {"series": f"{name}{{{matchers(said)}}}", "values": write_values(samples, step)}


def _set_by_hand(chart: Chart, overrides: Mapping[Key, Effective], slots: int) -> Iterable[dict[str, str]]:
    for (partition, labels), base in overrides.items():
        said = {series.CHART: chart.name, series.PARTITION: partition, **dict(labels), series.PHASE: base.phase}
        for name, value in ((series.BASELINE_P0, base.p0), (series.BASELINE_PHI, base.phi)):
            yield {"series": f"{name}{{{matchers(said)}}}", "values": f"{value!r}x{slots}"}


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


def _expectations(spec: Spec, chart: Chart, oracle: Oracle, times: Sequence[int]) -> Iterable[dict[str, Any]]:
    left = set(times)
    for at in range(0, times[-1] + 1, spec.interval):
        rows = oracle.step(at)
        if at in left:
            left.discard(at)
            yield _count(chart, series.SR, sum(row.sr is not None for row in rows.values()), at)
            yield _count(chart, series.N, sum(row.n is not None for row in rows.values()), at)
            yield _count(chart, series.PHASE_SERIES, len(rows), at)
            yield _alarms(chart, rows, at)
            yield from _tickets(chart, rows, at)
            yield from _silence(chart, rows, at)
            for (partition, labels), row in rows.items():
                yield from _cohort(chart, partition, labels, row, at)
    if left:
        raise ValueError(f"not multiples of the interval of {spec.interval}s: {sorted(left)}")


def _cohort(chart: Chart, partition: str, labels: Labels, row: Row, at: int) -> Iterable[dict[str, Any]]:
    skipped = (*_TOLD_APART, *(() if chart.tickets else ("z", "ewma")))
    for field, value in asdict(row).items():
        if field in skipped:
            continue
        selector = f"last_over_time({_selector(f'spc:{field}', chart, partition, labels)}[500ms])"
        if value is None:
            yield _test(f"count({selector}) or vector(0)", at, 0)
        elif field in _WHOLE and value == int(value):
            yield _test(f"sum({selector})", at, value)
        else:
            bound = TOLERANCE * max(1.0, abs(value))
            yield _test(f"sum(abs({selector} - {value!r}) <= bool {bound})", at, 1)
    selector = _selector(series.PHASE_SERIES, chart, partition, labels, {series.PHASE: row.phase})
    yield _test(f"sum({selector})", at, 1)


def _selector(
    name: str, chart: Chart, partition: str, labels: Labels, more: Mapping[str, str] = MappingProxyType({})
) -> str:
    keys = next(p.labels for p in chart.partitions if p.name == partition)
    values = {series.CHART: chart.name, series.PARTITION: partition, **{key: dict(labels).get(key, "") for key in keys}}
    values |= more
    return f"{name}{{{matchers(values)}}}"


def _count(chart: Chart, name: str, count: int, at: int) -> dict[str, Any]:
    selector = f"{name}{{{matchers({series.CHART: chart.name})}}}"
    return _test(f"count(last_over_time({selector}[500ms])) or vector(0)", at, count)


def _alarms(chart: Chart, rows: Mapping[Any, Row], at: int) -> dict[str, Any]:
    """Counts cohorts over the limit by the alert's own condition; firing also depends on ``keep_firing_for``."""
    return _test(f"count({' '.join(alarm(chart).split())}) or vector(0)", at, sum(r.alarm for r in rows.values()))


def _tickets(chart: Chart, rows: Mapping[Any, Row], at: int) -> Iterable[dict[str, Any]]:
    for name, condition in conditions(chart).items():
        expr = f"count({' '.join(condition.split())}) or vector(0)"
        yield _test(expr, at, sum(name in row.tickets for row in rows.values()))


def _silence(chart: Chart, rows: Mapping[Any, Row], at: int) -> Iterable[dict[str, Any]]:
    if about_silence(chart):
        expr = f"count({' '.join(missing(chart).split())}) or vector(0)"
        yield _test(expr, at, sum(row.missing for row in rows.values()))


def _test(expr: str, at: int, value: float) -> dict[str, Any]:
    return {"expr": expr, "eval_time": write_duration(at), "exp_samples": [Sample(labels="{}", value=value)]}
