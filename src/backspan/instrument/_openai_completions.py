"""Completions, the API before chat: what a request asks, what an answer says, and how its chunks fold into one."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, each, peek, text_part
from backspan.instrument._openai_chat import assistant, identify
from backspan.instrument._openai_common import common_attributes, put_content, set_usage
from backspan.instrument._outcome import ABANDONED, CANCELLED, CLOSED, COMPLETE
from backspan.instrument._stream import Fold

OPERATION = Operation(semconv.TEXT_COMPLETION, answers=True)


def asked(body: Json, content: bool) -> Asked:
    """Read a request body. Prompts may be texts or tokens; tokens are counted as prompts and not recorded."""
    attributes, model = common_attributes(body, "completions")
    given = body.get("prompt")
    several = [given] if isinstance(given, str) else each(given)
    prompts = [text for text in several if isinstance(text, str)]
    tokens = bool(several) and isinstance(several[0], int)
    attributes[semconv.INPUT_MESSAGE_COUNT] = 1 if tokens else len(several)
    attributes[semconv.INPUT_CHARACTERS] = sum(map(len, prompts))
    if isinstance(body.get("max_tokens"), int):
        attributes[semconv.REQUEST_MAX_TOKENS] = body["max_tokens"]
    recorded: Json = {}
    if content and prompts:
        put_content(recorded, semconv.INPUT_MESSAGES,
                    [{"role": "user", "parts": [text_part(prompt)]} for prompt in prompts])
    return Asked(model, attributes, None, recorded)


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `Completion`, or a `Bag` of one."""
    identify(call, answer)
    set_usage(call, peek(answer, "usage"))
    choices = each(peek(answer, "choices"))
    call.finish_reasons = [str(peek(choice, "finish_reason") or "error") for choice in choices]
    if content and call.recording and choices:
        said = [assistant(None, [text_part(str(peek(choice, "text") or ""))], reason)
                for choice, reason in zip(choices, call.finish_reasons, strict=True)]
        put_content(call.attributes, semconv.OUTPUT_MESSAGES, said)


class CompletionFold(Fold[Any]):
    """Folds the chunks of a completion, which look like completions. With content off no text is kept."""

    __slots__ = ("_content", "_reasons", "_texts")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._texts: dict[int, list[str]] = {}
        self._reasons: dict[int, str] = {}

    def rare(self, chunk: Any) -> None:
        """Any chunk."""
        if self.call.response_id is None or self.call.response_model is None:
            identify(self.call, chunk)
        set_usage(self.call, peek(chunk, "usage"))
        for choice in each(peek(chunk, "choices")):
            self._take(choice)

    def _take(self, choice: Any) -> None:
        index, text, reason = peek(choice, "index") or 0, peek(choice, "text"), peek(choice, "finish_reason")
        texts = self._texts.setdefault(index, [])
        if isinstance(text, str) and text:
            self.said = True
            if self._content:
                texts.append(text)
        if reason:
            self._reasons[index], self.terminal = str(reason), True

    def finish(self, outcome: str) -> str:
        """The chunks were read to the end, or as far as anybody wanted them."""
        call = self.call
        call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        missing = None if outcome in (COMPLETE, CLOSED, CANCELLED, ABANDONED) else "error"
        reasons = [self._reasons.get(index, missing) for index in sorted(self._texts)]
        call.finish_reasons = [reason for reason in reasons if reason]
        if self._content and self._texts:
            said = [assistant(None, [text_part("".join(texts))], self._reasons.get(index, "error"))
                    for index, texts in sorted(self._texts.items())]
            put_content(call.attributes, semconv.OUTPUT_MESSAGES, said)
        return outcome
