"""Compatible servers answer in ways that the client's types do not foresee; the application gets it all, and a span."""

from __future__ import annotations

import json

import openai
import pytest
from opentelemetry.trace import StatusCode

from tests.contract.calls import HISTORY, TOOLS, Seven
from tests.contract.conftest import MESSAGES, stream_of
from tests.contract.odd_server import STREAMS
from tests.contract.scenarios import shows
from tests.contract.versions import PARSES_INSIDE, VERSION, needs, parse


@shows("all-null")
def test_an_answer_of_nulls(client, patched, content, quiet):
    answer = client.chat.completions.create(model="all-null", messages=MESSAGES)
    assert (answer.id, answer.choices, answer.usage) == (None, None, None)
    assert len(list(stream_of(client, "all-null"))) == 2
    assert [span.name for span in patched.spans] == ["chat all-null"] * 2
    assert not {"gen_ai.response.id", "gen_ai.response.model"} & set(patched.spans[0].attributes)


@shows("sdk-objects")
def test_a_history_of_the_clients_own_objects(server, client, patched, content, quiet):
    client.chat.completions.create(model="m", messages=HISTORY)
    assert server.requests[-1].json["messages"][2]["content"] == "A dot."
    recorded = json.loads(patched.attributes()["gen_ai.input.messages"])
    assert [message["role"] for message in recorded] == ["system", "user", "assistant", "assistant", "tool"]
    assert recorded[2]["parts"][0]["content"] == "A dot."


@shows("null-delta")
@pytest.mark.parametrize("model", ["null-delta", "null-list"])
def test_chunks_of_nulls(client, patched, content, quiet, model):
    assert len(list(stream_of(client, model))) == len(STREAMS[model]) == 4
    got = patched.attributes()
    assert got["backspan.stream.chunks"] == 4
    assert got["backspan.stream.outcome"] == "complete"
    assert '"content":"hi' in got["gen_ai.output.messages"]


@shows("error-body")
def test_an_error_with_status_200(client, patched, content, quiet):
    answer = client.chat.completions.create(model="error-body", messages=MESSAGES)
    assert answer.choices is None and answer.error["code"] == "capacity"
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "capacity"


@shows("azure-chunks", "azure-usage")
def test_chunks_as_azure_sends_them(client, patched, content, quiet):
    assert len(list(stream_of(client, "azure"))) == 5
    got = patched.attributes()
    assert got["backspan.stream.outcome"] == "complete"
    assert (got["gen_ai.usage.input_tokens"], got["gen_ai.usage.output_tokens"]) == (3, 2)
    assert '"content":"hi"' in got["gen_ai.output.messages"]


@shows("azure-usage")
def test_no_usage_is_not_guessed(client, patched):
    list(stream_of(client, "null-delta"))
    assert "gen_ai.usage.output_tokens" not in patched.attributes()


@shows("tool-deltas")
def test_tool_calls_in_interleaved_pieces(client, patched, content, quiet):
    assert len(list(stream_of(client, "two-tools", tools=TOOLS))) == 8
    (message,) = json.loads(patched.attributes()["gen_ai.output.messages"])
    calls = [part for part in message["parts"] if part["type"] == "tool_call"]
    assert [(call["id"], call["name"], call["arguments"]) for call in calls] == [
        ("call_0", "weather", {"city": "Paris"}), ("call_2", "time", {"zone": "UTC"})]


@shows("billed")
@needs("parse")
@pytest.mark.parametrize("model, reason", [("length", "length"), ("content-filter", "content_filter")])
def test_usage_of_an_answer_that_cannot_be_parsed(client, patched, model, reason):
    with pytest.raises(openai.OpenAIError) as raised:
        parse(client, model=model, messages=MESSAGES, response_format=Seven)
    span = patched.one()
    assert span.status.status_code is (StatusCode.ERROR if PARSES_INSIDE else StatusCode.UNSET)
    assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    # Whether an exception holds the answer depends on the version, and so does what can be known without it.
    if hasattr(raised.value, "completion") or VERSION >= (2, 54):
        assert span.attributes["gen_ai.usage.input_tokens"] == 5


@shows("provider")
@pytest.mark.parametrize("host, provider", [
    ("api.groq.com", "groq"), ("x.openai.azure.com", "azure.ai.openai"), ("api.openai.com", "openai")])
def test_the_provider_is_told_by_the_host(host, provider):
    from backspan.instrument._providers import service_of

    with openai.OpenAI(base_url=f"https://{host}/v1", api_key="k") as client:
        told = service_of(client, client.base_url).attributes
    assert (told["gen_ai.provider.name"], told["server.address"]) == (provider, host)


@shows("provider")
def test_the_provider_is_told_by_the_client(server, patched):
    with openai.AzureOpenAI(azure_endpoint=server.base_url.removesuffix("/v1"), api_key="k", api_version="1") as client:
        client.chat.completions.create(model="gpt-x", messages=[])
    assert patched.attributes()["gen_ai.provider.name"] == "azure.ai.openai"
    assert patched.attributes()["server.address"] == "127.0.0.1"
