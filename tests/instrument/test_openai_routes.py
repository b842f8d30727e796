"""Which paths make a span: every one that the installed SDK knows is either in our table or known to run no model."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import pkgutil
import re

import openai
import pytest

from backspan.instrument import _openai_continuous, _openai_session
from backspan.instrument._openai_apis import APIS, route
from backspan.instrument._openai_socket import MODULES
from tests.instrument.conftest import MESSAGES
from tests.support.openai_server import OpenAIServer

SENDERS = {"_post": "post", "_get": "get", "_delete": "delete", "_put": "put", "_patch": "patch",
           "_get_api_list": "get"}
MANAGEMENT = (
    "organization", "projects", "files", "uploads", "batches", "fine_tuning", "evals", "assistants", "containers",
    "skills", "chatkit", "vaults", "safety", "safety_alerts", "safety_cases", "models", "webhook_endpoints",
    "content_provenance_checks", "conversations",
)
"""First parts of paths beneath which nothing that is called over HTTP answers with what a model said."""
WITHOUT_A_MODEL = {
    "post /chat/completions/{}", "post /responses/compact", "post /responses/input_tokens", "post /audio/voices",
    "post /audio/voice_consents", "post /audio/voice_consents/{}", "post /videos/characters",
    "post /realtime/sessions", "post /realtime/transcription_sessions", "post /realtime/client_secrets",
    "post /realtime/translations/client_secrets", "post /realtime/calls", "post /realtime/calls/{}/accept",
    "post /realtime/calls/{}/hangup", "post /realtime/calls/{}/refer", "post /realtime/calls/{}/reject",
    "post /threads", "post /threads/{}", "post /threads/{}/messages", "post /threads/{}/messages/{}",
    "post /threads/{}/runs/{}", "post /threads/{}/runs/{}/cancel",
    "post /vector_stores", "post /vector_stores/{}", "post /vector_stores/{}/files",
    "post /vector_stores/{}/files/{}", "post /vector_stores/{}/file_batches",
    "post /vector_stores/{}/file_batches/{}/cancel",
    "post /agents", "post /agents/{}", "post /agents/automations", "post /agents/automations/{}",
    "post /agents/automations/{}/invocations", "post /agents/automations/{}/pause",
    "post /agents/automations/{}/resume", "post /agents/environments", "post /agents/environments/templates",
    "post /agents/environments/templates/{}", "post /agents/environments/{}/files", "post /agents/sessions/{}",
    "post /agents/sessions/{}/events",
    "post /live/sessions", "post /live/sessions/{}/accept", "post /live/sessions/{}/fork",
    "post /live/sessions/{}/hangup", "post /live/sessions/{}/refer", "post /live/sessions/{}/reject",
}
"""The rest that sends something. Compacting a conversation gives nobody an answer; a session of `live` is created here
and talks over a socket, or in a browser; what is sent to an agent's session shows in its events."""


def _modules():
    import openai.resources

    for found in pkgutil.walk_packages(openai.resources.__path__, "openai.resources."):
        yield importlib.import_module(found.name)


def _path(argument):
    """The path in the first argument of a sender, with ``{}`` for what is filled in; None if it is made elsewhere."""
    if isinstance(argument, ast.Call):
        argument = argument.args[0]
    if isinstance(argument, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in argument.values)
    return re.sub(r"\{\w+\}", "{}", argument.value) if isinstance(argument, ast.Constant) else None


def _sent():
    """Method and path of every request that a resource of the installed SDK can make."""
    for module in _modules():
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            method = SENDERS.get(node.func.attr)
            path = _path(node.args[0]) if method and node.args else None
            if path is None or method is None:
                continue
            named = {word.arg: word.value for word in node.keywords}
            if isinstance(named.get("method"), ast.Constant):
                method = named["method"].value
            yield method, path.partition("?")[0]


SENT = sorted(set(_sent()))


def test_the_whole_sdk_is_looked_at():
    assert len(SENT) > 100
    paths = {re.sub(r"\{\w+\}", "{}", path) for path in APIS}
    known = {path for _, path in SENT}
    assert paths <= known, f"the installed SDK has not: {paths - known}"


def _unknown(method, path):
    """Whether a request is neither recorded nor known to run no model."""
    found = route(method, path.replace("{}", "some_1"))
    if found is not None:
        return re.sub(r"\{\w+\}", "{}", found[0]) != path
    managed = path.split("/")[1] in MANAGEMENT
    return method == "post" and not managed and f"{method} {path}" not in WITHOUT_A_MODEL


def test_every_path_is_known():
    assert [sent for sent in SENT if _unknown(*sent)] == [], "what do these paths run?"


@pytest.mark.parametrize("path", ["/thoughts", "/responses/think", "/responses/{}/responses"])
def test_a_new_path_would_be_noticed(path):
    assert _unknown("post", path)


# --- sockets --------------------------------------------------------------------------------------------------------
OVERHEARING = {"openai.resources.live.sideband"}
"""Connections to a session that is held elsewhere: they are told about it, and run nothing."""


def _unknown_sockets(known):
    """Modules of the installed SDK that hold connections and are neither followed nor known to run nothing."""
    holding = {
        module.__name__ for module in _modules() for owner in vars(module).values()
        if isinstance(owner, type) and owner.__module__ == module.__name__ and hasattr(owner, "recv_bytes")
    }
    return holding - set(known) - OVERHEARING


def test_every_socket_is_known():
    assert _unknown_sockets(MODULES) == set(), "what runs there?"
    speakers = {**vars(_openai_session), **vars(_openai_continuous)}
    assert all(isinstance(speakers[name], type) for name in MODULES.values())


def test_a_new_socket_would_be_noticed():
    followed = "openai.resources.realtime.realtime"
    if importlib.util.find_spec("openai.resources.realtime") is None:
        followed = "openai.resources.beta.realtime.realtime"
    assert _unknown_sockets(set(MODULES) - {followed}) == {followed}


def test_calls_that_run_no_model_make_no_span(client, patched):
    client.models.list()
    client.models.retrieve("m")
    for call in (
        lambda: client.files.list(), lambda: client.batches.list(), lambda: client.vector_stores.list(),
        lambda: client.responses.input_items.list("resp_1"), lambda: client.fine_tuning.jobs.list(),
        lambda: client.post("/thoughts", cast_to=object, body={"model": "m"}),
    ):
        with contextlib.suppress(openai.APIStatusError):
            call()
    assert patched.spans == ()


# --- addresses ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("url, path, said", [
    ("https://x.example/openai/v1/chat/completions", "/chat/completions", {}),
    ("chat/completions?api-version=1", "/chat/completions", {}),
    ("/openai/deployments/gpt%204/chat/completions?api-version=1", "/chat/completions", {"model": "gpt 4"}),
    ("/deployments/d/completions", "/completions", {"model": "d"}),
    ("/responses?beta=true", "/responses", {}),
    ("/threads/t%2F1/runs/", "/threads/{thread_id}/runs", {"thread_id": "t/1"}),
    ("/threads/runs", "/threads/runs", {}),
])
def test_an_address(url, path, said):
    assert route("post", url) == (path, said)


@pytest.mark.parametrize("url", ["", "/", "/xcompletions", "/chat/completions/1/messages", "/responses/1/cancel/2"])
def test_not_an_address_of_ours(url):
    assert route("post", url) is None


def test_raw_posts(client, patched):
    client.post("/moderations", cast_to=object, body={"model": "m", "input": "x"})
    client.post(f"{client.base_url}images/generations", cast_to=object, body={"model": "m", "prompt": "x"})
    client.post("/deployments/d/chat/completions", cast_to=object, body={"messages": MESSAGES})
    client.with_options(timeout=9).completions.create(model="m", prompt="x")
    assert [span.name for span in patched.spans] == ["moderation m", "generate_content m", "chat d",
                                                     "text_completion m"]
    assert [span.attributes.get("gen_ai.usage.output_tokens") for span in patched.spans[1:]] == [7, 5, 2]


# --- clients of other houses ----------------------------------------------------------------------------------------
def _azure(server, **more):
    return openai.AzureOpenAI(azure_endpoint=server.base_url.removesuffix("/v1"), api_key="k", api_version="1", **more)


def test_azure_deployments(server, patched):
    with _azure(server, azure_deployment="mine") as client:
        client.chat.completions.create(model="gpt-x", messages=MESSAGES)
        client.images.generate(prompt="x")
    with _azure(server) as client:
        client.audio.speech.create(model="tts-x", input="x", voice="alloy")
        client.responses.create(model="gpt-x", input="x")
    assert "/deployments/mine/images/generations" in server.requests[-3].path
    assert [span.name for span in patched.spans] == ["chat gpt-x", "generate_content mine", "speech tts-x",
                                                     "chat gpt-x"]
    assert {span.attributes["gen_ai.provider.name"] for span in patched.spans} == {"azure.ai.openai"}


@pytest.mark.skipif(not hasattr(openai, "BedrockOpenAI"), reason="the installed SDK has no client for Bedrock")
def test_bedrock(server, patched):
    with openai.BedrockOpenAI(base_url=server.base_url, api_key="k", aws_region="eu-west-1", max_retries=0) as client:
        client.responses.create(model="gpt-x", input="x")
        client.with_options(timeout=9).chat.completions.create(model="gpt-x", messages=MESSAGES)
    assert [span.name for span in patched.spans] == ["chat gpt-x"] * 2
    assert {span.attributes["gen_ai.provider.name"] for span in patched.spans} == {"aws.bedrock"}


@pytest.mark.skipif(openai.__version__ < "3.", reason="the installed SDK has no providers")
def test_vertex_and_bedrock_as_providers(patched):
    providers = importlib.import_module("openai.providers")
    from backspan.instrument._providers import service_of

    made = {
        "gcp.vertex_ai": providers.vertex(project="p", location="europe-west1", token_provider=lambda: "t"),
        "aws.bedrock": providers.bedrock(region="eu-west-1", api_key="k"),
    }
    for name, provider in made.items():
        with openai.OpenAI(provider=provider) as client:
            assert service_of(client, client.base_url).attributes["gen_ai.provider.name"] == name


def test_two_servers(client, patched):
    with OpenAIServer() as other, openai.OpenAI(base_url=other.base_url, api_key="k") as second:
        client.moderations.create(input="x")
        second.moderations.create(input="x")
    ports = [span.attributes["server.port"] for span in patched.spans]
    assert [span.name for span in patched.spans] == ["moderation"] * 2
    assert len(set(ports)) == 2


def test_beta_responses(client, patched):
    if not hasattr(client.beta, "responses"):
        pytest.skip("the installed SDK has no beta.responses")
    client.beta.responses.create(model="m", input="x")
    list(client.beta.responses.create(model="m", input="x", stream=True))
    assert [span.name for span in patched.spans] == ["chat m"] * 2
    assert patched.spans[1].attributes["backspan.stream.outcome"] == "complete"
