"""Chat completions: what a request asks, and what an answer says."""

from __future__ import annotations

from typing import Any, cast

from backspan import semconv
from backspan.config import settings
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import (
    Json,
    blob_part,
    clean,
    each,
    field,
    media_part,
    peek,
    text_part,
    tool_call_part,
    tool_response_part,
)
from backspan.instrument._facts import (
    arguments_of,
    log_probabilities,
    put_confidence,
    put_refusal,
    put_shape,
    put_tool_calls,
)
from backspan.instrument._fit import remembered
from backspan.instrument._openai_common import common_attributes, put_content, set_usage, texts, view
from backspan.redact.parts import redacted

OPERATION = Operation(semconv.CHAT, answers=True)
_INSTRUCTING = ("system", "developer")
_FINISH = {"tool_calls": "tool_call", "function_call": "tool_call"}


# --- the request ----------------------------------------------------------------------------------------------------
def asked(body: Json, content: bool) -> Asked:
    """Read a request body; nothing of it is changed, and iterators are left alone."""
    messages = each(body.get("messages"))
    attributes, model = common_attributes(body, "chat_completions")
    attributes[semconv.INPUT_MESSAGE_COUNT] = len(messages)
    instructions, characters = _measure(messages)
    attributes[semconv.INPUT_CHARACTERS] = characters
    shown = body.get("response_format")
    if isinstance(shown, dict):
        attributes[semconv.OUTPUT_TYPE] = "text" if field(shown, "type") == "text" else "json"
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(most, int):
        attributes[semconv.REQUEST_MAX_TOKENS] = most
    recorded: Json = {}
    if content:
        put_content(recorded, semconv.INPUT_MESSAGES, [_input_message(message) for message in messages])
        tools = [*each(body.get("tools")), *each(body.get("functions"))]
        if tools:
            put_content(recorded, semconv.TOOL_DEFINITIONS, remembered(tools, _tool_definition))
    return Asked(
        model, attributes, instructions, recorded, tools=bool(body.get("tools") or body.get("functions")),
        logprobs=bool(body.get("logprobs")), json=attributes.get(semconv.OUTPUT_TYPE) == "json")


def _measure(messages: list[Any]) -> tuple[str | None, int]:
    """The system instructions, and the characters of all texts."""
    instructions: list[str] = []
    characters = 0
    for message in messages:
        said = field(message, "content")
        said = said if isinstance(said, str) else "\n".join(texts(said))
        characters += len(said)
        if field(message, "role") in _INSTRUCTING:
            instructions.append(said)
    return "\n".join(instructions) or None, characters


def _input_message(message: Any) -> Json:
    role, said = field(message, "role"), field(message, "content")
    if isinstance(said, str) and isinstance(role, str) and role != "tool" and type(message) is dict and (
            len(cast(Json, message)) == 2):
        return {"role": role, "parts": [text_part(said)]}
    parts: list[Json] = []
    if role == "tool":
        answer = said if isinstance(said, str) else "\n".join(texts(said))
        parts.append(tool_response_part(field(message, "tool_call_id"), answer))
    elif isinstance(said, str):
        parts.append(text_part(said))
    else:
        parts.extend(_part(part) for part in each(said))
    parts.extend(_tool_parts(message))
    shaped: Json = {"role": str(role or "user"), "parts": parts}
    name = field(message, "name")
    if isinstance(name, str):
        shaped["name"] = redacted(name)
    return shaped


def _part(part: Any) -> Json:
    kind = field(part, "type")
    if isinstance(part, str) or kind == "text":
        return text_part(part if isinstance(part, str) else str(field(part, "text") or ""))
    if kind == "image_url":
        image = field(part, "image_url")
        return media_part("image", str((image if isinstance(image, str) else field(image, "url")) or ""))
    if kind == "input_audio":
        audio = field(part, "input_audio")
        return blob_part("audio", f"audio/{field(audio, 'format')}", _data(field(audio, "data")))
    if kind == "file":
        return file_part(field(part, "file"))
    return {**(shaped if isinstance(shaped := clean(part), dict) else {}), "type": str(kind or "unknown")}


def file_part(file: Any) -> Json:
    """A file by id, by address, or by its bytes; shared with the Responses API."""
    if field(file, "file_id"):
        return {"type": "file", "modality": "document", "file_id": str(field(file, "file_id"))}
    if field(file, "file_url"):
        return media_part("document", str(field(file, "file_url")))
    data = _data(field(file, "file_data"))
    if isinstance(data, str) and data.startswith("data:"):
        return media_part("document", data)
    return blob_part("document", None, data)


def _data(value: Any) -> str | bytes:
    return value if isinstance(value, str | bytes) else ""


def _tool_parts(message: Any) -> list[Json]:
    parts: list[Json] = []
    for call in each(field(message, "tool_calls")):
        said = field(call, "function") or field(call, "custom")
        arguments = field(said, "arguments")
        parts.append(tool_call_part(field(said, "name"), field(call, "id"),
                                    field(said, "input") if arguments is None else arguments))
    legacy = field(message, "function_call")
    if legacy is not None:
        parts.append(tool_call_part(field(legacy, "name"), None, field(legacy, "arguments")))
    return parts


def _tool_definition(tool: Any) -> Json:
    shown = field(tool, "function") or field(tool, "custom") or tool
    definition: Json = {"type": str(field(tool, "type") or "function"), "name": str(field(shown, "name") or "")}
    for key in ("description", "parameters"):
        value = field(shown, key)
        if value is not None:
            definition[key] = clean(value)
    return definition


# --- the answer -----------------------------------------------------------------------------------------------------
def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `ChatCompletion`, or a `Bag` of one."""
    fields = view(answer)
    _identify(call, fields)
    set_usage(call, fields.get("usage"))
    choices = each(fields.get("choices"))
    call.finish_reasons = [str(peek(choice, "finish_reason") or "error") for choice in choices]
    if content and call.recording and choices:
        said = [_output_message(peek(choice, "message"), reason)
                for choice, reason in zip(choices, call.finish_reasons, strict=True)]
        put_content(call.attributes, semconv.OUTPUT_MESSAGES, said)
    messages = [view(peek(choice, "message")) for choice in choices]
    put_refusal(call, [True for message in messages if message.get("refusal")])
    for message in messages:
        if message.get("tool_calls") or message.get("function_call"):
            put_tool_calls(call, [said for message in messages for said in arguments_of(message)])
            break
    if call.asked.json or call.asked.logprobs:
        _put_asked(call, choices, messages)


def _put_asked(call: Call, choices: list[Any], messages: list[Json]) -> None:
    if call.asked.json:
        for message in messages:
            put_shape(call, message.get("content"))
    if call.asked.logprobs:
        put_confidence(call, [
            value for choice in choices for value in log_probabilities(peek(peek(choice, "logprobs"), "content"))])


def identify(call: Call, answer: Any) -> None:
    """Take ids and the model from an answer, or from the first chunk of one."""
    _identify(call, view(answer))


def _identify(call: Call, fields: Json) -> None:
    said, model = fields.get("id"), fields.get("model")
    if isinstance(said, str) and said:
        call.response_id = said
    if isinstance(model, str) and model:
        call.response_model = model
    tier, fingerprint = fields.get("service_tier"), fields.get("system_fingerprint")
    if tier:
        call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] = tier
    if fingerprint:
        call.attributes[semconv.OPENAI_SYSTEM_FINGERPRINT] = fingerprint


def _output_message(message: Any, reason: str) -> Json:
    parts: list[Json] = []
    reasoning = peek(message, "reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        parts.append({"type": "reasoning", "content": redacted(reasoning)})
    said = peek(message, "content")
    if isinstance(said, str):
        parts.append(text_part(said))
    refusal = peek(message, "refusal")
    if isinstance(refusal, str) and refusal:
        parts.append({"type": "refusal", "content": redacted(refusal)})
    audio = peek(message, "audio")
    if audio is not None:
        parts.append({**blob_part("audio", None, _data(field(audio, "data"))), "id": str(field(audio, "id") or "")})
    parts.extend(_tool_parts(message))
    return assistant(peek(message, "role"), parts, reason)


def assistant(role: Any, parts: list[Json], reason: str) -> Json:
    """One choice as the conventions' output message."""
    return {"role": str(role or "assistant"), "parts": parts, "finish_reason": _FINISH.get(reason, reason)}


def failed(call: Call, error: BaseException) -> None:
    """Take what an exception of the SDK's parser still knows: the tokens were billed."""
    completion = peek(error, "completion")
    if completion is not None:
        answered(call, completion, settings().content)
