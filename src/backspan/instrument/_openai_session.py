"""One WebSocket connection to OpenAI: which response each message belongs to, and how each of them ended.

The conventions know no span for a session, so a session has none: its responses have, one each, from the message that
asks for it (or the event that says that the provider began by itself) to the event that ends it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

from backspan import telemetry
from backspan._guard import guarded, measured
from backspan.config import settings
from backspan.instrument import _openai_realtime as realtime
from backspan.instrument import _openai_responses as responses
from backspan.instrument import _vendors as vendors
from backspan.instrument._call import Asked, Call, Service, orphans, reap
from backspan.instrument._content import Json, bag, bagged, field
from backspan.instrument._openai_common import text_or_none
from backspan.instrument._outcome import CLOSED, COMPLETE, DISCONNECTED, INCOMPLETE
from backspan.instrument._stream import Fold

LIBRARY = "openai"
_MOST_ITEMS = 100


class Dialect(Protocol):
    """How one of the APIs talks: what asks for a response, and what its events are folded by."""

    def asks(self, event: Any) -> tuple[Call, Fold[Any]] | None:
        """The call that a message to the provider begins, if it begins one."""
        ...

    def begins(self, event: Any) -> tuple[Call, Fold[Any]] | None:
        """The call that a message of the provider's begins without having been asked."""
        ...

    def notes(self, event: Any, fold: Fold[Any] | None) -> None:
        """Take what a message of either side says about what comes; ``fold`` is that of the newest response."""
        ...


class _Asking(NamedTuple):
    """A response that was asked for: the id of the event that asked, if it had one, and its lane."""

    call: Call
    event_id: str | None
    lane: Any


class Session:
    """The responses of one connection that have been asked for or begun, and not ended."""

    def __init__(self, dialect: Dialect, client: Any) -> None:
        self._dialect, self._client = dialect, client
        self._asked: deque[_Asking] = deque()
        """Responses asked for and not begun."""
        self._begun: dict[str, Call] = {}
        """Responses by id."""
        self._newest: dict[Any, Call] = {}
        """The newest response by lane: several may share a connection, and then name their lanes."""
        self._raw: bytes | str | None = None
        """The message that came last, until somebody has read it. Only who receives touches it: others may send."""
        self._over = False

    # --- messages ---------------------------------------------------------------------------------------------------
    def read(self, event: Any) -> Any:
        """What the application sends: an object, or a text that says one."""
        return _read(event, json.loads) if isinstance(event, str | bytes) else event

    @measured
    def sent(self, event: Any, lane: str | None = None) -> Call | None:
        """The application is about to send ``event``, an object or text; return the call that this begins."""
        event = self.read(event)
        self._dialect.notes(event, None)
        if field(event, "type") != "response.create" or telemetry.suppressed():
            return None
        if vendors.taken(LIBRARY, vendors.OPENAI, self._client):
            return None
        if orphans:
            reap()
        begun = self._dialect.asks(event)
        if begun is None:
            return None
        call = _handed_out(*begun)
        name, on = text_or_none(field(event, "event_id")), lane or text_or_none(field(event, "stream_id"))
        self._asked.append(_Asking(call, name, on))
        return call

    @guarded
    def unsent(self, call: Call | None, error: BaseException) -> None:
        """What should have begun ``call`` could not be sent."""
        if call is None:
            return
        self._asked = deque(asking for asking in self._asked if asking.call is not call)
        call.stop(DISCONNECTED, error)

    @measured
    def came(self, raw: Any) -> None:
        """Raw bytes came; they are looked at when the SDK or the application has made an event of them, or not."""
        self._catch_up()
        self._raw = raw

    @measured
    def received(self, raw: Any, event: Any) -> None:
        """``event`` was made of ``raw``."""
        if self._raw is raw:
            self._raw = None
        self._take(bagged(event) if isinstance(event, dict) else event)

    def _catch_up(self) -> None:
        """Read the message that the application did not have the SDK read."""
        raw, self._raw = self._raw, None
        if raw is not None:
            self._take(_read(raw))

    def _take(self, event: Any) -> None:
        kind = field(event, "type")
        if not isinstance(kind, str) or self._over:
            return
        call = self._begin(event) if kind == "response.created" else self._of(event, kind)
        newest = call or self._newest.get(field(event, "stream_id"))
        self._dialect.notes(event, newest.fold if newest is not None else None)
        if call is None or call.fold is None:
            return
        fold = call.fold
        fold.see(event)
        if fold.terminal:
            self._begun = {name: open_call for name, open_call in self._begun.items() if open_call is not call}
            call.stop(COMPLETE)

    def _begin(self, event: Any) -> Call | None:
        name, lane = str(field(field(event, "response"), "id")), field(event, "stream_id")
        call = self._waiting(lambda asking: asking.lane == lane)
        if call is None:
            begun = None if telemetry.suppressed() else self._dialect.begins(event)
            if begun is None:
                return None
            call = _handed_out(*begun)
        self._begun[name] = self._newest[lane] = call
        return call

    def _waiting(self, meant: Callable[[_Asking], bool]) -> Call | None:
        """Take the first response that was asked for, has not begun, and is meant."""
        for asking in tuple(self._asked):
            if meant(asking):
                self._asked.remove(asking)
                return asking.call
        return None

    def _of(self, event: Any, kind: str) -> Call | None:
        """The response that an event is about; one that names none is about the newest of its lane."""
        lane = field(event, "stream_id")
        if kind == "error":
            named = field(field(event, "error"), "event_id")
            refused = self._waiting(lambda asking: asking.lane == lane and named in (None, asking.event_id))
            return refused or (self._newest.get(lane) if named is None else None)
        if not kind.startswith("response."):
            return None
        name = field(event, "response_id") or field(field(event, "response"), "id")
        return self._begun.get(str(name)) if name is not None else self._newest.get(lane)

    # --- the end ----------------------------------------------------------------------------------------------------
    @measured
    def closed(self) -> None:
        """The application closed the connection."""
        self._end(CLOSED)
        self._over = True  # a thread that receives may have one more message in its hands

    @measured
    def lost(self, error: BaseException) -> None:
        """The connection ended while the application was reading: dropped, or closed by the provider.

        The SDK may connect anew, so more may come.
        """
        if type(error).__name__ == "ConnectionClosedOK":
            self._end(INCOMPLETE)
        else:
            self._end(DISCONNECTED, error)

    def _end(self, outcome: str, error: BaseException | None = None) -> None:
        self._catch_up()
        open_calls = self._open()
        self._begun, self._newest, self._asked = {}, {}, deque()
        for call in open_calls:
            call.stop(outcome, error)

    def __del__(self) -> None:
        for call in self._open():
            call.abandon()

    def _open(self) -> list[Call]:
        return [*self._begun.values(), *(asking.call for asking in self._asked)]


def _read(raw: str | bytes, parse: Callable[[str | bytes], Any] = bag) -> Any:
    """A message as an object; nothing is in what is not JSON."""
    try:
        return parse(raw)
    except ValueError:
        return None


def _handed_out(call: Call, fold: Fold[Any]) -> Call:
    call.fold = fold
    call.hand_out()
    return call


# --- the two APIs ---------------------------------------------------------------------------------------------------
class Responses:
    """The Responses API over a WebSocket: the same requests and events as over HTTP, one response after the other."""

    def __init__(self, service: Service, model: str | None) -> None:
        self.service = service

    def asks(self, event: Any) -> tuple[Call, Fold[Any]] | None:
        """Each request says all about itself."""
        content = settings().content
        said = field(event, "response")
        body = _plain(said if said is not None else event)
        call = Call(responses.OPERATION, self.service, responses.asked(body, content), True)
        return call, responses.ResponsesFold(call, content)

    def begins(self, event: Any) -> tuple[Call, Fold[Any]] | None:
        """Nothing begins by itself."""
        return None

    def notes(self, event: Any, fold: Fold[Any] | None) -> None:
        """Nothing is said beside requests and responses."""


class Realtime:
    """The Realtime API: what holds for a response was said before, by either side, and sound may begin one."""

    def __init__(self, service: Service, model: str | None) -> None:
        self._service, self._model = service, model
        self._said: Json = {}
        self._items: deque[Json] = deque(maxlen=_MOST_ITEMS)

    def asks(self, event: Any) -> tuple[Call, Fold[Any]] | None:
        """A request may differ from its session."""
        return self._call(field(event, "response"))

    def begins(self, event: Any) -> tuple[Call, Fold[Any]] | None:
        """The user stopped talking, so the provider answers."""
        return self._call(None)

    def _call(self, wish: Any) -> tuple[Call, Fold[Any]]:
        content = settings().content

        def asked() -> Asked:
            model = self._model or text_or_none(self._said.get("model"))
            return realtime.asked(wish, self._said, model, content)

        call = Call(realtime.OPERATION, self._service, asked(), True)
        fold = realtime.RealtimeFold(call, content, asked)
        fold.inputs.extend(self._items)
        self._items.clear()
        return call, fold

    def notes(self, event: Any, fold: Fold[Any] | None) -> None:
        """Take what the session is and, while content is on, what was said in it."""
        kind = field(event, "type")
        if kind in ("session.update", "session.created", "session.updated"):
            self._said.update(realtime.cleaned(field(event, "session")))
        elif not settings().content:
            return
        elif kind == "conversation.item.create":
            self._items.append(realtime.message(field(event, "item")))
        elif kind == "conversation.item.input_audio_transcription.completed":
            said = realtime.heard(str(field(event, "transcript") or ""))
            if isinstance(fold, realtime.RealtimeFold):  # the transcript comes after the answer began
                fold.inputs.append(said)
            else:
                self._items.append(said)


def _plain(event: Any) -> Json:
    """A message of the application's as a dict; the SDK's models are dumped."""
    if isinstance(event, dict):
        return dict(cast(Json, event))
    dump = getattr(event, "model_dump", None) or getattr(event, "dict", None)
    return dump(exclude_unset=True) if dump is not None else {}
