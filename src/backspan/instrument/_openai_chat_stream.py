"""Chat completions, streamed: how chunks fold into an answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from backspan import semconv
from backspan.instrument._call import Call
from backspan.instrument._content import Json, each, peek, text_part, tool_call_part
from backspan.instrument._openai_chat import assistant, identify
from backspan.instrument._openai_common import put_content, set_usage
from backspan.instrument._outcome import ABANDONED, CANCELLED, CLOSED, COMPLETE, INCOMPLETE
from backspan.instrument._stream import Fold
from backspan.redact import redact

_DROP: deque[str] = deque(maxlen=0)


class _Choice:
    """What the deltas of one choice add up to."""

    __slots__ = ("calls", "reason", "reasoning", "refusal", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, Json] = {}
        self.reason: str | None = None

    def parts(self) -> list[Json]:
        parts: list[Json] = []
        if self.reasoning:
            parts.append({"type": "reasoning", "content": redact("".join(self.reasoning))})
        if self.text:
            parts.append(text_part("".join(self.text)))
        if self.refusal:
            parts.append({"type": "refusal", "content": redact("".join(self.refusal))})
        for _, call in sorted(self.calls.items()):
            parts.append(tool_call_part(call["name"], call["id"], "".join(call["arguments"])))
        return parts


class ChatFold(Fold[Any]):
    """Folds `ChatCompletionChunk` objects. With content off no text is kept."""

    __slots__ = ("_add", "_choices", "_content", "_last", "_only", "_tools")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._choices: dict[int, _Choice] = {}
        self._add: Callable[[str], None] = _DROP.append
        self._last: Any = None
        self._only = semconv.REQUEST_CHOICE_COUNT not in call.asked.attributes
        self._tools = semconv.TOOL_DEFINITIONS in call.asked.content

    def plain(self, chunk: Any) -> None:
        """The common chunk after content began: more text of the only choice.

        What else it may carry (some providers put the finish or the usage there) is read from the last such chunk, by
        `catch_up`: nothing but text can follow text until a chunk without text comes.
        """
        self.chunks += 1
        try:
            delta: Any = chunk.choices[0].delta
            text: Any = delta.content
        except (AttributeError, IndexError, TypeError):  # the usage, or another provider's idea of a chunk
            text = delta = None
        if text and self._only and not (self._tools and delta.tool_calls):
            self._add(text)
            self._last = chunk
        else:
            self.rare(chunk)

    def catch_up(self) -> None:
        """Read the last chunk of text for what it carries besides."""
        last, self._last = self._last, None
        if last is None:
            return
        if peek(last, "usage") is not None:
            set_usage(self.call, peek(last, "usage"))
        choice = last.choices[0]
        kept = self._choices.get(peek(choice, "index") or 0)
        if kept is not None:
            self._finish_choice(kept, choice)
            self._take_tool_calls(kept, peek(choice, "delta"))

    def rare(self, chunk: Any) -> None:
        """A chunk that may carry anything: the first, a tool call, the finish, the usage, another provider's."""
        self.catch_up()
        if self.call.response_id is None or self.call.response_model is None:
            identify(self.call, chunk)
        usage = peek(chunk, "usage")
        if usage is not None:
            set_usage(self.call, usage)
        for choice in each(peek(chunk, "choices")):
            self._take(choice)

    def _take(self, choice: Any) -> None:
        index = peek(choice, "index") or 0
        kept = self._choices.get(index)
        if kept is None:
            kept = self._choices[index] = _Choice()
            if self._content and self._only:
                self._add = kept.text.append
        self._finish_choice(kept, choice)
        delta = peek(choice, "delta")
        if delta is not None:
            self._take_delta(kept, delta)

    def _finish_choice(self, kept: _Choice, choice: Any) -> None:
        reason = peek(choice, "finish_reason")
        if reason:
            kept.reason, self.terminal = str(reason), True

    def _take_delta(self, kept: _Choice, delta: Any) -> None:
        for name, texts_so_far in (("content", kept.text), ("reasoning_content", kept.reasoning),
                                   ("refusal", kept.refusal)):
            text = peek(delta, name)
            if isinstance(text, str) and text:
                self.said = True
                if self._content:
                    texts_so_far.append(text)
        self._take_tool_calls(kept, delta)

    def _take_tool_calls(self, kept: _Choice, delta: Any) -> None:
        for call in each(peek(delta, "tool_calls")):
            self.said = True
            if self._content:
                _take_tool_call(kept.calls, call)

    def finish(self, outcome: str) -> str:
        """The chunks were read to the end, or as far as anybody wanted them."""
        call = self.call
        call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        choices = [choice for _, choice in sorted(self._choices.items())]
        broken = outcome not in (COMPLETE, CLOSED, CANCELLED, ABANDONED)
        missing = "error" if broken else None
        call.finish_reasons = [reason for choice in choices if (reason := choice.reason or missing)]
        if self._content and choices:
            said = [assistant(None, choice.parts(), choice.reason or "error") for choice in choices]
            put_content(call.attributes, semconv.OUTPUT_MESSAGES, said)
        if outcome == INCOMPLETE and self.chunks and call.finish_reasons == []:
            call.finish_reasons = ["error"]
        return outcome


def _take_tool_call(calls: dict[int, Json], delta: Any) -> None:
    index = peek(delta, "index") or 0
    kept = calls.setdefault(index, {"id": None, "name": "", "arguments": []})
    kept["id"] = peek(delta, "id") or kept["id"]
    function = peek(delta, "function")
    kept["name"] = peek(function, "name") or kept["name"]
    arguments = peek(function, "arguments")
    if arguments:
        kept["arguments"].append(arguments)
