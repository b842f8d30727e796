"""The simulated users and the model they judge: only text decides."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import sim_model
import users

RAG_CHAT = Path(users.__file__).parent
FACTS = ("5 years",)


class Never(random.Random):
    """Chance that never strikes."""

    def random(self) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Gift cards are valid for 5 years. [gift-card]", users.Verdict(True)),
        ("GIFT CARDS ARE VALID FOR 5 YEARS.", users.Verdict(True)),
        ("Gift cards are valid for 3 years by law.", users.Verdict(False, ("inaccurate", "no_source"))),
        ("Gift cards are lovely. [gift-card]", users.Verdict(False, ("inaccurate",))),
        ("I do not know: the documents do not say.", users.Verdict(False, ("unhelpful",))),
    ],
)
def test_the_verdict_follows_from_the_text(answer: str, verdict: users.Verdict) -> None:
    assert verdict == users.judge(answer, FACTS, Never())


def test_the_verdict_does_not_depend_on_the_version() -> None:
    """The same text under another version of the prompt gets the same judgement."""
    visit = users.visits(0, 1, seed=7)[0]
    reply = {"answer": "no", "turn": {}, "feedback_token": "t"}
    first, second = (
        users._read(visit, {**reply, "prompt_version": version}, random.Random(1)) for version in ("v1", "v2")
    )
    assert first.feedback() == second.feedback()


def test_nobody_corrects_a_right_answer() -> None:
    """A right answer without its source may be voted down, but there is nothing to correct."""
    for visit in users.visits(0, 300, seed=7):
        reply = {"answer": visit.facts[0], "prompt_version": "v2", "turn": {}, "feedback_token": "t"}
        assert users._read(visit, reply, random.Random(visit.seed)).correction is None


def test_visits_are_the_same_in_one_go_or_in_pieces() -> None:
    assert users.visits(0, 40, seed=7) == users.visits(0, 15, seed=7) + users.visits(15, 25, seed=7)
    assert users.visits(0, 40, seed=7) != users.visits(0, 40, seed=8)


def test_feedback_carries_the_token_and_nothing_empty() -> None:
    visit = users.visits(0, 1, seed=7)[0]
    answered = users.Answered(visit, "a", "v1", {}, "tok", "down", ("inaccurate",), "It is 5.", asked_again=True)
    assert [
        {"token": "tok", "thumbs": "down", "reasons": ["inaccurate"], "correction": "It is 5."},
        {"token": "tok", "name": "implicit_regenerate", "value": 1, "polarity": "negative",
         "consent": {"analytics": True}},
    ] == answered.feedback()
    assert [] == users.Answered(visit, "a", "v1", {}, "tok").feedback()


def test_ratings_say_whether_they_were_asked_for_and_signals_do_not() -> None:
    visit = users.visits(0, 1, seed=7)[0]
    answered = users.Answered(visit, "a", "v1", {}, "tok", "up", stars=5, gestures=("copy",), solicited=False)
    said = [(body.get("name", ""), body.get("solicited")) for body in answered.feedback()]
    assert said == [("", False), ("implicit_copy", None), ("", False)]


def test_annoyed_users_come_by_themselves() -> None:
    """More of the bad ratings than of the good ones are volunteered, and of both there are some of both."""
    reply = {"prompt_version": "v2", "turn": {}, "feedback_token": "t"}
    asked: dict[str | None, list[bool | None]] = {}
    for visit in users.visits(0, 400, seed=7):
        for answer in (f"{visit.facts[0]} [x]", "no"):
            answered = users._read(visit, {**reply, "answer": answer}, random.Random(visit.seed))
            asked.setdefault(answered.thumbs, []).append(answered.solicited)
    up, down = (sum(map(bool, asked[thumbs])) / len(asked[thumbs]) for thumbs in ("up", "down"))
    assert 0.2 < down < up - 0.1 < 0.7


def _share_right(prompt: str) -> float:
    """Share of right answers when the right document is found among three."""
    documents = json.loads((RAG_CHAT / "documents.json").read_text(encoding="utf-8"))
    asked = json.loads((RAG_CHAT / "questions.json").read_text(encoding="utf-8"))
    instructions = (RAG_CHAT / "prompts" / f"{prompt}.txt").read_text(encoding="utf-8")
    right = 0
    for seed, item in enumerate(asked * 5):
        given = [d for d in documents if d["id"] == item["document"]] + documents[:2]
        context = "\n".join(f"[{d['id']}] {d['text']}" for d in given)
        question = f"Documents:\n{context}\n\nQuestion: {item['question']}"
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": question}]
        right += users.judge(sim_model.answer(messages, seed), tuple(item["facts"]), Never()).good
    return right / (5 * len(asked))


def test_the_second_prompt_is_visibly_worse() -> None:
    """What the demo shows comes from what the prompts say."""
    assert _share_right("v1") > 0.93
    assert 0.4 < _share_right("v2") < 0.75


def test_the_document_of_each_question_is_found() -> None:
    """Retrieval by the hashed words finds the document that answers among the first three."""
    documents = json.loads((RAG_CHAT / "documents.json").read_text(encoding="utf-8"))
    vectors = {d["id"]: sim_model.embed(f"{d['title']}. {d['text']}") for d in documents}
    for item in json.loads((RAG_CHAT / "questions.json").read_text(encoding="utf-8")):
        asked = sim_model.embed(f"Hi, {item['question']} Thanks!")
        closeness = {name: sum(a * b for a, b in zip(asked, v, strict=True)) for name, v in vectors.items()}
        assert item["document"] in sorted(closeness, key=closeness.__getitem__)[-3:], item["question"]
