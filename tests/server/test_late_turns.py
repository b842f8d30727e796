"""A vote by a token that knows nothing of its answer: it counts in the cohort of the answer, once that is known."""

from __future__ import annotations

import time

import pytest

from backspan import semconv

from .conftest import token, until

COHORT = {"gen_ai_prompt_name": "late", "gen_ai_prompt_version": "9", "gen_ai_request_model": "m-9"}


@pytest.fixture(scope="module")
def gateway(servers):
    return servers("gateway").start()


def answer(number, **more):
    """The span of the answer, as the Collector sends it."""
    now = time.time_ns()
    said = {semconv.OPERATION_NAME: "chat", semconv.PROMPT_NAME: "late", semconv.PROMPT_VERSION: "9",
            semconv.REQUEST_MODEL: "m-9", semconv.TURN_ID: f"{number:032x}-{number:016x}", **more}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]
    span = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "chat", "attributes": attributes,
            "startTimeUnixNano": str(now - 10**9), "endTimeUnixNano": str(now)}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def counted(server, **labels):
    """Net number of votes in the series with these labels."""
    lines = [line for line in server.metrics().splitlines() if line.startswith("backspan_feedback_total{")
             and all(f'{key}="{value}"' in line for key, value in labels.items())]
    return sum(float(line.rsplit(" ", 1)[1]) * (-1 if 'op="retract"' in line else 1) for line in lines)


def vote(server, number):
    bare = token(number, target={"dims": None})
    assert server.vote({"thumbs": "down", "token": bare})[0] == 201


def test_the_vote_first_and_then_the_turn(servers):
    gateway = servers("gateway").start()  # of its own: all that it counts is this vote
    vote(gateway, 1)
    assert counted(gateway, **COHORT) == 0
    assert gateway.json("/v1/traces", "POST", answer(1))[0] == 200
    assert until(lambda: counted(gateway, **COHORT)) == 1
    assert counted(gateway) == 1


def test_the_turn_first_and_then_the_vote(gateway):
    assert gateway.json("/v1/traces", "POST", answer(2))[0] == 200
    before = counted(gateway, **COHORT)
    vote(gateway, 2)
    assert until(lambda: counted(gateway, **COHORT) - before) == 1


def test_another_answer_says_nothing_of_it(gateway):
    """The twin."""
    before = counted(gateway, **COHORT)
    vote(gateway, 3)
    assert gateway.json("/v1/traces", "POST", answer(4))[0] == 200
    until(lambda: gateway.json(f"/api/turns?trace_id={4:032x}")[1]["turns"])
    assert counted(gateway, **COHORT) == before
    (shown,) = gateway.json(f"/api/feedback?trace_id={3:032x}")[1]["feedback"]
    assert not (shown["dims"] or {}).get(semconv.PROMPT_NAME)
