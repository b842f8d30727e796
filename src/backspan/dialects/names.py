"""The dialect table: OpenInference and OpenLLMetry (Traceloop) names, and the conventions' name of each.

Sources: the packages ``openinference-semantic-conventions`` 0.1.42 and ``opentelemetry-semantic-conventions-ai``
0.5.1, and what ``openinference-instrumentation-openai`` 0.1.66, ``opentelemetry-instrumentation-openai`` 0.47.5
(indexed ``gen_ai.prompt.*``) and 0.62.4 (the conventions' own names for most things) and ``traceloop-sdk`` 0.62.4 send.

Rules of the table. What a span already says under the conventions' name stays. Of several sources of one name the
first that a span has wins. A source stays beside the new name, except a user's id and content (`Messages`,
`Documents`), which are moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from backspan import semconv

Form = Literal["same", "whole", "text", "list"]

USER_ID: Final = "user.id"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
AGENT_NAME: Final = "gen_ai.agent.name"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"

OPENINFERENCE_KIND: Final = "openinference.span.kind"
TRACELOOP_KIND: Final = "traceloop.span.kind"
MARKS: Final = (OPENINFERENCE_KIND, TRACELOOP_KIND, "llm.request.type", "gen_ai.system", "gen_ai.is_streaming",
                "traceloop.workflow.name", "traceloop.entity.name", "gen_ai.usage.total_tokens", "llm.model_name",
                "embedding.model_name")
"""Attributes by which a span of another instrumentation is known; a span with none of them is left alone."""


@dataclass(frozen=True)
class Name:
    """One attribute of a dialect.

    Attributes:
        source: its name there.
        target: the conventions' name of the same.
        form: the value stays the ``same``, becomes a ``whole`` number, a ``text``, or a ``list`` of one.
        words: the dialect's values -> the conventions' values.
        only: values that ``words`` does not list are not taken over.
        when: attribute and value that the span must have as well.
        moved: the source is removed.
    """

    source: str
    target: str
    form: Form = "same"
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    only: bool = False
    when: tuple[str, str] | None = None
    moved: bool = False


@dataclass(frozen=True)
class Field:
    """One value inside an attribute that holds a JSON object: ``source`` -> ``key`` -> ``target``."""

    source: str
    key: str
    target: str
    form: Form = "same"
    when: tuple[str, str] | None = None


@dataclass(frozen=True)
class Messages:
    """Messages that are spread over numbered attributes; ``{i}`` is the message's number, ``{j}`` that of a part."""

    target: str
    message: str
    role: str = "role"
    text: str = "content"
    parts: str = ""
    """Text of a message that has several parts."""
    part_type: str = ""
    """Says what such a part is; of no use beside its text."""
    call: tuple[str, str, str] = ("tool_calls.{j}.id", "tool_calls.{j}.name", "tool_calls.{j}.arguments")
    """A tool call's id, name and arguments (text)."""
    answers: str = "tool_call_id"
    """Names the tool call that a message of a tool answers."""


@dataclass(frozen=True)
class Documents:
    """Retrieved documents that are spread over numbered attributes."""

    target: str
    document: str
    keys: Mapping[str, str]
    """The conventions' key -> the dialect's."""


_PROVIDERS: Final = {
    "az.ai.openai": "azure.ai.openai", "azure": "azure.ai.openai", "Azure": "azure.ai.openai", "aws": "aws.bedrock",
    "AWS": "aws.bedrock", "google": "gcp.gen_ai", "Google": "gcp.gen_ai", "vertexai": "gcp.vertex_ai",
    "VertexAI": "gcp.vertex_ai", "mistralai": "mistral_ai", "MistralAI": "mistral_ai", "xai": "x_ai",
    "moonshot": "moonshot_ai", "OpenAI": "openai", "Anthropic": "anthropic", "Cohere": "cohere", "Groq": "groq",
    "Watsonx": "ibm.watsonx.ai",
}
_FINISHED: Final = {"tool_calls": "tool_call", "function_call": "tool_call", "tool_use": "tool_call",
                    "end_turn": "stop", "max_tokens": "length"}
_OI_KINDS: Final = {"LLM": semconv.CHAT, "EMBEDDING": semconv.EMBEDDINGS, "RETRIEVER": semconv.RETRIEVAL,
                    "TOOL": EXECUTE_TOOL, "AGENT": INVOKE_AGENT}
_TRACELOOP_KINDS: Final = {"workflow": semconv.INVOKE_WORKFLOW, "agent": INVOKE_AGENT, "tool": EXECUTE_TOOL}
_REQUEST_TYPES: Final = {"chat": semconv.CHAT, "completion": semconv.TEXT_COMPLETION, "embedding": semconv.EMBEDDINGS}
_PROPERTIES: Final = "traceloop.association.properties."
_LLM, _RETRIEVER = (OPENINFERENCE_KIND, "LLM"), (OPENINFERENCE_KIND, "RETRIEVER")
_TOOL: Final = (OPENINFERENCE_KIND, "TOOL")

_OPENINFERENCE: Final = (
    Name(OPENINFERENCE_KIND, semconv.OPERATION_NAME, words=_OI_KINDS, only=True),
    Name("llm.provider", semconv.PROVIDER_NAME, words=_PROVIDERS),
    Name("llm.system", semconv.PROVIDER_NAME, words=_PROVIDERS),
    Name("llm.response.model_name", semconv.RESPONSE_MODEL),
    Name("llm.model_name", semconv.RESPONSE_MODEL),
    Name("embedding.model_name", semconv.RESPONSE_MODEL),
    Name("llm.token_count.prompt", semconv.USAGE_INPUT_TOKENS, "whole"),
    Name("llm.token_count.completion", semconv.USAGE_OUTPUT_TOKENS, "whole"),
    Name("llm.token_count.prompt_details.cache_read", semconv.USAGE_CACHE_READ_INPUT_TOKENS, "whole"),
    Name("llm.token_count.prompt_details.cache_write", semconv.USAGE_CACHE_WRITE_INPUT_TOKENS, "whole"),
    Name("llm.token_count.completion_details.reasoning", semconv.USAGE_REASONING_OUTPUT_TOKENS, "whole"),
    Name("llm.finish_reason", semconv.RESPONSE_FINISH_REASONS, "list", _FINISHED),
    Name("prompt.id", semconv.PROMPT_NAME, "text"),
    Name("llm.prompt_template.version", semconv.PROMPT_VERSION, "text"),
    Name("session.id", semconv.CONVERSATION_ID, "text"),
    Name("agent.name", AGENT_NAME),
    Name("tool.name", TOOL_NAME),
    Name("tool.description", TOOL_DESCRIPTION),
    Name("tool.id", TOOL_CALL_ID),
    Name("tool_call.id", TOOL_CALL_ID),
    Name("tool_call.function.arguments", TOOL_CALL_ARGUMENTS),
    Name("input.value", semconv.RETRIEVAL_QUERY, "text", when=_RETRIEVER),
    Name("input.value", TOOL_CALL_ARGUMENTS, "text", when=_TOOL),
)

_OPENLLMETRY: Final = (
    Name("llm.request.type", semconv.OPERATION_NAME, words=_REQUEST_TYPES, only=True),
    Name(TRACELOOP_KIND, semconv.OPERATION_NAME, words=_TRACELOOP_KINDS, only=True),
    Name("gen_ai.system", semconv.PROVIDER_NAME, words=_PROVIDERS),
    Name("gen_ai.usage.prompt_tokens", semconv.USAGE_INPUT_TOKENS, "whole"),
    Name("gen_ai.usage.completion_tokens", semconv.USAGE_OUTPUT_TOKENS, "whole"),
    Name("gen_ai.usage.cache_read_input_tokens", semconv.USAGE_CACHE_READ_INPUT_TOKENS, "whole"),
    Name("gen_ai.usage.cache_creation_input_tokens", semconv.USAGE_CACHE_WRITE_INPUT_TOKENS, "whole"),
    Name("gen_ai.usage.cache_creation.input_tokens", semconv.USAGE_CACHE_WRITE_INPUT_TOKENS, "whole"),
    Name("gen_ai.usage.reasoning_tokens", semconv.USAGE_REASONING_OUTPUT_TOKENS, "whole"),
    Name("llm.usage.reasoning_tokens", semconv.USAGE_REASONING_OUTPUT_TOKENS, "whole"),
    Name("gen_ai.completion.0.finish_reason", semconv.RESPONSE_FINISH_REASONS, "list", _FINISHED),
    Name("gen_ai.response.finish_reason", semconv.RESPONSE_FINISH_REASONS, "list", _FINISHED),
    Name("llm.response.finish_reason", semconv.RESPONSE_FINISH_REASONS, "list", _FINISHED),
    Name("gen_ai.openai.response.system_fingerprint", semconv.OPENAI_SYSTEM_FINGERPRINT),
    Name("gen_ai.openai.system_fingerprint", semconv.OPENAI_SYSTEM_FINGERPRINT),
    Name("traceloop.prompt.key", semconv.PROMPT_NAME, "text"),
    Name("traceloop.prompt.version_hash", semconv.PROMPT_VERSION, "text"),
    Name("traceloop.prompt.version", semconv.PROMPT_VERSION, "text"),
    Name("traceloop.workflow.name", semconv.WORKFLOW_NAME),
    Name("traceloop.entity.name", TOOL_NAME, when=(TRACELOOP_KIND, "tool")),
    Name("traceloop.entity.name", AGENT_NAME, when=(TRACELOOP_KIND, "agent")),
    Name(f"{_PROPERTIES}conversation_id", semconv.CONVERSATION_ID, "text"),
    Name(f"{_PROPERTIES}session_id", semconv.CONVERSATION_ID, "text"),
    Name(f"{_PROPERTIES}thread_id", semconv.CONVERSATION_ID, "text"),
    Name(f"{_PROPERTIES}chat_id", semconv.CONVERSATION_ID, "text"),
    Name(f"{_PROPERTIES}user_id", USER_ID, "text", moved=True),
    Name("gen_ai.user", USER_ID, "text", moved=True),
    Name("llm.user", USER_ID, "text", moved=True),
)
NAMES: Final = _OPENINFERENCE + _OPENLLMETRY

_PARAMETERS: Final = ("llm.invocation_parameters", "embedding.invocation_parameters")
FIELDS: Final = (
    *(Field(source, "model", semconv.REQUEST_MODEL) for source in _PARAMETERS),
    *(Field(_PARAMETERS[0], key, f"gen_ai.request.{key}")
      for key in ("temperature", "top_p", "frequency_penalty", "presence_penalty")),
    *(Field(_PARAMETERS[0], key, semconv.REQUEST_MAX_TOKENS, "whole")
      for key in ("max_tokens", "max_completion_tokens", "max_output_tokens")),
    Field(_PARAMETERS[0], "seed", semconv.REQUEST_SEED, "whole"),
    Field("output.value", "id", semconv.RESPONSE_ID, when=_LLM),
)

LAST: Final = (
    Name("llm.request.model_name", semconv.REQUEST_MODEL),
    Name("llm.model_name", semconv.REQUEST_MODEL),
    Name("embedding.model_name", semconv.REQUEST_MODEL),
)
"""Read after `FIELDS`: OpenInference's model name is that of the answer; of the request only if nothing says more."""

_OI_CALL: Final = ("tool_calls.{j}.tool_call.id", "tool_calls.{j}.tool_call.function.name",
                   "tool_calls.{j}.tool_call.function.arguments")
_OI_PARTS: Final = ("contents.{j}.message_content.text", "contents.{j}.message_content.type")
MESSAGES: Final = (
    Messages(semconv.INPUT_MESSAGES, "llm.input_messages.{i}.message.", "role", "content", *_OI_PARTS, _OI_CALL),
    Messages(semconv.OUTPUT_MESSAGES, "llm.output_messages.{i}.message.", "role", "content", *_OI_PARTS, _OI_CALL),
    Messages(semconv.INPUT_MESSAGES, "gen_ai.prompt.{i}."),
    Messages(semconv.OUTPUT_MESSAGES, "gen_ai.completion.{i}."),
)
DOCUMENTS: Final = Documents(
    semconv.RETRIEVAL_DOCUMENTS, "retrieval.documents.{i}.document.",
    {"id": "id", "score": "score", "content": "content"},
)
