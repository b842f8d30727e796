"""The token on the answers of a WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from backspan._request import request, serving
from backspan.config import settings
from backspan.feedback.answering import Answering, OnAnswers, Ways, appended, joined

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class FeedbackMiddleware(OnAnswers[App]):
    """Put a feedback token on every answer that a model had a part in.

    The calls of one request are one turn, opened by the first of them, unless the application opens turns itself. The
    body stays as it is, but for the last event of ``sse``. The headers of a streamed answer leave with its first part,
    as WSGI has it anyway. While ``BACKSPAN`` is unset nothing is done.
    """

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        return serve(self.app, self._ways, environ, start_response, chosen=True)


def serve(
    app: App, ways: Ways, environ: dict[str, Any], start_response: StartResponse, *, chosen: bool = False
) -> Iterable[bytes]:
    """Serve one request of ``app``; inside another request of ours it belongs to that one.

    ``chosen``: the application has named these ``ways`` itself, so they hold against what an outer one was told.
    """
    outer = serving()
    if not settings().enabled:
        return app(environ, start_response)
    if outer is not None:
        if chosen:
            outer.ways = ways
        return app(environ, start_response)
    answering = Answering(ways, environ.get("REQUEST_METHOD", "GET"), "HTTP_ORIGIN" in environ)
    return _watched(app, answering, environ, start_response)


def _watched(
    app: App, answering: Answering, environ: dict[str, Any], start_response: StartResponse
) -> Iterable[bytes]:
    start = _Start(answering, start_response)
    here = request.set(answering.request)
    try:
        result = app(environ, start)
    except BaseException as error:
        answering.end(error)
        raise
    finally:
        request.reset(here)
    if not start.called or not (start.sized or _whole(result, environ)):
        return _Parts(result, start, answering)
    start.leave(streamed=False)
    answering.end()
    return result


def _whole(result: Iterable[bytes], environ: dict[str, Any]) -> bool:
    """Whether the answer is made already: a list, a response of Django's that does not stream, or a file."""
    file: Any = environ.get("wsgi.file_wrapper")
    return (isinstance(result, list | tuple) or getattr(result, "streaming", None) is False
            or (isinstance(file, type) and isinstance(result, file)))


class _Start:
    """Stands for ``start_response`` until it is known whether the answer gets a token: at its first part."""

    def __init__(self, answering: Answering, start_response: StartResponse) -> None:
        self._answering, self._start_response = answering, start_response
        self._said: tuple[str, list[tuple[str, str]], tuple[ExcInfo, ...]] | None = None
        self._write: Write | None = None
        self.called = False

    def __call__(self, status: str, headers: list[tuple[str, str]], *exc_info: ExcInfo) -> Write:
        self.called = True
        if self._write is not None:  # the headers have left: the server raises what it is given
            return self._start_response(status, headers, *exc_info)
        self._said = status, headers, exc_info
        return self._written

    def _written(self, data: bytes) -> object:
        """The old way to send: as a part of a stream."""
        self.leave(streamed=True)
        assert self._write is not None
        return self._write(data)

    @property
    def sized(self) -> bool:
        """Whether the length of the answer was said."""
        return self._said is not None and any(name.lower() == "content-length" for name, _ in self._said[1])

    def leave(self, streamed: bool) -> None:
        """Hand the headers to the server, if there are any that it does not have."""
        if self._said is None:
            return
        (status, headers, exc_info), self._said = self._said, None
        self._write = self._start_response(status, self._completed(status, headers, streamed), *exc_info)

    def _completed(self, status: str, headers: list[tuple[str, str]], streamed: bool) -> list[tuple[str, str]]:
        if self._answering.bare and not streamed:
            return headers
        known = joined(headers)
        additions = self._answering.head(int(status[:3]), known, streamed) if status[:3].isdigit() else None
        if not additions:
            return headers
        new = appended(known, additions)
        kept = [(name, value) for name, value in headers if name.lower() not in new]
        return [*kept, *((name.title() if "-" in name else name, value) for name, value in new.items())]


class _Parts:
    """The parts of a streamed answer, each made inside of the request."""

    def __init__(self, result: Iterable[bytes], start: _Start, answering: Answering) -> None:
        self._result, self._start, self._answering = result, start, answering
        self._iterator: Iterator[bytes] | None = None
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        here = request.set(self._answering.request)
        try:
            if self._iterator is None:
                self._iterator = iter(self._result)
            part = next(self._iterator)
        except StopIteration:
            return self._finish()
        except BaseException as error:
            self._answering.end(error)
            raise
        finally:
            request.reset(here)
        self._start.leave(streamed=True)
        self._answering.watch(part)
        return part

    def _finish(self) -> bytes:
        """After the last part: the token as an event, or the end."""
        self._over = True
        self._start.leave(streamed=True)
        last = self._answering.last()
        self._answering.end()
        if not last:
            raise StopIteration
        return last

    def close(self) -> None:
        """The server has no more use for the answer, be it whole or not."""
        here = request.set(self._answering.request)
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                close()
        finally:
            request.reset(here)
            self._answering.end()
