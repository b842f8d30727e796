"""How samples that were on their way are put back for the oracle: see `tests.live.compare`."""

from tests.live.compare import as_seen, closed, torn

TIMES = [1.0, 2.0, 3.0]


def test_what_came_late_counts_at_the_next_evaluation():
    stream = [(0.9, 30.0), (1.9, 32.0), (2.9, 33.0)]
    assert as_seen(stream, TIMES, {1.0: 30.0, 2.0: 30.0, 3.0: 33.0}) == [(0.9, 30.0), (2.001, 32.0), (2.9, 33.0)]


def test_what_came_late_and_ended_was_never_seen():
    stale, reset = (2.4, None), (2.4, 2.0)
    for end in (stale, reset):
        stream = [(0.9, 30.0), (1.9, 32.0), end, (2.9, 1.0)]
        assert as_seen(stream, TIMES, {1.0: 30.0, 2.0: 30.0, 3.0: 1.0}) == [(0.9, 30.0), end, (2.9, 1.0)]


def test_twin_what_was_seen_in_time_is_left_as_it_is():
    stream = [(0.9, 30.0), (1.9, 32.0), (2.4, None), (2.9, 1.0)]
    assert as_seen(stream, TIMES, {1.0: 30.0, 2.0: 32.0, 3.0: 1.0}) == stream


def test_a_range_that_is_closed_on_the_left_has_what_is_exactly_there():
    stream = [(1.0, 30.0), (2.0, 60.0), (2.001, None), (2.5, 1.0)]
    assert closed(stream, [1.0, 3.0], 1.0) == [(1.0, 30.0), (2.001, 60.0), (2.001, None), (2.5, 1.0)]
    assert closed(stream, TIMES, 1.0) == stream, "an evaluation of that moment has seen it"


# --- evidence with a hole -------------------------------------------------------------------------------------------
COHORT = (("chart", "d4"), ("service_name", "chat"))
OTHER = (("chart", "d4"), ("service_name", "calm"))


def parts(*, alternative, cohort=COHORT):
    whole = {1.0: -1.2, 2.0: -1.2, 3.0: -1.2}
    return {("spc:sr_alt", (("alt", "2"), *COHORT)): whole, ("spc:sr_alt", (("alt", "3"), *cohort)): alternative}


def test_a_part_that_was_not_stored_at_one_evaluation_is_known():
    assert torn(parts(alternative={1.0: -4.5, 3.0: -4.5}), TIMES, 2.0, COHORT)


def test_twin_every_other_hole_is_left_to_be_a_difference():
    for alternative in ({1.0: -4.5, 2.0: -4.5, 3.0: -4.5}, {1.0: -4.5, 3.0: -4.0}, {1.0: -4.5}, {3.0: -4.5}, {}):
        assert not torn(parts(alternative=alternative), TIMES, 2.0, COHORT)
    assert not torn(parts(alternative={1.0: -4.5, 3.0: -4.5}, cohort=OTHER), TIMES, 2.0, COHORT)
    assert not torn(parts(alternative={2.0: -4.5}), TIMES, 1.0, COHORT)
