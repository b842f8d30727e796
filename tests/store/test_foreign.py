"""Answers that are counted although applications count their own (those of senders that count none), and those that are
not counted although they came: they were promoted because they were bad."""

import pytest

from backspan import semconv
from backspan.store import reads

from .conftest import TRACE, chat, counts, put, put_spans, thumb


@pytest.mark.parametrize(("foreign", "counted"), [((), 0), (("mine",), 0), (("its",), 1)])
def test_only_answers_of_foreign_senders_are_counted(make, foreign, counted):
    store = make(count_answers=False)
    one = chat()
    keys = {one.turn_key if key == "its" else key for key in foreign}
    for _ in range(2):  # a batch that is sent again is the same answer
        store.put_spans([one], (), keys).result()
    assert sum(counts(store, semconv.PROM_ANSWERS).values()) == counted


@pytest.mark.parametrize("promoted", [True, False])
def test_a_promoted_answer_is_kept_and_judged_and_not_counted(make, clock, promoted):
    """The twin is the same answer, sampled."""
    store, turn = make(), f"{TRACE}-00000000000000aa"
    keys = {turn} if promoted else set()
    root = chat("00000000000000aa", operation=semconv.INVOKE_WORKFLOW, turn_id=turn, response_id="")
    put_spans(store, [chat(turn_id=turn)], promoted=keys)
    put_spans(store, [root], promoted=keys)
    put(store, thumb(False))
    clock.now += 3600  # nor when nothing more comes of it
    put(store, thumb(False, id="f2", rater="bert"))
    assert sum(counts(store, semconv.PROM_ANSWERS).values()) == (0 if promoted else 1)
    assert sum(counts(store).values()) == 2
    with store.reading() as conn:
        assert reads.get_turn(conn, turn)["feedback"][0]["polarity"] == "negative"
