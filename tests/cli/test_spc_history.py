"""Counting, windows, replay: what the commands make of raw samples is what the rules make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.cli.spc_history import spec
from tests.rules.streams import random_streams

from backspan import semconv
from backspan.cli._spc import counting, times
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Batch, History, cohort_of, start_of, tumbling
from backspan.cli._spc.onset import onset
from backspan.cli._spc.replay import Replay
from backspan.rules.oracle import Oracle
from backspan.rules.oracle_counting import Counter
from backspan.rules.spec import Chart, Spec
from backspan.spc.shiryaev import BINOMIAL

HOUR = 3600


# --- counting -------------------------------------------------------------------------------------------------------
def counted(points, start=0, lookback=HOUR, peak=0.0, floor=1.0):
    return counting.growth(points, start, lookback, lambda at: peak, lambda at: floor)


@pytest.mark.parametrize(
    ("points", "more", "expected"),
    [
        ([(0, 5), (60, 7), (120, 7), (180, 10)], {}, [(60, 2), (180, 3)]),
        ([(0, 9), (60, 2)], {}, [(60, 2)]),
        ([(0, 9), (60, 2)], {"peak": 12.0}, [(60, 5)]),
        ([(60, 4), (120, 6)], {}, [(120, 2)]),
        ([(60, 4), (120, 6)], {"floor": 0.0}, [(60, 4), (120, 2)]),
        ([(0, 4), (7200, 9)], {}, []),
        ([(0, 4), (7200, 9)], {"floor": 0.0}, [(7200, 9)]),
        ([(0, 4), (1800, 9)], {}, [(1800, 5)]),
        ([], {}, []),
    ],
    ids=["growth", "reset", "reset after growth that was scraped", "new, with a past", "new, began at 0",
         "back after the look-back", "back and new", "back within it", "nothing"],
)
def test_growth_by_hand(points, more, expected):
    assert counted(points, **more) == expected


def test_births_and_resets_are_found():
    points = [(60, 3.0), (120, 5.0), (180, 1.0), (8000, 2.0)]
    assert counting.births(points, 0, HOUR) == [60, 8000]
    assert counting.births(points, 60, HOUR) == [8000]
    assert counting.resets(points, HOUR) == [180]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counting_is_the_oracles(seed):
    """On random counters, read at every evaluation: the same events at the same moments."""
    interval, of = 15, spec()
    total = 0.0
    for samples in random_streams(seed, slots=400, interval=interval).values():
        counter, moments = Counter(of, samples), range(0, 4000, interval)
        points = [(at, value) for at in moments if (value := counter._at(at)) is not None]
        expected = [(at, new) for at in moments if (new := counter.step(at))]

        def lowest(at, counter=counter):
            return min(counter._within(at, 600), default=1.0)

        def highest(at, counter=counter):
            return max(counter._within(at, interval), default=0.0)

        found = counting.growth(points, -1, of.lookback, highest, lowest)
        assert found == expected
        total += sum(new for _, new in found)
        blind = counting.growth(points, -1, of.lookback, highest, lambda at: 1.0)
        assert sum(new for _, new in blind) <= sum(new for _, new in found)
    assert total > 500


# --- windows --------------------------------------------------------------------------------------------------------
def test_an_evaluation_belongs_to_the_window_whose_events_it_sees():
    assert start_of(3600, 3600, 60) == 0 and start_of(3660, 3600, 60) == 3600
    assert start_of(3607, 3600, 15) == 0 and start_of(3615, 3600, 15) == 3600


def test_tumbling_windows_hold_every_event_once():
    batches = [Batch(60 * (i + 1), 2, i % 2) for i in range(180)]
    windows = tumbling(batches, HOUR, 60)
    assert [(w.start, w.n, w.bad) for w in windows] == [(0, 120, 30), (3600, 120, 30), (7200, 120, 30)]
    assert tumbling([Batch(60, 0, 0)], HOUR, 60) == []


def chart_of(of: Spec) -> Chart:
    return of.charts[0]


def test_parents_are_the_sum_of_their_children():
    chart = chart_of(spec())
    prompt = chart.partitions[1]
    cohorts = [cohort_of(prompt, {"service_name": "chat", "gen_ai_prompt_version": v}) for v in ("1", "2")]
    history = History(chart, "", 0, 7200, 60, {c: [Batch(60, 3, 1), Batch(120, 1, 0)] for c in cohorts})
    found = history.with_parents()
    [parent] = [rows for (name, _), rows in found.items() if name == "prompt_parent"]
    assert parent == [Batch(60, 6, 2), Batch(120, 2, 0)]


def test_volume_is_that_of_the_first_partition():
    chart = chart_of(spec())
    first = cohort_of(chart.partitions[0], {"service_name": "chat"})
    second = cohort_of(chart.partitions[1], {"service_name": "chat"})
    batches = [Batch(60 * (i + 1), 1, 0) for i in range(24 * 60)]
    history = History(chart, "", 0, 86400, 60, {first: batches, second: batches})
    assert history.per_day == pytest.approx(1440)


# --- replay ---------------------------------------------------------------------------------------------------------
LEARNT = {"kind": "learnt", "ratings": 100, "windows": 5}


def differences(baseline, seed, step=15):
    """(differing readings, readings, frozen ones) of a replay against the oracle on random counters."""
    of = replace(spec(baseline, window="5m", tickets=False), interval=15, lookback=HOUR)
    chart = chart_of(of)
    oracle = Oracle(of, chart, random_streams(seed, slots=1200, interval=15))
    replay, wrong, seen, frozen = Replay(chart, step, chart.limit), 0, 0, 0
    names = {p.name: p for p in chart.partitions}
    for at in range(0, 12000, 15):
        rows = oracle.step(at)
        replay.close_before(at)
        for (partition, labels), row in rows.items():
            if not row.n:
                continue
            reading = replay.take(cohort_of(names[partition], dict(labels)), Batch(at, row.n, row.bad or 0))
            same = (reading.phase, reading.base.p0 if reading.base else None) == (row.phase, row.p0)
            same = same and (row.sr is None or reading.evidence == pytest.approx(row.sr, rel=1e-9))
            wrong, seen, frozen = wrong + (not same), seen + 1, frozen + (row.phase == "frozen")
    return wrong, seen, frozen


@pytest.mark.parametrize("baseline", [{"kind": "given", "p0": 0.1}, LEARNT], ids=["given", "learnt"])
@pytest.mark.parametrize("seed", [4, 5])
def test_replay_is_the_oracle(baseline, seed):
    """Evidence, accepted rate and phase after every evaluation with events, through learning and freezing."""
    wrong, seen, frozen = differences(baseline, seed)
    assert wrong == 0 and seen > 1000 and (frozen > 100) == (baseline is LEARNT)


def test_a_replay_that_closes_its_windows_late_is_noticed():
    assert differences(LEARNT, 4, step=60)[0] > 100


# --- change point and time ------------------------------------------------------------------------------------------
def test_the_change_point_is_where_the_cusum_last_was_at_zero():
    good = [Batch(60.0 * i, 10, 1) for i in range(1, 101)]
    worse = [Batch(60.0 * i, 10, 3) for i in range(101, 131)]
    assert onset([*good, *worse], 0.1, BINOMIAL, 1e9, 60) == 60 * 100
    assert onset([*good, *worse], 0.1, BINOMIAL, 60 * 100, 60) == 60 * 99
    assert onset([], 0.1, BINOMIAL, 1e9, 60) is None


def test_moments_and_lengths():
    now = 1_767_225_600.0
    assert times.moment("2026-01-01", 0, "") == times.moment("2026-01-01T00:00Z", 0, "") == now
    assert times.moment("2026-01-01T01:00+01:00", 0, "") == now
    assert times.moment("90m", now, "") == now - 5400 and times.moment("now", now, "") == now
    assert times.moment("1767225600", 0, "") == now
    assert times.duration("1h30m", "") == 5400 and times.duration("1.5d", "") == 129600
    assert [times.length(x) for x in (45, 720, 5.3 * HOUR, 47 * HOUR, 14 * 86400)] == [
        "45 s", "12 min", "5.3 h", "47 h", "14 d"]
    assert times.stamp(now) == "2026-01-01 00:00Z"


@pytest.mark.parametrize("text", ["", "tomorrow", "-1", "nan", "inf", "2026-13-01", "5 days", "h"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(Fault, match="--since"):
        times.moment(text, 0, "--since")


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "1h30", "-2d", "1y"])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(Fault, match="--before"):
        times.duration(text, "--before")


def test_keys_may_be_spelled_both_ways():
    from backspan.cli._spc.history import matches

    cohort = ("prompt", ((semconv.PROMPT_VERSION, "v2"), (semconv.SERVICE_NAME, "chat")))
    assert matches(cohort, {semconv.PROMPT_VERSION: "v2"}) and matches(cohort, {"gen_ai_prompt_version": "v2"})
    assert not matches(cohort, {semconv.PROMPT_VERSION: "v1"}) and matches(cohort, {"service.version": ""})
