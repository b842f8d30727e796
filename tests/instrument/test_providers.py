"""Who answers: by the setting, the client's class, the host, and the port of a local server."""

from __future__ import annotations

import openai
import pytest

from backspan import config
from backspan.instrument import _providers
from backspan.instrument._providers import service_of
from tests.support import scripted
from tests.support.scripted import Said, Scripted

HOSTS = {
    "https://api.openai.com/v1": "openai", "https://eu.api.openai.com/v1": "openai",
    "https://x.openai.azure.com/openai": "azure.ai.openai", "https://x.openai.azure.us/openai": "azure.ai.openai",
    "https://x.services.ai.azure.com/models": "azure.ai.inference",
    "https://api.groq.com/openai/v1": "groq", "https://api.deepseek.com": "deepseek",
    "https://api.mistral.ai/v1": "mistral_ai", "https://api.x.ai/v1": "x_ai", "https://api.perplexity.ai": "perplexity",
    "https://api.anthropic.com/v1": "anthropic", "https://api.cohere.ai/compatibility/v1": "cohere",
    "https://api.moonshot.cn/v1": "moonshot_ai",
    "https://europe-west1-aiplatform.googleapis.com/v1": "gcp.vertex_ai",
    "https://aiplatform.googleapis.com/v1": "gcp.vertex_ai",
    "https://generativelanguage.googleapis.com/v1beta/openai/": "gcp.gemini",
    "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1": "aws.bedrock",
    "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com/v1": "aws.bedrock",
    "https://bedrock-mantle.us-east-1.api.aws/v1": "aws.bedrock",
    "https://openrouter.ai/api/v1": "openrouter", "https://api.together.xyz/v1": "together_ai",
    "https://api.fireworks.ai/inference/v1": "fireworks_ai", "https://api.cerebras.ai/v1": "cerebras",
    "https://integrate.api.nvidia.com/v1": "nvidia_nim", "https://router.huggingface.co/v1": "hugging_face",
    "https://abc.us-east-1.aws.endpoints.huggingface.cloud/v1": "hugging_face",
    "https://gateway.ai.cloudflare.com/v1/a/b/openai": "cloudflare",
    "https://models.github.ai/inference": "github_models",
    "https://x.cloud.databricks.com/serving-endpoints": "databricks",
    "https://api.deepinfra.com/v1/openai": "deepinfra",
    "https://dashscope-intl.aliyuncs.com/compatible-mode/v1": "alibaba_cloud",
}
PROGRAMS = {
    "http://vllm:8000/v1": "vllm", "http://vllm-0.models.svc.cluster.local:8000/v1": "vllm",
    "http://localhost:11434/v1": "ollama", "http://ollama/v1": "ollama", "http://127.0.0.1:1234/v1": "lm_studio",
    "https://litellm.example.com/v1": "litellm", "http://my-litellm:4000": "litellm", "http://tgi:3000/v1": "tgi",
    "http://llama-cpp:8080/v1": "llama_cpp", "http://llamacpp-server:8080/v1": "llama_cpp",
    "http://nim.gpu:8000/v1": "nvidia_nim", "http://sglang:30000/v1": "sglang",
}
UNKNOWN = ["http://localhost:8000/v1", "https://llm.example.com/v1", "https://notgroq.com/api.groq.com",
           "https://minimax-fan.example/v1", "http://ollamas.example/v1", "http://10.0.0.1:8080/v1",
           "https://animate.example/v1", "https://abc.elb.amazonaws.com/v1"]


def _service(url):
    with openai.OpenAI(base_url=url, api_key="k") as client:
        return service_of(client, client.base_url), client.base_url


@pytest.mark.parametrize("url", HOSTS)
def test_by_host(url):
    service, base = _service(url)
    assert service.attributes == {"gen_ai.provider.name": HOSTS[url], "server.address": base.host, "server.port": 443}
    assert service.labels == {"gen_ai.provider.name": HOSTS[url]}


@pytest.mark.parametrize("url", PROGRAMS)
def test_programs_that_run_anywhere_keep_their_address_in_the_labels(url):
    service, base = _service(url)
    assert service.attributes["gen_ai.provider.name"] == PROGRAMS[url]
    assert service.labels == service.attributes
    assert service.attributes["server.address"] == base.host


@pytest.mark.parametrize("url", UNKNOWN)
def test_a_host_that_nobody_knows_speaks_openai_at_its_address(url):
    service, base = _service(url)
    assert service.attributes["gen_ai.provider.name"] == "openai"
    assert service.labels["server.address"] == base.host
    assert service.prices is None


@pytest.mark.parametrize("said, url, name", [
    ("llm.example.com=azure.ai.openai", "https://llm.example.com/v1", "azure.ai.openai"),
    ("*.gpu.internal=vllm, other=x", "http://a.gpu.internal:8000/v1", "vllm"),
    ("127.0.0.1:8000=tgi", "http://127.0.0.1:8000/v1", "tgi"),
    ("API.OPENAI.COM=proxy", "https://api.openai.com/v1", "proxy"),
    ("127.0.0.1:8000=tgi", "http://127.0.0.1:8001/v1", "openai"),
    ("nonsense,=x,y=", "https://api.groq.com/v1", "groq"),
])
def test_by_setting(monkeypatch, said, url, name):
    monkeypatch.setenv("BACKSPAN_PROVIDERS", said)
    config.reload()
    assert _service(url)[0].attributes["gen_ai.provider.name"] == name


def test_by_class():
    with openai.AzureOpenAI(base_url="http://localhost:1/openai", api_key="k", api_version="1") as client:
        got = service_of(client, client.base_url)
    assert got.attributes["gen_ai.provider.name"] == "azure.ai.openai" and got.renames


@pytest.mark.skipif(not hasattr(openai, "BedrockOpenAI"), reason="since openai 2.40")
def test_bedrock_by_class():
    with openai.BedrockOpenAI(base_url="http://localhost:1/v1", api_key="k", aws_region="eu-west-1") as client:
        assert _providers.provider_of(client, "localhost", 1) == ("aws.bedrock", True)


def test_by_what_the_client_was_configured_with():
    bedrock = pytest.importorskip("openai.providers").bedrock  # since openai 2.54
    provider = bedrock(base_url="http://localhost:1/v1", api_key="k", region="eu-west-1")
    with openai.OpenAI(provider=provider) as client:
        assert _providers.provider_of(client, "localhost", 1) == ("aws.bedrock", True)


def test_once_per_client(patched, monkeypatch):
    asked = []
    real = _providers.provider_of
    monkeypatch.setattr(_providers, "provider_of", lambda *args: asked.append(args) or real(*args))
    with Scripted(*[Said(scripted.chat(content="x"))] * 3) as server:
        with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
            for _ in range(3):
                client.chat.completions.create(model="m", messages=[])
    assert len(asked) == 1 and len(patched.spans) == 3


@pytest.mark.parametrize("azure, differs", [(True, None), (False, True)])
def test_a_deployment_of_azure_is_not_another_model(patched, azure, differs):
    with Scripted(Said(scripted.chat(content="x"))) as server:
        more = {"azure_endpoint": server.base_url, "api_version": "1"} if azure else {"base_url": server.base_url}
        kind = openai.AzureOpenAI if azure else openai.OpenAI
        with kind(api_key="k", **more) as client:
            client.chat.completions.create(model="our-deployment", messages=[])
    assert patched.attributes().get("backspan.response.model.differs") is differs
