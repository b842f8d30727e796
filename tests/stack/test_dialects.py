"""OpenInference and OpenLLMetry spans, made by their own packages, through the real Collector.

Twins: a Collector without the dialects, in which those spans are nobody's answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.stack.backend import NotFound, until
from tests.stack.collectors import Collector, post, request, running, span
from tests.stack.conftest import House
from tests.support import dialects
from tests.support.openai_server import OpenAIServer
from tests.support.processes import environment, python, run

from backspan import semconv
from backspan.dialects import names, ottl
from backspan.dialects.apply import translated

pytestmark = pytest.mark.stack
HERE = Path(__file__).parent
BOTH = ("openinference", "openllmetry")
WITHOUT = "service: {pipelines: {traces/in: {processors: [memory_limiter, redaction/pii, transform/user]}}}"
"""The shipped configuration but for the dialects."""


def ask(model: OpenAIServer, endpoint: str, dialect: str) -> str:
    """Run the application of that dialect; the id of its answer."""
    env = environment(OPENAI_BASE_URL=model.base_url, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SERVICE_NAME=dialect)
    done = run(python("foreign_app.py", dialect), env, cwd=HERE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture(scope="module", params=BOTH)
def answer(request: pytest.FixtureRequest, house: House, model: OpenAIServer) -> tuple[str, dict[str, Any]]:
    """The dialect, and the gateway's turn of its answer."""
    response_id = ask(model, f"http://127.0.0.1:{house.backend.ports.otlp_http}", request.param)
    return request.param, house.backend.find_turn(response_id)


def test_the_gateway_keeps_the_answer(answer: tuple[str, dict[str, Any]]) -> None:
    dialect, turn = answer
    assert (turn["service"], turn["model"], turn["provider"]) == (dialect, "gpt-test", "openai")
    assert turn["response_model"] == "gpt-test-2026-01-01"
    assert turn["query"].startswith("I am ") and turn["query"].endswith(". How long?")
    assert turn["answer"].startswith("You said: I am ")
    assert "anna" not in json.dumps(turn)
    assert turn["input_tokens"] > 0 and turn["output_tokens"] > 0
    if dialect == "openinference":
        assert (turn["conversation_id"], turn["prompt_version"]) == ("4111-1111-1111-1111", "7")
        assert len(turn["user_id"]) == 64


def test_tempo_has_the_conventions_names(house: House, answer: tuple[str, dict[str, Any]]) -> None:
    _, turn = answer
    spans = house.backend.find_trace(turn["trace_id"])
    (said,) = ({one["key"]: next(iter(one["value"].values())) for one in each["attributes"]}
               for each in spans if semconv.RESPONSE_ID in json.dumps(each))
    assert said[semconv.OPERATION_NAME] == semconv.CHAT
    assert said[semconv.REQUEST_MODEL] == "gpt-test"
    assert said[semconv.REQUEST_TEMPERATURE] == 0.5
    assert int(said[semconv.USAGE_INPUT_TOKENS]) == turn["input_tokens"]
    first, *_ = json.loads(said[semconv.INPUT_MESSAGES])
    assert first == {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}
    (spoken,) = json.loads(said[semconv.OUTPUT_MESSAGES])
    assert spoken["parts"][0]["content"] == turn["answer"]


def test_tempo_finds_it_by_what_dashboards_ask(house: House, answer: tuple[str, dict[str, Any]]) -> None:
    dialect, _ = answer
    traceql = (f'{{ resource.service.name = "{dialect}" && span.gen_ai.operation.name = "chat" '
               f'&& span.gen_ai.request.model = "gpt-test" }} | select(span.gen_ai.usage.input_tokens)')
    (found,) = until(lambda: house.backend.search(traceql) or None, traceql)
    assert int(found[semconv.USAGE_INPUT_TOKENS]) > 0


@pytest.mark.parametrize("metric", [
    "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds_count",
    "gen_ai_client_inference_duration_seconds_count", "gen_ai_client_inference_duration_seconds_bucket",
])
def test_prometheus_counts_it_from_the_span(house: House, answer: tuple[str, dict[str, Any]], metric: str) -> None:
    dialect, _ = answer
    chats = f'{metric}{{service_name="{dialect}",gen_ai_operation_name="chat",gen_ai_request_model="gpt-test"}}'
    until(lambda: house.backend.query(chats) or None, chats)


def test_the_gateway_counts_the_answer_once(house: House, answer: tuple[str, dict[str, Any]]) -> None:
    """As an answer, of which a share is judged: an SDK of ours would have counted it, this sender does not."""
    dialect, _ = answer
    house.backend.find_value(f'sum(backspan_answers_total{{service_name="{dialect}",instance="gateway"}})', 1)


def test_answers_of_ours_are_not_counted_by_the_gateway(house: House, model: OpenAIServer) -> None:
    house.backend.find_turn(house.ask(model, OTEL_SERVICE_NAME="ours"))
    counted = 'backspan_answers_total{service_name="ours",instance!="gateway"}'
    until(lambda: house.backend.query(counted) or None, counted)
    assert house.backend.query('backspan_answers_total{service_name="ours",instance="gateway"}') == []


def test_it_can_be_judged(house: House, answer: tuple[str, dict[str, Any]]) -> None:
    dialect, turn = answer
    assert house.backend.vote(turn, "down") == "add"
    (vote,) = house.backend.find_vote(turn["trace_id"])
    assert vote["link:spanID"] == turn["span_id"]
    judged = f'backspan_feedback_total{{service_name="{dialect}",polarity="negative",gen_ai_request_model="gpt-test"}}'
    house.backend.find_value(f"sum({judged})", 1)


def test_retrieved_documents(house: House, model: OpenAIServer) -> None:
    turn = house.backend.find_turn(ask(model, f"http://127.0.0.1:{house.backend.ports.otlp_http}", "openinference"))
    spans = house.backend.find_trace(turn["trace_id"])
    (said,) = ({one["key"]: next(iter(one["value"].values())) for one in each["attributes"]}
               for each in spans if each["name"] == "find")
    assert said[semconv.OPERATION_NAME] == semconv.RETRIEVAL
    assert said[semconv.RETRIEVAL_QUERY] == "how long?"
    assert json.loads(said[semconv.RETRIEVAL_DOCUMENTS]) == [{"id": "d1", "score": 0.75, "content": "14 days"}]


# --- twins, and both readers of the table ---------------------------------------------------------------------------
def test_an_openinference_answer_is_nobodys_without_the_dialects(tmp_path: Path, model: OpenAIServer) -> None:
    with running(tmp_path, WITHOUT) as collector:
        ask(model, collector.url, "openinference")
        spans = collector.tempo.wait_spans(2)
        assert all(semconv.OPERATION_NAME not in one.attributes for one in spans)
        with pytest.raises(NotFound):
            until(lambda: collector.others.spans or None, "a turn", seconds=5)


TARGETS = {one.target for one in (*names.NAMES, *names.FIELDS, *names.LAST, *names.MESSAGES, names.DOCUMENTS)}
TARGETS = TARGETS - {names.USER_ID} | {"gen_ai.request.temperature"}


def through(collector: Collector, said: dict[str, Any]) -> dict[str, Any]:
    """The attributes with which a span leaves the Collector."""
    before = len(collector.tempo.spans)
    post(collector.url, request([span(before + 1, said)]))
    return collector.tempo.wait_spans(before + 1)[-1].attributes


def comparable(said: dict[str, Any]) -> dict[str, Any]:
    """What the table is about, with JSON text read."""
    def read(value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) and value.startswith("[") else value

    return {key: read(value) for key, value in said.items() if key in TARGETS}


def test_the_collector_and_the_receiver_read_the_table_alike(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        for name, said in dialects.ALL.items():
            assert comparable(through(collector, said)) == comparable(translated(said)), name
        log = collector.log.read_text(encoding="utf-8")
    assert "failed to execute statement" not in log


def test_a_difference_between_the_two_is_noticed(tmp_path: Path) -> None:
    with running(tmp_path, WITHOUT) as collector:
        assert comparable(through(collector, dialects.OPENINFERENCE)) != comparable(translated(dialects.OPENINFERENCE))


def test_nothing_is_lost_of_a_conversation_that_is_too_long_for_the_collector(tmp_path: Path) -> None:
    long = dialects.long_conversation(30)
    with running(tmp_path) as collector:
        said = through(collector, long)
    assert len(json.loads(said[semconv.INPUT_MESSAGES])) == ottl.MOST_MESSAGES
    assert f"llm.input_messages.{ottl.MOST_MESSAGES}.message.content" in said
    assert f"llm.input_messages.{ottl.MOST_MESSAGES - 1}.message.content" not in said
    assert translated(said)[semconv.INPUT_MESSAGES] == translated(long)[semconv.INPUT_MESSAGES]


