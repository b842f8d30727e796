"""Runs of an assistant on a thread: an agent that the provider runs. Created, streamed, given the results of tools."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, each, field, peek, text_part
from backspan.instrument._openai_common import common_attributes, put_content, set_usage, text_or_none, texts
from backspan.instrument._openai_media import put_output
from backspan.instrument._outcome import COMPLETE, FAILED, INCOMPLETE
from backspan.instrument._stream import Fold

OPERATION = Operation(semconv.INVOKE_AGENT, answers=True, inference=False)
_EVENT = "thread.run."
_TERMINAL = {"completed": COMPLETE, "requires_action": COMPLETE, "incomplete": INCOMPLETE, "failed": FAILED,
             "cancelled": FAILED, "expired": FAILED}
_REASONS = {"completed": "stop", "requires_action": "tool_call", "incomplete": "length"}


def asked(body: Json, content: bool) -> Asked:
    """Read a request body; the path has said ``thread_id``, except where the thread is created with the run."""
    attributes, model = common_attributes(body, "assistants")
    for name, key in (("assistant_id", semconv.AGENT_ID), ("thread_id", semconv.CONVERSATION_ID)):
        if isinstance(body.get(name), str):
            attributes[key] = body[name]
    messages = [*each(field(body.get("thread"), "messages")), *each(body.get("additional_messages"))]
    said = [(str(field(message, "role") or "user"), _text(field(message, "content"))) for message in messages]
    told = "\n".join(text for name in ("instructions", "additional_instructions") if (text := _text(body.get(name))))
    attributes[semconv.INPUT_MESSAGE_COUNT] = len(said)
    attributes[semconv.INPUT_CHARACTERS] = sum(len(text) for _, text in said) + len(told)
    recorded: Json = {}
    if content and said:
        put_content(recorded, semconv.INPUT_MESSAGES,
                    [{"role": role, "parts": [text_part(text)]} for role, text in said])
    if content and told:
        put_content(recorded, semconv.SYSTEM_INSTRUCTIONS, [text_part(told)])
    return Asked(model, attributes, told or None, recorded, subject="")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(texts(content))


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `Run`, or a `Bag` of one. It has only begun; the answer is fetched as messages of the thread."""
    _take_run(call, answer)
    call.answers = False


def _take_run(call: Call, run: Any) -> None:
    call.response_id = text_or_none(peek(run, "id")) or call.response_id
    call.response_model = text_or_none(peek(run, "model")) or call.response_model
    status = str(peek(run, "status") or "")
    for name, key in (("assistant_id", semconv.AGENT_ID), ("thread_id", semconv.CONVERSATION_ID)):
        if isinstance(peek(run, name), str):
            call.attributes[key] = peek(run, name)
    set_usage(call, peek(run, "usage"))
    if status in _REASONS:
        call.finish_reasons = [_REASONS[status]]
    elif _TERMINAL.get(status) == FAILED:
        call.finish_reasons = ["error"]
        call.error_type = text_or_none(peek(peek(run, "last_error"), "code")) or status
    call.attributes[semconv.RESPONSE_STATUS] = status


class RunFold(Fold[Any]):
    """Folds the events of a run: what it says of itself, and the messages that it writes."""

    __slots__ = ("_content", "_outcome", "_texts")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._outcome: str | None = None
        self._texts: list[str] = []

    def rare(self, chunk: Any) -> None:
        """Any event."""
        kind, data = str(peek(chunk, "event")), peek(chunk, "data")
        if kind == "thread.message.delta":
            self._take_delta(peek(data, "delta"))
        elif kind.startswith(_EVENT) and ".step." not in kind:
            _take_run(self.call, data)
            self._outcome = _TERMINAL.get(kind.removeprefix(_EVENT))
            self.terminal = self._outcome is not None
        elif kind == "error":
            self.terminal, self._outcome = True, FAILED
            self.call.error_type = text_or_none(peek(data, "code")) or "error"

    def _take_delta(self, delta: Any) -> None:
        for part in each(peek(delta, "content")):
            text = peek(peek(part, "text"), "value")
            if isinstance(text, str) and text:
                self.said = True
                if self._content:
                    self._texts.append(text)

    def finish(self, outcome: str) -> str:
        """The last event of the run said how it went, unless it never came."""
        self.call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        if self._texts:
            put_output(self.call, [text_part("".join(self._texts))], (self.call.finish_reasons or ["error"])[0])
        self.call.answers = self.said
        return self._outcome if self._outcome is not None and outcome == COMPLETE else outcome
