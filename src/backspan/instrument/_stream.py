"""Streams: a cached subclass of the SDK's own stream class, and a hold on the response beneath it.

The application gets a native stream: same class by ``isinstance``, same names, same iteration, same ``close``. What is
added is one generator around the SDK's own (which shows each chunk to a `Fold`), and ``close`` and ``read`` of the one
HTTP response, so that closing it, in whatever way, ends the call. Chunks are never kept.
"""

from __future__ import annotations

import sys
import time
import types
import weakref
from collections.abc import Callable
from functools import lru_cache
from itertools import cycle
from types import FrameType
from typing import Any, Generic, TypeVar, cast, get_origin

from backspan._guard import EVERY, MEASURED, awatch, guard, guarded, measured, spent, watch
from backspan.instrument._call import Call
from backspan.instrument._outcome import ABANDONED, CANCELLED, CLOSED, COMPLETE, outcome_of

T = TypeVar("T")
_clock = time.perf_counter


class Fold(Generic[T]):
    """Folds the chunks of one stream into what is known of the answer. A watcher for `backspan._guard.watch`.

    A subclass implements `rare`, for any chunk, and `finish`; and where it pays, something faster for what comes after
    content began: `plain`, or what `quick` returns.
    """

    __slots__ = ("call", "chunks", "said", "see", "terminal")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.chunks: int = 0
        self.said = False
        """Whether content has been seen."""
        self.terminal = False
        """Whether the provider's last word has been seen."""
        self.see: Callable[[T], object] = self._first

    def _first(self, chunk: T) -> None:
        self.call.first_chunk = _clock()
        self.see = self._before_content
        self._before_content(chunk)

    def _before_content(self, chunk: T) -> None:
        self.chunks += 1
        self.rare(chunk)
        if self.said:
            self.call.first_content = _clock()
            self.see = self.quick()

    def quick(self) -> Callable[[T], object]:
        """Return what takes each chunk after content began: `plain`, or something faster."""
        return self.plain

    def plain(self, chunk: T) -> None:
        """Take a chunk after content began."""
        self.chunks += 1
        self.rare(chunk)

    def rare(self, chunk: T) -> None:
        """Take a chunk that may carry anything; set `said` when it carries content."""
        raise NotImplementedError

    def catch_up(self) -> None:
        """Read what `plain` left for later."""

    def finish(self, outcome: str) -> str:
        """Put what was folded into the call; return the outcome, corrected if the provider said how it ended."""
        raise NotImplementedError

    def settle(self, outcome: str) -> str:
        """Stop folding and `finish`; whatever is still yielded is not looked at."""
        self.see = _ignore
        self.catch_up()
        return self.finish(COMPLETE if self.terminal and outcome in (CLOSED, ABANDONED) else outcome)

    @guarded
    def ended(self, error: BaseException | None) -> None:
        """The SDK's iterator ran out (None) or was stopped by ``error``."""
        if isinstance(error, GeneratorExit):
            self.call.abandon()
        else:
            try:
                self.catch_up()
            finally:
                self.call.stop(outcome_of(error, self.terminal), error)


def _ignore(chunk: object) -> None:
    pass


_processor_time = time.thread_time
_CLOCK = min(-_processor_time() + _processor_time() for _ in range(20))
"""Seconds that asking the clock takes, which is as long as some chunks do."""
_turn = cycle(MEASURED).__next__


class _Measured:
    """Shows a fold the chunks of one stream, and adds what that takes to what was `spent`."""

    __slots__ = ("_fold",)

    def __init__(self, fold: Fold[Any]) -> None:
        self._fold = fold

    def see(self, chunk: Any) -> None:
        began = _processor_time()
        try:
            self._fold.see(chunk)
        finally:
            spent[0] += max(_processor_time() - began - _CLOCK, 0.0) * EVERY

    def ended(self, error: BaseException | None) -> None:
        began = _processor_time()
        self._fold.ended(error)
        spent[0] += (_processor_time() - began) * EVERY


# --- the response beneath -------------------------------------------------------------------------------------------
class Hold:
    """Stands before ``close`` and ``read`` of one response until the call has ended.

    It holds the call, and the response holds it; dropping the response drops it, and then the call is abandoned.
    """

    __slots__ = ("__weakref__", "_body", "_iterator", "_reading", "_response", "call")

    def __init__(self, call: Call, response: Any, body: Callable[[Call, bytes], None] | None) -> None:
        self.call = call
        self._body = body
        self._reading = False
        self._iterator: weakref.ref[Any] | None = None
        self._response: weakref.ref[Any] = weakref.ref(response)

    def watch(self, iterator: Any) -> None:
        """``iterator`` reads the response: while it runs, it tells how the stream ended, not the response."""
        self._iterator = weakref.ref(iterator)

    def close(self) -> None:
        """Close the response; this ends the call unless somebody reading it will say more."""
        response: Any = self._response()
        if response is not None:
            error, reading = _why(sys._getframe(1)) or _UNKNOWN  # pyright: ignore[reportPrivateUsage]
            try:
                cast(Any, type(response)).close(response)
            finally:
                self._closed(error, reading)

    async def aclose(self) -> None:
        """The asynchronous `close`."""
        response: Any = self._response()
        if response is not None:
            error, reading = _why(sys._getframe(1)) or _UNKNOWN  # pyright: ignore[reportPrivateUsage]
            try:
                await cast(Any, type(response)).aclose(response)
            finally:
                self._closed(error, reading)

    def read(self) -> bytes:
        """Read the response whole; what it says is the answer."""
        response: Any = self._response()
        self._reading = True
        try:
            raw: bytes = cast(Any, type(response)).read(response)
        except BaseException as error:
            self._broken(error)
            raise
        self._whole(raw)
        return raw

    async def aread(self) -> bytes:
        """The asynchronous `read`."""
        response: Any = self._response()
        self._reading = True
        try:
            raw: bytes = await cast(Any, type(response)).aread(response)
        except BaseException as error:
            self._broken(error)
            raise
        self._whole(raw)
        return raw

    @measured
    def _closed(self, error: BaseException | None, reading: bool) -> None:
        iterator = self._iterator() if self._iterator is not None else None
        running = getattr(iterator, "gi_running", False) or getattr(iterator, "ag_running", False)
        if self._reading or running or (reading and isinstance(error, GeneratorExit)):
            return  # whoever reads, or drops what it read, will tell
        if reading:
            self._stop(COMPLETE if error is None else outcome_of(error, False), error)
        else:
            self._stop(CLOSED if error is None or isinstance(error, Exception | GeneratorExit) else CANCELLED)

    @measured
    def _whole(self, raw: bytes) -> None:
        if self._body is not None:
            with guard("stream.body"):
                self._body(self.call, raw)
        self._stop(COMPLETE)

    @measured
    def _broken(self, error: BaseException) -> None:
        self._stop(outcome_of(error, False), error)

    def _stop(self, outcome: str, error: BaseException | None = None) -> None:
        self._release()
        self.call.stop(outcome, error)

    def _release(self) -> None:
        response = self._response()
        if response is not None:
            for name in ("close", "read", "aclose", "aread"):
                response.__dict__.pop(name, None)

    @guarded
    def __del__(self) -> None:
        self.call.abandon()


_READERS = frozenset({"iter_raw", "aiter_raw", "__stream__"})
"""Functions of httpx and of the SDK that close the response when they are through, or are dropped."""


_UNKNOWN = (None, False)


@guarded
def _why(closer: FrameType) -> tuple[BaseException | None, bool]:
    """The exception that made ``closer`` close the response, and whether that is the SDK's own reading of the body.

    Reading closes the response when it is through or fails; then only an exception that passes through it counts, not
    one that the application happens to be handling.
    """
    error = sys.exc_info()[1]
    if closer.f_code.co_name not in _READERS:
        return error, False
    trace = error.__traceback__ if error is not None else None
    return (error if trace is not None and trace.tb_frame is closer else None), True


def hold(call: Call, response: Any, asynchronous: bool, body: Callable[[Call, bytes], None] | None) -> None:
    """Have ``response`` end ``call`` by being closed, read (``body`` then takes its bytes), or lost."""
    keeper = Hold(call, response, body)
    if asynchronous:
        response.aclose, response.aread = keeper.aclose, keeper.aread
    else:
        response.close, response.read = keeper.close, keeper.read
    call.hand_out()


def _holder(response: Any) -> Hold | None:
    fields = getattr(response, "__dict__", {})
    keeper = getattr(fields.get("close") or fields.get("aclose"), "__self__", None)
    return keeper if isinstance(keeper, Hold) else None


# --- the stream -----------------------------------------------------------------------------------------------------
@guarded
def _watcher(stream: Any) -> Any:
    """Who watches ``stream``: the fold of the call that its response belongs to, if that is still open."""
    keeper = _holder(stream.response)
    if keeper is None:
        return None
    keeper.watch(stream._iterator)
    fold = keeper.call.fold
    return _Measured(fold) if fold is not None and _turn() else fold


@lru_cache(maxsize=256)
def followed(stream_cls: Any) -> Any:
    """The subclass of ``stream_cls`` (a class, or ``Stream[Chunk]``) whose iteration is watched. One per class."""
    origin = get_origin(stream_cls) or stream_cls
    original = origin.__stream__
    if hasattr(origin, "__aiter__"):
        def __stream__(self: Any) -> Any:
            return awatch(original(self), lambda: _watcher(self))
    else:
        def __stream__(self: Any) -> Any:
            return watch(original(self), lambda: _watcher(self))

    def body(namespace: dict[str, Any]) -> None:
        names = {"__module__": origin.__module__, "__qualname__": origin.__qualname__, "__doc__": origin.__doc__}
        namespace.update({**names, "__stream__": __stream__})

    return types.new_class(origin.__name__, (stream_cls,), exec_body=body)
