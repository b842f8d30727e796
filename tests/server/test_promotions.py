"""``GET /v1/promotions``: which unsampled traces were judged bad."""

from __future__ import annotations

import time

import pytest

from .conftest import token

UNSAMPLED = {"trace_flags": 0}


def trace(number):
    return f"{number:032x}"


def ask(server, **query):
    return server.json("/v1/promotions?" + "&".join(f"{key}={value}" for key, value in query.items()))


@pytest.fixture(scope="module")
def server(servers):
    return servers().start()


def judge(server, number, thumbs, **target):
    status, answer = server.vote({"thumbs": thumbs}, Backspan_Token=token(number, target={**UNSAMPLED, **target}))
    assert status in (200, 201), answer


def test_bad_judgements_of_unsampled_traces_and_no_others(server):
    _, before = ask(server)
    judge(server, 1, "down")
    judge(server, 2, "up")
    judge(server, 3, "down", trace_flags=1)
    judge(server, 4, "up")
    judge(server, 4, "down")
    status, found = ask(server, after=before["after"])
    assert (status, found["trace_ids"]) == (200, [trace(1), trace(4)]) and found["after"] > before["after"]
    assert ask(server, after=found["after"])[1] == {"trace_ids": [], "after": found["after"]}


def test_a_first_question_looks_back_as_far_as_it_says(server):
    judge(server, 11, "down")
    assert trace(11) in ask(server, since=time.time() - 60)[1]["trace_ids"]
    assert ask(server, since=time.time() + 60)[1]["trace_ids"] == []


def test_one_trace_is_named_once_and_what_is_taken_back_is_not_unnamed(server):
    after = ask(server)[1]["after"]
    judge(server, 21, "down")
    server.vote({"stars": 1}, Backspan_Token=token(21, target=UNSAMPLED))
    server.vote({"name": "user_thumbs", "retract": True}, Backspan_Token=token(21, target=UNSAMPLED))
    assert ask(server, after=after)[1]["trace_ids"] == [trace(21)]


@pytest.mark.parametrize("query", ["after=x", "after=-1", "since=nan", "since=inf", "after=1e99"])
def test_a_wrong_number_is_told(server, query):
    status, answer = server.json(f"/v1/promotions?{query}")
    assert (status, answer["field"]) == (422, query.partition("=")[0])


def test_it_is_for_programs_with_a_key_from_elsewhere(server):
    status, _, _ = server.request("GET", "/v1/promotions", headers={"X-Forwarded-For": "203.0.113.9"})
    assert status in (401, 403)


def test_a_long_list_comes_in_parts(tmp_path):
    from backspan.feedback.model import feedback_id
    from backspan.feedback.verdicts import Judgement
    from backspan.store import Policy, Store, promotions, sqlite_url, vote_of

    from .conftest import Target

    store = Store(sqlite_url(tmp_path / "s.db"), identify=feedback_id, policy=Policy(count_spans=False, emit=False))
    bad = Judgement("user_thumbs", 0.0, "fail", "negative", (), None, None, "end_user")
    votes = []
    for number in range(1, promotions.MOST + 11):
        to = Target(trace(number), f"{number:016x}", 0)
        votes.append(vote_of(feedback_id(to, bad.name, None), bad, to, None, time.time()))
    store.put_votes(votes).result()
    with store.reading() as conn:
        first = promotions.judged_bad(conn, after=0)
        rest = promotions.judged_bad(conn, after=first.after)
    store.close()
    assert len(first.trace_ids) == promotions.MOST and len(rest.trace_ids) == 10
    assert not set(first.trace_ids) & set(rest.trace_ids)
