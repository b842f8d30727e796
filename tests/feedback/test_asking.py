"""Who is asked."""

import pytest

from backspan import semconv
from backspan.feedback.asking import Asking, Seen, chance, decide, stratum
from backspan.feedback.taxonomy_file import TaxonomyError, default, read

POLICY, SEED = Asking(target=100, cap=2, least=0.02), b"seed"


def probability(turns, answered, asked_person=0):
    return decide(POLICY, Seen(turns, answered, asked_person), "a", SEED).probability


def test_a_new_stratum_is_asked_always_and_a_full_one_hardly_ever():
    assert probability(0, 0) == 1.0
    assert probability(100, 10) == 1.0  # as few answers as are wanted
    assert probability(1000, 10) == 0.09
    assert probability(1000, 100) == 0.02 == probability(1_000_000, 0)


def test_a_person_who_was_asked_often_enough_is_left_alone():
    assert decide(POLICY, Seen(0, 0, 1), "a", SEED).ask
    assert decide(POLICY, Seen(0, 0, 2), "a", SEED) == decide(POLICY, Seen(1000, 0, 9), "b", SEED)
    assert not decide(POLICY, Seen(0, 0, 2), "a", SEED).ask and probability(0, 0, 2) == 0.0


def test_the_decision_belongs_to_the_answer_and_the_seed():
    asked = [decide(POLICY, Seen(1000, 50, 0), f"answer-{n}", SEED).ask for n in range(4000)]
    again = [decide(POLICY, Seen(1000, 50, 0), f"answer-{n}", SEED).ask for n in range(4000)]
    other = [decide(POLICY, Seen(1000, 50, 0), f"answer-{n}", b"other").ask for n in range(4000)]
    assert asked == again and asked != other
    assert abs(sum(asked) / 4000 - 0.05) < 0.015  # p = 0.05, 4 standard errors
    assert 0 <= chance("x", SEED) < 1


def test_a_stratum_is_made_of_what_the_policy_names():
    dims = {semconv.SEGMENT: "pro", semconv.PROMPT_VERSION: "7", semconv.REQUEST_MODEL: "m"}
    assert stratum(POLICY, dims, "chat") == "pro|7|chat"
    assert stratum(Asking(by=("model",)), dims, None) == "m"


def test_the_policy_is_in_the_taxonomy():
    assert default().asking == Asking()
    given = {"version": 1, "asking": {"by": ["variant"], "target": 50, "cap": 1, "window_days": 1}}
    assert read(given).asking == Asking(by=("variant",), target=50, cap=1, window=86400.0)
    for wrong in ({"least": 0}, {"by": ["user"]}, {"target": 0.5}, {"cap": 0}, {"most": 2}, {"many": 1}):
        with pytest.raises(TaxonomyError):
            read({"version": 1, "asking": wrong})
