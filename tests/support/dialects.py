"""Spans of other instrumentations, as their packages send them (recorded with the versions in `backspan.dialects`)."""

from __future__ import annotations

import json
from typing import Any

OPENINFERENCE: dict[str, Any] = {
    "openinference.span.kind": "LLM", "llm.system": "openai", "llm.model_name": "gpt-test-2026-01-01",
    "llm.invocation_parameters": '{"model": "gpt-test", "max_tokens": 9, "temperature": 0.5}',
    "input.value": '{"messages": []}', "input.mime_type": "application/json",
    "output.value": '{"id":"chatcmpl-000001","choices":[]}', "output.mime_type": "application/json",
    "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user", "llm.input_messages.1.message.content": 'Say "<b>"?',
    "llm.input_messages.2.message.role": "assistant",
    "llm.input_messages.2.message.tool_calls.0.tool_call.id": "call_1",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "weather",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": "{}",
    "llm.input_messages.3.message.role": "tool", "llm.input_messages.3.message.tool_call_id": "call_1",
    "llm.input_messages.3.message.content": "sunny",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.contents.0.message_content.type": "text",
    "llm.output_messages.0.message.contents.0.message_content.text": "It is sunny.",
    "llm.token_count.total": 7, "llm.token_count.prompt": 4, "llm.token_count.completion": 3,
    "llm.token_count.prompt_details.cache_read": 1, "llm.token_count.completion_details.reasoning": 0,
    "llm.finish_reason": "tool_calls", "session.id": "s-1", "user.id": "anna", "prompt.id": "qa",
    "llm.prompt_template.version": "7",
}
OPENINFERENCE_RETRIEVER: dict[str, Any] = {
    "openinference.span.kind": "RETRIEVER", "input.value": "how long?", "retrieval.documents.0.document.id": "d1",
    "retrieval.documents.0.document.score": 0.75, "retrieval.documents.0.document.content": "14 days",
    "retrieval.documents.1.document.content": "no id",
}
OPENINFERENCE_TOOL: dict[str, Any] = {
    "openinference.span.kind": "TOOL", "tool.name": "weather", "tool.description": "what it is like",
    "tool_call.id": "call_1", "input.value": '{"city": "Paris"}',
}
OPENLLMETRY: dict[str, Any] = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-test",
    "gen_ai.is_streaming": False, "gen_ai.response.id": "chatcmpl-000001", "gen_ai.usage.total_tokens": 6,
    "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 3, "gen_ai.usage.reasoning_tokens": 2,
    "gen_ai.response.finish_reasons": ["stop"], "gen_ai.openai.response.system_fingerprint": "fp_1",
    "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Hello?"}]}]),
    "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Hi."}]}]),
    "traceloop.workflow.name": "qa", "traceloop.prompt.key": "qa", "traceloop.prompt.version": "3",
    "traceloop.association.properties.session_id": "s-1", "traceloop.association.properties.user_id": "anna",
}
OPENLLMETRY_INDEXED: dict[str, Any] = {
    "llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-test",
    "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Weather?",
    "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "One moment.",
    "gen_ai.completion.0.tool_calls.0.id": "call_1", "gen_ai.completion.0.tool_calls.0.name": "weather",
    "gen_ai.completion.0.tool_calls.0.arguments": "{}", "gen_ai.completion.0.finish_reason": "tool_calls",
    "gen_ai.usage.prompt_tokens": 4, "gen_ai.usage.completion_tokens": 3,
    "gen_ai.usage.cache_read_input_tokens": 1, "gen_ai.usage.cache_creation_input_tokens": 2,
}
OPENLLMETRY_TOOL: dict[str, Any] = {"traceloop.span.kind": "tool", "traceloop.entity.name": "weather"}
ALL = {
    "openinference": OPENINFERENCE, "openinference-retriever": OPENINFERENCE_RETRIEVER,
    "openinference-tool": OPENINFERENCE_TOOL, "openllmetry": OPENLLMETRY, "openllmetry-indexed": OPENLLMETRY_INDEXED,
    "openllmetry-tool": OPENLLMETRY_TOOL,
}


def long_conversation(count: int) -> dict[str, Any]:
    """An OpenInference span with that many messages."""
    spread: dict[str, Any] = {}
    for number in range(count):
        prefix = f"llm.input_messages.{number}.message."
        spread |= {f"{prefix}role": ("user", "assistant")[number % 2], f"{prefix}content": f"message {number}"}
    return {"openinference.span.kind": "LLM", "llm.model_name": "gpt-test", **spread}
