"""Audio: speech from text, and text from speech. Sound is not recorded; what is uploaded of it is known by its hash."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, peek, text_part
from backspan.instrument._openai_common import text_or_none
from backspan.instrument._openai_media import one_prompt, put_output, set_media_usage
from backspan.instrument._stream import Fold

SPEECH = Operation(semconv.SPEECH, answers=False)
TRANSCRIPTION = Operation(semconv.TRANSCRIPTION, answers=False)
TRANSLATION = Operation(semconv.TRANSLATION, answers=False)


# --- speech from text -----------------------------------------------------------------------------------------------
def speech_asked(body: Json, content: bool) -> Asked:
    """Read a request body. What it says how to speak are its instructions; they are no prompt of the application's."""
    return one_prompt(body, content, "speech", "input", "speech")


def speech_answered(call: Call, answer: Any, content: bool) -> None:
    """Nothing but sound came back."""


# --- text from speech -----------------------------------------------------------------------------------------------
def transcript_asked(body: Json, content: bool) -> Asked:
    """Read the fields of a request."""
    return one_prompt(body, content, "audio", "prompt", "text")


def transcript_answered(call: Call, answer: Any, content: bool) -> None:
    """Read a transcription or a translation, or a `Bag` of one; with some formats it is a plain text."""
    text = answer if isinstance(answer, str) else peek(answer, "text")
    set_media_usage(call, peek(answer, "usage"), "text")
    seconds = peek(answer, "duration")
    if isinstance(seconds, int | float):
        call.attributes[semconv.AUDIO_SECONDS] = float(seconds)
    if content and isinstance(text, str):
        put_output(call, [text_part(text)])


class TranscriptFold(Fold[Any]):
    """Folds the events of a transcription: the last one carries the whole text."""

    __slots__ = ("_content", "_texts")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._texts: list[str] = []

    def rare(self, chunk: Any) -> None:
        """Any event."""
        kind = peek(chunk, "type")
        if kind == "transcript.text.delta":
            self.said = True
            if self._content:
                self._texts.append(str(peek(chunk, "delta") or ""))
        elif kind == "transcript.text.done":
            self.terminal = True
            set_media_usage(self.call, peek(chunk, "usage"), "text")
            if self._content:
                self._texts = [str(peek(chunk, "text") or "")]
        elif kind == "error":
            self.call.error_type = text_or_none(peek(peek(chunk, "error"), "code")) or "error"

    def finish(self, outcome: str) -> str:
        """Record what was heard, whole or not."""
        self.call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        if self._texts:
            put_output(self.call, [text_part("".join(self._texts))], "stop" if self.terminal else "error")
        return outcome
