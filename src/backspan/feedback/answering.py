"""The token on the answer: when an answer gets one, in which headers, and as which last event of a stream.

Knows nothing of a framework: `asgi` and `wsgi` tell it what they see of a request, and do what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from backspan._guard import guarded, say_once
from backspan._request import Request
from backspan.config import settings
from backspan.context import open_turn_of
from backspan.feedback.target import with_place
from backspan.feedback.token import TTL_S, mint

HEADER: Final = "header"
SSE: Final = "sse"
OFF: Final = "off"
TOKEN_HEADER: Final = "Backspan-Token"
TRACE_HEADER: Final = "traceresponse"
"""W3C Trace Context Level 2: the trace and the span of the answer, for whoever may name targets by id."""
EVENT: Final = "backspan-token"
NAMES: Final = ("user_*", "implicit_*")
"""What a browser may say of an answer."""

_EVENTS: Final = "text/event-stream"
_STREAMED: Final = frozenset({
    _EVENTS, "text/plain", "text/markdown", "application/x-ndjson", "application/ndjson", "application/jsonl",
    "application/x-jsonlines", "application/json-seq", "application/stream+json",
})
"""Content types in which models are streamed. An answer of these without a length has its turn opened early."""
_CACHE: Final = "cache-control"
_CDN_CACHE: Final = ("cdn-cache-control", "surrogate-control")
_PRIVATE: Final = ("no-store", "private")
_SHARED: Final = ("public", "s-maxage", "max-age")
_EXPOSE: Final = "access-control-expose-headers"
_BOUNDARIES: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")

Mode = Literal["header", "sse"]
A = TypeVar("A")


@dataclass(frozen=True)
class Ways:
    """How tokens get onto answers.

    Attributes:
        mode: ``header``, or ``sse``: as the last event where the answer is an event stream, else as a header.
        names: feedback names that the tokens allow, ``user_*`` for a prefix.
        ttl: seconds until they expire.
        origins: origins whose pages may use them; None for any.
    """

    mode: str = HEADER
    names: Collection[str] = NAMES
    ttl: float = TTL_S
    origins: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.mode not in (HEADER, SSE):
            raise ValueError(f"mode must be {HEADER!r} or {SSE!r}")


class OnAnswers(Generic[A]):
    """What the middlewares of ASGI and WSGI have in common: they are told the same."""

    def __init__(
        self, app: A, *, mode: Mode = HEADER, names: Collection[str] = NAMES, ttl: float = TTL_S,
        origins: Collection[str] | None = None,
    ) -> None:
        """Put tokens on the answers of ``app``.

        Args:
            app: the application.
            mode: ``header``: the header ``Backspan-Token``; ``sse``: an answer of type ``text/event-stream`` has the
                token as its last event, ``backspan-token``, and other answers have the header.
            names: feedback names that the tokens allow, ``user_*`` for a prefix.
            ttl: seconds until they expire.
            origins: exact origins (``https://app.example.com``) whose pages may use them; None for any.

        Raises:
            ValueError: for another mode.
        """
        self.app = app
        self._ways = Ways(mode, names, ttl, origins)


class Answering:
    """One request of the application's, from its arrival until its answer has left.

    ``method`` is that of HTTP; ``cross`` tells whether a page of another origin may be asking. ``event``: whether the
    token leaves as the last event.
    """

    def __init__(self, ways: Ways, method: str, cross: bool) -> None:
        self.request = Request(ways)
        self._method, self._cross = method, cross
        self.event = False
        self._tail = b""

    @property
    def ways(self) -> Ways:
        """How the token gets onto the answer: as said last."""
        ways: Ways = self.request.ways
        return ways

    # --- headers ----------------------------------------------------------------------------------------------------
    @property
    def bare(self) -> bool:
        """Whether nothing was asked of a model yet."""
        return self.request.turn is None and self.request.said is None

    @guarded
    def head(self, status: int, headers: Mapping[str, str], streamed: bool) -> Mapping[str, str] | None:
        """What the headers need: name -> what is appended to that list, or becomes its only element.

        Args:
            status: of the answer.
            headers: those of the answer, names in lower case.
            streamed: whether the answer goes on to be made after its headers have left.
        """
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not self._due(status, kind, streamed) or not _may_carry(headers):
            return None
        if streamed and self.ways.mode == SSE and kind == _EVENTS and _plain(headers):
            self.event = True
            return self._shown({}, headers)
        if self.request.judged() is None:
            open_turn_of(self.request)
        token = None if self._told(headers) else self.token()
        return self._shown({} if token is None else {TOKEN_HEADER: token}, headers)

    def _due(self, status: int, kind: str, streamed: bool) -> bool:
        """Whether a model has answered, or is about to answer in what is streamed."""
        if not 200 <= status < 300 or status in (204, 205) or self._method == "HEAD":
            return False
        turn = self.request.judged()
        if streamed:
            return turn is not None or kind in _STREAMED
        return turn is not None and turn.answered

    def _told(self, headers: Mapping[str, str]) -> bool:
        return self.request.told or TOKEN_HEADER.lower() in headers

    def _shown(self, said: dict[str, str], headers: Mapping[str, str]) -> dict[str, str]:
        """The headers, with those that make a page see them and shared caches leave them alone."""
        turn = self.request.judged()
        target = turn.target() if turn is not None else None
        if target is not None and target.trace_id is not None and TRACE_HEADER not in headers:
            said[TRACE_HEADER] = f"00-{target.trace_id}-{target.span_id}-{target.trace_flags:02x}"
        names = [name for name in (TOKEN_HEADER, TRACE_HEADER) if name in said or name.lower() in headers]
        if names and (self._cross or "access-control-allow-origin" in headers):
            known = headers.get(_EXPOSE, "").lower()
            said[_EXPOSE] = ", ".join(name for name in names if name.lower() not in known)
        if (TOKEN_HEADER in said or self.event) and not _has(headers.get(_CACHE, ""), _PRIVATE):
            said[_CACHE] = "private"
        return {name: value for name, value in said.items() if value}

    @guarded
    def token(self) -> str | None:
        """A token for the answer, sealed now; None where none can be made."""
        turn = self.request.judged()
        target = turn.target() if turn is not None else None
        if target is None or target.trace_id is None:
            return None
        ways, audience = self.ways, settings().audience
        return mint(with_place(target), rater=self.request.user, names=ways.names, ttl=ways.ttl, audience=audience,
                    origins=ways.origins)

    # --- body -------------------------------------------------------------------------------------------------------
    def watch(self, body: bytes) -> None:
        """See a part of the body, to know whether an event ends where the stream does."""
        if self.event and body:
            self._tail = (self._tail + body)[-4:]

    @guarded
    def last(self) -> bytes:
        """What follows the last byte of the body: the token as an event, or nothing."""
        turn = self.request.judged()
        if not self.event or self.request.told or turn is None or not turn.answered:
            return b""
        if self._tail and not self._tail.endswith(_BOUNDARIES):
            say_once("answering:boundary", "an event stream ends in the middle of an event: it gets no token")
            return b""
        return event_of(self.token()).encode()

    def end(self, error: BaseException | None = None) -> None:
        """The answer has left, or ``error`` ended it. Repeating it is harmless."""
        self.request.end(None if error is None else type(error))


def event_of(token: str | None) -> str:
    """The server-sent event that carries ``token``; "" without one."""
    return "" if token is None else f"event: {EVENT}\ndata: {token}\n\n"


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers by name in lower case; the values of one that comes twice as one list."""
    known: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        known[key] = f"{known[key]}, {value}" if key in known else value
    return known


def appended(headers: Mapping[str, str], additions: Mapping[str, str]) -> dict[str, str]:
    """Each addition with what ``headers`` has in the list of that name already, names in lower case."""
    found = {name.lower(): value for name, value in additions.items()}
    return {name: f"{headers[name]}, {value}" if headers.get(name) else value for name, value in found.items()}


def _plain(headers: Mapping[str, str]) -> bool:
    """Whether something can be added to the body."""
    return "content-length" not in headers and headers.get("content-encoding", "identity").lower() == "identity"


def _has(control: str, words: Collection[str]) -> bool:
    said = {word.strip().partition("=")[0].lower() for word in control.split(",")}
    return not said.isdisjoint(words)


def _may_carry(headers: Mapping[str, str]) -> bool:
    """Whether no shared cache may keep the answer, or nothing was said of it; a token is for one reader only."""
    control = headers.get(_CACHE, "")
    shared = _has(control, _SHARED) and not _has(control, _PRIVATE)
    for name in _CDN_CACHE:
        shared = shared or (name in headers and not _has(headers[name], _PRIVATE))
    if shared:
        say_once("answering:cache", "an answer that shared caches may keep gets no token; say Cache-Control: private")
    return not shared


def wanted() -> Ways | None:
    """What ``BACKSPAN_TOKEN`` asks for; None for nothing."""
    mode = settings().token
    return Ways(mode) if mode in (HEADER, SSE) else None
