"""Content: valid by the conventions' schemas when on, nowhere when off, redacted and cut always."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonschema
import openai
import pytest

import backspan.redact
from backspan import _guard
from backspan.redact import parts
from tests.instrument.conftest import MESSAGES


@pytest.fixture(autouse=True)
def nothing_counted_before():
    parts.take()


PICTURE = base64.b64encode(b"\x89PNG" * 1000).decode()
TOOL: Any = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}
EVERYTHING: Any = [
    {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
    {"role": "user", "name": "bo", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PICTURE}"}},
        {"type": "future", "data": {"a": [1, 2.5, None, True]}},
    ]},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{not json"}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "user", "content": "and now?"},
]
ITEMS: Any = [
    {"role": "user", "content": [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PICTURE}"},
        {"type": "input_image", "file_id": "file-2"}, {"type": "input_file", "file_id": "file-1"}]},
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Paris"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "item_reference", "id": "msg_1"},
    {"role": "user", "content": "last words"},
]
SCHEMAS = {
    "gen_ai.input.messages": "gen-ai-input-messages", "gen_ai.output.messages": "gen-ai-output-messages",
    "gen_ai.system_instructions": "gen-ai-system-instructions", "gen_ai.tool.definitions": "gen-ai-tool-definitions",
}


def _chat(client, **more):
    return client.chat.completions.create(model="tool-call", messages=EVERYTHING, tools=[TOOL], **more)


def _responses(client, **more):
    tools = [{"name": "weather", "parameters": {}, **TOOL}, {"type": "web_search"}]
    return client.responses.create(model="gpt-x", input=ITEMS, instructions="Be kind.", tools=tools, **more)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [_chat, _responses])
def test_every_content_attribute_is_valid(client, patched, content, schema, ask, stream):
    answer = ask(client, stream=stream)
    if stream:
        list(answer)
    got = {key: json.loads(value) for key, value in patched.attributes().items() if key in SCHEMAS}
    assert set(got) >= {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"}
    for key, value in got.items():
        jsonschema.validate(value, schema(SCHEMAS[key]))
    assert PICTURE[:100] not in patched.everything()
    assert all(message["parts"] for message in got["gen_ai.input.messages"])


def test_twin_the_schema_refuses_what_openai_calls_a_message(schema):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(MESSAGES, schema("gen-ai-input-messages"))


def test_what_a_message_becomes(client, patched, content):
    _chat(client)
    messages = json.loads(patched.attributes()["gen_ai.input.messages"])
    user, assistant, tool = messages[1:4]
    assert user["name"] == "bo"
    assert user["parts"][0] == {"type": "text", "content": "what is this?"}
    blob = user["parts"][1]
    assert (blob["mime_type"], blob["size"], blob["content"], len(blob["sha256"])) == ("image/png", 4000, "", 64)
    assert user["parts"][2] == {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"}
    assert user["parts"][4] == {"type": "file", "modality": "document", "file_id": "file-1"}
    assert assistant["parts"][0] == {
        "type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Paris"}}
    assert assistant["parts"][1]["arguments"] == "{not json"
    assert tool == {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "sunny"}]}
    said = json.loads(patched.attributes()["gen_ai.output.messages"])
    assert said == [{"role": "assistant", "finish_reason": "tool_call", "parts": [
        {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Paris"}}]}]


def test_plain_and_streamed_say_the_same(client, patched, content):
    for stream in (False, True):
        for text in ("one two three", ""):
            answer = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": text}], stream=stream)
            if stream:
                list(answer)
    outputs = [span.attributes["gen_ai.output.messages"] for span in patched.spans]
    assert outputs[:2] == outputs[2:]


def test_history_of_sdk_objects(client, patched, content):
    first = client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message
    client.chat.completions.create(model="m", messages=[*MESSAGES, first, {"role": "user", "content": "more"}])
    messages = json.loads(patched.spans[1].attributes["gen_ai.input.messages"])
    assert messages[2] == {"role": "assistant", "parts": [{"type": "text", "content": "You said: one two three"}]}


# --- off ------------------------------------------------------------------------------------------------------------
MARK = "xyzzy-marker"


def _every_call(client):
    words: Any = [{"role": "system", "content": f"sys {MARK}"}, {"role": "user", "content": f"hi {MARK}", "name": MARK}]
    tool: Any = {"type": "function", "function": {"name": MARK, "description": MARK, "parameters": {}}}
    client.chat.completions.create(
        model="m", messages=words, metadata={"k": MARK}, user=MARK, extra_headers={"X-Secret": MARK})
    list(client.chat.completions.create(model="m", messages=words, stream=True))
    list(client.chat.completions.create(model="tool-call", messages=words, stream=True, tools=[tool]))
    client.chat.completions.create(model="tool-call", messages=words, tools=[tool])
    client.responses.create(model="m", input=MARK, instructions=MARK)
    list(client.responses.create(model="m", input=MARK, instructions=MARK, stream=True))
    client.embeddings.create(model="m", input=[MARK])
    for model in ("error-400", "error-after-2"):
        with pytest.raises(openai.APIError) as raised:
            list(client.chat.completions.create(model=model, messages=words, stream=True))
        assert raised.value.message
    return raised.value.message


def test_off_means_nowhere(client, patched):
    message = _every_call(client)
    said = patched.everything()
    assert len(patched.spans) == 9
    assert MARK not in said
    assert message not in said
    assert "sk-test" not in said


def test_twin_on_means_somewhere(client, patched, content):
    message = _every_call(client)
    said = patched.everything()
    assert said.count(MARK) > 10
    assert message in said
    assert "sk-test" not in said
    assert not any("X-Secret" in str(span.attributes) for span in patched.spans)


# --- redaction ------------------------------------------------------------------------------------------------------
def test_what_leaves_is_redacted(client, patched, content):
    secret: Any = [
        {"role": "user", "content": "I am bob@example.com, card 4111 1111 1111 1111"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {
            "name": "f", "arguments": '{"mail": "bob@example.com", "card": 4111111111111111}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sk-abcdefghijklmnopqrstuv"}]
    client.chat.completions.create(model="m", messages=secret)
    said = patched.everything()
    for word in ("bob@", "4111 ", "4111111111", "sk-abc"):  # four digits alone are in many an id and time
        assert word not in said
    assert json.loads(patched.attributes()["gen_ai.input.messages"])[1]["parts"][0]["arguments"] == {
        "mail": "[email]", "card": "[card]"}


def test_the_apps_redactor_fails_closed(client, patched, content, monkeypatch):
    monkeypatch.setenv("BACKSPAN_RAISE", "0")
    backspan.redact.redactor(lambda text: text[1_000_000])
    answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert answer.choices[0].message.content == "You said: one two three"
    assert json.loads(patched.attributes()["gen_ai.input.messages"])[1]["parts"][0]["content"] == "[redacted]"
    assert "two" not in patched.everything()
    assert _guard.failures()["redact._by_hook"] >= 3


# --- what was masked ------------------------------------------------------------------------------------------------
def test_the_span_says_how_often_each_kind_was_masked(client, patched, content):
    tool: Any = {"type": "function", "function": {"name": "f", "description": "ask al@example.com", "parameters": {}}}
    asked: Any = [
        {"role": "user", "content": "I am bob@example.com, card 4111 1111 1111 1111"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {
            "name": "f", "arguments": '{"al@example.com": "756.9217.0769.85"}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sk-abcdefghijklmnopqrstuv"},
        {"role": "user", "content": "so?"}]
    for _ in range(2):  # the second time all of it is remembered
        client.chat.completions.create(model="m", messages=asked, tools=[tool])
    client.chat.completions.create(model="m", messages=MESSAGES)
    first, second, clean = ({key.rpartition(".")[2]: value for key, value in span.attributes.items()
                             if key.startswith("backspan.redaction.entities.")} for span in patched.spans)
    assert first == second == {"card": 1, "ch_ahv": 1, "email": 3, "secret": 1}
    assert clean == {}
    versions = {span.attributes["backspan.redaction.policy"] for span in patched.spans}
    assert versions == {backspan.redact.policy()}


def test_off_means_no_policy_either(client, patched):
    client.chat.completions.create(model="m", messages=MESSAGES)
    assert not [key for key in patched.attributes() if "redaction" in key]


def test_a_rule_that_fails_loses_its_text_and_says_so(client, patched, content, monkeypatch):
    monkeypatch.setenv("BACKSPAN_RAISE", "0")
    backspan.redact.redactor(lambda text: text if "kind" in text else text[1_000_000])
    client.chat.completions.create(model="m", messages=MESSAGES)
    got = patched.attributes()
    said = [message["parts"][0]["content"] for message in json.loads(got["gen_ai.input.messages"])]
    assert said == ["Be kind.", "[redacted]"]
    assert got["backspan.redaction.entities.redacted"] == 2
