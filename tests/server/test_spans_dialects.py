"""The receiver reads OpenInference and OpenLLMetry spans, and counts the answers of senders that count none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backspan import semconv
from backspan._assets import asset
from backspan.context import pseudonym
from backspan.dialects import ottl
from backspan.dialects.apply import translated
from backspan.server.spans import Received
from backspan.store import Call
from tests.support import dialects


def received(said: dict[str, Any], scope: str = "other") -> Received:
    """What the receiver makes of one span."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "app"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer(scope).start_span("x", attributes=said).end()
    return Received(encode_spans(exporter.get_finished_spans()))


def call(said: dict[str, Any]) -> Call:
    (one,) = received(said).calls
    return one


def test_an_answer_of_openinference() -> None:
    one = call(dialects.OPENINFERENCE)
    assert (one.operation, one.provider, one.model, one.response_model) == (
        "chat", "openai", "gpt-test", "gpt-test-2026-01-01")
    assert (one.query, one.answer, one.finish) == ('Say "<b>"?', "It is sunny.", "tool_call")
    assert (one.input_tokens, one.output_tokens, one.response_id) == (4, 3, "chatcmpl-000001")
    assert (one.conversation_id, one.prompt_name, one.prompt_version) == ("s-1", "qa", "7")
    assert one.user_id == pseudonym("anna")
    assert one.messages[2:] == [
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_1", "name": "weather", "arguments": "{}"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "sunny"}]},
    ]


def test_a_retrieval_of_openinference() -> None:
    one = call(dialects.OPENINFERENCE_RETRIEVER)
    assert (one.operation, one.query) == ("retrieval", "how long?")
    assert one.documents == [{"id": "d1", "score": 0.75, "content": "14 days"}, {"content": "no id"}]


def test_an_answer_of_openllmetry() -> None:
    one = call(dialects.OPENLLMETRY)
    assert (one.query, one.answer, one.prompt_name, one.prompt_version) == ("Hello?", "Hi.", "qa", "3")
    assert (one.conversation_id, one.user_id) == ("s-1", pseudonym("anna"))


def test_an_answer_of_openllmetry_with_numbered_messages() -> None:
    one = call(dialects.OPENLLMETRY_INDEXED)
    assert (one.operation, one.provider, one.query, one.answer) == ("chat", "openai", "Weather?", "One moment.")
    assert (one.input_tokens, one.output_tokens, one.finish) == (4, 3, "tool_call")


@pytest.mark.parametrize(("name", "operation"), [("openinference-tool", "execute_tool"),
                                                 ("openllmetry-tool", "execute_tool")])
def test_tools(name: str, operation: str) -> None:
    said = translated(dialects.ALL[name])
    assert (said[semconv.OPERATION_NAME], said["gen_ai.tool.name"]) == (operation, "weather")


def test_what_the_span_says_in_the_conventions_names_stays() -> None:
    given = {**dialects.OPENINFERENCE, semconv.REQUEST_MODEL: "mine", semconv.OPERATION_NAME: "plan",
             semconv.INPUT_MESSAGES: '[{"role": "user", "parts": []}]'}
    said = translated(given)
    assert (said[semconv.REQUEST_MODEL], said[semconv.OPERATION_NAME]) == ("mine", "plan")
    assert said[semconv.INPUT_MESSAGES] == given[semconv.INPUT_MESSAGES]


def test_messages_that_were_too_many_for_the_collector_are_added() -> None:
    whole = translated(dialects.long_conversation(30))[semconv.INPUT_MESSAGES]
    spread = dialects.long_conversation(30)
    for number in range(ottl.MOST_MESSAGES):
        del spread[f"llm.input_messages.{number}.message.role"], spread[f"llm.input_messages.{number}.message.content"]
    assert translated({**spread, semconv.INPUT_MESSAGES: whole[:ottl.MOST_MESSAGES]})[semconv.INPUT_MESSAGES] == whole
    assert len(whole) == 30


def test_spans_in_no_dialect_are_left_alone() -> None:
    given = {semconv.OPERATION_NAME: "chat", "session.id": "s-1", "tool.name": "x"}
    assert translated(given) == given


@pytest.mark.parametrize("value", ["{", "[1]", "null", "", 7, '{"model": {"no": "text"}}', '{"model": null}'])
def test_odd_values_do_no_harm(value: object) -> None:
    odd = {"openinference.span.kind": "LLM", "llm.invocation_parameters": value, "output.value": value,
           "llm.token_count.prompt": "many", "llm.model_name": "m", "llm.input_messages.99999999.message.role": "user",
           "llm.input_messages.x.message.role": "user", "gen_ai.input.messages": value}
    assert translated(odd)[semconv.REQUEST_MODEL] == "m"


def test_answers_of_other_senders_are_marked_as_not_counted() -> None:
    ours, other = received(dialects.OPENLLMETRY, semconv.SCOPE), received(dialects.OPENLLMETRY)
    assert ours.foreign == set()
    assert other.foreign == {other.calls[0].turn_key}


def dialects_command(*arguments: str | Path) -> int:
    """Exit status of ``python -m backspan.dialects``."""
    return subprocess.run([sys.executable, "-m", "backspan.dialects", *arguments], timeout=60).returncode


def test_the_collectors_file_is_what_the_table_says(tmp_path: Path) -> None:
    shipped = asset("collector") / "collector.yaml"
    assert dialects_command("--check", shipped) == 0
    text, spoilt = shipped.read_text(encoding="utf-8"), tmp_path / "collector.yaml"
    spoilt.write_text(text.replace('span.attributes["llm.system"]', 'span.attributes["llm.sistem"]'), encoding="utf-8")
    assert dialects_command("--check", spoilt) == 1
    assert dialects_command(spoilt) == 0
    assert spoilt.read_text(encoding="utf-8") == text


def test_a_file_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no line"):
        ottl.written("processors: {}\n")
