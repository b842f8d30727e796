"""Learnt baselines, phases, other kinds of events and promises in days through the real PromQL engine.

Everything is compared with the oracle; each part has a twin that is broken and must be noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import pi, sin
from pathlib import Path
from typing import Any

import pytest
from tests.rules.documents import short
from tests.rules.promtools import fails, passes
from tests.rules.streams import STEP, Samples, random_streams
from tests.rules.test_promtool import any_tool, tool  # noqa: F401

from backspan.rules import promtool
from backspan.rules.generate import rule_file, write
from backspan.rules.oracle_counting import Key, Labels, labels_of
from backspan.rules.spec import Spec
from backspan.spc.phases import Effective

pytestmark = pytest.mark.promtool

LEARNT = {"kind": "learnt", "ratings": 120, "windows": 5}
CALLS = "gen_ai_client_inference_duration_seconds"
SPECS: Mapping[str, Mapping[str, Any]] = {
    "learnt": {"baseline": LEARNT},
    "clustered": {"baseline": {"kind": "learnt", "ratings": 100, "windows": 14}},
    "set by hand": {"baseline": LEARNT},
    "learnt, promise in days": {"baseline": LEARNT, "false_alarm_every": "2d"},
    "given, promise in days": {"false_alarm_every": "1d"},
    "better is looked for": {"direction": "better", "baseline": {"kind": "given", "p0": 0.4}},
    "events per answer": {"indicator": "feedback_coverage", "baseline": LEARNT},
    "events per answer, given": {"indicator": "regenerate", "baseline": {"kind": "given", "p0": 0.1, "phi": 1.7}},
    "errors": {"indicator": "errors", "baseline": LEARNT},
    "slow answers": {"indicator": "slow_answers", "baseline": LEARNT},
    "tokens": {"indicator": "output_tokens", "baseline": LEARNT},
    "own PromQL": {"promql": {"total": "asked_total", "bad": 'lost_total{why="x"}'}, "baseline": LEARNT},
}
MINUTES = 100


def named(name: str, labels: Mapping[str, str]) -> Labels:
    return labels_of({"__name__": name, **labels})


def spec_of(kind: str) -> Spec:
    changed = dict(SPECS[kind])
    document = {"tickets": True, **changed}
    if "promql" in changed:
        return _without_indicator(document)
    return short(**document)


def _without_indicator(changed: dict[str, Any]) -> Spec:
    from tests.rules.documents import given

    from backspan.rules.spec import parse

    document = given(false_alarm_every=400, window="5m", idle_after="3m", forget_after="1h", **changed)
    del document["charts"][0]["indicator"]
    return parse(document | {"interval": "30s", "lookback": "10m17s"})


def streams_of(kind: str, seed: int) -> dict[Labels, Samples]:
    """Thumbs for the shares, and for the rest two counters of the same cohorts that grow together."""
    slots, interval = MINUTES * 60 // STEP, 30
    if kind == "clustered":
        return waves(slots)
    if kind == "set by hand":
        return {**random_streams(seed, slots=slots, interval=interval), **recovering(slots)}
    if "indicator" not in SPECS[kind] and "promql" not in SPECS[kind]:
        return random_streams(seed, slots=slots, interval=interval)
    made = random_streams(seed, slots=slots, interval=interval)
    return {key: samples for labels, samples in made.items() for key in _renamed(kind, dict(labels))}


def waves(slots: int) -> dict[Labels, Samples]:
    """Thumbs whose share of bad ones rises and falls every fifty minutes: neighbouring windows are alike."""
    return thumbs("chat", [0.3 + 0.25 * sin(slot * STEP / 3000 * 2 * pi) for slot in range(slots)])


def recovering(slots: int) -> dict[Labels, Samples]:
    """A prompt that begins much worse than its parent and is then better: alarm, then a baseline of its own."""
    return thumbs("recovering", [0.5 if slot < slots // 4 else 0.03 for slot in range(slots)])


def thumbs(service: str, shares: list[float]) -> dict[Labels, Samples]:
    """One vote a scrape; ``shares`` are bad, spread evenly."""
    down, up = [0], [0]
    for slot, share in enumerate(shares[1:], 1):
        bad = share > (slot * 0.618) % 1
        down.append(down[-1] + bad)
        up.append(up[-1] + (not bad))
    said = {"name": "user_thumbs", "op": "add", "service_name": service}
    return {
        labels_of({**said, "polarity": polarity}): [(slot * STEP, float(value)) for slot, value in enumerate(values)]
        for polarity, values in (("negative", down), ("positive", up))
    }


def _renamed(kind: str, said: dict[str, str]) -> list[Labels]:
    """The random thumbs as other metrics: negative ones are the events, positive ones all."""
    bad = said.pop("polarity", "") == "negative"
    if said.pop("name", "") != "user_thumbs" or said.pop("op", "") != "add":
        return []
    said.pop("source", None)
    feedback = {**said, "op": "add", "source": "end_user"}
    names: dict[str, tuple[list[Labels], list[Labels]]] = {
        "events per answer": ([named("backspan_feedback_total", {**feedback, "name": "user_stars"})],
                              [named("backspan_answers_total", said)]),
        "events per answer, given": ([named("backspan_feedback_total", {**feedback, "name": "implicit_regenerate"})],
                                     [named("backspan_answers_total", said)]),
        "errors": ([named(f"{CALLS}_count", {**said, "error_type": "TimeoutError"})], [named(f"{CALLS}_count", said)]),
        "slow answers": ([named(f"{CALLS}_bucket", {**said, "le": "10.24"})], [named(f"{CALLS}_count", said)]),
        "tokens": ([named("gen_ai_client_inference_usage_output_tokens_total", said)], [named(f"{CALLS}_count", said)]),
        "own PromQL": ([named("lost_total", {**said, "why": "x"})], [named("asked_total", said)]),
    }
    return names[kind][0 if bad else 1]


@cache
def case(kind: str, seed: int, every: int) -> str:
    """The test file that the oracle writes; everything is compared at each ``every``-th evaluation."""
    spec = spec_of(kind)
    streams = streams_of(kind, seed)
    after_windows = [*range(330, MINUTES * 60, 900), *range(3600, MINUTES * 60, 1800)]
    times = {*range(0, MINUTES * 60, every * spec.interval), *after_windows}
    document = promtool.document(
        spec, spec.charts[0], "rules.yml", streams, step=STEP, times=times, name=f"{kind}, seed {seed}",
        overrides=OVERRIDES if kind == "set by hand" else None)
    return write(document)


OVERRIDES: dict[Key, Effective] = {
    ("service", (("service_name", "chat"),)): Effective(0.2, 1.5, "rebased"),
    ("prompt_parent", (("service_name", "recovering"),)): Effective(0.15, 1.0, "frozen"),
}


@pytest.mark.parametrize("kind", SPECS)
def test_equals_the_oracle(tool: str, tmp_path: Path, kind: str) -> None:  # noqa: F811
    spec = spec_of(kind)
    passes(tool, tmp_path, rule_file(spec, spec.charts[0]), case(kind, 1, 23))


BROKEN = {
    "windows during an alarm are learnt": ("set by hand", "spc:point_n", " >= ", " >= 9999 + "),
    "learnt between the ends of windows": ("learnt", "spc:close_n", "< 30", "< 60"),
    "sums lost": ("learnt", "spc:learn", " + last_over_time", " + 0 * last_over_time"),
    "the neighbour forgotten": ("clustered", "spc:step", 'stat="last_n"', 'stat="n"'),
    "one sum too few": ("learnt", "spc:step", '"stat", "xx"', '"stat", "xy"'),
    "frozen too early": ("learnt", "spc:fit_p", ">= 120", ">= 60"),
    "no standard error": ("learnt", "spc:frozen", "sqrt(", "0 * sqrt("),
    "as good as the parent": ("set by hand", "spc:frozen", " > on (", " < on ("),
    "no dispersion": ("clustered", "spc:sr_alt", "/ spc:phi", "/ 1 ^ spc:phi"),
    "no autocorrelation": ("clustered", "spc:fit_phi", "(1 + ", "(1 + 0 * "),
    "nothing inherited": ("learnt", "spc:sr_p0", "prompt_parent", "prompt_nobody"),
    "evidence kept when the baseline changes": ("set by hand", "spc:sr_prev", ") == ", ") != bool "),
    "alarms while learning": ("learnt", "spc:sr_p0", "and spc:rated_at", 'or spc:rated_at * 0 + 0.2 and spc:rated_at'),
    "a promise that ignores the volume": ("learnt, promise in days", "spc:promise", "clamp_min(576", "clamp_min(5760"),
    "the limit of another volume": ("given, promise in days", "spc:sr_limit", "ln(", "ln(2 * "),
    "a rise is better": ("better is looked for", "spc:sr_alt", "(-", "("),
    "votes without an answer lost": ("events per answer", "spc:n", " * 0", " * 1"),
    "good ones are bad": ("slow answers", "spc:bad", "clamp_min(last", "0 * clamp_min(last"),
    "wrong sign of z": ("learnt", "spc:z", "(last_over_time(spc:window_bad", "-1 * (last_over_time(spc:window_bad"),
    "mean without memory": ("learnt", "spc:ewma", "0.8 *", "0.7 *"),
    "one bit too many": ("learnt", "spc:beyond", "% 32", "% 64"),
    "another phase": ("learnt", "spc:phase", '"inherited"', '"frozen"'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules_are_noticed(any_tool: str, tmp_path: Path, name: str) -> None:  # noqa: F811
    """The twin of the test above."""
    kind, record, old, new = BROKEN[name]
    spec = spec_of(kind)
    rules = rule_file(spec, spec.charts[0])
    broken = [r for r in rules["groups"][0]["rules"] if r.get("record") == record and old in r["expr"]]
    assert broken, [r["expr"] for r in rules["groups"][0]["rules"] if r.get("record") == record]
    for rule in broken:
        rule["expr"] = rule["expr"].replace(old, new)
    fails(any_tool, tmp_path, rules, case(kind, 1, 23))
