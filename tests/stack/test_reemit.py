"""Tempo loses everything; `backspan feedback reemit` brings the votes back, as the same spans."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.stack.backend import NotFound, get, until
from tests.stack.conftest import House, backspan
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.stack


def feedback_spans(house: House, trace_id: str) -> list[tuple[str, str, str]]:
    """(trace, span, name) of each feedback span about a trace, as a search finds them."""
    query = f'{{ span.backspan.feedback.trace_id = "{trace_id}" }}'
    found = get(house.backend.ports.tempo, "/api/search", q=query, spss="100", limit="100")["traces"]
    return sorted((trace["traceID"].zfill(32), span["spanID"], span.get("name", ""))
                  for trace in found for one in trace["spanSets"] for span in one["spans"])


def reemit(house: House) -> dict[str, object]:
    gateway = f"http://127.0.0.1:{house.backend.ports.gateway}"
    done = backspan("feedback", "reemit", "--since=1h", f"--gateway={gateway}", "--json", folder=house.folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def voted(house: House, model: OpenAIServer, service: str) -> tuple[str, list[tuple[str, str, str]]]:
    """A trace with three votes: its id, and the feedback spans in Tempo."""
    turn = house.backend.find_turn(house.ask(model, OTEL_SERVICE_NAME=service))
    for rater in "abc":
        assert house.backend.vote(turn, "down", rater) == "add"
    trace_id = turn["trace_id"]

    def all_three() -> list[tuple[str, str, str]] | None:
        found = feedback_spans(house, trace_id)
        return found if len(found) == 3 else None

    return trace_id, until(all_three, f"three votes on {service}")


def test_votes_come_back_with_the_same_ids(house: House, model: OpenAIServer) -> None:
    trace_id, before = voted(house, model, "wiped")
    with house.without("tempo"):
        shutil.rmtree(house.stack.plan.data / "tempo")
    with pytest.raises(NotFound):  # the twin: without the command they do not come back
        until(lambda: feedback_spans(house, trace_id) or None, "a vote", seconds=5)
    assert int(str(reemit(house)["again"])) >= 3
    until(lambda: (feedback_spans(house, trace_id) == before) or None, "the same votes")


def test_what_tempo_still_has_is_not_doubled(house: House, model: OpenAIServer) -> None:
    trace_id, before = voted(house, model, "kept")
    counted = 'sum(backspan_feedback_total{service_name="kept",name="user_thumbs",op="add"})'
    house.backend.find_value(counted, 3)
    assert int(str(reemit(house)["again"])) >= 3
    _, later = voted(house, model, "kept-later")  # sent after them, so they have arrived when these have
    assert len(later) == 3
    assert feedback_spans(house, trace_id) == before
    for feedback_trace, span_id, _ in before:
        assert [span["spanId"] for span in house.backend.find_trace(feedback_trace)] in ([span_id], [_base64(span_id)])
    house.backend.find_value(counted, 3)


def _base64(span_id: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(span_id)).decode()
