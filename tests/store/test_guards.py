"""Votes that are held leave the net and come back exactly; nothing that was counted is uncounted."""

import pytest

from backspan.store import Rules, asking, guards
from backspan.store.suspicion import BY_HAND

from .conftest import NOW, counts, put, thumb


def net(store, metric=None):
    """Add + change - retract, by polarity (and reason), zeros left out."""
    found = {}
    for (_, polarity, op, _, _, *reason), value in counts(store, *([metric] if metric else [])).items():
        key = (polarity, *reason)
        found[key] = found.get(key, 0) + (-value if op == "retract" else value)
    return {key: value for key, value in found.items() if value}


def ops(store):
    found = {}
    for (_, _, op, *_), value in counts(store).items():
        found[op] = found.get(op, 0) + value
    return found


def hold(store, *ids, rule=BY_HAND):
    return store.write(lambda conn: guards.hold(conn, dict.fromkeys(ids, rule), NOW)).result()


def release(store, *ids):
    return store.write(lambda conn: guards.release(conn, ids, NOW)).result()


def settle(store, *ids):
    store.write(lambda conn: guards.settle(conn, ids, NOW)).result()


def test_a_held_vote_leaves_the_net_and_comes_back_and_add_never_moves(store):
    put(store, thumb(False, id="f1", reasons=("inaccurate",)), thumb(True, id="f2"))
    reasons = "backspan_feedback_reasons_total"
    before, why = net(store), net(store, reasons)
    assert hold(store, "f1", "nobody") == 1
    assert net(store) == {("positive",): 1} and net(store, reasons) == {}
    assert hold(store, "f1") == 0  # held once
    assert ops(store) == {"add": 2, "retract": 1}
    assert release(store, "f1", "f2") == 1
    assert net(store) == before and net(store, reasons) == why
    assert ops(store) == {"add": 2, "retract": 1, "change": 1}


@pytest.mark.parametrize("then", ["change", "retract", "vote again"])
def test_the_hold_follows_what_the_rater_does_meanwhile(store, then):
    put(store, thumb(False, id="f1"), thumb(True, id="f2"))
    hold(store, "f1")
    if then == "change":
        put(store, thumb(True, id="f1"))
    else:
        put(store, thumb(False, id="f1", retract=True))
    if then == "vote again":
        settle(store, "f1")
        put(store, thumb(True, id="f1"))
    settle(store, "f1")
    assert net(store) == {("positive",): 1}  # that of f2
    release(store, "f1")
    assert net(store) == {("positive",): 1 if then == "retract" else 2}
    assert ops(store)["add"] == 2


def test_without_following_the_net_would_be_wrong(store):
    """The twin: the hold of a changed vote that is not moved leaves a hole in one series and a vote in another."""
    put(store, thumb(False, id="f1"))
    hold(store, "f1")
    put(store, thumb(True, id="f1"))
    assert net(store) == {("negative",): -1, ("positive",): 1}


def test_what_a_person_let_go_no_rule_holds_again(store):
    put(store, thumb(id="f1"))
    hold(store, "f1", rule="burst")
    release(store, "f1")
    assert hold(store, "f1", rule="burst") == 0 and net(store) == {("positive",): 1}
    assert hold(store, "f1", rule=BY_HAND) == 1 and net(store) == {}


def test_the_list_says_which_and_why_and_no_texts(store):
    put(store, thumb(False, id="f1", rater="p", comment="mine"), thumb(id="f2"))
    hold(store, "f1", rule="fast")
    with store.reading() as conn:
        (one,) = guards.quarantine(conn)
        assert (one["id"], one["rule"], one["rater"], one["polarity"]) == ("f1", "fast", "p", "negative")
        assert "mine" not in str(one) and guards.quarantine(conn, "released") == []


def test_a_held_vote_is_in_no_estimate(store):
    row = {"id": "a1", "stratum": "s", "rater": "p", "trace_id": "1" * 32, "span_id": "1" * 16, "response_id": None,
           "asked": True, "probability": 1.0, "time": NOW}
    store.write(lambda conn: asking.note(conn, row)).result()
    put(store, thumb(id="f1", rater="p", trace_id="1" * 32, span_id="1" * 16))

    def answered():
        with store.reading() as conn:
            return asking.estimates(conn, "user_thumbs", NOW - 1)["answered"]

    assert answered() == 1
    hold(store, "f1")
    assert answered() == 0


def test_the_writer_looks_by_itself_and_the_replica_without_the_lease_does_not(make, clock):
    store = make(rules=Rules())
    put(store, *(thumb(n % 2 == 0, id=f"v{n}", rater="mallory", time=NOW + n, at=NOW - 60) for n in range(25)))
    first, second = guards.Guard(Rules()), guards.Guard(Rules())
    held = store.write(lambda conn: (first.tick(conn, NOW + 100), second.tick(conn, NOW + 100))).result()
    for later in range(101, 104):
        store.write(lambda conn, at=NOW + later: first.tick(conn, at)).result()
    with store.reading() as conn:
        assert len(guards.quarantine(conn, limit=500)) == 25
    assert held[1] == 0
    assert net(store) == {} and ops(store)["add"] == 25
