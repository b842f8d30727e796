"""What becomes of votes: add, change, retract, repeated or not, and what is counted for each."""

import random
from dataclasses import replace

import pytest

from backspan import semconv
from backspan.context import Target
from backspan.feedback.model import Feedback, parse, revise
from backspan.store import Busy, Closed, outbox, reads, revisions
from backspan.store.votes import GRACE_SECONDS, MOST_REVISIONS, TOO_MANY

from .conftest import DIMS, NOW, SPAN, TRACE, chat, counts, put, put_each, put_spans, thumb

UP = ("user_thumbs", "positive", "add", "end_user", "le_1h")
DOWN = ("user_thumbs", "negative", "add", "end_user", "le_1h")


def _as(key, op):
    return (*key[:2], op, *key[3:])


def test_a_vote_its_repetition_its_change_and_its_retraction(store):
    statuses = [put(store, vote)[0] for vote in (
        thumb(True), thumb(True), thumb(False), thumb(retract=True), thumb(retract=True), thumb(True))]
    assert [(receipt.status, receipt.version) for receipt in statuses] == [
        ("add", 1), ("unchanged", 1), ("change", 2), ("retract", 3), ("unchanged", 3), ("change", 4)]
    assert counts(store) == {UP: 1, _as(UP, "retract"): 1, _as(DOWN, "change"): 1, _as(DOWN, "retract"): 1,
                             _as(UP, "change"): 1}


def test_taking_back_what_was_never_said_does_nothing(store):
    assert put(store, thumb(retract=True))[0].status == "unchanged"
    assert counts(store) == {}


def test_a_thousand_flips_are_one_event_for_the_pager(store):
    put_each(store, [thumb(flip % 2 == 0) for flip in range(40)])
    adds = {key: value for key, value in counts(store).items() if key[2] == "add"}
    assert adds == {UP: 1}


def test_a_vote_that_changed_too_often_is_refused(store):
    put_each(store, [thumb(flip % 2 == 0) for flip in range(MOST_REVISIONS)])
    before = counts(store)
    assert put(store, thumb(MOST_REVISIONS % 2 == 0))[0].status == TOO_MANY
    assert counts(store) == before


def test_only_a_reason_changed(store):
    put(store, thumb(False, reasons=("a",)))
    assert put(store, thumb(False, reasons=("a", "b")))[0].status == "change"
    reasons = counts(store, semconv.PROM_FEEDBACK_REASONS)
    assert {(key[2], key[5]): value for key, value in reasons.items()} == {
        ("add", "a"): 1, ("retract", "a"): 1, ("change", "a"): 1, ("change", "b"): 1}


def _agreeing(improve, **more):
    return thumb(True, circumstances={"consent": {"improve": improve}, **more})


def test_consent_given_and_taken_back_with_the_same_vote_is_kept(store):
    said = (thumb(True), _agreeing(True), _agreeing(True), thumb(True), _agreeing(True, surface="chat"),
            _agreeing(False))
    assert [put(store, vote)[0].status for vote in said] == [
        "add", "change", "unchanged", "unchanged", "unchanged", "change"]
    with store.reading() as conn:
        row, = reads.standing(conn, Target(trace_id=TRACE, span_id=SPAN), thumb(True).rater)
    assert row["circumstances"]["consent"] == {"improve": False}
    assert counts(store) == {UP: 1, _as(UP, "change"): 2, _as(UP, "retract"): 2}


def test_the_twin_a_rule_that_looks_at_the_verdict_alone_keeps_what_was_taken_back(store, monkeypatch):
    monkeypatch.setattr(revisions, "_agrees_otherwise", lambda state, vote: False)
    assert [put(store, vote)[0].status for vote in (_agreeing(True), _agreeing(False))] == ["add", "unchanged"]


def test_votes_posted_together_are_stored_all_or_none(store):
    receipts = put(store, thumb(False), thumb(False, id="f2", name="user_stars", value=1.0))
    assert [receipt.status for receipt in receipts] == ["add", "add"]
    with pytest.raises(Exception, match="."):
        put(store, thumb(id="f3"), replace(thumb(id="f4"), name=None))
    with store.reading() as conn:
        assert reads.counts(conn)["votes"] == 2


def test_a_faulty_write_does_not_take_its_neighbours_with_it(store):
    futures = [store.put_votes([thumb(id=f"g{n}") if n != 3 else replace(thumb(id="bad"), name=None)])
               for n in range(8)]
    failed = [future for future in futures if future.exception() is not None]
    assert failed == [futures[3]]


def test_the_age_is_that_of_the_vote_and_is_taken_back_under_the_same_label(store):
    put(store, thumb(True, time=NOW + 7200))
    put(store, thumb(False, time=NOW + 200_000))
    assert counts(store) == {
        (*UP[:4], "le_1d"): 1, (*_as(UP, "retract")[:4], "le_1d"): 1, (*_as(DOWN, "change")[:4], "older"): 1}


# --- the target is not known yet ------------------------------------------------------------------------------------
def by_ids(**fields):
    return thumb(False, at=None, dims=None, **fields)


def test_a_vote_by_ids_waits_for_its_turn_and_is_counted_in_its_cohort(store, clock):
    assert put(store, by_ids())[0].status == "add"
    assert counts(store) == {}
    put_spans(store, [chat()])
    assert counts(store) == {DOWN: 1}
    with store.reading() as conn:
        vote = reads.list_feedback(conn)[0][0]
    assert vote["turn_id"] == f"{TRACE}-{SPAN}" and vote["dims"][semconv.PROMPT_VERSION] == "7"
    assert vote["at"] == NOW - 60


def test_a_vote_whose_turn_never_comes_is_counted_after_a_while(make, clock):
    store = make()
    put(store, by_ids(trace_id=None, span_id=None, response_id="never-seen"))
    with store.reading() as conn:
        assert reads.list_feedback(conn)[0][0]["resolved"] is False
    clock.now += GRACE_SECONDS + 1
    store._writer.submit(lambda conn, items: [store._inside.tick(conn) for _ in items], None).result()
    assert counts(store) == {DOWN: 1}


def test_a_response_that_was_fetched_later_is_judged_where_it_was_asked_for(store):
    fetched = chat("cccccccccccccccc", "c" * 32, operation=semconv.FETCH_RESPONSE, response_id=f"resp-{SPAN}", model="",
                   started=NOW - 5, ended=NOW - 4)
    put_spans(store, [chat(), fetched])
    put(store, by_ids(trace_id=None, span_id=None, response_id=f"resp-{SPAN}"))
    with store.reading() as conn:
        (vote,) = reads.list_feedback(conn)[0]
    assert (vote["span_id"], vote["dims"][semconv.REQUEST_MODEL]) == (SPAN, "m-1")


def test_a_response_id_finds_its_turn_before_and_after(store):
    vote = by_ids(trace_id=None, span_id=None, response_id=f"resp-{SPAN}")
    assert put(store, vote)[0].resolved is False
    put_spans(store, [chat()])
    assert put(store, vote)[0].resolved is True
    assert put(store, replace(vote, id="later"))[0].resolved is True
    assert counts(store) == {DOWN: 2}


def test_what_the_caller_says_of_the_answer_wins_over_the_turn(store):
    put(store, by_ids(), thumb(False, id="f2", dims={semconv.PROMPT_VERSION: "8"}))
    put_spans(store, [chat()])
    with store.reading() as conn:
        versions = {vote["id"]: vote["dims"][semconv.PROMPT_VERSION] for vote in reads.list_feedback(conn)[0]}
    assert versions == {"f1": "7", "f2": "8"}


@pytest.mark.parametrize(("known", "model"), [(True, "m-1"), (False, "")])
def test_a_token_that_was_made_before_its_model_was_asked_counts_where_the_turn_says(store, known, model):
    """The twin: where the turn is not known, the token's word is all there is."""
    early = {**dict.fromkeys(DIMS, ""), semconv.SERVICE_NAME: "chat"}
    if known:
        put_spans(store, [chat()])
    put(store, thumb(False, dims=early))
    with store.reading() as conn:
        [vote] = reads.list_feedback(conn)[0]
    assert vote["dims"][semconv.REQUEST_MODEL] == model and vote["dims"][semconv.SERVICE_NAME] == "chat"
    assert counts(store) == {DOWN: 1}


# --- revisions of an application ------------------------------------------------------------------------------------
def revision(version, op, up, **fields):
    return thumb(up, revision=(version, op), retract=op == "retract", delay=60.0, **fields)


APP = [revision(1, "add", True), revision(2, "change", False), revision(3, "retract", False),
       revision(4, "change", True)]


def test_feedback_spans_in_any_order_repeated_count_as_in_order(make):
    chance = random.Random(3)
    expected = None
    for attempt in range(12):
        store = make(f"{attempt}.db")
        order = APP * 2
        if attempt:
            chance.shuffle(order)
        while order:
            part = [order.pop() for _ in range(min(len(order), chance.randint(1, 3)))]
            put_spans(store, votes=part)
        with store.reading() as conn:
            standing = reads.list_feedback(conn)[0][0]
        found = (counts(store), standing["version"], standing["polarity"], standing["status"])
        expected = expected or found
        assert found == expected
    assert expected == ({UP: 1, _as(UP, "retract"): 1, _as(DOWN, "change"): 1, _as(DOWN, "retract"): 1,
                         _as(UP, "change"): 1}, 4, "positive", "change")


def test_an_application_that_restarted_and_forgot_changes_its_vote(store):
    put_spans(store, votes=[revision(1, "add", True)])
    put_spans(store, votes=[revision(1, "add", False)])
    put_spans(store, votes=[revision(1, "add", False)])
    assert counts(store) == {UP: 1, _as(UP, "retract"): 1, _as(DOWN, "change"): 1}


def test_a_gateway_stores_feedback_spans_and_leaves_counting_to_the_application(make):
    store = make(count_spans=False, emit=True)
    put_spans(store, votes=[revision(1, "add", True)])
    put(store, thumb(False, id="mine"))
    assert counts(store) == {DOWN: 1}
    with store.reading() as conn:
        assert [row["id"] for row in outbox.waiting(conn)] == ["mine"]
        assert reads.counts(conn)["votes"] == 2


# --- against the model ----------------------------------------------------------------------------------------------
def test_random_sequences_agree_with_the_model_and_the_log(store):
    """The store and `feedback.model.revise` follow the same rules; counters equal what the log says."""
    chance = random.Random(11)
    last: dict[str, Feedback] = {}
    expected: dict[tuple, int] = {}
    for step in range(300):
        target = Target(f"{chance.randint(1, 12):032x}", SPAN, dims=DIMS, at=NOW - 10)
        said = chance.choice(({"thumbs": True}, {"thumbs": False}, {"stars": chance.randint(1, 5)}))
        [judgement] = parse({**said, "retract": chance.random() < 0.3})
        feedback, receipt = revise(last.get(_key(target, judgement)), judgement, target, None, NOW + step)
        assert store.put(judgement, target, None, NOW + step).status == receipt.status
        if feedback is not None:
            last[_key(target, judgement)] = feedback
            for one, op in ((feedback.previous, "retract"), (feedback if feedback.live else None, feedback.op)):
                if one is not None:
                    key = (one.name, one.polarity, op, one.source, one.age)
                    expected[key] = expected.get(key, 0) + 1
    assert counts(store) == expected
    net = sum(value * (-1 if key[2] == "retract" else 1) for key, value in expected.items())
    assert net == sum(feedback.live for feedback in last.values())


def _key(target, judgement):
    return f"{target.trace_id}{judgement.name}"


def test_concurrent_identical_votes_are_one_add(store):
    futures = [store.put_votes([thumb(True)]) for _ in range(50)]
    statuses = [future.result()[0].status for future in futures]
    assert sorted(statuses) == ["add", *["unchanged"] * 49]


def test_a_closed_store_says_so(make):
    store = make()
    store.close()
    with pytest.raises(Closed):
        store.put_votes([thumb()])
    assert issubclass(Busy, Exception)
