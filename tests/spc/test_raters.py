"""Centring takes raters' habits out of a comparison, and leaves what is true in it."""

import random
from statistics import fmean

import pytest

from backspan.spc import raters
from backspan.spc.pchart import wilson
from backspan.spc.raters import Cell, cells, compare, habits, variances


def said(rater, group, *values):
    return [(rater, group, float(value)) for value in values]


# --- by hand --------------------------------------------------------------------------------------------------------
BY_HAND = cells([*said("ann", "a", 1, 0), *said("bob", "a", 0, 0), *said("bob", "b", 0, 1), *said("eve", "b", 1, 1)])


def test_the_variances_are_those_made_by_hand():
    """Means over raters: a (1/2 + 0) / 2 = 1/4, b (1/2 + 1) / 2 = 3/4.

    Beyond them are ann 3/4, -1/4, bob -1/4, -1/4, -3/4, 1/4, eve 1/4, 1/4; means 1/4, -1/4, 1/4; variances 1/2, 1/6, 0.
    The mean square of all eight is 6/32, so whoever varies as all do has 3/16: within (1/2 + 1/6 + 3/16) / 4 = 41/192.
    The raters' means have the mean square 1/16, of which one of three is free: between is 3/16 - 41/192 * 3/8.
    """
    assert variances(BY_HAND) == pytest.approx((3 / 16 - 41 / 512, 41 / 192))


def test_two_raters_of_one_mind_each_differ_but_not_for_certain():
    """Ann (1, 1), bob (0, 0): within (0 + 0 + 1/4) / (2 + 1) = 1/12, between 2 * 1/4 - 1/12 * 2/4 = 11/24."""
    assert variances(cells([*said("ann", "a", 1, 1), *said("bob", "a", 0, 0)])) == pytest.approx((11 / 24, 1 / 12))


def test_two_raters_are_shrunk_as_the_book_says():
    """Within 1/4, between 1/4: a rater of n ratings is shrunk by n / (n + 1). One group, ann (1, 1, 1) and bob (0).

    Ann's ratings weigh 1/(1 + 3), bob's 1/(1 + 1): the mean is (3/4 * 1 + 1/2 * 0) / (3/4 + 1/2) = 3/5. Ann is
    3/4 (1 - 3/5) = 3/10 above it, bob 1/2 (0 - 3/5) = -3/10.
    """
    given = cells([*said("ann", "a", 1, 1, 1), *said("bob", "a", 0)])
    means, spread = raters._solve(given, ["a"], 1 / 4, 1 / 4)
    assert means == pytest.approx([3 / 5])
    assert spread[0][0] == pytest.approx(1 / (4 * (3 / 4 + 1 / 2)))
    made = raters.Comparison({"a": raters.Group(4, 2, *[raters.Estimate(means[0], 0, 1, 4)] * 2)}, {}, 1 / 4, 1 / 4)
    assert list(habits(given, made).values()) == pytest.approx([3 / 10, -3 / 10])


def test_centred_means_are_means_of_what_is_left_when_habits_are_taken_away():
    draw = random.Random(3)
    given = crowd(draw, 60, lambda: draw.gauss(0, 0.3), {"a": 0.4, "b": 0.6})
    found = compare(given, "a")
    tastes = habits(given, found)
    for name, one in found.groups.items():
        mine = [cell for cell in given if cell.group == name]
        left = sum(cell.total - cell.n * tastes[cell.rater] for cell in mine) / sum(cell.n for cell in mine)
        assert left == pytest.approx(one.centred.value)


# --- by lot ---------------------------------------------------------------------------------------------------------
def crowd(draw, people, habit, groups, each=5, sides=2):
    """Ratings 0 or 1 of people with habits, each of whom saw ``sides`` of the groups."""
    ratings = []
    for person in range(people):
        own = habit()
        for group in draw.sample(sorted(groups), sides):
            ratings += said(person, group, *(draw.random() < groups[group] + own for _ in range(each)))
    return cells(ratings)


def harsh(draw, votes=150):
    """200 people who find both sides equally good, and one who found everything bad and saw only b."""
    return [*crowd(draw, 200, lambda: draw.uniform(-0.1, 0.1), {"a": 0.2, "b": 0.2}, each=2),
            *cells(said("harsh", "b", *[1] * votes))]


def test_a_harsh_rater_who_saw_only_one_side_does_not_move_the_comparison():
    found = [compare(harsh(random.Random(seed)), "a").differences["b"] for seed in range(40)]
    assert abs(fmean(one.centred[0] for one in found)) < 0.02
    assert sum(one.centred[1] <= 0 <= one.centred[2] for one in found) >= 36


def test_without_centring_he_does():
    """The twin: the same ratings, raw."""
    found = [compare(harsh(random.Random(seed)), "a").differences["b"] for seed in range(40)]
    assert fmean(one.raw[0] for one in found) > 0.15
    assert not any(one.raw[1] <= 0 <= one.raw[2] for one in found)


@pytest.mark.parametrize("sides", [1, 2])
def test_a_true_difference_stays_whole(sides):
    """Also where nobody saw both sides: centring each rater on his own mean would leave nothing of it."""
    draw = random.Random(11)
    groups = {"a": 0.3, "b": 0.5}
    found = [compare(crowd(draw, 150, lambda: draw.uniform(-0.25, 0.25), groups, sides=sides), "a") for _ in range(60)]
    assert fmean(one.differences["b"].centred[0] for one in found) == pytest.approx(0.2, abs=0.012)


def test_the_interval_holds_what_it_says_and_the_raw_one_does_not():
    """Raters with strong habits, of one side each: votes of one person are no independent votes."""
    draw = random.Random(5)
    runs = [compare(crowd(draw, 80, lambda: draw.choice((-0.3, 0.3)), {"a": 0.4, "b": 0.4}, 8, 1), "a").differences["b"]
            for _ in range(200)]
    centred, raw = (sum(getattr(one, kind)[1] <= 0 <= getattr(one, kind)[2] for one in runs) / len(runs)
                    for kind in ("centred", "raw"))
    assert 0.90 <= centred <= 0.99 and raw < 0.8


def test_one_who_says_always_the_same_does_not_make_the_others_look_certain():
    """People judge each side once, so what they vary by is only to be seen between sides; he varies not at all."""
    def runs():
        for seed in range(200):
            draw = random.Random(seed)
            yield compare([*crowd(draw, 60, lambda: 0.0, {"a": 0.3, "b": 0.3}, each=1),
                           *cells(said("harsh", "b", *[1] * 60))], "a").differences["b"].centred

    assert sum(low <= 0 <= high for _, low, high in runs()) / 200 >= 0.90


# --- edges ----------------------------------------------------------------------------------------------------------
def test_where_nobody_rated_twice_there_is_nothing_to_centre():
    found = compare(cells((None, "ab"[at % 2], float(at % 3 == 0)) for at in range(60)), "a")
    one = found.groups["a"]
    assert (one.n, one.raters) == (30, 30)
    assert one.centred.value == pytest.approx(one.raw.value, abs=1e-9)
    assert (one.raw.low, one.raw.high) == pytest.approx(wilson(10, 30))


def test_votes_that_are_all_the_same_and_no_votes():
    found = compare(cells([*said("x", "a", 1, 1), *said("y", "b", 1)]), "a")
    assert found.groups["a"].centred == found.groups["a"].raw
    assert found.differences["b"].centred[0] == 0 and found.differences["b"].centred[1] < 0
    assert compare([], "a").groups == {}


def test_a_mean_of_stars_is_no_share():
    found = compare(cells([*said("x", "a", 1, 1, 1), *said("y", "b", 5, 4, 5)]), "a", shares=False)
    assert (found.groups["a"].raw.low, found.groups["a"].raw.high) == (1, 1)
    assert found.differences["b"].raw[0] == pytest.approx(11 / 3)


def test_a_control_that_is_not_there_leaves_no_differences():
    assert compare(BY_HAND, "z").differences == {} and set(compare(BY_HAND).groups) == {"a", "b"}


def test_people_without_a_name_are_each_a_person():
    assert cells([(None, "a", 1.0), (None, "a", 0.0)]) == [
        Cell(("nobody", 0), "a", 1, 1.0, 1.0), Cell(("nobody", 1), "a", 1, 0.0, 0.0)]


def test_the_bounds_of_many_differences_hold_at_once():
    draw = random.Random(1)
    groups = dict.fromkeys("abcdef", 0.3)
    two = compare([one for one in crowd(draw, 60, lambda: 0.0, groups, sides=6) if one.group in "ab"], "a")
    draw = random.Random(1)
    six = compare(crowd(draw, 60, lambda: 0.0, groups, sides=6), "a")
    widths = [(one.differences["b"].raw[2] - one.differences["b"].raw[1]) for one in (two, six)]
    assert widths[1] > 1.2 * widths[0]


def test_raters_who_said_the_same_may_be_one_cell():
    given = harsh(random.Random(2))
    there = {}
    for cell in given:
        there.setdefault(cell.rater, []).append(cell)
    both = [cell for mine in there.values() if len(mine) > 1 for cell in mine]
    alone = [Cell(("alone", at), "b", 2, float(at % 3), float(at % 3)) for at in range(300)]
    folded = [Cell(("alone", at), "b", 2, float(at), float(at), 100) for at in range(3)]
    whole, short = compare([*both, *alone], "a"), compare([*both, *folded], "a")
    assert short.groups["b"].raters == whole.groups["b"].raters
    for one, other in ((short.groups["b"].raw, whole.groups["b"].raw),
                       (short.groups["a"].centred, whole.groups["a"].centred)):
        assert vars(one) == pytest.approx(vars(other))
    assert short.differences["b"].centred == pytest.approx(whole.differences["b"].centred)
    assert (short.between, short.within) == pytest.approx((whole.between, whole.within))
