"""From a click to the back end: what a person says of a streamed answer is what the real programs show, and no more.

A browser asks the example application, which knows of the widget and of the token, and nothing else. Gateway,
Collector, Tempo and Prometheus are those of `backspan stack up`, with the shipped configuration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.stack.backend import ABSENT_S, NotFound, until
from tests.stack.conftest import STACK_DIR, House, running
from tests.stack.example import ENVIRONMENT, SERVICE, application
from tests.support.held import hold

pytestmark = [pytest.mark.browser, pytest.mark.stack]
COHORT = f'service_name="{SERVICE}",deployment_environment_name="{ENVIRONMENT}"'
SAVED, QUEUED = "Thank you. You can change this at any time.", "Kept in this browser until it can be sent."
SENT_S = 90
"""Longest wait for what the browser or the Collector has kept: both wait longer after each failure."""
UP, DOWN = ("positive", "add"), ("negative", "change")
TAKEN_BACK = ("positive", "retract")


@dataclass(frozen=True)
class Street:
    """The running back end, and the application's page, whose origin the gateway allows."""

    house: House
    url: str


@dataclass(frozen=True)
class Shown:
    """An answer on the screen: its page, its widget, and the ids with which its stream ended."""

    page: Page
    widget: Locator
    turn: dict[str, str]

    def thumb(self, up: bool) -> Locator:
        return self.widget.get_by_role("button", name="Yes, it helped" if up else "No, it did not help")

    def rate(self, up: bool) -> dict[str, Any]:
        """Click; what the gateway answers."""
        with self.page.expect_response(lambda answer: answer.url.endswith("/v1/feedback") and answer.ok
                                       and answer.request.method == "POST") as said:
            self.thumb(up).click()
        return said.value.json()

    def says(self, text: str, seconds: float = 20) -> None:
        expect(self.widget.get_by_role("status")).to_have_text(text, timeout=1000 * seconds)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Generator[Street]:
    """A back end of its own, and the application whose page its gateway answers."""
    with hold() as port:
        with running(tmp_path_factory.mktemp("street"), BACKSPAN_ORIGINS=f"http://127.0.0.1:{port}") as house:
            gateway = f"http://127.0.0.1:{house.backend.ports.gateway}"
            with application(house, tmp_path_factory.mktemp("app"), port, RAG_CHAT_FEEDBACK=gateway) as town:
                yield Street(house, town.url)


@pytest.fixture(autouse=True)
def _as_operator(monkeypatch: pytest.MonkeyPatch, street: Street) -> None:
    """What a program that a test starts again is started with."""
    monkeypatch.setenv("BACKSPAN_STACK_DIR", STACK_DIR)
    monkeypatch.setenv("BACKSPAN_DATA_DIR", str(street.house.folder / "data"))
    monkeypatch.setenv("BACKSPAN_ORIGINS", street.url)
    monkeypatch.delenv("BACKSPAN_TOKEN_KEYS")


def ask(page: Page, street: Street) -> Shown:
    """Ask on the application's page; the answer has been written, and the gateway knows of it."""
    page.goto(street.url)
    page.get_by_label("Your question").fill("How long are gift cards valid?")
    with page.expect_response("**/chat") as streamed:
        page.get_by_role("button", name="Ask").click()
    last = streamed.value.text().strip().split("\n\n")[-1]
    assert last.startswith("event: reply\n"), last
    turn = json.loads(last.partition("data: ")[2])["turn"]
    street.house.backend.find_turn(turn["response_id"])
    found = page.locator("backspan-feedback")
    expect(found.get_by_role("button", name="Skip")).to_be_visible()
    return Shown(page, found, turn)


# --- what the programs show -------------------------------------------------------------------------------------------
def in_prometheus(house: House) -> dict[tuple[str, str], float]:
    """(polarity, op) -> thumbs of the application, those that are not zero."""
    counter = f'backspan_feedback_total{{instance="gateway",name="user_thumbs",{COHORT}}}'
    found = house.backend.query(f"sum by (polarity, op) ({counter}) > 0")
    return {(one["metric"]["polarity"], one["metric"]["op"]): float(one["value"][1]) for one in found}


def in_collector(house: House) -> float:
    """Revisions of thumbs that went through the Collector, as it counts spans."""
    counter = f'traces_span_metrics_calls_total{{span_name="evaluation user_thumbs",service_name="{SERVICE}"}}'
    return sum(float(one["value"][1]) for one in house.backend.query(counter))


def in_tempo(house: House, turn: dict[str, str]) -> list[tuple[int, str, float, str]]:
    """Revisions of thumbs on an answer, as a search finds them: version, op, score, id of the span linked to."""
    linked = f'link:traceID = "{turn["trace_id"].lstrip("0")}" && name = "evaluation user_thumbs"'
    score = "event.gen_ai.evaluation.score.value"
    wanted = f"span.backspan.feedback.version, span.backspan.feedback.op, {score}, link:spanID"
    return sorted((int(one["backspan.feedback.version"]), one["backspan.feedback.op"],
                   float(one[score.removeprefix("event.")]), one["link:spanID"])
                  for one in house.backend.search(f"{{ {linked} }} | select({wanted})"))


def by_id(house: House, receipt: dict[str, Any], version: int, seconds: float = 30) -> dict[str, Any]:
    """One revision by the id of its trace, which follows from the vote's: what the span says."""
    trace_id = hashlib.sha256(f"{receipt['id']}:{version}".encode()).hexdigest()[:32]
    [span] = house.backend.find_trace(trace_id, seconds)
    return {one["key"].removeprefix("backspan.feedback."): next(iter(one["value"].values()))
            for one in span["attributes"]}


def becomes(look: Any, wanted: object, what: str, seconds: float = 45) -> None:
    """Wait until exactly this is shown."""
    seen: list[object] = [None]

    def same() -> bool | None:
        seen[0] = look()
        return seen[0] == wanted or None

    try:
        until(same, what, seconds)
    except NotFound:
        pytest.fail(f"{what}: {seen[0]!r} is not {wanted!r}")


# --- the tests: each begins with what those before it have left -------------------------------------------------------
def test_a_streamed_answer_is_rated_and_the_mind_changed(page: Page, street: Street) -> None:
    house, before = street.house, in_prometheus(street.house)
    shown = ask(page, street)

    def more(*said: tuple[str, str]) -> dict[tuple[str, str], float]:
        return {key: before.get(key, 0) + (key in said) for key in {*before, *said}}

    first = shown.rate(True)
    assert (first["status"], first["version"]) == ("add", 1)
    assert by_id(house, first, 1)["op"] == "add"
    becomes(lambda: in_prometheus(house), more(UP), "a thumb up in Prometheus")

    second = shown.rate(False)
    assert (second["status"], second["version"], second["id"]) == ("change", 2, first["id"])
    assert by_id(house, second, 2)["op"] == "change"
    becomes(lambda: in_prometheus(house), more(UP, DOWN, TAKEN_BACK), "the change in Prometheus")
    span = shown.turn["span_id"]
    becomes(lambda: in_tempo(house, shown.turn), [(1, "add", 1.0, span), (2, "change", 0.0, span)], "both in Tempo")
    revisions = sum(count for (_, op), count in more(UP, DOWN).items() if op != "retract")
    becomes(lambda: in_collector(house), revisions, "both in the Collector")
    assert in_prometheus(house) == more(UP, DOWN, TAKEN_BACK)


def test_an_answer_that_nobody_rates_has_no_vote(page: Page, street: Street) -> None:
    """The twin: asked, read, seen, and left alone."""
    house, before = street.house, in_prometheus(street.house)
    shown = ask(page, street)
    with pytest.raises(NotFound):
        until(lambda: in_tempo(house, shown.turn) or None, "a vote that was not cast", ABSENT_S)
    assert in_prometheus(house) == before


def test_a_vote_waits_in_the_browser_while_the_gateway_is_stopped(page: Page, street: Street) -> None:
    """The other twin: what the gateway has not, nobody shows; then it arrives, once, and nobody has to do anything."""
    house, before = street.house, in_prometheus(street.house)
    shown = ask(page, street)
    with house.without("gateway"):
        shown.thumb(True).click()
        shown.says(QUEUED)
        with pytest.raises(NotFound):
            until(lambda: in_tempo(house, shown.turn) or None, "a vote that was not taken", ABSENT_S)
    shown.says(SAVED, SENT_S)
    becomes(lambda: in_tempo(house, shown.turn), [(1, "add", 1.0, shown.turn["span_id"])], "the vote in Tempo")
    becomes(lambda: in_prometheus(house), {**before, UP: before.get(UP, 0) + 1}, "the vote in Prometheus")


def test_a_page_whose_origin_is_not_allowed_cannot_vote(page: Page, street: Street) -> None:
    """By its other name the application is another origin, and the gateway was not told of it."""
    elsewhere = street.url.replace("127.0.0.1", "localhost")
    page.goto(elsewhere)
    page.get_by_label("Your question").fill("How long are gift cards valid?")
    page.get_by_role("button", name="Ask").click()
    found = page.locator("backspan-feedback")
    before = in_prometheus(street.house)
    found.get_by_role("button", name="Yes, it helped").click()
    expect(found.get_by_role("status")).to_have_text(QUEUED)
    assert in_prometheus(street.house) == before
