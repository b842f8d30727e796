"""Who answers an OpenAI-compatible client: by the client's class, then by the host."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Service

OPENAI = "openai"
CLASSES = {"BaseAzureClient": "azure.ai.openai", "BedrockOpenAI": "aws.bedrock", "AsyncBedrockOpenAI": "aws.bedrock"}
"""Class of client, anywhere in its ancestry -> ``gen_ai.provider.name``."""
HOSTS = {
    "api.openai.com": OPENAI,
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "models.inference.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "amazonaws.com": "aws.bedrock",
}
"""Host, or the domain it is in -> ``gen_ai.provider.name``; any other compatible host is `OPENAI` at its address."""
_PORTS = {"https": 443, "http": 80}


def provider_of(client: Any, host: str) -> str | None:
    """``gen_ai.provider.name`` for ``client`` talking to ``host``, None if neither tells."""
    for base in type(client).__mro__:
        if base.__name__ in CLASSES:
            return CLASSES[base.__name__]
    labels = host.lower().split(".")
    for start in range(len(labels)):
        found = HOSTS.get(".".join(labels[start:]))
        if found:
            return found
        if labels[start].endswith("-aiplatform"):  # regional hosts: europe-west1-aiplatform.googleapis.com
            return HOSTS["aiplatform.googleapis.com"]
    return None


def service_of(client: Any, url: Any) -> Service:
    """Provider, address and port for ``client`` when it talks to ``url`` (an URL object of httpx or httpx2).

    Metrics carry the address only where the provider's name does not say it already.
    """
    host = str(url.host)
    known = provider_of(client, host)
    attributes: dict[str, Any] = {semconv.PROVIDER_NAME: known or OPENAI}
    if host:
        attributes[semconv.SERVER_ADDRESS] = host
        port = url.port or _PORTS.get(str(url.scheme))
        if port:
            attributes[semconv.SERVER_PORT] = port
    return Service(attributes, {semconv.PROVIDER_NAME: known} if known else dict(attributes))
