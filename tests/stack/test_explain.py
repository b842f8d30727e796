"""`backspan spc explain` on an alert that fires, with the real Prometheus, Alertmanager and Tempo."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.stack.backend import get, until
from tests.stack.conftest import Alarm, House, backspan, vote_down
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.stack
SERVICE = "explained"


@dataclass(frozen=True)
class Judged:
    """Trace ids of the answers of one service, by what was thought of them."""

    down: set[str]
    up: set[str]


@pytest.fixture(scope="module")
def judged(house: House, model: OpenAIServer) -> Iterator[Judged]:
    """An alert about two answers; a third one was liked. Returns when Tempo's search knows every vote."""
    first, second, third = (house.ask(model, OTEL_SERVICE_NAME=SERVICE) for _ in range(3))
    turns = [house.backend.find_turn(response_id) for response_id in (first, second, third)]
    house.backend.vote(turns[2], "up")
    house.backend.vote(turns[1], "down", "another rater")
    vote_down(house, SERVICE, first)
    for turn in turns:
        house.backend.find_vote(turn["trace_id"])
    yield Judged({turn["trace_id"] for turn in turns[:2]}, {turns[2]["trace_id"]})


def explain(house: House, *more: str, service: str = SERVICE) -> subprocess.CompletedProcess[str]:
    ports = house.backend.ports
    return backspan(
        "spc", "explain", "--prometheus", f"http://127.0.0.1:{ports.prometheus}", "--tempo",
        f"http://127.0.0.1:{ports.tempo}", "--spec", str(house.folder / "spc.yaml"), "--labels",
        f"service_name={service}", "--labels", "partition=prompt", *more, folder=house.folder)


def told(house: House, *more: str, service: str = SERVICE) -> dict[str, Any]:
    done = explain(house, "--json", *more, service=service)
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout)


def test_it_finds_exactly_the_traces_that_were_voted_down(house: House, judged: Judged) -> None:
    def look() -> dict[str, Any] | None:
        found = told(house)
        seen.append(found["traces"])
        return found if set(found["traces"]) == judged.down else None

    seen: list[list[str]] = []
    found = until(look, "the traces of the bad votes")
    assert not any(set(traces) - judged.down for traces in seen), "another trace on the way"
    assert found["traces_fault"] is None
    assert (found["alert"]["name"], found["alert"]["firing"]) == ("BackspanQualityRegression", True)
    assert found["alert"]["labels"]["service.name"] == SERVICE
    assert house.backend.find_trace(found["traces"][0])
    text = explain(house).stdout
    assert all(trace in text for trace in judged.down) and not any(trace in text for trace in judged.up)


def heard_of(house: House, service: str) -> None:
    """Wait until Alertmanager knows of a service's alarm: after its restart Prometheus repeats it once a minute."""
    wanted = {"filter": f'service_name="{service}"', "active": "true"}
    until(lambda: get(house.backend.ports.alertmanager, "/api/v2/alerts", **wanted) or None, service, seconds=180)


def test_traces_of_another_service_are_not_among_them(house: House, alarm: Alarm, judged: Judged) -> None:
    """By Alertmanager's fingerprint of the page this time."""
    address = f"http://127.0.0.1:{house.backend.ports.alertmanager}"
    heard_of(house, alarm.service)
    until(lambda: told(house, "--alertmanager", address, service=alarm.service)["traces"] or None, "traces")
    found = told(house, "--alertmanager", address, service=alarm.service)
    assert found["alert"]["id"] == alarm.page["fingerprint"]
    assert len(found["traces"]) == 1 and not set(found["traces"]) & (judged.down | judged.up)


def test_without_tempo_it_answers_and_says_that_traces_could_not_be_had(house: House, judged: Judged) -> None:
    """The twin: what Prometheus knows is told all the same."""
    with house.without("tempo"):
        found, done = told(house), explain(house)
    assert found["traces"] == [] and "does not answer" in found["traces_fault"]
    assert found["causes"] is not None and found["traceql"] and judged.down
    assert done.returncode == 1 and "  traces     could not be had: " in done.stdout
    assert "how many" in done.stdout
