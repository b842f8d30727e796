"""Agent sessions (`beta.agents.sessions`): an agent that the provider runs, seen where its events are streamed.

A session is created with something to do, or given it later; the agent works on it in turns, and says what it did in
events that the application streams, or not. One such stream is one call, however many turns it sees.
"""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, each, field, peek, text_part
from backspan.instrument._openai_common import Room, common_attributes, put_content, set_usage, text_or_none, texts
from backspan.instrument._openai_media import put_output
from backspan.instrument._outcome import COMPLETE, FAILED
from backspan.instrument._stream import Fold

OPERATION = Operation(semconv.INVOKE_AGENT, answers=True, inference=False)
_TURN = "agent.session.turn."
_ENDED = {"completed": "stop", "failed": "error", "cancelled": "error"}
_STATUS = {"in_progress": "in_progress", "idle": "completed", "failed": "failed"}
"""Of a session, in the conventions' words for a response; they have none for one that waits for the application."""


def runs(body: Json) -> bool:
    """Tell whether a request lets an agent work, or shows its work: a session may be created with nothing to do."""
    return bool(body.get("input") or body.get("stream") or body.get("session_id"))


def asked(body: Json, content: bool) -> Asked:
    """Read a request body; the path has said ``session_id`` where the session is there already."""
    attributes, _ = common_attributes({}, "agents")
    agent, given = body.get("agent"), body.get("input")
    for value, key in ((body.get("agent_id"), semconv.AGENT_ID), (body.get("session_id"), semconv.CONVERSATION_ID)):
        if isinstance(value, str):
            attributes[key] = value
    said = [given] if isinstance(given, str) else ["\n".join(texts(field(one, "content"))) for one in each(given)]
    told = text_or_none(field(agent, "instructions"))
    attributes[semconv.INPUT_MESSAGE_COUNT] = len(said)
    attributes[semconv.INPUT_CHARACTERS] = sum(map(len, said)) + len(told or "")
    recorded: Json = {}
    if content and said:
        put_content(recorded, semconv.INPUT_MESSAGES, [{"role": "user", "parts": [text_part(text)]} for text in said])
    if content and told:
        put_content(recorded, semconv.SYSTEM_INSTRUCTIONS, [text_part(told)])
    return Asked(text_or_none(field(agent, "model")), attributes, told, recorded, subject="")


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read an `AgentSession`, or a `Bag` of one: the agent has only begun."""
    call.answers = False
    _take_session(call, answer)


def _take_session(call: Call, session: Any) -> None:
    agent, status = peek(session, "agent"), _STATUS.get(str(peek(session, "status")))
    call.response_model = text_or_none(peek(agent, "model")) or call.response_model
    for value, key in ((peek(agent, "id"), semconv.AGENT_ID), (peek(session, "id"), semconv.CONVERSATION_ID),
                       (status, semconv.RESPONSE_STATUS)):
        if isinstance(value, str):
            call.attributes[key] = value


class AgentFold(Fold[Any]):
    """Folds the events of a session: the turns that ended, with their tokens, and the text that they wrote."""

    __slots__ = ("_content", "_outcome", "_room", "_texts")

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call)
        self._content = content and call.recording
        self._room = Room()
        self._outcome: str | None = None
        self._texts: list[str] = []

    def rare(self, chunk: Any) -> None:
        """Any event."""
        kind = str(peek(chunk, "type"))
        if kind == f"{_TURN}output_text.delta":
            self._take_delta(peek(chunk, "delta"))
        elif kind in (f"{_TURN}created", f"{_TURN}in_progress"):
            self.terminal, self._outcome = False, None
        elif kind.startswith(_TURN) and kind.removeprefix(_TURN) in _ENDED:
            self._take_turn(kind.removeprefix(_TURN), chunk)
        elif kind == "error":
            self._fail(peek(chunk, "error"), "error")
        elif peek(chunk, "session") is not None:
            _take_session(self.call, peek(chunk, "session"))

    def _take_delta(self, text: Any) -> None:
        if isinstance(text, str) and text:
            self.said = True
            if self._content:
                self._room.keep(self._texts, text)

    def _take_turn(self, end: str, chunk: Any) -> None:
        call, turn = self.call, peek(chunk, "turn")
        self._add(peek(chunk, "usage") or peek(turn, "usage"))
        self.terminal = True
        call.finish_reasons = [_ENDED[end]]
        if end != "completed":
            self._fail(peek(turn, "error"), end)

    def _add(self, usage: Any) -> None:
        """Add the tokens of one more turn."""
        call = self.call
        told, said, before = call.input_tokens, call.output_tokens, call.attributes
        call.input_tokens = call.output_tokens = None
        call.attributes = {}
        set_usage(call, usage, responses=True)
        parts, call.attributes = call.attributes, before
        before.update({key: before.get(key, 0) + count for key, count in parts.items()})
        call.input_tokens, call.output_tokens = _sum(told, call.input_tokens), _sum(said, call.output_tokens)

    def _fail(self, error: Any, otherwise: str) -> None:
        self.terminal, self._outcome = True, FAILED
        self.call.error_type = text_or_none(peek(error, "code")) or otherwise

    def finish(self, outcome: str) -> str:
        """The last turn said how it went, unless it did not end."""
        call = self.call
        call.attributes[semconv.STREAM_CHUNKS] = self.chunks
        if self._texts:
            put_output(call, [text_part("".join(self._texts))], (call.finish_reasons or ["error"])[0])
        call.answers = self.said
        return self._outcome if self._outcome is not None and outcome == COMPLETE else outcome


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)
