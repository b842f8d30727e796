"""Erasing a person: every row of hers, none of others, no counter; and the command for Tempo."""

import pytest
import sqlalchemy as sa

from backspan.store import (
    asking,
    audit,
    consent,
    engines,
    erasure,
    estimates,
    guards,
    outcomes,
    reads,
    retention,
    signals,
)
from backspan.store.schema import metadata

from .conftest import NOW, chat, counts, put, put_spans, thumb

ANNA, BERT = "anna-pseudonym", "bert-pseudonym"
TURN = f"{'1' * 32}-{'1' * 16}"
ERASED = {"calls", "turns", "votes", "vote_log", "outbox", "vote_flags", "skips", "asks", "evidence", "estimates",
          "outcomes", "withdrawals"}
STAYS = {
    "erased": "the tombstone: that she was erased, and when, under her pseudonym",
    "audit": "who erased her, and when, under her pseudonym",
    "erased_traces": "hashes of ids of her traces, so that a late span of one brings no words",
    "idempotency": "ids of votes and keyed hashes of requests, for a day; no texts",
    "counters": "counts; an exemplar names a span and no person",
    "alerts": "counts, cohorts and ids of spans", "detectors": "counts", "clocks": "times", "windows": "counts",
    "totals": "counts", "baselines": "rates", "drawn": "counts",
    "label_values": "values of labels, which no person is", "leases": "processes", "meta": "settings and cursors",
    "api_keys": "keys of servers",
}
"""Every table is in one of the two: a new one has to be thought about."""


def filled(make):
    store = make(emit=True)
    put_spans(store, [chat("1" * 16, "1" * 32, user_id=ANNA, query="mine", join_key="ticket-of-anna"),
                      chat("2" * 16, "2" * 32, user_id=BERT),
                      chat("4" * 16, "1" * 32, operation="retrieval", query="mine", response_id=""),
                      chat("5" * 16, "1" * 32, turn_id=TURN, query="mine", response_id="r5")])
    put(store, thumb(False, id="a1", rater=ANNA, comment="mine"), thumb(id="a2", rater=ANNA))
    put(store, thumb(id="b1", rater=BERT, comment="about bert"),
        thumb(id="b2", rater=BERT, trace_id="1" * 32, span_id="1" * 16, comment="she said mine", dims=None,
              details={"quote": {"text": "mine"}, "kept": 1}))
    put(store, thumb(True, id="a1", rater=ANNA))
    store.write(lambda conn: guards.hold(conn, {"a1": "burst"}, NOW)).result()
    store.skip(*skipped(ANNA)).result()
    store.write(lambda conn: rest(conn)).result()
    store.work(lambda batch: outcomes.accept(batch, [outcomes.Outcome(
        "o1", "outcome_kept", "positive", NOW, join_key="ticket-of-anna")], store.identify)).result()
    return store


def rest(conn):
    """What other parts of the program write about a person."""
    asking.note(conn, {"id": "ask-of-anna", "stratum": "s", "rater": ANNA, "trace_id": "1" * 32, "span_id": "1" * 16,
                       "asked": True, "probability": 1.0, "time": NOW})
    signals.keep(conn, [{"turn_id": TURN, "name": "stop", "rule": 1, "value": 1.0, "vote_id": None, "found": {},
                         "time": NOW}])
    estimates.keep(conn, [{"turn_id": TURN, "value": 0.5, "weights": "w", "signals": 1, "ended": NOW, "time": NOW}],
                   (NOW, TURN))
    conn.execute(consent.withdrawals.insert().values(rater=ANNA, time=NOW - 1000))


def skipped(rater):
    from backspan.context import Target

    return Target("3" * 32, "3" * 16, dims={"k": "v"}), "user_thumbs", rater


def erase(store, rater):
    with store.reading() as conn:
        ids = erasure.votes_of(conn, rater)
    return store.write(lambda conn: erasure.erase(conn, rater, ids, "root", NOW)).result()


def holds(store, word):
    """Names of the tables in which ``word`` still stands."""
    with store.reading() as conn:
        return {table.name for table in metadata.sorted_tables
                for row in conn.execute(sa.select(table)) if word in str(tuple(row))}


def test_every_table_is_thought_about():
    assert metadata.tables.keys() == ERASED | STAYS.keys() and not ERASED & STAYS.keys()


def test_nothing_of_the_person_stays_but_the_tombstone_and_the_entry(make):
    store = filled(make)
    before = counts(store)
    hers = {word: holds(store, word) for word in (ANNA, "mine", "1" * 32, "ticket-of-anna", "a1")}
    assert set.union(*hers.values()) - {"counters", "outbox", "meta", "alerts"} == ERASED - {"outbox"}
    gone = erase(store, ANNA)
    assert gone == {"votes": 2, "revisions": 3, "turns": 1, "calls": 3, "outcomes": 1, "texts": 1, "evidence": 1,
                    "estimates": 1, "asks": 1, "skips": 1, "withdrawals": 1}
    assert holds(store, ANNA) == {"erased", "audit"}
    for word in ("mine", "ticket-of-anna", "a1"):
        assert holds(store, word) == set()
    assert counts(store) == before  # counts are of nobody
    with store.reading() as conn:
        assert guards.quarantine(conn) == []
        assert erasure.tombstones(conn) == {ANNA: NOW}
        (entry,) = audit.entries(conn)
    assert (entry["who"], entry["what"], entry["time"], entry["details"]["votes"]) == ("root", "erase", NOW, 2)


def test_what_others_judged_stays_without_their_words_about_her(make):
    store = filled(make)
    erase(store, ANNA)
    with store.reading() as conn:
        found = {row["id"]: row for row in reads.list_feedback(conn)[0]}
    assert (found["b2"]["polarity"], found["b2"]["comment"], found["b2"]["details"]) == ("positive", None, {"kept": 1})
    assert found["b1"]["comment"] == "about bert"


def test_spans_and_votes_of_before_that_come_again_bring_nothing_back(make):
    """A queue sends what it could not send before. The twin is what she says afterwards: it is kept."""
    store = filled(make)
    erase(store, ANNA)
    put_spans(store, [chat("1" * 16, "1" * 32, user_id=ANNA, query="mine")], [thumb(id="a3", rater=ANNA, time=NOW - 1)])
    assert holds(store, ANNA) == {"erased", "audit"} and holds(store, "mine") == set()
    put_spans(store, [chat("6" * 16, "6" * 32, user_id=ANNA, query="later", started=NOW + 1, ended=NOW + 2)],
              [thumb(id="a4", rater=ANNA, time=NOW + 3)])
    assert holds(store, "later") == {"calls", "turns"} and "votes" in holds(store, ANNA)


@pytest.mark.parametrize(("trace", "kept"), [("1" * 32, False), ("8" * 32, True)], ids=["hers", "another"])
def test_a_late_span_that_names_nobody_brings_no_words_of_her(make, trace, kept):
    """Another process sends what it did for her after she was erased, and does not know whose turn it was."""
    store = filled(make)
    erase(store, ANNA)
    put_spans(store, [chat("9" * 16, trace, query="late"), chat("a" * 16, trace, query="late", turn_id=TURN)])
    assert holds(store, "late") == ({"calls", "turns"} if kept else set())
    put_spans(store, [chat("b" * 16, trace, query="afterwards", started=NOW + 1, ended=NOW + 2)])
    assert "calls" in holds(store, "afterwards")


def test_what_is_noted_of_her_traces_goes_when_turns_do(make):
    store = filled(make)
    erase(store, ANNA)
    for age, left in ((50.0, True), (150.0, False)):
        store.write(lambda conn, age=age: retention.apply(conn, retention.Retention(turns=100.0), NOW + age)).result()
        with store.reading() as conn:
            assert bool(conn.execute(sa.select(consent.erased_traces)).all()) is left


@pytest.mark.sqlite
@pytest.mark.parametrize("overwritten", [True, False])
def test_what_is_erased_is_not_in_the_file_any_more(make, tmp_path, monkeypatch, overwritten):
    """The twin does not overwrite what it deletes."""
    if not overwritten:
        monkeypatch.setattr(engines, "_PRAGMAS", (*engines._PRAGMAS, "secure_delete=OFF"))
    store = make()
    put_spans(store, [chat(str(number) * 16, "1" * 32, user_id=ANNA, query="her-very-words") for number in range(1, 9)])
    erase(store, ANNA)
    store.close()
    assert (b"her-very-words" in (tmp_path / "s.db").read_bytes()) is not overwritten


def test_others_stay_and_erasing_again_is_harmless(make):
    store = filled(make)
    erase(store, ANNA)
    assert holds(store, BERT) == {"votes", "turns", "calls"}
    assert set(erase(store, ANNA).values()) == {0}


def test_only_votes_of_the_person_go_whatever_ids_are_given(make):
    """The twin: a list of ids that is too long must not take others' votes along."""
    store = filled(make)
    store.write(lambda conn: erasure.erase(conn, ANNA, ["a1", "b1"], "root", NOW)).result()
    assert "votes" in holds(store, BERT)


def test_the_command_for_tempo():
    assert erasure.tempo_command("0f" * 16) == (
        "tempo-cli redact 127.0.0.1:9095 --tenant single-tenant --query "
        "'{ span.enduser.pseudo.id = \"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\" }'")
    assert erasure.tempo_command('a"b\\c; rm', "tempo:9095", "one") == (
        "tempo-cli redact tempo:9095 --tenant one --query '{ span.enduser.pseudo.id = \"a\\\"b\\\\c; rm\" }'")
