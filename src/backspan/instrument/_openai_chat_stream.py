"""Chat completions, streamed: how chunks fold into an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from backspan import semconv
from backspan.instrument._call import Call
from backspan.instrument._content import Json, each, peek, text_part, tool_call_part
from backspan.instrument._facts import log_probabilities, put_confidence, put_refusal, put_shape, put_tool_calls
from backspan.instrument._openai_chat import assistant, identify
from backspan.instrument._openai_common import put_content, set_usage
from backspan.instrument._outcome import ABANDONED, CANCELLED, CLOSED, COMPLETE, INCOMPLETE
from backspan.instrument._stream import Fold
from backspan.instrument._usage import estimate
from backspan.redact.parts import redacted


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
            parts.append({"type": "reasoning", "content": redacted("".join(self.reasoning))})
        if self.text:
            parts.append(text_part("".join(self.text)))
        if self.refusal:
            parts.append({"type": "refusal", "content": redacted("".join(self.refusal))})
        for _, call in sorted(self.calls.items()):
            parts.append(tool_call_part(call["name"], call["id"], "".join(call["arguments"])))
        return parts

    def arguments(self) -> list[str | None]:
        """The arguments of each tool call, None where a tool takes free text."""
        return ["".join(call["arguments"]) if call["function"] else None for call in self.calls.values()]

    def texts(self) -> Iterator[str]:
        """All that arrived, in no order."""
        for texts in (self.text, self.reasoning, self.refusal, *(call["arguments"] for call in self.calls.values())):
            yield from texts


def _none() -> tuple[int, Any]:
    return 0, None


class ChatFold(Fold[Any]):
    """Folds `ChatCompletionChunk` objects.

    Texts are kept until the stream ends, with content off too: a cut stream is measured by them, and JSON is checked.
    """

    __slots__ = ("_add", "_choices", "_content", "_likely", "_only", "_seen", "_tools")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._choices: dict[int, _Choice] = {}
        self._add: Callable[[str], None] = list[str]().append
        self._seen: Callable[[], tuple[int, Any]] = _none
        self._likely: list[float] = []
        self._only = not (semconv.REQUEST_CHOICE_COUNT in call.asked.attributes or call.asked.logprobs)
        self._tools = call.asked.tools

    def quick(self) -> Callable[[Any], None]:
        """How the common chunk after content began is taken: more text of the only choice.

        What else it may carry (some providers put the finish or the usage there) is read from the last such chunk, by
        `catch_up`: nothing but text can follow text until a chunk without text comes. A closure, because this runs
        once per token, and there every attribute that is looked up counts.
        """
        if not self._only:
            return self.plain
        add, tools, plain = self._add, self._tools, self.plain
        count, last = 0, None

        def see(chunk: Any) -> None:
            nonlocal count, last
            try:
                delta: Any = chunk.choices[0].delta
                text: Any = delta.content
            except (AttributeError, IndexError, TypeError):  # the usage, or another provider's idea of a chunk
                text = delta = None
            if text and not (tools and delta.tool_calls):
                add(text)
                count += 1
                last = chunk
            else:
                plain(chunk)

        def seen() -> tuple[int, Any]:
            nonlocal count, last
            result = count, last
            count, last = 0, None
            return result

        self._seen = seen
        return see

    def catch_up(self) -> None:
        """Count the chunks of text, and read the last for what it carries besides."""
        count, last = self._seen()
        self.chunks += count
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
            if self._only:
                self._add = kept.text.append
        self._finish_choice(kept, choice)
        if self.call.asked.logprobs:
            self._likely += log_probabilities(peek(peek(choice, "logprobs"), "content"))
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
                texts_so_far.append(text)
        self._take_tool_calls(kept, delta)

    def _take_tool_calls(self, kept: _Choice, delta: Any) -> None:
        for call in each(peek(delta, "tool_calls")):
            self.said = True
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
        self._put_facts(choices)
        if outcome != COMPLETE:
            estimate(call, (text for choice in choices for text in choice.texts()))
        return outcome

    def _put_facts(self, choices: list[_Choice]) -> None:
        call = self.call
        whole = [choice for choice in choices if choice.reason]
        put_refusal(call, any(choice.refusal for choice in choices))
        put_tool_calls(call, [said for choice in whole for said in choice.arguments()])
        put_confidence(call, self._likely)
        if call.asked.json:
            for choice in whole:
                put_shape(call, "".join(choice.text))


def _take_tool_call(calls: dict[int, Json], delta: Any) -> None:
    index = peek(delta, "index") or 0
    kept = calls.setdefault(index, {"id": None, "name": "", "arguments": [], "function": False})
    kept["id"] = peek(delta, "id") or kept["id"]
    function = peek(delta, "function")
    kept["function"] = kept["function"] or function is not None
    kept["name"] = peek(function, "name") or kept["name"]
    arguments = peek(function, "arguments")
    if arguments:
        kept["arguments"].append(arguments)
