"""The promise that backspan never breaks the application it watches.

Every place where our code runs inside the application's goes through here, and this is the only module in which a
broad ``except`` is allowed. A fault of ours is logged once per place, counted, and swallowed. ``BACKSPAN_RAISE=1``
(set by our own tests) turns swallowing off, so that a test cannot pass over a bug.

Standard library only: this module is imported at interpreter start.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

if TYPE_CHECKING:  # making a class costs what a whole boot may

    class Watcher(Protocol):
        """Who is shown what an iterator of the application's yields."""

        @property
        def see(self) -> Callable[[Any], object]:
            """Called with each item before the application gets it."""
            ...

        @property
        def ended(self) -> Callable[[BaseException | None], object]:
            """Called once: with None after the last item, else with what stopped the iteration (or its consumer)."""
            ...


EVERY = 61
"""One run of so many is measured. A prime, so that no rhythm of the application's makes all of them alike."""
MEASURED = (False,) * (EVERY - 1) + (True,)
"""Which of so many runs that is: the last, as the first one of a process sets things up, once."""
spent = [0.0]
"""Processor time in seconds that was spent for us on the application's threads, by what was measured, times `EVERY`."""
_failures: dict[str, int] = {}
_said: set[str] = set()


def raising() -> bool:
    """Tell whether our own faults are raised (``BACKSPAN_RAISE=1``) instead of swallowed."""
    return os.environ.get("BACKSPAN_RAISE") == "1"


def failures() -> dict[str, int]:
    """Count of swallowed faults by place, since the process started. A copy."""
    return dict(_failures)


def say_once(key: str, message: str) -> None:
    """Log ``message`` at WARNING to the logger ``backspan``, the first time ``key`` is seen in this process."""
    if key in _said:
        return
    _said.add(key)
    import logging  # costs milliseconds, so not at interpreter start

    logging.getLogger("backspan").warning("backspan: %s", message)


def fault(place: str, error: BaseException) -> None:
    """Count a fault of ours at ``place`` and say it once; call it from an ``except`` block only."""
    _failures[place] = _failures.get(place, 0) + 1
    # The message of an exception may quote what the user wrote; its type and line cannot.
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})"
        trace = trace.tb_next
    said = f"{place} failed with {type(error).__name__}{where}; the application is not affected"
    if not sys.is_finalizing():
        say_once(f"fault:{place}", said)


@contextmanager
def guard(place: str) -> Generator[None]:
    """Swallow and count any fault raised in the block, so that the application goes on."""
    try:
        yield
    except Exception as error:
        _swallow(place, error)


def _swallow(place: str, error: Exception) -> None:
    if raising():
        raise error
    fault(place, error)


def _place(function: Callable[..., object]) -> str:
    return f"{function.__module__.removeprefix('backspan.')}.{function.__qualname__}"


def guarded(function: Callable[P, R]) -> Callable[P, R | None]:
    """Return ``function`` with its faults swallowed and counted; it then returns None."""
    place = _place(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            _swallow(place, error)
            return None

    return call


def measured(function: Callable[P, R]) -> Callable[P, R | None]:
    """As `guarded`, and add the processor time of one run in `EVERY` to what was `spent`."""
    place = _place(function)
    turn = cycle(MEASURED).__next__

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            if not turn():
                return function(*args, **kwargs)
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[0] += (time.thread_time() - began) * EVERY
        except Exception as error:
            _swallow(place, error)
            return None

    return call


def watch(source: Generator[T], begin: Callable[[], Watcher | None]) -> Generator[T]:
    """Yield what ``source`` yields, showing it to the watcher that ``begin`` returns at the first item.

    ``begin`` and ``ended`` must be guarded; faults of ``see`` are swallowed here, as a wrapper per item would cost more
    than most watchers do.
    """
    watcher = begin()
    try:
        for item in source:
            if watcher is not None:
                try:
                    watcher.see(item)
                except Exception as error:
                    _swallow("stream.see", error)
            yield item
    except BaseException as error:
        source.close()
        if watcher is not None:
            watcher.ended(error)
        raise
    if watcher is not None:
        watcher.ended(None)


async def awatch(source: AsyncGenerator[T], begin: Callable[[], Watcher | None]) -> AsyncGenerator[T]:
    """Like `watch`, for an asynchronous generator."""
    watcher = begin()
    try:
        async for item in source:
            if watcher is not None:
                try:
                    watcher.see(item)
                except Exception as error:
                    _swallow("stream.see", error)
            yield item
    except BaseException as error:
        if watcher is not None:
            watcher.ended(error)
        await source.aclose()
        raise
    if watcher is not None:
        watcher.ended(None)


def forget() -> None:
    """Forget counts and messages said, for tests."""
    _failures.clear()
    _said.clear()
    spent[0] = 0.0


def exit_code(command: Callable[[], int]) -> int:
    """Run a command of the CLI; a fault of ours becomes a traceback on stderr and exit code 2, not 1 (findings)."""
    try:
        return command()
    except Exception:
        import traceback

        traceback.print_exc()
        return 2
