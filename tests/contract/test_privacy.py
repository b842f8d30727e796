"""What must not leave the process does not."""

from __future__ import annotations

import base64
import contextlib

import openai
import pytest

from tests.contract.calls import TOOLS
from tests.contract.conftest import MESSAGES, make_client, stream_of
from tests.contract.scenarios import shows
from tests.contract.versions import has

SECRET = "xyzzy-secret"
PIXELS = base64.b64encode(bytes(range(256)) * 800).decode()


@shows("no-headers")
@pytest.mark.parametrize("model", ["m", "error-401"])
def test_no_header_key_or_cookie(server, patched, content, model):
    headers = {"authorization": f"Bearer {SECRET}", "cookie": f"session={SECRET}", "x-mine": SECRET}
    with make_client(server, api_key=SECRET, organization=SECRET, default_headers=headers) as client:
        for stream in (False, True):
            with contextlib.suppress(openai.APIStatusError):
                list(client.chat.completions.create(
                    model=model, messages=MESSAGES, stream=stream, extra_headers=headers, extra_query={"key": SECRET}))
    assert SECRET in str(server.requests[-1].headers) and len(patched.spans) == 2
    assert SECRET not in patched.everything()


@shows("media")
def test_pictures_and_sounds(client, patched, content):
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}},
        {"type": "input_audio", "input_audio": {"data": PIXELS, "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXELS}"}}]}])
    said = patched.attributes()["gen_ai.input.messages"]
    assert PIXELS[:60] not in patched.everything()
    assert len(said) < 2000
    for word in ("image/png", "audio/wav", "application/pdf", "204800", "sha256", "What is this?"):
        assert word in said


def _marked(client):
    """Calls that put the marker wherever an application can put it."""
    text = {"role": "user", "content": SECRET, "name": "user"}
    history = [{"role": "system", "content": SECRET}, text, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "weather", "arguments": f'{{"a": "{SECRET}"}}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": SECRET}, text]
    tools = [{**TOOLS[0], "function": {**TOOLS[0]["function"], "description": SECRET}}]
    for model in ("m", "tool-call", "error-400", "garbage", "null-choices"):
        for stream in (False, True):
            with contextlib.suppress(openai.OpenAIError, ValueError):
                list(client.chat.completions.create(
                    model=model, messages=history, tools=tools, stream=stream, user=SECRET,
                    extra_body={"metadata": {"a": SECRET}, "prediction": {"type": "content", "content": SECRET}}))
    for model in ("cut-after-4", "error-after-4"):
        with pytest.raises(Exception):  # noqa: B017  which it is depends on the version
            list(stream_of(client, model, messages=history))
    client.embeddings.create(model="e", input=[SECRET])
    with contextlib.suppress(openai.OpenAIError):
        client.embeddings.create(model="error-400", input=[SECRET])
    if has("responses"):
        list(client.responses.create(model="m", input=SECRET, instructions=SECRET, stream=True, metadata={"a": SECRET}))


@shows("content-off")
def test_no_content_while_content_is_off(client, patched, caplog):
    _marked(client)
    assert len(patched.spans) >= 14
    assert SECRET not in patched.everything()
    assert SECRET not in "".join(record.getMessage() for record in caplog.records if record.name == "backspan")


def test_twin_the_marker_is_there_while_content_is_on(client, patched, content):
    _marked(client)
    assert SECRET in patched.everything()
