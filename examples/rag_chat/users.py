"""Simulated users of the chat: they ask, read the answer, and sometimes rate it, correct it or ask again.

    python users.py --app http://127.0.0.1:8000 --feedback http://127.0.0.1:4318 --count 200

A user knows the right answer (`questions.json`) and judges the text that came back, nothing else: not the version
of the prompt, which no user sees. Chance is seeded, and votes are posted one by one in the order of the visits, so the
same seed gives the same votes in the same order however the answers were scheduled. Standard library only.

With `--expressive` they also give stars, change their minds, copy what they liked, leave, and ask what no document
answers. `simulate.py` runs them with the application and releases prompts meanwhile.
"""

import argparse
import http.client
import json
import random
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

NO_ANSWER = 502  # what the application answers when its model failed
MISTAKE = 0.02  # share of votes given the wrong way round
RATES_GOOD, RATES_BAD = 0.55, 0.75  # share of answers that are rated; annoyed users rate more often
MINDS_NO_SOURCE = 0.08  # share of users who vote a right answer down because it names no source
CORRECTS, ASKS_AGAIN, STREAMS = 0.3, 0.25, 0.2
STARS, FLIPS, COPIES, LEAVES, STRAYS = 0.35, 0.04, 0.25, 0.2, 0.05  # of expressive users
ASKED_GOOD, ASKED_BAD = 0.6, 0.35  # share of ratings that were asked for; annoyed users come by themselves
CROWD = 100  # times 60 users: a few who judge answers this fast would be robots, whose votes a gateway holds
OFF_TOPIC = ("Who won the ski race yesterday?", "Can you write a poem about my cat?", "What does your boss earn?")
OPENINGS = ("", "Hi, ", "Hello! ", "Quick question: ", "Could you tell me: ", "Please: ")
CLOSINGS = ("", " Thanks!", " Thank you.", " Just wondering.")

GESTURES = {"copy": "positive", "abandonment": "negative"}

AGREED = {"consent": {"analytics": True}}  # without it, nobody keeps what a browser observed

Json = dict[str, Any]
_CITATION = re.compile(r"\[[\w-]+\]")


@dataclass(frozen=True)
class Visit:
    """One user with one question. `seed` decides what the user does after reading the answer."""

    index: int
    question: str
    facts: tuple[str, ...]
    user: str
    segment: str
    stream: bool
    seed: str
    expressive: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a user thinks of an answer."""

    good: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """One answer as the user saw it, with what the user made of it. `thumbs` is None when it was not rated."""

    visit: Visit
    answer: str
    prompt_version: str
    turn: Json
    token: str
    thumbs: str | None = None
    reasons: tuple[str, ...] = ()
    correction: str | None = None
    asked_again: bool = False
    stars: int | None = None
    flipped: bool = False
    gestures: tuple[str, ...] = ()
    solicited: bool | None = None

    def feedback(self) -> list[Json]:
        """The bodies to post, in order."""
        bodies: list[Json] = []
        asked: Json = {} if self.solicited is None else {"solicited": self.solicited}
        if self.thumbs:
            body: Json = {"thumbs": self.thumbs, "reasons": list(self.reasons), "correction": self.correction}
            bodies.append({key: value for key, value in body.items() if value} | asked)
        if self.asked_again:
            bodies.append({"name": "implicit_regenerate", "value": 1, "polarity": "negative"} | AGREED)
        bodies += [{"name": f"implicit_{name}", "value": 1, "polarity": GESTURES[name]} | AGREED
                   for name in self.gestures]
        if self.stars:
            bodies.append({"stars": self.stars} | asked)
        if self.thumbs and self.flipped:
            bodies.append({"thumbs": "up" if self.thumbs == "down" else "down"} | asked)
        return [{"token": self.token, **body} for body in bodies]


@dataclass
class Tally:
    """A running count of what happened."""

    answers: int = 0
    ratings: int = 0
    down: int = 0
    versions: set[str] = field(default_factory=set)

    def add(self, answered: Answered) -> None:
        self.answers += 1
        self.ratings += answered.thumbs is not None
        self.down += answered.thumbs == "down"
        self.versions.add(answered.prompt_version)


def judge(answer: str, facts: tuple[str, ...], chance: random.Random) -> Verdict:
    """The verdict on the text of an answer, given what the user knows to be true."""
    if any(fact.lower() in answer.lower() for fact in facts):
        cited = _CITATION.search(answer) is not None
        return Verdict(True) if cited or chance.random() >= MINDS_NO_SOURCE else Verdict(False, ("no_source",))
    if "do not know" in answer:
        return Verdict(False, ("unhelpful",))
    return Verdict(False, ("inaccurate",) if _CITATION.search(answer) else ("inaccurate", "no_source"))


class Unanswered(Exception):
    """The application said that it has no answer just now."""


def visits(first: int, count: int, seed: int, expressive: bool = False) -> list[Visit]:
    """Visits number `first` to `first + count - 1` of the endless sequence that belongs to `seed`."""
    known: list[Json] = json.loads((Path(__file__).parent / "questions.json").read_text(encoding="utf-8"))
    found = [_visit(index, known, seed) for index in range(first, first + count)]
    return [_express(visit) for visit in found] if expressive else found


def _visit(index: int, known: list[Json], seed: int) -> Visit:
    chance = random.Random(f"{seed}:visit:{index}")
    item, number = chance.choice(known), chance.randrange(60)
    question = chance.choice(OPENINGS) + item["question"] + chance.choice(CLOSINGS)
    segment = "member" if number % 3 == 0 else "free"
    user = f"user-{number + 60 * (index % CROWD)}"
    return Visit(index, question, tuple(item["facts"]), user, segment, chance.random() < STREAMS,
                 f"{seed}:mood:{index}")  # fmt: skip


def _express(visit: Visit) -> Visit:
    chance = random.Random(f"{visit.seed}:topic")
    if chance.random() >= STRAYS:
        return replace(visit, expressive=True)
    return replace(visit, expressive=True, question=chance.choice(OFF_TOPIC), facts=("do not know",))


def _read(visit: Visit, reply: Json, chance: random.Random) -> Answered:
    answered = _ask_some(_rate(visit, reply, chance))
    return _more(answered, random.Random(f"{visit.seed}:{answered.answer}:more")) if visit.expressive else answered


def _ask_some(answered: Answered) -> Answered:
    """Who rated because the application asked; drawn apart, so that the ratings do not depend on it."""
    likely = ASKED_BAD if answered.thumbs == "down" else ASKED_GOOD
    chance = random.Random(f"{answered.visit.seed}:{answered.answer}:asked")
    return replace(answered, solicited=chance.random() < likely)


def _more(answered: Answered, chance: random.Random) -> Answered:
    """What an expressive user says beside the thumb; drawn apart, so that the thumbs stay as they are without it."""
    good = judge(answered.answer, answered.visit.facts, chance).good
    stars = chance.choices((5, 4, 3) if good else (1, 2, 3), (6, 3, 1))[0] if chance.random() < STARS else None
    gesture, likely = ("copy", COPIES) if good else ("abandonment", LEAVES)
    gestures = (gesture,) if chance.random() < likely and not answered.asked_again else ()
    return replace(answered, stars=stars, flipped=chance.random() < FLIPS, gestures=gestures)


def _rate(visit: Visit, reply: Json, chance: random.Random) -> Answered:
    verdict = judge(reply["answer"], visit.facts, chance)
    good = verdict.good != (chance.random() < MISTAKE)
    rates = chance.random() < (RATES_GOOD if good else RATES_BAD)
    wrong = "inaccurate" in verdict.reasons or "unhelpful" in verdict.reasons
    corrects = rates and not good and wrong and chance.random() < CORRECTS
    return Answered(
        visit, reply["answer"], reply["prompt_version"], reply["turn"], reply["feedback_token"],
        thumbs=("up" if good else "down") if rates else None,
        reasons=() if good else verdict.reasons,
        correction=f"The right answer is {visit.facts[0]}." if corrects else None,
        asked_again=not good and chance.random() < ASKS_AGAIN,
    )  # fmt: skip


class Web:
    """Posts JSON; one kept-alive connection per thread and server."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def post(self, base: str, path: str, body: Json) -> str:
        """The answer's text. Raises RuntimeError when the server refuses."""
        connection = self._connection(base)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
        if response.status == NO_ANSWER:
            raise Unanswered(text)
        if response.status >= 300:
            raise RuntimeError(f"POST {base}{path} answered {response.status}: {text[:300]}")
        return text

    def _connection(self, base: str) -> http.client.HTTPConnection:
        known: dict[str, http.client.HTTPConnection] = self._mine.__dict__
        if base not in known:
            known[base] = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
            self._all.append(known[base])
        return known[base]

    def close(self) -> None:
        for connection in self._all:
            connection.close()


def attend(web: Web, app: str, visit: Visit) -> list[Answered]:
    """Let one user ask, and perhaps ask again. Nothing is voted yet; who gets no answer goes away."""
    chance = random.Random(visit.seed)
    answers: list[Answered] = []
    history: list[Json] = []
    try:
        answers.append(_read(visit, _ask(web, app, visit, history), chance))
        if answers[0].asked_again:
            history = [{"role": "user", "content": visit.question}, {"role": "assistant", "content": answers[0].answer}]
            answers.append(_read(visit, _ask(web, app, visit, history), chance))
    except Unanswered:
        pass
    return answers


def _ask(web: Web, app: str, visit: Visit, history: list[Json]) -> Json:
    body = {"question": visit.question, "session": f"visit-{visit.index}", "user": visit.user,
            "segment": visit.segment, "stream": visit.stream, "history": history}  # fmt: skip
    text = web.post(app, "/chat", body)
    if "event: failed\n" in text:
        raise Unanswered(text)
    reply = json.loads(text.rsplit("event: reply\ndata: ", 1)[-1])
    if not reply["feedback_token"]:
        raise RuntimeError("the application sent no feedback token: is it running with BACKSPAN=1?")
    return reply


def run(
    app: str, feedback: str, first: int, count: int, seed: int, workers: int = 6, expressive: bool = False
) -> Iterator[Answered]:
    """Let `count` users visit, several at a time, and post what they think in the order of the visits.

    Yields each answer once its feedback was accepted. Raises RuntimeError when a server refuses a request, OSError
    when it cannot be reached.
    """
    web, pool = Web(), ThreadPoolExecutor(workers)
    try:
        for answers in pool.map(partial(attend, web, app), visits(first, count, seed, expressive)):
            for answered in answers:
                for body in answered.feedback():
                    web.post(feedback, "/v1/feedback", body)
                yield answered
    finally:  # when the caller stops early, those who wait are sent home
        pool.shutdown(cancel_futures=True)
        web.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated users who ask and judge.")
    parser.add_argument("--app", default="http://127.0.0.1:8000", help="the chat application")
    parser.add_argument("--feedback", default="http://127.0.0.1:4318", help="where votes go")
    parser.add_argument("--first", type=int, default=0, help="number of the first visit (default 0)")
    parser.add_argument("--count", type=int, default=100, help="number of visits (default 100)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--expressive", action="store_true", help="stars, changed minds and gestures too")
    args = parser.parse_args()
    tally = Tally()
    for answered in run(args.app, args.feedback, args.first, args.count, args.seed, expressive=args.expressive):
        tally.add(answered)
    share = 100 * tally.down / tally.ratings if tally.ratings else 0
    print(f"{tally.answers} answers, {tally.ratings} rated, {share:.1f} % thumbs down")


if __name__ == "__main__":
    main()
