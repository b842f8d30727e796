"""The job of the rules on a real store: incremental, repeatable, in any order of arrival, and under consent."""

import itertools

import pytest
import sqlalchemy as sa

from backspan import semconv
from backspan.context import Target
from backspan.feedback.model import feedback_id
from backspan.feedback.signals import changed
from backspan.loop.implicit import Implicit
from backspan.store import Vote, leases, signals
from tests.store.conftest import DIMS, NOW, chat, counts, put, put_spans

USER = "u-1"
ASKED = "How do I reset my password?"
AGAIN = "how can I reset the password"
CODE = "Use this:\n```python\nframe.to_parquet(path)\n```"


def said(number, query, answer="Go to settings.", at=0.0, session="c-1", **fields):
    given = {"conversation_id": session, "user_id": USER, "consent": "analytics", "query": query, "answer": answer,
             "started": NOW + at, "ended": NOW + at + 2, "response_id": f"r{number}",
             "messages": [{"role": "user", "parts": [{"type": "text", "content": query}]}]}
    return chat(f"{number:016x}", f"{number:032x}", **{**given, **fields})


@pytest.fixture
def work(make, clock):
    """Look at everything that is due ``after`` seconds."""
    store = make()

    def run(after=60.0, job=None):
        clock.now = max(clock.now, NOW + after)
        rounds, job = [], job or Implicit()
        while not rounds or rounds[-1].more:
            rounds.append(store.work(job.apply).result())
        return rounds

    run.store = store
    return run


def found(store, *, live=True):
    """{(turn's number, signal): value}."""
    with store.reading() as conn:
        rows = conn.execute(sa.text("select trace_id, name, value, op from votes where source = 'implicit'")).all()
    return {(int(trace, 16), name.removeprefix("implicit_")): value for trace, name, value, op in rows
            if (op != "retract") is live}


def test_a_question_put_again(work):
    put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=30)])
    work()
    assert found(work.store) == {(1, "reformulation"): 0.8}
    [(labels, number)] = counts(work.store).items()
    assert labels == ("implicit_reformulation", "negative", "add", "implicit", "le_1h") and number == 1
    assert counts(work.store, semconv.PROM_SIGNALS) == {("implicit_reformulation", "negative"): 1}


def test_it_says_it_once_however_often_it_looks(work):
    put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=30)])
    work()
    with work.store.reading() as conn:
        before = conn.execute(sa.text("select count(*) from vote_log")).scalar()
    for _ in range(3):
        put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=30)])
        work(after=120)
        work.store.write(lambda conn: signals.move(conn, signals.Cursors())).result()  # as if nothing had been read
        assert work(after=200)[-1].signals == 0
    with work.store.reading() as conn:
        assert conn.execute(sa.text("select count(*) from vote_log")).scalar() == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_arrival_does_not_matter(make, clock, order):
    store = make()
    turns = [said(1, ASKED), said(2, "And what about billing addresses?", at=30), said(3, AGAIN, at=60)]
    for number in order:
        put_spans(store, [turns[number]])
        clock.now += 70
        store.work(Implicit().apply).result()
    assert found(store) == {}  # another question came in between


def test_a_turn_that_comes_late_takes_back_what_seemed_so(work):
    put_spans(work.store, [said(1, ASKED), said(3, AGAIN, at=60)])
    work(after=70)
    assert found(work.store) == {(1, "reformulation"): 0.8}
    put_spans(work.store, [said(2, "And what about billing addresses?", at=30)])
    work(after=100)
    assert found(work.store) == {} and (1, "reformulation") in found(work.store, live=False)


def test_in_parts_it_finds_the_same(work):
    turns = [turn for n in range(40) for turn in (
        said(2 * n + 1, ASKED, session=f"c-{n}", user_id=f"u-{n}"),
        said(2 * n + 2, AGAIN, at=30, session=f"c-{n}", user_id=f"u-{n}"))]
    put_spans(work.store, turns)
    rounds = work(job=Implicit(at_once=7))
    assert len(rounds) > 10 and max(one.turns for one in rounds) < 80
    assert found(work.store) == {(2 * n + 1, "reformulation"): 0.8 for n in range(40)}


def test_regenerate_is_not_a_reformulation(work):
    put_spans(work.store, [said(1, ASKED), said(2, ASKED, at=30)])
    work()
    assert found(work.store) == {(1, "regenerate"): 0.6}


@pytest.mark.parametrize("fields", [{"error": "timeout"}, {"outcome": "failed"}])
def test_what_broke_is_asked_again_for_that(work, fields):
    put_spans(work.store, [said(1, ASKED, **fields), said(2, ASKED, at=30)])
    work()
    assert (1, "regenerate") not in found(work.store)


def test_the_same_question_in_another_conversation(work):
    put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=7200, session="c-2"),
                           said(3, AGAIN, at=7300, session="c-3", user_id="somebody else")])
    work(after=7400)
    assert found(work.store) == {(1, "repeat_question"): 0.5}


def test_thanks_and_how_many_turns_it_took(work):
    put_spans(work.store, [said(1, ASKED), said(2, "And on the phone?", at=400),
                           said(3, "Thanks, that works!", at=500)])
    work(after=600)
    assert found(work.store) == {(2, "follow_up_ack"): 0.5}
    with work.store.reading() as conn:
        rows = conn.execute(sa.text("select labels, value from counters where metric = :m"),
                            {"m": semconv.PROM_TURNS_TO_RESOLUTION}).all()
    assert {value for labels, value in rows if '"le":"sum"' in labels} == {2.0}
    assert {value for labels, value in rows if '"le":"2.0"' in labels} == {1.0}


def test_a_good_outcome_ends_the_count_of_turns_too(work):
    put_spans(work.store, [said(1, ASKED), said(2, "And on the phone?", at=400)])
    work(after=500)
    put(work.store, _judged(2, "outcome_solved", source="outcome", polarity="positive", rater=None))
    work(after=600)
    work(after=700)
    with work.store.reading() as conn:
        rows = conn.execute(sa.text("select value from counters where metric = :m and labels like '%\"sum\"%'"),
                            {"m": semconv.PROM_TURNS_TO_RESOLUTION}).scalars().all()
    assert rows == [2.0]


def test_a_contradiction(work):
    put_spans(work.store, [said(1, "Capital of Australia?", "It is Sydney."),
                           said(2, "No, that's wrong, it is Canberra.", at=20)])
    work()
    assert found(work.store)[(1, "follow_up_correction")] == 0.7


def _judged(number, name, value=1.0, at=10.0, **fields):
    trace, span = f"{number:032x}", f"{number:016x}"
    given = {"name": name, "time": NOW + at, "value": value, "polarity": "positive", "source": "implicit",
             "trace_id": trace, "span_id": span, "rater": USER, "dims": DIMS, **fields}
    return Vote(feedback_id(Target(trace_id=trace, span_id=span), name, given["rater"]), **given)


def test_a_copy_and_then_an_error(work):
    put_spans(work.store, [said(1, "How do I write a frame?", CODE)])
    put(work.store, _judged(1, "implicit_copy", 0.5))
    work()
    assert found(work.store) == {(1, "copy"): 0.5}
    put_spans(work.store, [said(2, "AttributeError: no attribute to_parquet, it does not work", at=200)])
    work(after=260)
    work(after=270)
    assert found(work.store) == {(1, "copy_then_error"): 0.7}
    assert found(work.store, live=False) == {(1, "copy"): 0.5}


def test_a_copy_after_the_error_message_is_none(work):
    put_spans(work.store, [said(1, "How do I write a frame?", CODE),
                           said(2, "AttributeError: no attribute to_parquet", at=200)])
    put(work.store, _judged(1, "implicit_copy", 0.5, at=250))
    work(after=300)
    assert found(work.store) == {(1, "copy"): 0.5}


@pytest.mark.parametrize(("opened", "again", "in_vain"), [
    pytest.param(20, 60, True, id="soon"),
    pytest.param(20, 100, False, id="twin: a minute later, the source was read"),
    pytest.param(70, 60, False, id="twin: opened after the question"),
])
def test_a_source_that_did_not_help(work, opened, again, in_vain):
    put_spans(work.store, [said(1, "How do I write a frame to a file?", CODE),
                           said(2, "How can I write the frame to a file?", at=again)])
    put(work.store, _judged(1, "implicit_citation_click", at=opened, polarity="neutral"))
    work(after=200)
    assert (found(work.store).get((1, "citation_in_vain")) == 0.3) is in_vain
    assert found(work.store)[(1, "citation_click")] == 1.0


def test_twin_a_source_and_another_question(work):
    put_spans(work.store, [said(1, "How do I write a frame to a file?", CODE), said(2, "Who won the cup?", at=60)])
    put(work.store, _judged(1, "implicit_citation_click", at=20, polarity="neutral"))
    work(after=200)
    assert (1, "citation_in_vain") not in found(work.store)


def test_a_stopped_answer(work):
    put_spans(work.store, [said(1, "Tell me all", outcome="closed", output_tokens=25),
                           said(2, "Tell me little", outcome="closed", output_tokens=3, session="c-2", user_id="u-2")])
    work()
    assert found(work.store) == {(1, "stop"): 0.5}


def test_what_the_browser_said_stands(work):
    put_spans(work.store, [said(1, "Tell me all", outcome="closed", output_tokens=25)])
    put(work.store, _judged(1, "implicit_stop", 1.0, polarity="negative"))
    work()
    assert found(work.store) == {(1, "stop"): 1.0}


def test_left_after_a_bad_answer_and_back_again(work):
    put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=30)])
    work(after=1700)
    assert (2, "abandonment") not in found(work.store)
    work(after=1900)
    assert found(work.store)[(2, "abandonment")] == 0.4
    put_spans(work.store, [said(3, "Is there a phone number?", at=5000)])
    work(after=5100)
    assert (2, "abandonment") not in found(work.store)


def test_leaving_alone_is_no_failure(work):
    put_spans(work.store, [said(1, ASKED)])
    work(after=1900)
    assert found(work.store) == {}
    put(work.store, _judged(1, "implicit_dwell", 0.1, polarity="neutral"))
    work(after=1950)
    assert found(work.store) == {(1, "dwell"): 0.1, (1, "abandonment"): 0.4}


def test_a_correction_tells_how_much_was_kept(work):
    put_spans(work.store, [said(1, "Write a greeting", "Dear customer, thank you for your letter.")])
    put(work.store, _judged(1, "user_correction", None, source="end_user", polarity="negative",
                            correction="Dear customer, thank you for your  letter!"))
    work()
    [(key, value)] = found(work.store).items()
    assert key == (1, "edit_distance") and 0 < value < 0.1
    with work.store.reading() as conn:
        assert conn.execute(sa.text("select polarity from votes where source='implicit'")).scalar() == "positive"


@pytest.mark.parametrize(("consent", "assume", "expected"), [
    ("analytics", False, 1), ("improve,analytics", False, 1), ("improve", False, 0), ("", False, 0), ("", True, 1),
    ("improve", True, 0)])
def test_consent(work, consent, assume, expected):
    put_spans(work.store, [said(1, ASKED, consent=consent), said(2, AGAIN, at=30, consent=consent)])
    rounds = work(job=Implicit(known=changed({"assume_consent": assume})))
    assert len(found(work.store)) == expected
    assert (sum(one.no_consent for one in rounds) == 0) is bool(expected)


def test_consent_taken_back_takes_the_signals_back(work):
    put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=30)])
    work()
    put_spans(work.store, [said(1, ASKED, consent="improve")])
    work(after=90)
    assert found(work.store) == {}


def test_without_content_it_says_what_it_lacks(work):
    put_spans(work.store, [said(1, "", "", messages=[]), said(2, "", "", at=30, messages=[])])
    rounds = work()
    assert found(work.store) == {} and sum(one.no_text for one in rounds) >= 2


def test_another_version_of_a_rule_changes_what_an_older_one_said(work):
    put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=30)])
    work()
    newer = changed({"signals": {"reformulation": {"strong": 101, "version": 2}}})
    work.store.write(lambda conn: signals.move(conn, signals.Cursors())).result()
    work(after=90, job=Implicit(known=newer))
    with work.store.reading() as conn:
        row = conn.execute(sa.text("select label, value, version from votes where name='implicit_reformulation'")).one()
    assert row == ("rule-2", 0.5, 2)


def test_a_worker_does_it_under_its_lease(make, hire, clock):
    store = make(emit=True)
    store.write(lambda conn: signals.tell_emits(conn, True)).result()
    put_spans(store, [said(1, ASKED), said(2, AGAIN, at=30)])
    clock.now = NOW + 60
    first, second = hire(Implicit(), holder="a"), hire(Implicit(), holder="b")
    assert first.pulse()[0].done["signals"] == 1 and second.pulse()[0].holder == "a"
    with store.reading() as conn:
        assert leases.holder_of(conn, "signals", clock.now) == "a"
        assert conn.execute(sa.text("select count(*) from outbox")).scalar() == 1


def test_evidence_is_forgotten_with_the_votes(work, clock):
    put_spans(work.store, [said(1, ASKED), said(2, AGAIN, at=30)])
    work()
    done = work(after=8 * 86400)
    assert sum(one.forgotten for one in done) >= 1
