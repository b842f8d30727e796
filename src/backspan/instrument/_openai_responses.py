"""The Responses API: what a request asks, what a response says, and how its events fold into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import (
    Json,
    clean,
    each,
    field,
    media_part,
    peek,
    text_part,
    tool_call_part,
    tool_response_part,
)
from backspan.instrument._facts import log_probabilities, put_confidence, put_refusal, put_shape, put_tool_calls
from backspan.instrument._fit import remembered
from backspan.instrument._openai_chat import file_part
from backspan.instrument._openai_common import common_attributes, put_content, set_usage, text_or_none, texts, view
from backspan.instrument._openai_search import record_searches
from backspan.instrument._outcome import COMPLETE, DISCONNECTED, FAILED, INCOMPLETE
from backspan.instrument._stream import Fold
from backspan.instrument._usage import estimate
from backspan.redact.parts import redacted

OPERATION = Operation(semconv.CHAT, answers=True)
_INSTRUCTING = ("system", "developer")
_TERMINAL = {"response.completed": COMPLETE, "response.incomplete": INCOMPLETE, "response.failed": FAILED,
             "response.cancelled": FAILED}
_WHY = {"max_output_tokens": "length", "content_filter": "content_filter"}
_TEXT_DELTA = "response.output_text.delta"
_CALLS = frozenset({"function_call", "custom_tool_call"})
_LOGPROBS = "message.output_text.logprobs"


# --- the request ----------------------------------------------------------------------------------------------------
def asked(body: Json, content: bool) -> Asked:
    """Read a request body."""
    attributes, model = common_attributes(body, "responses")
    given, told = body.get("input"), text_or_none(body.get("instructions"))
    items: list[Any] = [{"role": "user", "content": given}] if isinstance(given, str) else each(given)
    said = [(field(item, "role"), field(item, "content")) for item in items]
    written = [(role, text if isinstance(text, str) else "\n".join(texts(text))) for role, text in said]
    attributes[semconv.INPUT_MESSAGE_COUNT] = len(items)
    attributes[semconv.INPUT_CHARACTERS] = sum(len(text) for _, text in written) + len(told or "")
    _put_settings(body, attributes)
    system = [text for role, text in written if role in _INSTRUCTING]
    recorded: Json = {}
    if content:
        _put_recorded(recorded, body, items, told)
    return Asked(
        model, attributes, "\n".join([told, *system] if told else system) or None, recorded, _prompt(body),
        tools=bool(body.get("tools")), logprobs=_LOGPROBS in each(body.get("include")),
        json=attributes.get(semconv.OUTPUT_TYPE) == "json")


def _put_settings(body: Json, attributes: Json) -> None:
    if isinstance(body.get("max_output_tokens"), int):
        attributes[semconv.REQUEST_MAX_TOKENS] = body["max_output_tokens"]
    for value, key in (
        (body.get("previous_response_id"), semconv.REQUEST_PREVIOUS_RESPONSE_ID),
        (body.get("conversation"), semconv.CONVERSATION_ID),
    ):
        said = value if isinstance(value, str) else field(value, "id")
        if isinstance(said, str):
            attributes[key] = said
    shape = field(field(body.get("text"), "format"), "type")
    if shape:
        attributes[semconv.OUTPUT_TYPE] = "text" if shape == "text" else "json"


def _prompt(body: Json) -> tuple[str, str | None] | None:
    """The stored prompt that the request names, as name and version."""
    name = field(body.get("prompt"), "id")
    return (str(name), text_or_none(field(body.get("prompt"), "version"))) if name else None


def _put_recorded(recorded: Json, body: Json, items: list[Any], told: str | None) -> None:
    put_content(recorded, semconv.INPUT_MESSAGES, [_input_message(item) for item in items])
    if told:
        put_content(recorded, semconv.SYSTEM_INSTRUCTIONS, [text_part(told)])
    tools = each(body.get("tools"))
    if tools:
        put_content(recorded, semconv.TOOL_DEFINITIONS, remembered(tools, _tool_definition))


def _input_message(item: Any) -> Json:
    kind, role = field(item, "type"), field(item, "role")
    if role is not None:
        said = field(item, "content")
        parts = [text_part(said)] if isinstance(said, str) else [_part(part) for part in each(said)]
        return {"role": str(role), "parts": parts}
    if str(kind).endswith("_output"):
        return {"role": "tool", "parts": [tool_response_part(field(item, "call_id"), field(item, "output"))]}
    return {"role": "assistant", "parts": [_item_part(item)]}


def _part(part: Any) -> Json:
    kind = field(part, "type")
    if kind in ("input_text", "output_text", "text"):
        return text_part(str(field(part, "text") or ""))
    if kind == "refusal":
        return {"type": "refusal", "content": redacted(str(field(part, "refusal") or ""))}
    if kind == "input_image":
        url = field(part, "image_url")
        return media_part("image", url) if isinstance(url, str) else {
            "type": "file", "modality": "image", "file_id": str(field(part, "file_id") or "")}
    if kind == "input_file":
        return file_part(part)
    return _other(part, kind)


def _item_part(item: Any) -> Json:
    """An item that is not a message: a tool call, reasoning, or a tool that the provider runs."""
    kind = str(field(item, "type") or "unknown")
    if kind in ("function_call", "custom_tool_call"):
        arguments = field(item, "arguments") if kind == "function_call" else field(item, "input")
        return tool_call_part(field(item, "name"), field(item, "call_id"), arguments)
    if kind == "reasoning":
        said = texts(field(item, "summary")) + texts(field(item, "content"))
        return {"type": "reasoning", "content": redacted("\n".join(said))}
    if kind == "image_generation_call":
        return {"type": "server_tool_call", "name": kind, "server_tool_call": {"type": kind}}
    if kind.endswith("_call"):
        return {"type": "server_tool_call", "name": kind, "server_tool_call": _other(item, kind)}
    return _other(item, kind)


def _other(part: Any, kind: Any) -> Json:
    shaped = clean(part)
    return {**(shaped if isinstance(shaped, dict) else {}), "type": str(kind or "unknown")}


def _tool_definition(tool: Any) -> Json:
    kind = str(field(tool, "type") or "function")
    definition: Json = {"type": kind, "name": str(field(tool, "name") or field(tool, "server_label") or kind)}
    for key in ("description", "parameters"):
        value = field(tool, key)
        if value is not None:
            definition[key] = clean(value)
    return definition


# --- the response ---------------------------------------------------------------------------------------------------
def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `Response`, or a `Bag` of one."""
    fields = view(answer)
    call.response_id = text_or_none(fields.get("id")) or call.response_id
    call.response_model = text_or_none(fields.get("model")) or call.response_model
    tier = fields.get("service_tier")
    if tier:
        call.attributes[semconv.OPENAI_RESPONSE_SERVICE_TIER] = tier
    set_usage(call, fields.get("usage"), responses=True)
    output = each(fields.get("output"))
    kinds = [field(item, "type") for item in output]
    reason = _finish_reason(call, fields, kinds)
    if reason:
        call.finish_reasons = [reason]
    if call.operation is OPERATION:  # fetched again, they were recorded already
        record_searches(call, answer, output, content)
    if content and call.recording and output:
        parts = [part for item in output for part in _output_parts(item)]
        put_content(call.attributes, semconv.OUTPUT_MESSAGES,
                    [{"role": "assistant", "parts": parts, "finish_reason": reason or "error"}])
    _put_facts(call, output, kinds)


def _put_facts(call: Call, output: list[Any], kinds: list[Any]) -> None:
    said = [view(part) for item, kind in zip(output, kinds, strict=True) if kind == "message"
            for part in each(field(item, "content"))]
    put_refusal(call, [True for part in said if part.get("type") == "refusal"])
    if not _CALLS.isdisjoint(kinds):
        put_tool_calls(call, [
            (field(item, "arguments") or "") if kind == "function_call" else None
            for item, kind in zip(output, kinds, strict=True) if kind in _CALLS])
    if call.asked.json and call.finish_reasons:
        put_shape(call, "".join(str(part.get("text") or "") for part in said))
    if call.asked.logprobs:
        put_confidence(call, [value for part in said for value in log_probabilities(part.get("logprobs"))])


def _finish_reason(call: Call, answer: Json, kinds: list[Any]) -> str | None:
    status, error = answer.get("status"), answer.get("error")
    if status in ("failed", "cancelled") or (error and not kinds):
        call.error_type = text_or_none(field(error, "code")) or text_or_none(field(error, "type")) or str(status)
        return "error"
    if status == "incomplete":
        why = peek(answer.get("incomplete_details"), "reason")
        return _WHY.get(str(why), str(why or "incomplete"))
    if status == "completed":
        return "stop" if _CALLS.isdisjoint(kinds) else "tool_call"
    return None  # a background response is still queued or in progress


def _output_parts(item: Any) -> list[Json]:
    if field(item, "type") == "message":
        return [_part(part) for part in each(field(item, "content"))]
    return [_item_part(item)]


# --- the stream -----------------------------------------------------------------------------------------------------
class ResponsesFold(Fold[Any]):
    """Folds response events: the last one carries the whole response; texts matter only if it never comes."""

    __slots__ = ("_add", "_content", "_outcome", "_rest", "_texts")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._outcome: str | None = None
        self._texts: list[str] = []
        self._rest: list[str] = []
        """Reasoning, refusals and arguments, as they came: only their length is of use."""
        self._add: Callable[[str], None] = self._texts.append

    def plain(self, chunk: Any) -> None:
        """The common event after content began: more text."""
        self.chunks += 1
        fields = chunk.__dict__  # attributes of pydantic models cost four times as much
        if fields.get("type") == _TEXT_DELTA:
            self._add(fields["delta"])
        else:
            self.rare(chunk)

    def rare(self, chunk: Any) -> None:
        """Any event."""
        kind = peek(chunk, "type")
        if not isinstance(kind, str):
            return
        if kind.endswith(".delta"):
            self.said = True
            self._take_delta(kind, peek(chunk, "delta"))
        elif kind in _TERMINAL:
            self.terminal, self._outcome = True, _TERMINAL[kind]
            self._texts.clear()
            self._rest.clear()
            answered(self.call, peek(chunk, "response"), self._content)
        elif kind == "response.created":
            started = peek(chunk, "response")
            self.call.response_id = text_or_none(peek(started, "id"))
            self.call.response_model = text_or_none(peek(started, "model"))
        elif kind == "error":
            self.terminal, self._outcome = True, FAILED
            told = peek(chunk, "code") or peek(peek(chunk, "error"), "code")  # the latter over a WebSocket
            self.call.error_type = text_or_none(told) or "error"

    def _take_delta(self, kind: str, delta: Any) -> None:
        if isinstance(delta, str):
            (self._texts if kind == _TEXT_DELTA else self._rest).append(delta)

    def finish(self, outcome: str) -> str:
        """The last event said how it went, unless it never came."""
        call = self.call
        call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        if self._outcome is not None and outcome == COMPLETE:
            outcome = self._outcome
        if self._texts and self._content:
            said = {"role": "assistant", "parts": [text_part("".join(self._texts))], "finish_reason": "error"}
            put_content(call.attributes, semconv.OUTPUT_MESSAGES, [said])
        if not call.finish_reasons and outcome in (INCOMPLETE, FAILED, DISCONNECTED):
            call.finish_reasons = ["error"]
        if self._outcome is None:
            estimate(call, (*self._texts, *self._rest))
        return outcome


def failed(call: Call, error: BaseException) -> None:
    """Nothing is known of a response that failed before it began."""
