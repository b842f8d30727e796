"""promtool tests of a canary, written from its oracle: for any raw series, and the story that is shipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from random import Random
from typing import Any

from backspan import semconv
from backspan.rules import canary_alert, canary_kinds, canary_split, series, stories
from backspan.rules._node import write_duration
from backspan.rules.canary_oracle import Comparison, Key, Row, Split
from backspan.rules.canary_series import CANARY, VARIANT, VERDICT, quoted
from backspan.rules.indicators import INDICATORS
from backspan.rules.oracle_counting import Labels, Samples
from backspan.rules.spec import Canary, Spec

STEPS, EVERY = 240, 60
"""Evaluations of the shipped story, and how many lie between those at which everything is compared."""


def promtool_tests(spec: Spec, canary: Canary, rule_path: str) -> dict[str, Any]:
    """A promtool test file for `canary.rule_file`: a control, a variant that is worse, and one without feedback."""
    times = {*range(0, STEPS * spec.interval, EVERY * spec.interval), (STEPS - 1) * spec.interval}
    streams = story(canary, spec.interval)
    return document(spec, canary, rule_path, streams, step=spec.interval, times=times, name="a variant that is worse")


def document(
    spec: Spec, canary: Canary, rule_path: str, streams: Mapping[Labels, Samples], *, step: int, times: Iterable[int],
    name: str,
) -> dict[str, Any]:
    """A promtool test file. ``streams`` have a sample (or a gap) every ``step`` seconds; ``times`` are the evaluations
    at which everything is compared, in seconds and multiples of the interval."""
    return {
        "rule_files": [rule_path],
        "evaluation_interval": write_duration(spec.interval),
        "tests": [{
            "name": name,
            "interval": write_duration(step),
            "input_series": stories.written(streams, step),
            "promql_expr_test": list(_expectations(spec, canary, streams, set(times))),
        }],
    }


def _matchers(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={quoted(value)}" for key, value in labels.items())


def _expectations(
    spec: Spec, canary: Canary, streams: Mapping[Labels, Samples], times: set[int]
) -> Iterable[dict[str, Any]]:
    comparison, split = Comparison(spec, canary, streams), Split(spec, canary, streams)
    for at in range(0, max(times) + 1, spec.interval):
        rows, evidence = comparison.step(at), split.step(at) if canary.expect else {}
        for group, value in evidence.items():
            said = _matchers({CANARY: canary.name, **dict(group)})
            yield stories.equals(f"spc:canary_split_evidence{{{said}}}", at, value)
        if at in times:
            yield _count(canary, "n", len(rows), at)
            yield _count(canary, "verdict", sum(row.verdict is not None for row in rows.values()), at)
            yield _alarms(canary, rows, at)
            for key, row in rows.items():
                yield from _arm(canary, key, row, at)


def _count(canary: Canary, name: str, count: int, at: int) -> dict[str, Any]:
    return stories.expect(f"count(spc:canary_{name}{{{CANARY}={quoted(canary.name)}}}) or vector(0)", at, count)


def _alarms(canary: Canary, rows: Mapping[Key, Row], at: int) -> dict[str, Any]:
    expr = " ".join(canary_alert.condition(canary).split())
    return stories.expect(f"count({expr}) or vector(0)", at, sum(row.alarm for row in rows.values()))


def _arm(canary: Canary, key: Key, row: Row, at: int) -> Iterable[dict[str, Any]]:
    name, group, variant = key
    said = {CANARY: canary.name, series.INDICATOR: name, VARIANT: variant,
            **dict.fromkeys(map(semconv.prometheus_label, canary.within), ""), **dict(group)}
    for field, value in asdict(row).items():
        if field == "verdict":
            wanted = {**said, VERDICT: value} if value else said
            yield stories.equals(f"spc:canary_verdict{{{_matchers(wanted)}}}", at, 1.0 if value else None)
        elif field != "alarm":
            yield stories.equals(f"spc:canary_{field}{{{_matchers(said)}}}", at, value)


# --- the shipped story ----------------------------------------------------------------------------------------------
def story(canary: Canary, interval: int) -> dict[Labels, Samples]:
    """Raw series of all indicators: 4 events a step in the control from the start, 2 in each of two variants from the
    50th on, of which one is worse in everything and one has answers only. The same on every call."""
    random, where = Random(11), {semconv.PROM_SERVICE: "chat", semconv.PROM_ENVIRONMENT: "production"}
    said = {key: where.get(key, "x") for key in map(semconv.prometheus_label, canary.within)}
    by = semconv.prometheus_label(canary.by)
    worse, silent = _variants(canary)
    out: dict[Labels, Samples] = {}
    for name in canary.indicators:
        one = INDICATORS[name]
        bad = (0.3, 0.1) if one.falls else (0.1, 0.3)
        for variant, share, begin, pace in ((canary.control, bad[0], 0, 4), (worse, bad[1], 50, 2)):
            n, x = _votes(random, share, begin, pace)
            labels = {**said, by: variant, semconv.LABEL_AGE: semconv.LE_1H, "instance": "a"}
            out.update(stories.counters(canary_kinds.watched(canary, name), labels, n, x, interval))
    n, _ = _votes(random, 0.0, 50, 1)
    return out | stories.single(canary_split.exposures(canary), {**said, by: silent, "instance": "a"}, n, interval)


def _variants(canary: Canary) -> tuple[str, str]:
    named = [name for name, _ in canary.expect if name != canary.control]
    return (named or ["treatment"])[0], "silent"


def _votes(random: Random, share: float, begin: int, pace: int) -> tuple[stories.Slots, stories.Slots]:
    """Counters of all events and of the bad ones; they are there, at 0, from the step ``begin`` on."""
    n: list[float | None] = [None] * begin + [0.0]
    bad: list[float | None] = [None] * begin + [0.0]
    for _ in range(begin + 1, STEPS):
        n.append((n[-1] or 0.0) + pace)
        bad.append((bad[-1] or 0.0) + sum(random.random() < share for _ in range(pace)))
    return n, bad
