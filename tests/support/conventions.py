"""The GenAI conventions as a table, to judge spans and metrics by: what is there, of which type, under which name.

Of the newest state of open-telemetry/semantic-conventions-genai. Content attributes are judged by its JSON schemas,
where those are at hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
from opentelemetry.trace import SpanKind

FOLDER = Path(os.environ.get("BACKSPAN_CONFORMANCE", Path(__file__).parents[3] / "shared" / "conformance"))
SCHEMAS = {
    "gen_ai.input.messages": "gen-ai-input-messages", "gen_ai.output.messages": "gen-ai-output-messages",
    "gen_ai.system_instructions": "gen-ai-system-instructions", "gen_ai.tool.definitions": "gen-ai-tool-definitions",
    "gen_ai.retrieval.documents": "gen-ai-retrieval-documents",
    "gen_ai.tool.call.arguments": "gen-ai-tool-call-arguments", "gen_ai.tool.call.result": "gen-ai-tool-call-result",
}
STRINGS = tuple[str, ...]
ATTRIBUTES: Mapping[str, type | Any] = {
    **dict.fromkeys((
        "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.conversation.id", "gen_ai.output.type",
        "gen_ai.prompt.name", "gen_ai.prompt.version", "gen_ai.request.model", "gen_ai.request.previous_response.id",
        "gen_ai.request.reasoning.level", "gen_ai.request.stream_cursor", "gen_ai.response.id", "gen_ai.response.model",
        "gen_ai.response.status", "gen_ai.data_source.id", "gen_ai.retrieval.query.text", "gen_ai.agent.id",
        "gen_ai.agent.name", "gen_ai.agent.version", "gen_ai.agent.description", "gen_ai.workflow.name",
        "gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.call.id", "gen_ai.tool.description", "error.type",
        "server.address", "openai.api.type", "openai.request.service_tier", "openai.response.service_tier",
        "openai.response.system_fingerprint", *SCHEMAS), str),
    **dict.fromkeys((
        "gen_ai.request.choice.count", "gen_ai.request.seed", "gen_ai.request.top_k", "gen_ai.request.max_tokens",
        "gen_ai.retrieval.top_k", "gen_ai.embeddings.dimension.count", "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.reasoning.output_tokens", "server.port",
        *(f"gen_ai.usage.{kind}.{side}_tokens" for kind in ("text", "image", "audio", "text.cache_read",
                                                            "image.cache_read", "audio.cache_read")
          for side in ("input", "output"))), int),
    **dict.fromkeys(("gen_ai.request.frequency_penalty", "gen_ai.request.presence_penalty",
                     "gen_ai.request.temperature", "gen_ai.request.top_p",
                     "gen_ai.response.time_to_first_chunk"), float),
    **dict.fromkeys(("gen_ai.request.stream", "gen_ai.conversation.compacted"), bool),
    **dict.fromkeys(("gen_ai.request.stop_sequences", "gen_ai.response.finish_reasons",
                     "gen_ai.request.encoding_formats"), STRINGS),
}
"""Attributes of the conventions and their types."""
OUTPUT_TYPES = {"text", "json", "image", "speech"}
STATUSES = {"queued", "in_progress", "completed", "incomplete", "failed", "cancelled"}


@dataclass(frozen=True)
class Operation:
    """What the conventions ask of one operation. ``subject`` is the attribute that follows its name in the span's."""

    subject: str
    required: frozenset[str]
    metrics: frozenset[str]
    kind: SpanKind = SpanKind.CLIENT
    forbidden: frozenset[str] = field(default=frozenset())


_COMMON = frozenset({"gen_ai.operation.name", "gen_ai.provider.name", "server.address"})
_INFERENCE = Operation(
    "gen_ai.request.model", _COMMON | {"gen_ai.request.model"},
    frozenset({"gen_ai.client.inference.duration", "gen_ai.client.inference.usage.input_tokens",
               "gen_ai.client.inference.usage.output_tokens"}))
_OTHER = Operation("gen_ai.request.model", _COMMON, frozenset({"gen_ai.client.operation.duration"}))
OPERATIONS: Mapping[str, Operation] = {
    "chat": _INFERENCE, "text_completion": _INFERENCE, "generate_content": _INFERENCE,
    "embeddings": Operation("gen_ai.request.model", _COMMON | {"gen_ai.request.model"}, _OTHER.metrics),
    "retrieval": Operation("gen_ai.data_source.id", frozenset({"gen_ai.operation.name"}), _OTHER.metrics),
    "fetch_response": Operation("", _COMMON | {"gen_ai.response.id"}, _OTHER.metrics,
                                forbidden=frozenset({"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"})),
    "invoke_agent": Operation("", _COMMON, _OTHER.metrics),
    "invoke_workflow": Operation("gen_ai.workflow.name", frozenset({"gen_ai.operation.name"}), _OTHER.metrics),
}
"""Operations of the conventions; others are judged as `OTHER`."""
OTHER = _OTHER


@lru_cache
def _validator(name: str) -> jsonschema.protocols.Validator | None:
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return None
    schema = json.loads(path.read_text("utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


def content_problems(attributes: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the content among ``attributes``, by the schemas; nothing where those are not at hand."""
    for key, name in SCHEMAS.items():
        if key not in attributes:
            continue
        try:
            value = json.loads(attributes[key])
        except ValueError:
            yield f"{key} is not JSON"
            continue
        validator = _validator(name)
        if validator is not None:
            yield from (f"{key}: {error.message} at {error.json_path}" for error in validator.iter_errors(value))


def _is(value: Any, kind: Any) -> bool:
    if kind is STRINGS:
        return isinstance(value, tuple | list) and all(isinstance(item, str) for item in value)
    return type(value) is kind


def attribute_problems(attributes: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the names, types and words among ``attributes``."""
    for key, value in attributes.items():
        if key in ATTRIBUTES:
            if not _is(value, ATTRIBUTES[key]):
                yield f"{key} is {value!r}, a {type(value).__name__}"
        elif key.startswith(("gen_ai.", "openai.")):
            yield f"{key} is none of the conventions'"
    reasons = set(attributes.get("gen_ai.response.finish_reasons", ()))
    for key, words in (("gen_ai.output.type", OUTPUT_TYPES), ("gen_ai.response.status", STATUSES)):
        if attributes.get(key, next(iter(words))) not in words:
            yield f"{key} is {attributes[key]!r}"
    if not all(isinstance(reason, str) and reason for reason in reasons):
        yield f"finish reasons are {reasons}"


def span_problems(span: Any) -> list[str]:
    """What is wrong with a finished span of a model call or a retrieval."""
    attributes = dict(span.attributes)
    said = str(attributes.get("gen_ai.operation.name"))
    wanted = OPERATIONS.get(said, OTHER)
    subject = attributes.get(wanted.subject) if wanted.subject else None
    found = [*attribute_problems(attributes), *content_problems(attributes)]
    if span.name != (f"{said} {subject}" if subject else said):
        found.append(f"the name is {span.name!r}")
    if span.kind != wanted.kind:
        found.append(f"the kind is {span.kind}")
    found += [f"{key} is missing" for key in sorted(wanted.required - attributes.keys())]
    found += [f"{key} does not belong here" for key in sorted(wanted.forbidden & attributes.keys())]
    if span.status.is_ok is False and "error.type" not in attributes:
        found.append("an error without error.type")
    return found
