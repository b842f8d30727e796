"""How far a correction is from the answer that is stored."""

import pytest

from backspan.context import Target
from backspan.store.corrections import answer_of, edit_ratio

from .conftest import SPAN, TRACE, chat, put_spans


@pytest.mark.parametrize(("answer", "correction", "ratio"), [
    ("Sydney", "Sydney", 0.0), ("Sydney is it", "Sydney  is\nit", 0.0), ("abcd", "abce", 0.25), ("abc", "xyz", 1.0),
    ("Paris", "Paris, France", 0.6154),
])
def test_the_ratio_is_the_distance_over_the_longer_text(answer, correction, ratio):
    assert edit_ratio(answer, correction) == ratio


def test_the_answer_is_found_by_span_response_or_turn(store):
    put_spans(store, [chat(answer="because", response_id="r-1")])
    with store.reading() as conn:
        assert answer_of(conn, Target(TRACE, SPAN)) == "because"
        assert answer_of(conn, Target(response_id="r-1")) == "because"
        assert answer_of(conn, Target("1" * 32, SPAN, turn_id=f"{TRACE}-{SPAN}")) == "because"
        assert answer_of(conn, Target("1" * 32, SPAN)) is None
        assert answer_of(conn, Target(conversation_id="c-1")) is None
