"""The example in one command: what users say and which prompt is in use is decided by the seed; the votes arrive."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import app
import pytest
import simulate
import users
from tests.support.processes import environment, free_port

from backspan.cli._demo.children import Children

RAG_CHAT = Path(users.__file__).parent
UP = "import sys; from backspan.cli import main; sys.exit(main())"


# --- which prompt when ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [10, 99, 100, 600])
def test_one_cycle_is_made_of_all_its_visits_in_order(count: int) -> None:
    pieces = list(simulate.rounds(count, forever=False))
    assert [visit for first, length, _ in pieces for visit in range(first, first + length)] == list(range(count))
    assert all(0 < length <= simulate.ROUND for _, length, _ in pieces)
    assert list(dict.fromkeys(live for *_, live in pieces)) == ["v1", "v1 v2 20", "v2", "v3"]


def test_for_ever_goes_on_with_new_visits_and_begins_the_story_again() -> None:
    endless = simulate.rounds(50, forever=True)
    pieces = [next(endless) for _ in range(8)]
    assert [live for *_, live in pieces].count("v1") == 2
    firsts = [first for first, *_ in pieces]
    assert firsts == sorted(set(firsts)) and firsts[-1] > 50


def test_every_prompt_of_the_story_exists() -> None:
    named = {word for _, live in simulate.STORY for word in live.split() if not word.isdigit()}
    assert named == {"v1", "v2", "v3"}
    assert all((RAG_CHAT / "prompts" / f"{version}.txt").exists() for version in named)


# --- what the application makes of the file ---------------------------------------------------------------------------
def test_a_fifth_of_the_sessions_sees_the_canary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(app, "LIVE_PROMPT", tmp_path / "live")
    simulate.release(tmp_path / "live", "v1 v2 20")
    seen = [app.live_prompt(f"visit-{n}") for n in range(1000)]
    share = Counter((prompt.version, prompt.variant) for prompt in seen)
    assert set(share) == {("v1", "control"), ("v2", "treatment")} and 160 < share["v2", "treatment"] < 240
    assert seen == [app.live_prompt(f"visit-{n}") for n in range(1000)]  # a session stays on its side


def test_a_version_alone_is_no_experiment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(app, "LIVE_PROMPT", tmp_path / "live")
    simulate.release(tmp_path / "live", "v3")
    assert {(app.live_prompt(f"visit-{n}").version, app.live_prompt(f"visit-{n}").variant) for n in range(50)} == {
        ("v3", None)}


# --- expressive users -------------------------------------------------------------------------------------------------
def _answered(visit: users.Visit) -> users.Answered:
    reply = {"answer": visit.facts[0], "prompt_version": "v1", "turn": {}, "feedback_token": "t"}
    return users._read(visit, reply, random.Random(visit.seed))


def test_expressive_users_say_more_and_rate_the_same() -> None:
    plain, more = users.visits(0, 400, 7), users.visits(0, 400, 7, expressive=True)
    asked = [(a, b) for a, b in zip(plain, more, strict=True) if a.question == b.question]
    assert 0.9 < len(asked) / 400 < 1
    assert [_answered(a).thumbs for a, _ in asked] == [_answered(b).thumbs for _, b in asked]
    said = Counter(key for visit in more for body in _answered(visit).feedback() for key in (
        body.get("name"), "stars" if "stars" in body else None))
    assert said["stars"] > 50 and said["implicit_copy"] > 30
    assert not any("stars" in body for visit in plain for body in _answered(visit).feedback())


def test_who_gets_no_answer_says_nothing() -> None:
    class NoModel(users.Web):
        def post(self, base: str, path: str, body: users.Json) -> str:
            raise users.Unanswered("502")

    assert users.attend(NoModel(), "http://127.0.0.1:1", users.visits(0, 1, 7)[0]) == []


# --- all of it --------------------------------------------------------------------------------------------------------
def play(up: str, data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, RAG_CHAT / "simulate.py", f"--otlp={up}", "--visits=40", "--failures=0.1", *more]
    return subprocess.run(command, env=environment(BACKSPAN_DATA_DIR=str(data)), capture_output=True, text=True,
                          timeout=300)


def _json(url: str) -> dict[str, list[users.Json]]:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as answer:
        return json.load(answer)


def test_the_whole_example_against_up(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    env = environment(BACKSPAN_DATA_DIR=str(tmp_path))
    with Children(tmp_path) as children:
        command = [sys.executable, "-c", UP, "up", "--port", url.rpartition(":")[2]]
        children.wait_ready(children.start("up", url, command, env, tmp_path))
        done = play(url, tmp_path)
        assert done.returncode == 0, done.stderr
        told = int(done.stdout.split(" answers")[0])
        turns = [turn for turn in _json(f"{url}/api/turns?limit=500")["turns"] if turn["answer"]]
        votes = _json(f"{url}/api/feedback?limit=500")["feedback"]
        lost = play(url, tmp_path, "--feedback=http://127.0.0.1:9")  # the twin: votes that go nowhere are no success
    assert len(turns) == told > 30
    assert {turn["prompt_version"] for turn in turns} == {"v1", "v2", "v3"}
    assert {turn["model"] for turn in turns} == {"sim-small-1", "sim-large-1"}
    assert {"user_thumbs", "user_stars", "evaluator_grounded"} <= {vote["name"] for vote in votes}
    assert {vote["source"] for vote in votes} == {"end_user", "implicit", "evaluator"}
    assert lost.returncode != 0
