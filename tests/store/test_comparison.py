"""Votes side by side: what is compared, and that one rater's habits do not decide it."""

import random

import pytest

from backspan import semconv
from backspan.store import comparison, documents, guards
from backspan.store.comparison import Wanted
from backspan.store.documents import Asked

from .conftest import DIMS, NOW, chat, put, put_each, put_spans, thumb

SINCE = NOW - 60


def cast(store, variant, rater, up, number, **more):
    trace = f"{number:032x}"
    put(store, thumb(up, id=f"f{number}", trace_id=trace, span_id=f"{number:016x}", rater=rater, time=NOW + number,
                     dims={**DIMS, semconv.VARIANT: variant}, **more))


def sides(store, **more):
    with store.reading() as conn:
        return comparison.sides(conn, Wanted(**{"since": SINCE, **more}))


def by_side(found):
    return {one["side"]: one for one in found["sides"]}


@pytest.fixture
def harsh(store):
    """60 people judge both variants alike, and one, who saw b alone, dislikes 60 answers."""
    draw = random.Random(4)
    votes = [(side, f"p{person}", draw.random() < 0.7) for person in range(60) for side in "ab"]
    votes += [("b", "harsh", False)] * 60
    put_each(store, [thumb(up, id=f"f{n}", trace_id=f"{n + 1:032x}", rater=rater, time=NOW + n,
                           dims={**DIMS, semconv.VARIANT: side}) for n, (side, rater, up) in enumerate(votes)])
    return store


def test_a_harsh_rater_of_one_variant_moves_the_raw_difference_and_not_the_centred_one(harsh):
    found = sides(harsh, control="a")
    b = by_side(found)["b"]
    assert (b["n"], b["raters"], found["left_out"], found["votes_since"]) == (120, 61, 0, SINCE)
    assert b["difference"]["raw"]["value"] > 0.25 and b["difference"]["raw"]["low"] > 0
    assert b["difference"]["centred"]["low"] < 0 < b["difference"]["centred"]["high"]
    assert abs(b["difference"]["centred"]["value"]) < 0.1
    assert by_side(found)["a"]["difference"] is None


def test_the_one_with_most_votes_is_the_control_unless_another_is_named(harsh):
    assert sides(harsh)["control"] == "b"
    assert sides(harsh, control="c")["sides"][0]["difference"] is None


def test_what_does_not_stand_does_not_count(store):
    cast(store, "a", "anna", False, 1)
    cast(store, "a", "bert", False, 2)
    cast(store, "a", "carl", False, 3, source="evaluator")
    cast(store, "", "dora", False, 4)
    cast(store, "a", "erik", False, 5, name=semconv.USER_STARS)
    assert by_side(sides(store))["a"]["n"] == 2
    put(store, thumb(id="f1", retract=True, trace_id=f"{1:032x}", span_id=f"{1:016x}", rater="anna", time=NOW + 9))
    assert by_side(sides(store))["a"]["n"] == 1
    store.write(lambda conn: guards.hold(conn, {"f2": "burst"}, NOW)).result()
    assert sides(store)["sides"] == []
    store.write(lambda conn: guards.release(conn, ["f2"], NOW)).result()
    assert by_side(sides(store))["a"]["n"] == 1


def test_when_and_of_which_prompt(store):
    cast(store, "a", "anna", False, 1)
    assert sides(store, since=NOW + 5)["sides"] == [] == sides(store, until=NOW)["sides"]
    assert sides(store, prompt_name="other")["sides"] == []
    assert by_side(sides(store, prompt_name="support", by="prompt_version"))["7"]["n"] == 1


def test_stars_are_compared_by_their_mean(store):
    for number, (side, stars) in enumerate([("a", 5.0), ("a", 3.0), ("b", 1.0), ("b", 3.0)], 1):
        put(store, thumb(id=f"f{number}", name=semconv.USER_STARS, value=stars, label=None, rater=f"r{number}",
                         trace_id=f"{number:032x}", dims={**DIMS, semconv.VARIANT: side}))
    found = sides(store, name=semconv.USER_STARS, measure="value", control="a")
    assert by_side(found)["b"]["difference"]["raw"]["value"] == -2
    assert by_side(found)["a"]["raw"]["value"] == 4


def test_the_sides_with_the_fewest_votes_are_left_out(store, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_SIDES", 2)
    for number, side in enumerate("aaabbc", 1):
        cast(store, side, f"r{number}", False, number)
    found = sides(store)
    assert [one["side"] for one in found["sides"]] == ["a", "b"] and found["left_out"] == 1


def test_only_the_newest_votes_are_read(store, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_VOTES", 3)
    for number in range(1, 6):
        cast(store, "a", f"r{number}", False, number)
    found = sides(store)
    assert found["sides"][0]["n"] == 3 and found["votes_since"] == NOW + 3


# --- by document ----------------------------------------------------------------------------------------------------
def rated(store, number, document, votes):
    trace, turn = f"{number:032x}", f"turn-{number}"
    put_spans(store, [
        chat(f"{number:014x}aa", trace, operation=semconv.RETRIEVAL, response_id="", model="", turn_id=turn,
             documents=[{"id": document, "score": 0.9}, {"id": "all", "score": 0.1}], index_name="kb",
             index_version="v1"),
        chat(f"{number:014x}bb", trace, turn_id=turn)])
    put(store, *(thumb(up, id=f"f{number}-{rater}", trace_id=trace, span_id=f"{number:014x}bb", rater=rater,
                       time=NOW + number) for rater, up in votes))


@pytest.fixture
def disliked(store):
    """Answers with document b are as good as the others to all but one, who judges nothing else."""
    for number in range(1, 25):
        people = [(f"p{number % 12}", number % 6 != 0)]
        rated(store, number, "ab"[number % 2], people + ([("harsh", False)] if number % 2 else []))
    return store


def test_a_document_is_not_blamed_for_its_only_judge(disliked):
    with disliked.reading() as conn:
        rows = {one["document"]: one for one in documents.page(conn, Asked(SINCE), 10, centred=True)["documents"]}
        plain = documents.page(conn, Asked(SINCE), 10)["documents"]
    b = rows["b"]["centring"]
    assert (b["n"], b["raters"]) == (24, 7)
    assert b["raw"]["value"] == 0.5 and b["difference"]["raw"]["value"] == pytest.approx(0.5 - 1 / 3)
    assert b["centred"]["value"] < 0.2
    assert rows["all"]["centring"]["difference"] is None, "nothing without it to compare with"
    assert not any("centring" in one for one in plain)


def test_held_votes_blame_no_document(disliked):
    def bad():
        with disliked.reading() as conn:
            rows = documents.page(conn, Asked(SINCE), 10, centred=True)["documents"]
            return {one["document"]: (one["votes"]["negative"], one["centring"]["n"]) for one in rows}["b"]

    assert bad() == (12, 24)
    ids = {f"f{number}-harsh": "one_sided" for number in range(1, 25, 2)}
    disliked.write(lambda conn: guards.hold(conn, ids, NOW)).result()
    assert bad() == (0, 12)
