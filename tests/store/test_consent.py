"""Without consent no content is kept, whatever comes first; and none stays when it is taken back."""

import itertools
import json

import pytest
import sqlalchemy as sa

from backspan import config, semconv
from backspan.store import consent, estimates, reads, sealing, signals, withdrawal
from backspan.store.schema import metadata

from .conftest import NOW, chat, counts, put, put_spans, thumb
from .test_turns import ROOT, TURN, retrieval, root

WORDS = "words-of-hers"
DOCUMENTS = [{"id": "d1", "score": 0.9, "content": WORDS}]
ANNA = "anna-pseudonym"
ORDERS = list(itertools.permutations(range(4)))[::5]


def spans(said, **fields):
    """One turn of three processes; only its own span says whether there is consent."""
    return [root(consent=said, query=WORDS, **fields),
            retrieval(documents=DOCUMENTS, query=WORDS, **fields),
            chat("3333333333333333", turn_id=TURN, query=WORDS, answer=WORDS, messages=[{"content": WORDS}], **fields),
            chat("5555555555555555", operation="retrieval", documents=DOCUMENTS, query=WORDS, response_id="", **fields)]


def stored(store):
    with store.reading() as conn:
        return str([tuple(row) for table in metadata.sorted_tables for row in conn.execute(sa.select(table))])


def turn_of(store):
    with store.reading() as conn:
        return reads.get_turn(conn, TURN)


@pytest.mark.parametrize("order", ORDERS)
def test_no_content_is_kept_without_consent_in_any_order(make, order):
    store = make()
    for number in order:
        put_spans(store, [spans("none")[number]])
    assert WORDS not in stored(store)
    turn = turn_of(store)
    assert (turn["consent"], turn["calls"][0]["model"], len(turn["calls"])) == ("none", "m-1", 4)
    assert {(one["id"], one["score"]) for one in turn["documents"]} == {("d1", 0.9)}


@pytest.mark.parametrize("said", ["", "analytics", "analytics,improve"])
def test_with_consent_or_where_nobody_asked_it_is(store, said):
    """The twin."""
    put_spans(store, spans(said))
    turn = turn_of(store)
    assert turn["answer"] == WORDS and DOCUMENTS[0] in turn["documents"] and turn["consent"] == said


def filled(store):
    put_spans(store, spans("analytics,improve", user_id=ANNA))
    put(store, thumb(False, id="v1", rater=ANNA, trace_id=chat().trace_id, span_id=ROOT, comment="a vote of hers"),
        thumb(id="s1", name="implicit_copy", source=semconv.IMPLICIT, rater=ANNA, span_id=ROOT))
    store.write(found).result()


def found(conn):
    signals.keep(conn, [{"turn_id": TURN, "name": "stop", "rule": 1, "value": 1.0, "vote_id": None, "found": {},
                         "time": NOW}])
    estimates.keep(conn, [{"turn_id": TURN, "value": 0.5, "weights": "w", "signals": 1, "ended": NOW, "time": NOW}],
                   (NOW, TURN))


def take_back(store, who=ANNA):
    return store.work(lambda batch: withdrawal.carry_out(batch, who, "root")).result()


@pytest.mark.parametrize("with_key", [True, False])
def test_consent_taken_back_takes_content_and_evidence(make, monkeypatch, with_key):
    if with_key:
        monkeypatch.setenv("BACKSPAN_FIELD_KEYS", sealing.new_key())
        config.reload()
    store = make()
    filled(store)
    done = take_back(store)
    assert done == {"turns": 1, "calls": 4, "evidence": 1, "estimates": 1, "signals": 1}
    assert WORDS not in stored(store)
    turn = turn_of(store)
    assert turn["consent"] == "none" and {one["consent"] for one in turn["calls"]} == {"none"}
    assert {(one["id"], one["status"]) for one in turn["feedback"]} == {("v1", "add"), ("s1", "retract")}
    assert counts(store)[("implicit_copy", "positive", "retract", "implicit", "le_1h")] == 1
    assert set(take_back(store).values()) == {0, 1} and take_back(store)["signals"] == 0


def test_nobody_elses_consent_goes(store):
    filled(store)
    assert take_back(store, "bert")["turns"] == 0
    assert turn_of(store)["answer"] == WORDS


@pytest.mark.parametrize("order", ORDERS)
def test_spans_of_before_that_come_again_bring_nothing_back(make, order):
    store = make()
    filled(store)
    take_back(store)
    for number in order:
        put_spans(store, [spans("analytics,improve", user_id=ANNA)[number]])
    assert WORDS not in stored(store) and turn_of(store)["consent"] == "none"


def test_what_she_agrees_to_later_holds(store):
    """The twin."""
    filled(store)
    take_back(store)
    put_spans(store, [chat("6" * 16, "6" * 32, user_id=ANNA, answer=WORDS, consent="improve", started=NOW + 1,
                           ended=NOW + 2)])
    with store.reading() as conn:
        (turn,) = reads.list_turns(conn, trace_id="6" * 32)[0]
    assert turn["answer"] == WORDS


def test_the_audit_log_says_who(store):
    filled(store)
    take_back(store)
    with store.reading() as conn:
        (row,) = conn.execute(sa.select(metadata.tables["audit"])).mappings()
        assert conn.execute(sa.select(consent.withdrawals.c.rater)).scalar() == ANNA
    assert (row["who"], row["what"], row["details"]["turns"]) == ("root", "withdraw", 1)
    assert json.dumps(row["details"])
