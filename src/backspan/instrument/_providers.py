"""Who answers an OpenAI-compatible client: by the setting, the client's class, its host, or the port of a local server.

Names are the conventions' where they have one, else of the vendor or the program in their style (`openrouter`, `vllm`).
Nobody knows the host: the provider is `openai`, as the protocol is, and ``server.address`` says where it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from backspan import semconv
from backspan.config import settings
from backspan.instrument import _cost
from backspan.instrument._call import Service

OPENAI = "openai"
AZURE = "azure.ai.openai"
BEDROCK = "aws.bedrock"
VERTEX = "gcp.vertex_ai"
CLASSES: Mapping[str, str] = {
    "BaseAzureClient": AZURE, "BedrockOpenAI": BEDROCK, "AsyncBedrockOpenAI": BEDROCK,
    "VertexOpenAI": VERTEX, "AsyncVertexOpenAI": VERTEX,
}
"""Class of client, anywhere in its ancestry -> ``gen_ai.provider.name``."""
_RUNTIMES: Mapping[str, str] = {"azure": AZURE, "bedrock": BEDROCK, "vertex": VERTEX}
"""Provider that a client of openai 2.5x and later was configured with, by its name there."""

HOSTS: Mapping[str, str] = {
    "api.openai.com": OPENAI,
    "openai.azure.com": AZURE, "openai.azure.us": AZURE, "openai.azure.cn": AZURE,
    "cognitiveservices.azure.com": AZURE, "cognitiveservices.azure.us": AZURE,
    "services.ai.azure.com": "azure.ai.inference", "models.ai.azure.com": "azure.ai.inference",
    "models.inference.ai.azure.com": "azure.ai.inference", "inference.ml.azure.com": "azure.ai.inference",
    "generativelanguage.googleapis.com": "gcp.gemini", "aiplatform.googleapis.com": VERTEX,
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "api.anthropic.com": "anthropic",
    "api.cohere.ai": "cohere", "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai", "codestral.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai", "api.moonshot.cn": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    # From here on the conventions have no name.
    "openrouter.ai": "openrouter",
    "ai-gateway.vercel.sh": "vercel_ai_gateway",
    "gateway.ai.cloudflare.com": "cloudflare", "api.cloudflare.com": "cloudflare",
    "api.portkey.ai": "portkey",
    "oai.helicone.ai": "helicone", "gateway.helicone.ai": "helicone", "ai-gateway.helicone.ai": "helicone",
    "models.github.ai": "github_models", "githubcopilot.com": "github_copilot",
    "router.huggingface.co": "hugging_face", "api-inference.huggingface.co": "hugging_face",
    "endpoints.huggingface.cloud": "hugging_face",
    "api.together.ai": "together_ai", "api.together.xyz": "together_ai",
    "api.fireworks.ai": "fireworks_ai",
    "api.cerebras.ai": "cerebras",
    "integrate.api.nvidia.com": "nvidia_nim", "api.nvcf.nvidia.com": "nvidia_nim",
    "api.sambanova.ai": "sambanova",
    "api.deepinfra.com": "deepinfra",
    "api.novita.ai": "novita",
    "api.hyperbolic.xyz": "hyperbolic",
    "api.lambda.ai": "lambda_ai", "api.lambdalabs.com": "lambda_ai",
    "api.studio.nebius.ai": "nebius", "api.studio.nebius.com": "nebius", "api.tokenfactory.nebius.com": "nebius",
    "inference.baseten.co": "baseten", "api.baseten.co": "baseten",
    "serving-endpoints.databricks.com": "databricks", "cloud.databricks.com": "databricks",
    "azuredatabricks.net": "databricks", "gcp.databricks.com": "databricks",
    "api.replicate.com": "replicate",
    "api.ai21.com": "ai21",
    "api.upstage.ai": "upstage",
    "api.minimax.io": "minimax", "api.minimaxi.com": "minimax",
    "dashscope.aliyuncs.com": "alibaba_cloud", "dashscope-intl.aliyuncs.com": "alibaba_cloud",
    "ark.cn-beijing.volces.com": "volcengine",
    "open.bigmodel.cn": "zhipu_ai", "api.z.ai": "z_ai",
    "api.siliconflow.cn": "siliconflow", "api.siliconflow.com": "siliconflow",
    "api.scaleway.ai": "scaleway",
    "ai.cloud.ovh.net": "ovhcloud", "ai.endpoints.ovh.net": "ovhcloud",
    "inference.do-ai.run": "digitalocean",
    "api.voyageai.com": "voyage_ai",
    "api.inference.wandb.ai": "wandb",
    "ollama.com": "ollama",
}
"""Host, or the domain it is in -> ``gen_ai.provider.name``; `_by_domain` knows those with a region in the middle."""

WORDS: Mapping[str, str] = {
    "vllm": "vllm", "ollama": "ollama", "tgi": "tgi", "llamacpp": "llama_cpp", "llama-cpp": "llama_cpp",
    "lmstudio": "lm_studio", "lm-studio": "lm_studio", "litellm": "litellm", "localai": "local_ai", "sglang": "sglang",
    "xinference": "xinference", "triton": "triton", "nim": "nvidia_nim", "mlx": "mlx", "llamafile": "llamafile",
    "portkey": "portkey", "helicone": "helicone", "tensorzero": "tensorzero", "bifrost": "bifrost",
}
"""Word in the name of a host that no domain knows (`vllm`, `vllm-0.models.svc`, `litellm.example.com`) -> its name."""
PORTS: Mapping[int, str] = {11434: "ollama", 1234: "lm_studio", 1337: "jan", 4891: "gpt4all"}
"""Port that one program alone uses by itself -> its name, on hosts that neither a domain nor a word knows."""
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
"""Everybody's machines are there: Bedrock is where a label says so."""
_SCHEMES = {"https": 443, "http": 80}
_RENAMING = frozenset({AZURE})
"""Providers whose models are called by names of the customer's own."""


def _given(host: str, port: int | None) -> str | None:
    for pattern, name in settings().providers:
        if fnmatchcase(host, pattern) or fnmatchcase(f"{host}:{port}", pattern):
            return name
    return None


def _by_class(client: Any) -> str | None:
    for base in type(client).__mro__:
        if base.__name__ in CLASSES:
            return CLASSES[base.__name__]
    return _RUNTIMES.get(str(getattr(getattr(client, "_provider_runtime", None), "name", None)).lower())


def _by_domain(host: str) -> str | None:
    labels = host.split(".")
    for start in range(len(labels)):
        found = HOSTS.get(".".join(labels[start:]))
        if found:
            return found
        if labels[start].endswith("-aiplatform"):  # regional hosts: europe-west1-aiplatform.googleapis.com
            return VERTEX
        if labels[start].startswith("bedrock") and host.endswith(_AMAZON):
            return BEDROCK
    return None


def _by_word(host: str) -> str | None:
    for word, name in WORDS.items():
        if re.search(rf"(?<![a-z0-9]){word}(?![a-z])", host):
            return name
    return None


def provider_of(client: Any, host: str, port: int | None = None) -> tuple[str | None, bool]:
    """``gen_ai.provider.name`` for ``client`` talking to ``host``, None if nothing tells; and whether that says where.

    A program that runs anywhere (`vllm`, `litellm`) does not say where it is.
    """
    host = host.lower()
    placed = _given(host, port) or _by_class(client) or _by_domain(host)
    if placed:
        return placed, True
    return _by_word(host) or PORTS.get(port or 0), False


def service_of(client: Any, url: Any) -> Service:
    """Provider, address and port for ``client`` when it talks to ``url`` (an URL object of httpx or httpx2).

    Metrics carry the address only where the provider's name does not say it already.
    """
    host = str(url.host)
    port = url.port or _SCHEMES.get(str(url.scheme))
    known, placed = provider_of(client, host, port)
    name = known or OPENAI
    attributes: dict[str, Any] = {semconv.PROVIDER_NAME: name}
    if host:
        attributes[semconv.SERVER_ADDRESS] = host
        if port:
            attributes[semconv.SERVER_PORT] = port
    labels = {semconv.PROVIDER_NAME: name} if placed else dict(attributes)
    prices = _cost.IDS.get(known) if known and _cost.available() else None
    return Service(attributes, labels, prices, name in _RENAMING)
