"""A burst of long prompts through the real Collector into the real Tempo and gateway.

`test_collector.test_long_prompts_are_lost_in_batches_by_count` is the twin: the same with batches that are counted in
spans. Here a receiver that refuses, Tempo's with its default limit, would lose them as well.
"""

from __future__ import annotations

import json
import time

import pytest
from tests.stack.backend import get, until
from tests.stack.collectors import post, request, span
from tests.stack.conftest import House
from tests.stack.test_collector import CHAT, LONG

from backspan import semconv

pytestmark = pytest.mark.stack
BURST, AT_ONCE = 600, 20
WAIT_S = 240
SERVICE = "long-prompts"


def send(house: House) -> list[str]:
    """600 answers to prompts of 100 kB each; their trace ids."""
    url, now = f"http://127.0.0.1:{house.backend.ports.otlp_http}", time.time_ns()
    said = {**CHAT, semconv.INPUT_MESSAGES: LONG}
    spans = [span(n, {**said, semconv.RESPONSE_ID: f"1234567890{n:06d}"}, ended=now + n * 10**6) for n in range(BURST)]
    for start in range(0, BURST, AT_ONCE):
        assert post(url, request(spans[start:start + AT_ONCE], SERVICE)) == 200
    return [one.trace_id.hex() for one in spans]


def test_a_burst_of_long_prompts_arrives_whole(house: House) -> None:
    backend = house.backend
    traces = send(house)
    counted = f'sum(backspan_answers_total{{service_name="{SERVICE}",instance="gateway"}})'
    backend.find_value(counted, BURST, seconds=WAIT_S)
    query = f'{{ resource.service.name = "{SERVICE}" }}'

    def found() -> bool | None:
        answered = get(backend.ports.tempo, "/api/search", q=query, limit="1000", spss="1")["traces"]
        return True if {one["traceID"].zfill(32) for one in answered} == set(traces) else None

    until(found, f"{BURST} traces in Tempo", seconds=WAIT_S)
    for number in range(0, BURST, 50):
        (one,) = backend.find_trace(traces[number])
        said = {each["key"]: each["value"].get("stringValue") for each in one["attributes"]}
        assert said[semconv.INPUT_MESSAGES] == LONG and json.loads(LONG)
        assert said[semconv.RESPONSE_ID] == f"1234567890{number:06d}"
    turn = backend.find_turn(f"1234567890{BURST - 1:06d}")
    assert turn["query"] == "x" * 100_000
