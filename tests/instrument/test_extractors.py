"""An extractor that raises never leaves a call open, and never reaches the application."""

from __future__ import annotations

from dataclasses import replace

import openai
import pydantic
import pytest

from backspan import _guard
from backspan.instrument import _attempts, _call
from backspan.instrument import openai as integration
from backspan.instrument._openai_chat_stream import ChatFold
from backspan.instrument._openai_responses import ResponsesFold
from tests.instrument.conftest import MESSAGES
from tests.support import scripted
from tests.support.scripted import Said, Scripted

CHAT, RESPONSE = scripted.chat(content="x"), scripted.response(scripted.message(scripted.text("x")))


class City(pydantic.BaseModel):
    city: str


def boom(*args, **kwargs):
    raise RuntimeError("a fault of ours")


@pytest.fixture
def swallowing(monkeypatch):
    monkeypatch.setenv("BACKSPAN_RAISE", "0")


def _chat(client, **more):
    answer = client.chat.completions.create(model="m", messages=MESSAGES, **more)
    return list(answer) if more.get("stream") else answer


def _responses(client, **more):
    answer = client.responses.create(model="m", input="x", **more)
    return list(answer) if more.get("stream") else answer


CALLS = {
    "chat": (_chat, CHAT),
    "chat stream": (lambda client: _chat(client, stream=True), scripted.chunks({"content": "x"})),
    "chat raw": (lambda client: client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES), CHAT),
    "responses": (_responses, RESPONSE),
    "responses stream": (lambda client: _responses(client, stream=True), scripted.events(RESPONSE)),
}


def _break_api(patch, field):
    changed = {path: replace(api, **{field: boom}) for path, api in integration.APIS.items()}
    patch.setattr(integration, "APIS", changed)


BREAK = {
    "answered": lambda patch: _break_api(patch, "answered"),
    "chat plain": lambda patch: patch.setattr(ChatFold, "plain", boom),
    "chat rare": lambda patch: patch.setattr(ChatFold, "rare", boom),
    "chat catch_up": lambda patch: patch.setattr(ChatFold, "catch_up", boom),
    "chat finish": lambda patch: patch.setattr(ChatFold, "finish", boom),
    "responses rare": lambda patch: patch.setattr(ResponsesFold, "rare", boom),
    "responses finish": lambda patch: patch.setattr(ResponsesFold, "finish", boom),
    "headers": lambda patch: patch.setattr(_attempts, "take_headers", boom),
    "differs": lambda patch: patch.setattr(_call, "differs", boom),
    "bagged": lambda patch: patch.setattr(integration, "bagged", boom),
    "hold": lambda patch: patch.setattr(integration, "hold", boom),
    "metrics": lambda patch: patch.setattr(_call._measured, "record", boom),
}


@pytest.mark.parametrize("broken", BREAK)
@pytest.mark.parametrize("name", CALLS)
def test_the_span_ends(patched, swallowing, monkeypatch, name, broken):
    call, said = CALLS[name]
    BREAK[broken](monkeypatch)
    with Scripted(Said(said)) as server, openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        assert call(client) is not None
    assert len(patched.spans) == 1
    assert not _call._open


@pytest.mark.parametrize("broken", [lambda patch: _break_api(patch, "failed"),
                                    lambda patch: patch.setattr(integration, "take_headers", boom),
                                    lambda patch: patch.setattr(integration, "schema_failure", boom)])
@pytest.mark.parametrize("status", [200, 401])
def test_the_span_of_a_failed_call_ends_with_the_application_s_error(patched, swallowing, monkeypatch, status, broken):
    broken(monkeypatch)
    said = Said(scripted.chat("length", content="{") if status == 200 else {"error": {"message": "no"}}, status)
    raised = openai.AuthenticationError if status == 401 else openai.LengthFinishReasonError
    with Scripted(said) as server, openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
        with pytest.raises(raised):
            parse(model="m", messages=MESSAGES, response_format=City)
    assert patched.attributes()["error.type"] == f"openai.{raised.__name__}"


def test_twin_the_faults_are_real(patched, swallowing, monkeypatch):
    monkeypatch.setattr("backspan.instrument._openai_chat.put_refusal", boom)
    with Scripted(Said(CHAT)) as server, openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        _chat(client)
    assert sum(_guard.failures().values()) == 1
    assert "gen_ai.response.finish_reasons" in patched.attributes()


def test_a_processor_that_raises_takes_nothing_but_the_span(patched, swallowing, monkeypatch):
    monkeypatch.setattr(type(patched.exporter), "export", boom)
    with Scripted(Said(CHAT)) as server, openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        assert _chat(client).choices[0].message.content == "x"
    assert patched.metrics()["backspan.answers"][0].value == 1
