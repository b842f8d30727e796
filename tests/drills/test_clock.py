"""An application whose clock is wrong by hours: traces and votes arrive; what Prometheus refuses is said."""

from __future__ import annotations

import pytest
from tests.drills.found import pages
from tests.stack.backend import NotFound, until
from tests.stack.conftest import House
from tests.support.openai_server import OpenAIServer
from tests.support.processes import python, run

pytestmark = pytest.mark.drill
ANSWERS = 4
"""Of `chat.py`: embeddings are none."""
DROPPED = 'ALERTS{alertname="BackspanTelemetryDropped",alertstate="firing",signal="metric_points"}'


def ask(house: House, model: OpenAIServer, service: str, offset: str) -> dict[str, str]:
    """The gateway's turn of an answer that an application gave whose clock is wrong by ``offset``."""
    first = len(model.requests) + 1
    clock = ["faketime", "--exclude-monotonic", "-f", offset]
    done = run([*clock, *python("chat.py")], house.environment(model, OTEL_SERVICE_NAME=service))
    assert (done.returncode, done.stderr) == (0, "")

    def kept() -> dict[str, str] | None:  # not on the first page, if others have asked since that clock's moment
        return next((turn for turn in pages(house.backend, "turns") if turn["response_id"] == f"chatcmpl-{first:06d}"),
                    None)

    return until(kept, f"turn of {service}")


def test_a_minute_is_nothing(house: House, model: OpenAIServer) -> None:
    """The twin of those below: nothing is refused."""
    ask(house, model, "minute", "-1m")
    house.backend.find_value('sum(backspan_answers_total{service_name="minute",instance!="gateway"})', ANSWERS)
    with pytest.raises(NotFound):
        until(lambda: house.backend.query(DROPPED) or None, DROPPED, 10)


@pytest.mark.parametrize("offset", ["+2h", "-5h"])
def test_hours(house: House, model: OpenAIServer, offset: str) -> None:
    service = f"wrong by {offset}"
    turn = ask(house, model, service, offset)
    assert house.backend.find_trace(turn["trace_id"])
    assert house.backend.vote(turn, "down") == "add"
    votes = f'backspan_feedback_total{{service_name="{service}",polarity="negative",name="user_thumbs",op="add"}}'
    until(lambda: [one for one in house.backend.query(f"sum({votes})") if float(one["value"][1]) == 1] or None, votes)
    assert len(house.backend.find_vote(turn["trace_id"])) == 1
    until(lambda: house.backend.query(DROPPED) or None, DROPPED)
    assert house.backend.query(f'backspan_answers_total{{service_name="{service}",instance!="gateway"}}') == []
