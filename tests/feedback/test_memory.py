"""The votes of one process: counted once, whoever repeats them and however often they change."""

import random
import threading
from contextlib import nullcontext
from dataclasses import replace

import pytest

from backspan import semconv
from backspan.feedback import emit as emitting
from backspan.feedback import memory
from backspan.feedback.memory import MemorySink
from backspan.feedback.model import parse

from .conftest import NOW, target

BY_VERDICT = (semconv.LABEL_NAME, semconv.LABEL_POLARITY)


def judged(**given):
    return parse(given)[0]


def put(sink, rater="ada", **given):
    return sink.put(judged(**given), target(), rater, NOW)


def together(action, times):
    """Run ``action`` in as many threads, let loose at the same moment; their results."""
    gate, results = threading.Barrier(times), []

    def run():
        gate.wait()
        results.append(action())

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def net(out):
    """add + change - retract by name and polarity, what is zero left out."""
    found = {}
    for (*verdict, op), value in out.counts(*BY_VERDICT, semconv.LABEL_OP).items():
        found[tuple(verdict)] = found.get(tuple(verdict), 0) + (-value if op == "retract" else value)
    return {verdict: value for verdict, value in found.items() if value}


def test_ten_identical_votes_at_once_are_one(out):
    sink = MemorySink()
    statuses = sorted(receipt.status for receipt in together(lambda: put(sink, thumbs=False), 10))
    assert statuses == ["add", *["unchanged"] * 9]
    assert out.counts(semconv.LABEL_OP) == {("add",): 1}
    assert len(out.spans) == 1


def test_without_the_lock_ten_votes_at_once_would_be_ten(out, monkeypatch):
    sink, meeting, revise = MemorySink(), threading.Barrier(10), memory.revise

    def slow(*args):
        meeting.wait()
        return revise(*args)

    monkeypatch.setattr(memory, "revise", slow)
    monkeypatch.setattr(sink, "_lock", nullcontext())
    assert [receipt.status for receipt in together(lambda: put(sink, thumbs=False), 10)] == ["add"] * 10


def steps(draw):
    """A random history of three raters on two names."""
    for _ in range(60):
        rater, retract = draw.choice(["ada", "bob", None]), draw.random() < 0.25
        verdict = draw.choice([{"thumbs": draw.random() < 0.5}, {"stars": draw.randint(1, 5)}])
        yield rater, {**verdict, "retract": retract, "reasons": draw.sample(["old", "wrong"], draw.randint(0, 2))}


def final(history):
    """What stands at the end, by name and polarity, counted the plain way."""
    standing = {}
    for rater, given in history:
        one = judged(**given)
        standing[one.name, rater] = None if given["retract"] else one
    found = {}
    for one in standing.values():
        if one is not None:
            found[one.name, one.polarity] = found.get((one.name, one.polarity), 0) + 1
    return found


@pytest.mark.parametrize("seed", range(25))
def test_net_counts_equal_what_stands_after_any_history(out, seed):
    sink, history = MemorySink(), list(steps(random.Random(seed)))
    for rater, given in history:
        put(sink, rater, **given)
    assert net(out) == final(history)
    adds = [value for (op,), value in out.counts(semconv.LABEL_OP).items() if op == "add"]
    assert sum(adds) == len({(judged(**given).name, rater) for rater, given in first_votes(history)})


def first_votes(history):
    return [(rater, given) for rater, given in history if not given["retract"]]


def test_net_counts_would_tell_if_a_change_took_nothing_away(out):
    sink = MemorySink(emitter=lambda feedback: emitting.emit(replace(feedback, previous=None)))
    history = list(steps(random.Random(0)))
    for rater, given in history:
        put(sink, rater, **given)
    assert net(out) != final(history)


def test_versions_grow_by_one_and_the_spans_tell_them(out):
    sink = MemorySink()
    for thumbs, retract in ((True, False), (False, False), (False, False), (False, True), (True, False)):
        put(sink, thumbs=thumbs, retract=retract)
    said = [(s.attributes[semconv.FEEDBACK_VERSION], s.attributes[semconv.FEEDBACK_OP]) for s in out.spans]
    assert said == [(1, "add"), (2, "change"), (3, "retract"), (4, "change")]


def test_a_thousand_flips_are_one_first_vote(out):
    sink = MemorySink()
    for flip in range(1000):
        put(sink, thumbs=flip % 2 == 0)
    assert out.counts(semconv.LABEL_OP) == {("add",): 1, ("change",): 999, ("retract",): 999}


def test_memory_is_bounded_and_forgets_the_oldest(out):
    sink = MemorySink(capacity=2)
    for rater in ("ada", "bob", "cleo"):
        put(sink, rater, thumbs=True)
    assert len(sink) == 2
    assert put(sink, "cleo", thumbs=True).status == "unchanged"
    assert put(sink, "ada", thumbs=True).status == "add"
    with pytest.raises(ValueError, match="capacity"):
        MemorySink(capacity=0)
