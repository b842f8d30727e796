"""The life of a cohort: what it learns, what it inherits, when its evidence starts anew."""

from __future__ import annotations

import json
from random import Random

import pytest

from backspan.spc.phases import (
    ALARM,
    FROZEN,
    GIVEN,
    INHERITED,
    LEARNING,
    PHASES,
    REBASED,
    Cohort,
    Effective,
    Plan,
)
from backspan.spc.shiryaev import MixtureSR, Model

LEARNT = Plan(ratings=1000, windows=10)
LIMIT = 7.0


def learnt(plan: Plan = LEARNT, rate: float = 0.1, parent: Cohort | None = None, windows: int = 10) -> Cohort:
    cohort = Cohort(plan)
    for _ in range(windows):
        cohort.close(100, 100 * rate, parent)
    return cohort


def test_a_cohort_learns_and_freezes() -> None:
    cohort = learnt(windows=9)
    base = cohort.baseline()
    assert base is not None and base.phase == LEARNING
    assert cohort.take(50, 50, base, LIMIT + 3) is None
    assert cohort.phase(base, LIMIT) == LEARNING
    assert cohort.close(100, 10) and cohort.frozen is not None
    base = cohort.baseline()
    assert base is not None and base.phase == FROZEN and 0.1 < base.p0 < 0.12
    assert not cohort.close(100, 90), "what is frozen learns no more"
    assert cohort.baseline() == base


def test_nothing_is_known_before_the_first_window() -> None:
    cohort = Cohort(LEARNT)
    assert cohort.baseline() is None
    assert cohort.phase(None, LIMIT) == LEARNING and cohort.take(5, 5, None, 10) is None


def test_a_given_standard_holds_from_the_first_rating() -> None:
    cohort = Cohort(Plan(given=(0.1, 1.0)))
    base = cohort.baseline()
    assert base == Effective(0.1, 1.0, GIVEN)
    assert cohort.take(20, 5, base, LIMIT + 3) == MixtureSR(0.1, cap=LIMIT + 3).step(20, 5)
    assert not cohort.close(10_000, 100)


def test_a_child_inherits_and_never_becomes_worse_than_its_parent() -> None:
    parent = learnt()
    child = Cohort(LEARNT)
    base = child.baseline(parent)
    assert base is not None and base.phase == INHERITED and (base.p0, base.phi) == parent.settled
    worse, better = learnt(rate=0.2, parent=parent), learnt(rate=0.05, parent=parent)
    assert worse.frozen is not None and better.frozen is not None and parent.frozen is not None
    assert worse.frozen[0] == parent.frozen[0] > better.frozen[0]


def test_where_a_fall_is_worse_the_parent_is_the_floor() -> None:
    plan = Plan(Model(falls=True), ratings=1000, windows=10)
    parent = learnt(plan, 0.5)
    child = learnt(plan, 0.3, parent)
    assert child.frozen is not None and parent.frozen is not None and child.frozen[0] == parent.frozen[0] < 0.5


def test_what_a_person_sets_comes_first_and_is_inherited() -> None:
    set_by_hand = Effective(0.2, 1.5, REBASED)
    parent = learnt()
    parent.override = set_by_hand
    child = Cohort(LEARNT)
    assert parent.baseline() == set_by_hand
    assert child.baseline(parent) == Effective(0.2, 1.5, INHERITED)


def test_evidence_starts_anew_when_the_baseline_changes() -> None:
    cohort = Cohort(Plan(given=(0.1, 1.0)))
    cohort.take(100, 40, cohort.baseline(), 100)
    assert cohort.phase(cohort.baseline(), LIMIT) == ALARM
    cohort.override = Effective(0.4, 1.0, REBASED)
    base = cohort.baseline()
    assert cohort.take(0, 0, base, 100) is not None and cohort.value is None
    assert cohort.phase(base, LIMIT) == REBASED
    assert cohort.take(10, 4, base, 100) == MixtureSR(0.4, cap=100).step(10, 4)


def test_evidence_stays_when_only_the_dispersion_changes() -> None:
    cohort = Cohort(Plan(given=(0.1, 1.0)), override=Effective(0.1, 1.0, FROZEN))
    before = cohort.take(100, 20, cohort.baseline(), 100)
    cohort.override = Effective(0.1, 2.0, FROZEN)
    assert cohort.take(0, 0, cohort.baseline(), 100) == before


@pytest.mark.parametrize("seed", range(5))
def test_a_state_carries_everything(seed: int) -> None:
    """Stopped and started again at any moment, as JSON, a cohort goes on as if nothing had been."""
    random, plan = Random(seed), Plan(ratings=300, windows=5)
    one, other = Cohort(plan), Cohort(plan)
    phases: set[str] = set()
    for step in range(400):
        n = random.randint(0, 20)
        x = sum(random.random() < (0.1 if step < 300 else 0.5) for _ in range(n))
        seen = [c.take(n, x, c.baseline(), LIMIT + 3) for c in (one, other)]
        assert seen[0] == seen[1]
        if step % 10 == 9:
            assert one.close(80, 8) == other.close(80, 8)
        phases.add(one.phase(one.baseline(), LIMIT))
        other = Cohort.from_state(plan, json.loads(json.dumps(other.state)))
    assert phases == {LEARNING, FROZEN, ALARM} < set(PHASES)


def test_a_state_that_no_longer_fits_loses_its_evidence_only() -> None:
    cohort = learnt()
    cohort.take(10, 5, cohort.baseline(), 10)
    other = Cohort.from_state(Plan(alternatives=(2.0,), ratings=1000, windows=10), cohort.state)
    assert other.frozen == cohort.frozen and other.sr is None
