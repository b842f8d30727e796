"""From an application that knows nothing of us, through the real programs, to a person: trace, vote, counter, page.

Each check has a twin in which one program is stopped: the check must fail then. Where something keeps what could not be
delivered, the twin also sees it arrive when the program is back.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from tests.stack.backend import ABSENT_S, NotFound, thumbs_of, until
from tests.stack.conftest import Alarm, House, vote_down
from tests.support.openai_server import OpenAIServer
from tests.support.processes import python

pytestmark = pytest.mark.stack
HERE = __file__.rpartition("/")[0]


def counter(service: str) -> str:
    """The gateway's counter of thumbs down on answers of a service to a prompt."""
    return thumbs_of(f'instance="gateway",service_name="{service}",gen_ai_prompt_version!=""')


def test_the_variable_is_enough(house: House, model: OpenAIServer) -> None:
    """Trace by id, the vote through its link, the counter from 0 to 1 with an exemplar of the judged span."""
    backend, unnamed = house.backend, "unknown_service:python"
    turn = backend.find_turn(house.ask(model))
    spans = backend.find_trace(turn["trace_id"])
    assert [span["name"] for span in spans] == ["chat gpt-test"]
    backend.find_value(counter(unnamed), 0)

    assert backend.vote(turn, "down") == "add"

    backend.find_value(counter(unnamed), 1)
    exemplar = backend.find_exemplar(counter(unnamed), turn["trace_id"])
    assert exemplar == {"trace_id": turn["trace_id"], "span_id": turn["span_id"]}
    (vote,) = backend.find_vote(turn["trace_id"])
    assert vote["link:spanID"] == turn["span_id"]
    assert vote["gen_ai.evaluation.name"] == "user_thumbs"
    assert float(vote["gen_ai.evaluation.score.value"]) == 0.0


def test_trace_not_found_while_tempo_is_stopped(house: House, model: OpenAIServer) -> None:
    with house.without("tempo"):
        turn = house.backend.find_turn(house.ask(model, OTEL_SERVICE_NAME="no-tempo"))
        with pytest.raises(NotFound):
            house.backend.find_trace(turn["trace_id"], seconds=5)
    assert house.backend.find_trace(turn["trace_id"])


def test_vote_not_found_while_the_collector_is_stopped(house: House, model: OpenAIServer) -> None:
    turn = house.backend.find_turn(house.ask(model, OTEL_SERVICE_NAME="no-collector"))
    with house.without("collector"):
        assert house.backend.vote(turn, "down") == "add"
        with pytest.raises(NotFound):
            house.backend.find_vote(turn["trace_id"], seconds=ABSENT_S)
    assert len(house.backend.find_vote(turn["trace_id"])) == 1


def test_nothing_of_an_application_is_found_while_the_collector_is_stopped(house: House, model: OpenAIServer) -> None:
    with house.without("collector"):
        response_id = house.ask(model, heard=False, OTEL_SERVICE_NAME="unheard")
        with pytest.raises(NotFound):
            house.backend.find_turn(response_id, seconds=5)
    assert house.backend.query('backspan_answers_total{service_name="unheard"}') == []


def test_counter_not_found_while_prometheus_is_stopped(house: House, model: OpenAIServer) -> None:
    turn = house.backend.find_turn(house.ask(model, OTEL_SERVICE_NAME="no-prometheus"))
    house.backend.find_value(counter("no-prometheus"), 0)
    with house.without("prometheus"):
        assert house.backend.vote(turn, "down") == "add"
        with pytest.raises(NotFound):
            house.backend.find_value(counter("no-prometheus"), 1, seconds=5)
    house.backend.find_value(counter("no-prometheus"), 1)
    assert house.backend.find_exemplar(counter("no-prometheus"), turn["trace_id"])


def test_a_trace_id_that_begins_with_zero(house: House) -> None:
    """Tempo drops leading zeros of a link's trace id; the attribute keeps them, so that no vote is out of reach."""
    turn = {"trace_id": "00c0ffee00c0ffee00c0ffee00c0ffee", "span_id": "00c0ffee00c0ffee"}
    assert house.backend.vote(turn, "up") == "add"
    (vote,) = house.backend.find_vote(turn["trace_id"])
    assert vote["link:spanID"] == turn["span_id"]
    assert len(house.backend.search(f'{{ span.backspan.feedback.trace_id = "{turn["trace_id"]}" }}')) == 1


@contextmanager
def sdk_app(
    house: House, model: OpenAIServer, service: str, **more: str
) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """The application that judges its own answers, waiting for the word to vote: the id of its answer, and itself."""
    env = house.environment(model, OTEL_SERVICE_NAME=service, OTEL_METRIC_EXPORT_INTERVAL="1000", **more)
    pipe = subprocess.PIPE
    with subprocess.Popen(python("sdk_app.py"), cwd=HERE, env=env, stdin=pipe, stdout=pipe, text=True) as app:
        assert app.stdin is not None and app.stdout is not None
        yield app.stdout.readline().strip(), app
        app.stdin.close()
        assert app.wait(60) == 0


def say_vote(app: subprocess.Popen[str]) -> str:
    """Tell the application to vote; the status that it got."""
    assert app.stdin is not None and app.stdout is not None
    app.stdin.write("\n")
    app.stdin.flush()
    return app.stdout.readline().strip()


def test_record_feedback_counts_with_an_exemplar(house: House, model: OpenAIServer) -> None:
    counted = thumbs_of('service_name="sdk",instance!="gateway"')
    with sdk_app(house, model, "sdk") as (response_id, app):
        house.backend.find_value(counted, 0)
        assert say_vote(app) == "add"
        house.backend.find_value(counted, 1)
        turn = house.backend.find_turn(response_id)
        assert house.backend.find_exemplar(counted, turn["trace_id"])["span_id"] == turn["span_id"]
    assert len(house.backend.find_vote(turn["trace_id"])) == 1


def test_record_feedback_does_not_count_while_the_collector_is_stopped(house: House, model: OpenAIServer) -> None:
    counted = thumbs_of('service_name="sdk-unheard",instance!="gateway"')
    with sdk_app(house, model, "sdk-unheard") as (_, app):
        house.backend.find_value(counted, 0)
        with house.without("collector"):
            assert say_vote(app) == "add"
            with pytest.raises(NotFound):
                house.backend.find_value(counted, 1, seconds=5)
        house.backend.find_value(counted, 1)


def test_a_generated_rule_pages(alarm: Alarm) -> None:
    """The page says what, for which cohort, how many and where the down-voted traces are."""
    labels, annotations = alarm.page["labels"], alarm.page["annotations"]
    assert labels["alertname"] == "BackspanQualityRegression"
    assert (labels["chart"], labels["service_name"], labels["severity"]) == ("thumbs_down", alarm.service, "page")
    assert "thumbs_down" in annotations["summary"]
    assert "backspan.feedback.polarity" in annotations["traces"]


def test_the_traces_of_a_page_are_found(house: House, alarm: Alarm) -> None:
    """The TraceQL of the alert, as it stands there, finds the bad votes in Tempo."""
    traceql = alarm.page["annotations"]["traces"]
    until(lambda: house.backend.search(traceql) or None, traceql)


def test_no_page_while_alertmanager_is_stopped(house: House, model: OpenAIServer) -> None:
    response_id = house.ask(model, OTEL_SERVICE_NAME="no-pager")
    with house.without("alertmanager"):
        vote_down(house, "no-pager", response_id)
        with pytest.raises(NotFound):
            until(lambda: house.pager.of("no-pager") or None, "page about no-pager", seconds=ABSENT_S)
