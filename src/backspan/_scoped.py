"""One base for our context managers: each is a decorator too, right for every kind of function.

A generator runs in the context of whoever asks it for the next item, so a context variable set in its body would leak
to the caller between two items, or be lost. A decorated generator is therefore stepped inside a context of its own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class Scoped:
    """Base of a context manager that can be used again as a decorator; `again` makes a fresh one for each call."""

    def again(self) -> Scoped:
        """A fresh context manager with the same arguments."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, *exc: Any) -> None:
        self.__exit__(*exc)

    def __call__(self, function: F) -> F:
        """Decorate ``function``: each call runs inside a fresh scope."""
        if inspect.isasyncgenfunction(function):
            made = _around_async_generator(self, function)
        elif inspect.isgeneratorfunction(function):
            made = _around_generator(self, function)
        elif inspect.iscoroutinefunction(function):
            made = _around_coroutine(self, function)
        else:
            made = _around_function(self, function)
        return cast(F, functools.wraps(function)(made))


def _around_function(scoped: Scoped, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with scoped.again():
            return function(*args, **kwargs)

    return call


def _around_coroutine(scoped: Scoped, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with scoped.again():
            return await function(*args, **kwargs)

    return call


def _around_generator(scoped: Scoped, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        context = copy_context()

        def inside() -> Generator[Any, Any, Any]:
            with scoped.again():
                inner: Generator[Any, Any, Any] = function(*args, **kwargs)
                return (yield from inner)

        return (yield from _stepped(context, inside()))

    return call


def _stepped(context: Context, inner: Any) -> Generator[Any, Any, Any]:
    """Drive a generator or a coroutine so that every step of it runs inside ``context``."""
    step: Callable[[], Any] = functools.partial(inner.send, None)
    try:
        while True:
            try:
                item = context.run(step)
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001  handed on, not swallowed
                step = functools.partial(inner.throw, error)
            else:
                step = functools.partial(inner.send, sent)
    finally:
        context.run(inner.close)


class _InContext:
    """Awaits a coroutine with every step of it inside one context."""

    def __init__(self, context: Context, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._context, self._coroutine = context, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return _stepped(self._context, self._coroutine)


def _around_async_generator(scoped: Scoped, function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        context = copy_context()

        async def inside() -> AsyncGenerator[Any, Any]:
            with scoped.again():
                inner = function(*args, **kwargs)
                try:
                    async for item in inner:
                        yield item
                finally:
                    await inner.aclose()

        items = inside()
        try:
            while True:
                try:
                    item = await _InContext(context, items.__anext__())  # pyright: ignore[reportArgumentType]
                except StopAsyncIteration:
                    return
                yield item
        finally:
            await _InContext(context, items.aclose())  # pyright: ignore[reportArgumentType]

    return call
