"""Error budgets: the published table, the guard against exact tails, and false pages at low traffic."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from math import inf, log
from random import Random

import pytest

from backspan.spc.burn import (
    ALPHA,
    DAY,
    MONTH,
    WINDOWS,
    BurnAlert,
    Counts,
    budget,
    burn_rate,
    reachable,
    seconds_left,
    surprise,
    trips,
    windows,
)
from backspan.spc.pchart import upper_tail, wilson

FAST = WINDOWS[0]


# --- the table ------------------------------------------------------------------------------------------------------
def test_the_table_of_the_workbook() -> None:
    """Table 5-8 (and the line for 24 hours): budget spent, windows in hours, burn rate."""
    rows = [(a.spent(), a.long / 3_600, a.short / 60, a.factor, a.severity) for a in WINDOWS]
    assert rows == [
        (pytest.approx(0.02), 1, 5, 14.4, "page"),
        (pytest.approx(0.05), 6, 30, 6.0, "page"),
        (pytest.approx(0.10), 24, 120, 3.0, "ticket"),
        (pytest.approx(0.10), 72, 360, 1.0, "ticket"),
    ]
    assert windows(MONTH) == WINDOWS


def test_another_period_spends_the_same_budget() -> None:
    for days in (7, 10, 28, 90, 366):
        for mine, book in zip(windows(days * DAY), WINDOWS, strict=True):
            assert mine.spent(days * DAY) == pytest.approx(book.spent())
            assert mine.long % 60 == mine.short % 60 == 0 and 120 <= mine.short < mine.long
            assert mine.factor == pytest.approx(book.factor, rel=0.02) and mine.severity == book.severity
    minutes = [(a.long // 60, a.short // 60) for a in windows(28 * DAY)]
    assert minutes == [(56, 5), (336, 28), (1_344, 112), (4_032, 336)]


def test_a_loose_objective_makes_a_fast_alert_dead() -> None:
    assert [reachable(a, 0.95) for a in WINDOWS] == [True] * 4
    assert [reachable(a, 0.93) for a in WINDOWS] == [False, True, True, True]
    assert not trips(FAST, 0.93, Counts(1_000, 1_000), Counts(90, 90))
    assert trips(FAST, 0.95, Counts(1_000, 1_000), Counts(90, 90))


# --- budget and burn rate -------------------------------------------------------------------------------------------
def test_budget_and_burn_rate_by_hand() -> None:
    left = budget(0.95, 10_000, 200)
    assert (left.allowed, left.bad, left.remaining) == (pytest.approx(500), 200, pytest.approx(0.6))
    assert budget(0.95, 1_000, 100).remaining == pytest.approx(-1.0)
    assert budget(0.95, 0, 0).remaining == 1.0
    assert burn_rate(0.95, 200, 20) == pytest.approx(2.0)
    assert burn_rate(0.999, 0, 0) == 0.0


def test_time_left() -> None:
    assert seconds_left(1.0, 14.4) == pytest.approx(30 / 14.4 * DAY)
    assert seconds_left(0.5, 2.0, 28 * DAY) == pytest.approx(7 * DAY)
    assert seconds_left(0.5, 0.0) == inf and seconds_left(-0.2, 3.0) == 0.0


# --- the guard ------------------------------------------------------------------------------------------------------
def least_bad(n: int, rate: float, passes: Callable[[int, int], bool]) -> int | None:
    return next((x for x in range(n + 1) if x > n * rate and passes(n, x)), None)


RATES, SIZES = (0.001, 0.01, 0.05, 0.2), (1, 2, 3, 5, 10, 30, 100, 300)


def worst_tail(passes: Callable[[int, int, float], bool]) -> float:
    """Largest exact probability, over sizes and rates, that a service at its budget passes the guard."""
    worst = 0.0
    for rate in RATES:
        for n in SIZES:
            x = least_bad(n, rate, lambda n, x, rate=rate: passes(n, x, rate))
            worst = max(worst, upper_tail(x - 1, n, rate) if x is not None else 0.0)
    return worst


def test_a_service_at_its_budget_passes_the_guard_at_most_once_in_a_thousand_windows() -> None:
    assert worst_tail(lambda n, x, rate: surprise(n, x, rate) >= -log(ALPHA)) <= ALPHA * (1 + 1e-9)


def test_wilsons_bound_would_let_it_pass_far_more_often() -> None:
    """The twin, and the reason for the choice: z = 3.09 is meant to be one in a thousand."""
    assert worst_tail(lambda n, x, rate: wilson(x, n, z=3.0902)[0] > rate) > 20 * ALPHA


def test_the_guard_by_hand() -> None:
    assert surprise(3, 3, 0.05) == pytest.approx(3 * log(20))
    assert surprise(10, 3, 0.1) == pytest.approx(3 * log(3) + 7 * log(7 / 9))
    assert surprise(100, 5, 0.05) == surprise(100, 0, 0.05) == surprise(0, 0, 0.05) == 0.0


def test_one_bad_rating_of_one_does_not_page_and_three_of_three_do() -> None:
    assert not trips(FAST, 0.95, Counts(1, 1), Counts(1, 1))
    assert trips(FAST, 0.95, Counts(1, 1), Counts(1, 1), alpha=1.0)
    assert not trips(FAST, 0.95, Counts(2, 2), Counts(1, 1))
    assert trips(FAST, 0.95, Counts(3, 3), Counts(1, 1))


def test_one_bad_event_never_pages_however_tight_the_objective() -> None:
    tight = 0.99999
    assert surprise(1, 1, 1 - tight) > log(10_000)
    assert not trips(FAST, tight, Counts(1, 1), Counts(1, 1))
    assert trips(FAST, tight, Counts(10, 2), Counts(1, 1))


def test_both_windows_must_burn() -> None:
    long, short = Counts(200, 150), Counts(20, 15)
    assert trips(FAST, 0.95, long, short)
    assert not trips(FAST, 0.95, long, Counts(20, 10))
    assert not trips(FAST, 0.95, Counts(200, 140), short)
    assert not trips(FAST, 0.95, long, Counts(0, 0)) and not trips(FAST, 0.95, Counts(0, 0), Counts(0, 0))


def test_at_high_volume_the_guard_changes_nothing() -> None:
    for bad in range(0, 5_001, 50):
        long = Counts(5_000, bad)
        assert trips(FAST, 0.99, long, long) == trips(FAST, 0.99, long, long, alpha=1.0)


# --- false pages at low traffic -------------------------------------------------------------------------------------
MINUTES = 28 * 24 * 60


def pages(per_hour: float, rate: float, *, alpha: float, months: int, objective: float = 0.95, seed: int = 1) -> int:
    """Pages in ``months`` times 28 days, a look every minute; an alert that was on within the last hour is the same."""
    random, alerts, count = Random(seed), [a for a in windows(28 * DAY) if a.severity == "page"], 0
    for _ in range(months):
        rated = [random.random() < per_hour / 60 for _ in range(MINUTES)]
        bad = [r and random.random() < rate for r in rated]
        n, x = list(accumulate(rated, initial=0)), list(accumulate(bad, initial=0))
        for alert in alerts:
            last = -inf
            for minute in range(1, MINUTES + 1):
                # Only a minute with something bad in its short window can fire.
                if x[minute] > x[max(0, minute - alert.short // 60)] and fires(alert, n, x, minute, objective, alpha):
                    count += minute - last > 60
                    last = minute
    return count


def fires(alert: BurnAlert, n: list[int], x: list[int], minute: int, objective: float, alpha: float) -> bool:
    def since(seconds: int) -> Counts:
        start = max(0, minute - seconds // 60)
        return Counts(n[minute] - n[start], x[minute] - x[start])

    return trips(alert, objective, since(alert.long), since(alert.short), alpha=alpha)


@pytest.mark.parametrize("per_hour", [0.5, 2, 5])
def test_a_service_that_just_keeps_its_objective_is_hardly_ever_paged(per_hour: float) -> None:
    """At most three false pages in twelve periods of 28 days."""
    assert pages(per_hour, 0.05, alpha=ALPHA, months=12) <= 3


@pytest.mark.parametrize("per_hour", [0.5, 2])
def test_without_the_guard_it_is_paged_again_and_again(per_hour: float) -> None:
    """The twin: the table of the workbook alone, at least ten false pages in every 28 days."""
    assert pages(per_hour, 0.05, alpha=1.0, months=2) >= 20


def test_an_outage_is_paged_at_low_traffic_too() -> None:
    assert pages(5, 0.9, alpha=ALPHA, months=1) > 20


@pytest.mark.parametrize(
    "call",
    [
        lambda: budget(1.0, 10, 1),
        lambda: budget(0.95, 10, 11),
        lambda: burn_rate(0.0, 10, 1),
        lambda: burn_rate(0.9, 10, -1),
        lambda: burn_rate(0.9, inf, 1),
        lambda: windows(6 * DAY),
        lambda: windows(400 * DAY),
        lambda: Counts(1, 2),
        lambda: surprise(10, 1, 0.0),
        lambda: trips(FAST, 0.95, Counts(1, 1), Counts(1, 1), alpha=0),
        lambda: trips(FAST, 1.5, Counts(1, 1), Counts(1, 1)),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()
