"""The Realtime API: what a session and a request for a response say, and how the events of a response fold into one.

Sound is never recorded: what was said aloud is known by its transcript, where the provider makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, blob_part, each, field, text_part, tool_call_part
from backspan.instrument._content import tool_response_part as answer_part
from backspan.instrument._openai_common import common_attributes, put_content, text_or_none
from backspan.instrument._openai_media import put_output, set_media_usage
from backspan.instrument._outcome import CANCELLED, COMPLETE, DISCONNECTED, FAILED, INCOMPLETE
from backspan.instrument._stream import Fold

OPERATION = Operation(semconv.CHAT, answers=True)
_OUTCOMES = {"completed": COMPLETE, "cancelled": CANCELLED, "incomplete": INCOMPLETE, "failed": FAILED}
_WHY = {"max_output_tokens": "length", "content_filter": "content_filter"}
_TEXTS = frozenset({
    "response.output_text.delta", "response.output_audio_transcript.delta",
    "response.text.delta", "response.audio_transcript.delta"})  # the latter two: while it was in beta

_KEPT = ("temperature", "instructions", "max_output_tokens", "max_response_output_tokens", "output_modalities",
         "modalities", "prompt")
"""What a session may say of its responses, and a response for itself."""


# --- the request ----------------------------------------------------------------------------------------------------
def asked(wish: Any, session: Any, model: str | None, content: bool) -> Asked:
    """Read a request for a response (None: the provider began by itself) and the session that it is made in."""
    body: Json = {name: field(wish, name) if field(wish, name) is not None else field(session, name) for name in _KEPT}
    attributes, _ = common_attributes(body, "realtime")
    if text_or_none(field(session, "model")):
        attributes[semconv.RESPONSE_MODEL] = field(session, "model")
    most = body["max_output_tokens"] or body["max_response_output_tokens"]
    if isinstance(most, int):
        attributes[semconv.REQUEST_MAX_TOKENS] = most
    modalities = each(body["output_modalities"]) or each(body["modalities"])
    if modalities:
        attributes[semconv.OUTPUT_TYPE] = "speech" if "audio" in modalities else "text"
    told, prompt = text_or_none(body["instructions"]), body["prompt"]
    recorded: Json = {}
    if content and told:
        put_content(recorded, semconv.SYSTEM_INSTRUCTIONS, [text_part(told)])
    named = field(prompt, "id")
    return Asked(model, attributes, told, recorded,
                 (str(named), text_or_none(field(prompt, "version"))) if named else None)


def message(item: Any) -> Json:
    """An item of the conversation as a message of the conventions."""
    kind = field(item, "type")
    if kind == "function_call":
        call = tool_call_part(field(item, "name"), field(item, "call_id"), field(item, "arguments"))
        return {"role": "assistant", "parts": [call]}
    if kind == "function_call_output":
        return {"role": "tool", "parts": [answer_part(field(item, "call_id"), field(item, "output"))]}
    parts = [made for part in each(field(item, "content")) for made in _parts(part)]
    return {"role": str(field(item, "role") or "assistant"), "parts": parts}


def heard(transcript: str) -> Json:
    """What the user said aloud."""
    return {"role": "user", "parts": [text_part(transcript)]}


def _parts(part: Any) -> list[Json]:
    text, sound = field(part, "text"), field(part, "audio")
    if isinstance(text, str):
        return [text_part(text)]
    said = [text_part(field(part, "transcript"))] if isinstance(field(part, "transcript"), str) else []
    if isinstance(sound, str):
        return [*said, blob_part("audio", None, sound)]
    if field(part, "image_url") is not None:
        return [*said, blob_part("image", None, str(field(part, "image_url")))]
    return said or [{"type": str(field(part, "type") or "unknown")}]


# --- the response ---------------------------------------------------------------------------------------------------
class RealtimeFold(Fold[Any]):
    """Folds the events of one response; the last one carries it whole, unless the connection is lost before."""

    __slots__ = ("_asked", "_content", "_texts", "inputs", "outcome")

    def __init__(self, call: Call, content: bool, asked: Callable[[], Asked]) -> None:
        super().__init__(call)
        self._asked = asked
        self._content = content and call.recording
        self._texts: list[str] = []
        self.inputs: list[Json] = []
        """What was said since the response before, as messages."""
        self.outcome: str | None = None

    def rare(self, chunk: Any) -> None:
        """Any event of this response."""
        kind = str(field(chunk, "type"))
        if kind.endswith(".delta"):
            self.said = True
            if self._content and kind in _TEXTS:
                self._texts.append(str(field(chunk, "delta") or ""))
        elif kind == "response.created":
            self._identify(field(chunk, "response"))
            self._ask_again()
        elif kind == "response.done":
            self._take(field(chunk, "response"))
        elif kind == "error":
            error = field(chunk, "error")
            self.terminal, self.outcome = True, FAILED
            self.call.error_type = text_or_none(field(error, "code")) or text_or_none(field(error, "type")) or "error"

    def _ask_again(self) -> None:
        """Take what was said of the session since the request, which may be older than the first word about it."""
        call, late = self.call, self._asked()
        before, call.asked = call.asked, late
        call.response_model = late.attributes.get(semconv.RESPONSE_MODEL)
        new = {**late.attributes, **late.content}
        call.attributes.update({key: value for key, value in new.items() if key not in before.attributes})
        if late.model and not before.model:
            call.attributes[semconv.REQUEST_MODEL] = call.labels[semconv.REQUEST_MODEL] = late.model
        if late.instructions and not before.instructions:
            call.name_prompt(call.attributes, late)

    def _identify(self, response: Any) -> None:
        self.call.response_id = text_or_none(field(response, "id")) or self.call.response_id
        conversation = field(response, "conversation_id")
        if isinstance(conversation, str):
            self.call.attributes.setdefault(semconv.CONVERSATION_ID, conversation)

    def _take(self, response: Any) -> None:
        call, details = self.call, field(response, "status_details")
        status, reason = str(field(response, "status")), text_or_none(field(details, "reason"))
        self._identify(response)
        self.terminal, self.outcome = True, _OUTCOMES.get(status, COMPLETE)
        self._take_usage(field(response, "usage"))
        output = each(field(response, "output"))
        if self.outcome == CANCELLED:
            call.answers = self.said
            if reason:
                call.attributes[semconv.STREAM_INTERRUPTED_BY] = reason
        elif self.outcome == FAILED:
            error = field(details, "error")
            call.error_type = text_or_none(field(error, "code")) or text_or_none(field(error, "type")) or "failed"
        call.finish_reasons = _finish(self.outcome, reason, output)
        if self._content and output:
            self._texts.clear()
            put_output(call, [part for item in output for part in message(item)["parts"]],
                       (call.finish_reasons or ["error"])[0])

    def _take_usage(self, usage: Any) -> None:
        set_media_usage(self.call, usage, "text")
        cached = field(field(usage, "input_token_details"), "cached_tokens")
        if isinstance(cached, int) and cached:
            self.call.attributes[semconv.USAGE_CACHE_READ_INPUT_TOKENS] = cached

    def finish(self, outcome: str) -> str:
        """Record what was said to it, and as much of its answer as there was."""
        call = self.call
        call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        if self._content and self.inputs:
            put_content(call.attributes, semconv.INPUT_MESSAGES, self.inputs)
        if self._texts:
            put_output(call, [text_part("".join(self._texts))], "error")
        if outcome == DISCONNECTED and not call.finish_reasons:
            call.finish_reasons = ["error"]
        return self.outcome or outcome


def _finish(outcome: str, reason: str | None, output: list[Any]) -> list[str]:
    if outcome == COMPLETE:
        return ["tool_call" if any(field(item, "type") == "function_call" for item in output) else "stop"]
    if outcome == INCOMPLETE:
        return [_WHY.get(str(reason), str(reason or "incomplete"))]
    return ["error"] if outcome == FAILED else []


def cleaned(session: Any) -> Json:
    """What of a session is kept for the responses in it: no audio settings, no keys."""
    return {name: value for name in ("model", *_KEPT) if (value := field(session, name)) is not None}
