"""Canaries: verdicts in Python and, the same, through the real PromQL engine; missing feedback; the split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import log
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.rules.documents import given
from tests.rules.promtools import broken, fails, found, passes

from backspan.rules import canary as rules
from backspan.rules import canary_kinds, canary_tests, stories
from backspan.rules.canary_oracle import Comparison, Row, Split
from backspan.rules.canary_split import exposures
from backspan.rules.oracle_counting import Labels, Samples
from backspan.rules.spec import Canary, Spec, parse
from backspan.spc.sequential import Arm, compare

BY = "feature_flag_result_variant"
WHERE = {"service_name": "chat", "deployment_environment_name": "production"}
ALL_KINDS = ["thumbs_down", "errors", "slow_answers", "regenerate", "copy", "output_tokens", "bad_reasons"]


def spec_of(*indicators: str, interval: int = 30, **changed: Any) -> Spec:
    """One canary; the look-back is no multiple of the interval, at whose edge Prometheus 2 and 3 differ."""
    canary = {"name": "release", "indicators": list(indicators or ["thumbs_down"]), "min_n": 20, **changed}
    return parse(given() | {"canaries": [canary], "interval": f"{interval}s", "lookback": "10m17s"})


def canary_of(spec: Spec) -> Canary:
    return spec.canaries[0]


Streams = dict[Labels, Samples]


def thumbs(spec: Spec, *arms: tuple[str, list[tuple[int, int]]], name: str = "thumbs_down", **more: str) -> Streams:
    """Raw series of arms from (n, bad) per evaluation; every counter begins at 0 with the first."""
    out: Streams = {}
    for variant, batches in arms:
        n, bad = [0.0], [0.0]
        for more_n, more_bad in batches:
            n.append(n[-1] + more_n)
            bad.append(bad[-1] + more_bad)
        labels = {**WHERE, BY: variant, "age": "le_1h", "instance": "a", **more}
        out |= stories.counters(canary_kinds.watched(canary_of(spec), name), labels, n, bad, spec.interval)
    return out


def last(spec: Spec, streams: Streams, steps: int) -> dict[str, Row]:
    """The rows after ``steps`` evaluations, by variant."""
    comparison, rows = Comparison(spec, canary_of(spec), streams), {}
    for step in range(steps):
        rows = comparison.step(step * spec.interval)
    return {variant: row for (_, _, variant), row in rows.items()}


# --- verdicts -------------------------------------------------------------------------------------------------------
def test_a_worse_variant_is_found_with_the_numbers_of_the_sequential_test() -> None:
    spec = spec_of(min_n=100)
    row = last(spec, thumbs(spec, ("control", [(10, 1)] * 60), ("new", [(10, 3)] * 60)), 61)["new"]
    expected = compare(Arm(600, 180), Arm(600, 60))
    assert row.verdict == expected.verdict == "worse" and row.alarm
    assert row.evidence == pytest.approx(expected.evidence)
    assert row.difference == pytest.approx(0.2) and row.since == 30
    assert row.half_width is not None and expected.interval is not None
    assert 0.2 - row.half_width == pytest.approx(expected.interval[0])


def test_better_and_no_difference_and_too_few() -> None:
    spec = spec_of(min_n=100)
    arms = thumbs(spec, ("control", [(40, 8)] * 60), ("good", [(40, 2)] * 60), ("same", [(40, 8)] * 60),
                  ("few", [(1, 1)] * 60))
    rows = last(spec, arms, 61)
    assert [rows[name].verdict for name in ("good", "same", "few")] == ["better", "no_difference_yet", "continue"]
    assert not any(row.alarm for row in rows.values())


def test_the_control_is_counted_since_the_variant_is_there() -> None:
    """The control was bad all week; what counts is how it does now."""
    spec = spec_of()
    before = [(50, 25)] * 40
    streams = thumbs(spec, ("control", before + [(10, 1)] * 40)) | thumbs(spec, ("new", [(0, 0)] * 40 + [(10, 1)] * 40))
    row = last(spec, streams, 81)["new"]
    assert (row.control_n, row.control_bad) == (400, 40)
    assert row.verdict != "better"


def test_alpha_is_for_the_whole_comparison() -> None:
    one, two = (canary_of(spec_of(*names)) for names in (["thumbs_down"], ["thumbs_down", "errors"]))
    assert rules.limit(one) == pytest.approx(log(10)) and rules.limit(two) == pytest.approx(log(20))
    three = canary_of(spec_of(expect={"control": 0.8, "a": 0.1, "b": 0.1}))
    assert rules.limit(three) == pytest.approx(log(20))


def test_old_feedback_is_not_compared() -> None:
    spec = spec_of()
    streams = thumbs(spec, ("control", [(10, 1)] * 30), ("new", [(10, 1)] * 30))
    rows = last(spec, streams | thumbs(spec, ("new", [(10, 9)] * 30), age="le_1d"), 31)
    assert (rows["new"].n, rows["new"].bad) == (300, 30)


# --- missing feedback -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("silent", ["control", "new"])
def test_an_arm_without_feedback_gets_no_verdict(silent: str) -> None:
    spec = spec_of()
    arms = [(name, [(0, 0)] * 60 if name == silent else [(10, 9)] * 60) for name in ("control", "new")]
    rows = last(spec, thumbs(spec, *arms), 61)
    assert {row.verdict for row in rows.values()} <= {None, "continue"}


@pytest.mark.parametrize(("indicator", "worse"), [("copy", "new"), ("regenerate", "control")])
def test_signals_that_an_arm_never_sent_are_no_verdict(indicator: str, worse: str) -> None:
    """Nobody copies the variant's answers, or nobody asks the control's again: or the button is not there."""
    spec = spec_of(indicator)
    steps = 2 * canary_kinds.SETTLE // spec.interval
    arms = [(name, [(10, 0 if name == worse else 3)] * steps) for name in ("control", "new")]
    row = last(spec, thumbs(spec, *arms, name=indicator), steps)["new"]
    assert row.evidence is not None and row.evidence > 10 and row.verdict == "continue"
    one = [(name, [(10, 0 if name == worse else 3)] * (steps - 9) + [(10, 1)] * 9) for name in ("control", "new")]
    assert last(spec, thumbs(spec, *one, name=indicator), steps)["new"].verdict == "worse"  # the twin: it is there


def test_coverage_is_about_the_absence_itself() -> None:
    spec = spec_of("feedback_coverage")
    steps = 2 * canary_kinds.SETTLE // spec.interval
    arms = [("control", [(10, 3)] * steps), ("new", [(10, 0)] * steps)]
    assert last(spec, thumbs(spec, *arms, name="feedback_coverage"), steps)["new"].verdict == "worse"


def test_a_variant_that_was_turned_off_stops_alarming_and_is_forgotten() -> None:
    spec = spec_of(forget_after="3h")
    quiet = canary_tests.canary_alert.IDLE // spec.interval
    arms = thumbs(spec, ("control", [(10, 1)] * 1000), ("new", [(10, 5)] * 60 + [(0, 0)] * 900))
    assert last(spec, arms, 60 + quiet)["new"].alarm
    assert not last(spec, arms, 62 + quiet)["new"].alarm
    assert "new" not in last(spec, arms, 62 + 3 * 120)


# --- tokens ---------------------------------------------------------------------------------------------------------
def tokens(seed: int, mean: float, steps: int) -> list[tuple[int, int]]:
    random = Random(seed)
    return [(3, sum(int(random.expovariate(1 / mean)) for _ in range(3))) for _ in range(steps)]


def test_tokens_scatter_more_than_a_count_and_are_compared_all_the_same() -> None:
    """An answer's length scatters as an exponential: a Poisson count would call any two arms different."""
    spec = spec_of("output_tokens", difference=0.2)
    verdicts = {
        name: last(spec, thumbs(spec, ("control", tokens(1, 400, 500)), (name, tokens(2, mean, 500)),
                                name="output_tokens"), 501)[name].verdict
        for name, mean in (("same", 400), ("longer", 600))
    }
    assert verdicts["longer"] == "worse" and verdicts["same"] in ("continue", "no_difference_yet")
    assert compare(Arm(1500, 600_000), Arm(1500, 606_000), 80.0, family="poisson").verdict == "better"


# --- the shares of the traffic --------------------------------------------------------------------------------------
def traffic(seed: int, share: float, hours: int, users: bool = False) -> Streams:
    """Answers of two variants every four minutes; with ``users`` they come ten at a time to the same variant."""
    random, counts = Random(seed), {"control": [0.0], "new": [0.0]}
    for _ in range(hours * 15):
        new = {"control": 0, "new": 0}
        for _ in range(2 if users else 20):
            new["new" if random.random() < share else "control"] += 10 if users else 1
        for name, n in new.items():
            counts[name].append(counts[name][-1] + n)
    canary = canary_of(spec_of(interval=240))
    return {key: samples for name, values in counts.items()
            for key, samples in stories.single(exposures(canary), {**WHERE, BY: name}, values, 240).items()}


def evidence(streams: Streams, hours: int) -> float:
    """The most evidence that the check ever had."""
    spec = spec_of(interval=240, expect={"control": 0.8, "new": 0.2})
    split = Split(spec, canary_of(spec), streams)
    return max((one for step in range(hours * 15) for one in split.step(step * 240).values()), default=-1.0)


def test_a_wrong_split_is_found_and_a_right_one_is_not() -> None:
    assert evidence(traffic(1, 0.3, 48), 48) > log(1000)
    assert evidence(traffic(1, 0.3, 10), 10) == -1.0  # too soon to know how much hours scatter
    assert all(evidence(traffic(seed, 0.2, 48), 48) < log(1000) for seed in range(5))


def test_users_with_many_answers_are_no_wrong_split() -> None:
    assert all(evidence(traffic(seed, 0.2, 48, users=True), 48) < log(1000) for seed in range(20))


# --- through promtool -----------------------------------------------------------------------------------------------
STEP = 10
"""Seconds between scrapes."""


def random_streams(spec: Spec, seed: int, slots: int) -> Streams:
    """Arms that come late, restart, miss scrapes, fall silent for a quarter of an hour, never send a signal, or send
    no feedback; two processes each. And feedback that came late."""
    random, out = Random(seed), Streams()
    for name in canary_of(spec).indicators:
        for variant, begin, share in (("control", 0, 0.1), ("a", slots // 9, 0.4), ("b", slots // 2, 0.1)):
            if variant == "b" and name == "thumbs_down":
                continue
            share = 0.0 if (variant, name) == ("a", "copy") else share
            for process in "12":
                n, bad = _counts(random, begin, slots, share, spec.interval)
                labels = {**WHERE, BY: variant, "age": "le_1h", "instance": process}
                out |= stories.counters(canary_kinds.watched(canary_of(spec), name), labels, n, bad, STEP)
    n, bad = _counts(random, 0, slots, 0.9, spec.interval)
    late = {**WHERE, BY: "a", "age": "le_1d", "instance": "1"}
    return out | stories.counters(canary_kinds.watched(canary_of(spec), "thumbs_down"), late, n, bad, STEP)


def _counts(random: Random, begin: int, slots: int, share: float, interval: int) -> tuple[Any, Any]:
    n, bad, missing = list[Any]([None] * begin), list[Any]([None] * begin), 0
    total, wrong = random.choice([(0, 0), (0, 0), (40, 7)])
    for slot in range(begin, slots):
        asleep = slot == begin or (begin and 0.6 < slot / slots < 0.77)
        new = 0 if asleep else int(random.random() * 2.4)
        total, wrong = total + new, wrong + sum(random.random() < share for _ in range(new))
        if random.random() < 0.01 and not asleep:
            total, wrong = new, min(new, 1)
        gone = missing > 0
        n.append(None if gone else total)
        bad.append(None if gone else wrong)
        missing -= gone
        if not gone and slot * STEP % interval and random.random() < 0.01:
            missing = random.choice([2, 3, 10, 45, 90])
    return n, bad


def case(spec: Spec, seed: int, every: int, minutes: int = 75) -> dict[str, Any]:
    """Compared at each ``every``-th evaluation, and at the first ones of a variant."""
    first = range(minutes * 60 // 9 // 30 * 30, minutes * 60 // 9 + 240, 60)
    times = {*range(0, minutes * 60, every * spec.interval), *first, minutes * 60 - spec.interval}
    streams = random_streams(spec, seed, minutes * 60 // STEP)
    return canary_tests.document(spec, canary_of(spec), "rules.yml", streams, step=STEP, times=times, name="random")


@pytest.fixture(params=found(), ids=lambda path: Path(path).parent.name)
def tool(request: pytest.FixtureRequest) -> str:
    """Each promtool at hand."""
    return request.param


def forgetful(*indicators: str) -> Spec:
    """Arms are forgotten after ten minutes."""
    spec = spec_of(*indicators, difference=0.1, min_n=200)
    return replace(spec, canaries=(replace(canary_of(spec), forget_after=600),))


@pytest.mark.promtool
@pytest.mark.parametrize("seed", [1, 2])
def test_random_streams_equal_the_oracle(tool: str, tmp_path: Path, seed: int) -> None:
    spec = forgetful(*ALL_KINDS)
    passes(tool, tmp_path, rules.rule_file(spec, canary_of(spec)), case(spec, seed, 17))


BROKEN: dict[str, tuple[str, str, str]] = {
    "old feedback counted": ("spc:release:thumbs_down_seen", 'age="le_1h",', ""),
    "nothing of the control": ("spc:canary_new", '"stat", "control_bad"', '"stat", "other"'),
    "sums that forget": ("spc:canary_prev", "[10m17s]", "[1s]"),
    "arms never forgotten": ("spc:canary_prev", "600", "6000"),
    "since ever": ("spc:canary_since", "600", "6000"),
    "the control's rate is the variant's": ("spc:canary_difference", "canary_control_rate", "canary_rate"),
    "variance of one arm": ("spc:canary_spread", "+ 1 / ", "+ 0 / "),
    "another tau": ("spc:canary_tau", "0.1", "0.11"),
    "no dispersion": ("spc:canary_phi", "- 2 >= 20", "- 2 >= 20000"),
    "variance of few events": ("spc:canary_variance", ">= 5", ">= 0"),
    "evidence without its cost": ("spc:canary_evidence", "0.5 * ln", "0 * ln"),
    "half of an interval": ("spc:canary_half_width", "sqrt(", "0.5 * sqrt("),
    "worse is better": ("spc:canary_verdict", "> 0", "< 0"),
    "too few are enough": ("spc:canary_verdict", ">= 200", ">= 1"),
}


@pytest.mark.promtool
@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules_are_noticed(tmp_path: Path, name: str) -> None:
    """The twin."""
    spec = forgetful("thumbs_down", "slow_answers", "copy", "output_tokens")
    document = rules.rule_file(spec, canary_of(spec))
    fails(found()[-1], tmp_path, broken(document, *BROKEN[name]), case(spec, 1, 11))


def silent_case(spec: Spec) -> dict[str, Any]:
    """Nobody copies the variant's answers."""
    steps = 80 * 60 // spec.interval
    streams = thumbs(spec, ("control", [(10, 3)] * steps), ("new", [(10, 0)] * steps), name="copy")
    times = {79 * 60, 80 * 60}
    return canary_tests.document(spec, canary_of(spec), "rules.yml", streams, step=spec.interval, times=times,
                                 name="silence")


@pytest.mark.promtool
def test_silence_is_no_verdict(tool: str, tmp_path: Path) -> None:
    spec = spec_of("copy", interval=60)
    passes(tool, tmp_path, rules.rule_file(spec, canary_of(spec)), silent_case(spec))


@pytest.mark.promtool
@pytest.mark.parametrize(("record", "old", "new"), [
    ("spc:canary_verdict", "== 0", "< 0"), ("spc:canary_new", "- 3600", "- 60"),
])
def test_a_verdict_on_silence_is_noticed(tmp_path: Path, record: str, old: str, new: str) -> None:
    """The twin."""
    spec = spec_of("copy", interval=60)
    document = broken(rules.rule_file(spec, canary_of(spec)), record, old, new)
    fails(found()[-1], tmp_path, document, silent_case(spec))


@pytest.mark.promtool
def test_the_shipped_story(tool: str, tmp_path: Path) -> None:
    spec = replace(spec_of("thumbs_down", "refusals", interval=15), lookback=6 * 3600)
    document = canary_tests.promtool_tests(spec, canary_of(spec), "rules.yml")
    passes(tool, tmp_path, rules.rule_file(spec, canary_of(spec)), document)


def split_case(spec: Spec) -> dict[str, Any]:
    return canary_tests.document(spec, canary_of(spec), "rules.yml", traffic(1, 0.3, 16), step=240, times={57600 - 240},
                                 name="a wrong split")


@pytest.mark.promtool
def test_the_split_equals_the_oracle(tool: str, tmp_path: Path) -> None:
    spec = spec_of(interval=240, expect={"control": 0.8, "new": 0.2})
    passes(tool, tmp_path, rules.rule_file(spec, canary_of(spec)), split_case(spec))


@pytest.mark.promtool
@pytest.mark.parametrize(("record", "old", "new"), [
    ("spc:canary_split_phi", "2 * sqrt", "1 * sqrt"),
    ("spc:canary_split_phi", ">= 12", ">= 13"),
    ("spc:canary_split_evidence", "1001", "1000"),
    ("spc:canary_share", "0.2", "0.21"),
    ("spc:canary_split_point", "59m59s500ms", "30m"),
])
def test_a_broken_split_is_noticed(tmp_path: Path, record: str, old: str, new: str) -> None:
    """The twin."""
    spec = spec_of(interval=240, expect={"control": 0.8, "new": 0.2})
    document = broken(rules.rule_file(spec, canary_of(spec)), record, old, new)
    fails(found()[-1], tmp_path, document, split_case(spec))


# --- order under concurrent-rule-eval -------------------------------------------------------------------------------
def test_no_rule_runs_before_what_it_waits_for() -> None:
    """Rules that name no other rule of the group run first when Prometheus evaluates concurrently: constants only."""
    spec = spec_of("thumbs_down", "copy", "output_tokens", "slow_answers")
    recorded = rules.recording(spec, canary_of(spec))
    names = {name for name, _ in recorded}
    for name, expr in recorded:
        assert any(f"{other}{end}" in expr for other in names for end in "{[ )"), f"{name} would run first"


def selectors(document: dict[str, Any]) -> Iterable[str]:
    for group in document["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def test_nothing_reads_further_back_than_the_look_back() -> None:
    spec = spec_of("thumbs_down", "copy", "output_tokens")
    assert not [expr for expr in selectors(rules.rule_file(spec, canary_of(spec))) if "d]" in expr]
