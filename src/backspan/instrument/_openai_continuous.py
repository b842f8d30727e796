"""Connections over which a model hears and talks without a pause: translations, and Live sessions and their forks.

Nothing in them begins or ends an answer, so the session is the call: from the message that starts it to the one that
says that it is closed. What a Live session has the Responses API do for it are calls beneath it.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.context import attach, detach

from backspan import semconv, telemetry
from backspan._guard import guarded, measured
from backspan.config import settings
from backspan.instrument import _openai_audio as audio
from backspan.instrument import _openai_responses as responses
from backspan.instrument import _vendors as vendors
from backspan.instrument._call import Asked, Call, Operation, Service, orphans, reap
from backspan.instrument._content import Json, bagged, field, text_part
from backspan.instrument._openai_common import Room, common_attributes, put_content, text_or_none
from backspan.instrument._openai_media import put_output
from backspan.instrument._openai_session import LIBRARY, Responses, Session
from backspan.instrument._outcome import COMPLETE, DISCONNECTED, INCOMPLETE
from backspan.instrument._stream import Fold

LIVE = Operation(semconv.CHAT, answers=True, inference=False)
"""People may judge the conversation; how long it was is not how long a model took to answer."""
_OUTCOMES = {"expired": INCOMPLETE, "content": INCOMPLETE, "connection_lost": DISCONNECTED}
"""Why a session ended, where that was not asked for."""


class Continuous(Session):
    """One connection, and the one call that it is."""

    start = "session.created"
    """The message that starts a session, of the provider's or of the application's."""

    def __init__(self, service: Service, model: str | None, client: Any) -> None:
        self.backend = Backend(service, None)
        super().__init__(self.backend, client)
        self._service, self._model = service, model
        self._call: Call | None = None

    @measured
    def sent(self, event: Any, lane: str | None = None) -> Call | None:
        """See `Session.sent`: only a Live session is started by the application."""
        said = self.read(event)
        return self._started(said) if field(said, "type") == self.start else None

    @guarded
    def unsent(self, call: Call | None, error: BaseException) -> None:
        """See `Session.unsent`."""
        if call is not None:
            self._call = None
            call.stop(DISCONNECTED, error)

    def _started(self, event: Any) -> Call | None:
        if self._call is not None or telemetry.suppressed() or vendors.taken(LIBRARY, vendors.OPENAI, self._client):
            return None
        if orphans:
            reap()
        content = settings().content
        call = Call(self.operation(), self._service, self.asked(field(event, "session"), content), True)
        call.fold = ContinuousFold(call, content)
        call.hand_out()
        self._call = call
        return call

    def operation(self) -> Operation:
        """What a session is."""
        return audio.TRANSLATION

    def asked(self, session: Any, content: bool) -> Asked:
        """What is said of a session as it starts."""
        attributes, _ = common_attributes({}, "realtime")
        attributes[semconv.OUTPUT_TYPE] = "speech"
        return Asked(self._model or text_or_none(field(session, "model")), attributes, None, {})

    def _take(self, event: Any) -> None:
        kind = field(event, "type")
        if not isinstance(kind, str) or self._over:
            return
        if kind == self.start:
            self._started(event)
        if kind == "response.event":
            self._delegated(field(event, "event"))
        call = self._call
        if call is None or call.fold is None:
            return
        call.fold.see(event)
        if call.fold.terminal:
            self._call = None
            call.stop(COMPLETE)

    def _delegated(self, event: Any) -> None:
        """Take an event of a response that the session asked for, as a call beneath the session's."""
        token = attach(self._call.context) if self._call is not None else None
        try:
            super()._take(bagged(event))
        finally:
            if token is not None:
                detach(token)

    def _end(self, outcome: str, error: BaseException | None = None) -> None:
        super()._end(outcome, error)
        self._call = None

    def _open(self) -> list[Call]:
        return [*super()._open(), *((self._call,) if self._call is not None else ())]


class Translation(Continuous):
    """`realtime.translations.connect`: the provider starts it, and there is one model, named in the address."""


class Live(Continuous):
    """`live.connect` and `live.forks.connect`: the application starts it, and says all about it."""

    start = "session.start"

    def operation(self) -> Operation:
        """See `Continuous.operation`."""
        return LIVE

    def asked(self, session: Any, content: bool) -> Asked:
        """See `Continuous.asked`."""
        attributes, _ = common_attributes({}, "live")
        attributes[semconv.OUTPUT_TYPE] = "speech"
        self.backend.model = text_or_none(field(field(field(session, "delegation"), "responses"), "model"))
        told, recorded = text_or_none(field(session, "instructions")), Json()
        if content and told:
            put_content(recorded, semconv.SYSTEM_INSTRUCTIONS, [text_part(told)])
        return Asked(text_or_none(field(session, "model")), attributes, told, recorded)


class Backend(Responses):
    """Responses that a session asks for by itself; only their events are seen."""

    model: str | None = None
    """The one that the session was told to ask."""

    def begins(self, event: Any) -> tuple[Call, Fold[Any]] | None:
        """The session asked for it, and nobody but the session hears the answer."""
        content = settings().content
        body = {"model": self.model or field(field(event, "response"), "model")}
        call = Call(responses.OPERATION, self.service, responses.asked(body, content), True)
        call.answers = False
        return call, responses.ResponsesFold(call, content)


class ContinuousFold(Fold[Any]):
    """Folds the events of one session: transcripts as far as there is room for them, and how it ended."""

    __slots__ = ("_content", "_error", "_outcome", "_room", "_said", "_told")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._room = Room()
        self._told: list[str] = []
        self._said: list[str] = []
        self._outcome = self._error = ""

    def rare(self, chunk: Any) -> None:
        """Any event."""
        kind = str(field(chunk, "type"))
        if kind in ("session.output_transcript.delta", "session.output_audio.delta"):
            self.said, self._error = True, ""
            if kind == "session.output_transcript.delta":
                self._keep(self._said, chunk)
        elif kind == "session.input_transcript.delta":
            self._keep(self._told, chunk)
        elif kind == "error":
            error = field(chunk, "error")
            self._error = text_or_none(field(error, "code")) or text_or_none(field(error, "type")) or "error"
        elif kind.startswith("session."):
            self._about(kind, chunk)

    def _keep(self, texts: list[str], chunk: Any) -> None:
        text = field(chunk, "delta")
        if self._content and isinstance(text, str):
            self._room.keep(texts, text)

    def _about(self, kind: str, chunk: Any) -> None:
        """What is said of the session as a whole; its length in seconds is a total each time."""
        call, session = self.call, field(chunk, "session")
        seconds = field(field(chunk, "usage"), "seconds")
        if isinstance(seconds, int | float):
            call.attributes[semconv.AUDIO_SECONDS] = float(seconds)
        call.response_model = text_or_none(field(session, "model")) or call.response_model
        name = text_or_none(field(session, "id"))
        if name:
            call.attributes.setdefault(semconv.CONVERSATION_ID, name)
        if kind == "session.closed":
            reason = str(field(chunk, "reason"))
            self.terminal, self._outcome = True, _OUTCOMES.get(reason, COMPLETE)
            self._error = reason if self._outcome == DISCONNECTED else ""

    def finish(self, outcome: str) -> str:
        """Record what was heard and said. A session that failed is one that did not go on after an error."""
        call, outcome = self.call, self._outcome or outcome
        call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        call.answers = call.answers and self.said
        if outcome == COMPLETE:
            call.finish_reasons = ["stop"]
        elif self._error:
            call.error_type = self._error
        if self._told:
            said = {"role": "user", "parts": [text_part("".join(self._told))]}
            put_content(call.attributes, semconv.INPUT_MESSAGES, [said])
        if self._said:
            put_output(call, [text_part("".join(self._said))], "stop" if outcome == COMPLETE else "error")
        return outcome
