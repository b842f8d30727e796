"""The ways in which a process ends by itself, how to be called at each of them, and the last words of its metrics."""

from __future__ import annotations

import atexit
import multiprocessing
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from opentelemetry.sdk.metrics import MeterProvider

from backspan._export.signals import within
from backspan._guard import guard

_APART_SECONDS = 0.002


callbacks: dict[Callable[[], None], None] = {}
"""What is to run before the providers end; in order."""


def apart() -> None:
    """Let a moment pass: two samples of one series need times that differ by a millisecond.

    Not by `time.sleep`, which raises where somebody has moved the clock under the process (libfaketime).
    """
    threading.Event().wait(_APART_SECONDS)


class _Anything:
    """Something to be finalized."""


# urllib3 closes its sockets by `weakref.finalize`, which registers with atexit at its first use. Used here, before us,
# it runs after us; else what we send at exit leaves through sockets that nobody closes, which `-W always` shows.
_anything = _Anything()
weakref.finalize(_anything, int)


def run_callbacks() -> None:
    """Run every callback; a fault of one stops no other."""
    for callback in tuple(callbacks):
        with guard("telemetry.at_exit"):
            callback()


class Owing(Protocol):
    """Instruments whose sums may lag a collection behind."""

    @property
    def owes(self) -> bool:
        """Whether a sum has not been collected yet."""
        ...

    def settle(self) -> None:
        """Give all sums at the next collection."""
        ...


def end_metrics(provider: MeterProvider, made: Owing | None, seconds: float) -> None:
    """Send the last totals of our own ``provider`` and stop it, within ``seconds``.

    New series are collected as 0 first, so the totals of what was ``made`` on it may need two collections.
    """
    last = time.monotonic() + seconds
    if made is not None and made.owes:
        within(seconds, provider.force_flush)
        apart()
    if made is not None:
        made.settle()
    provider.shutdown(timeout_millis=max(last - time.monotonic(), 0.1) * 1000)


class Exits:
    """Calls ``end`` when this process ends; made anew in a forked child."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._finalizer: object | None = None
        self._told_celery = False

    def register(self) -> None:
        """See to it that ``end`` is called; to be repeated when a provider has appeared.

        Handlers run last in, first out: registering again after a provider appeared puts ours before its own.
        """
        atexit.unregister(self._end)
        atexit.register(self._end)
        self._in_pools()
        self._in_celery()

    def _in_pools(self) -> None:
        """A forked child of multiprocessing ends by os._exit and runs its own finalizers only."""
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._finalizer and multiprocessing.parent_process() is not None:
            self._finalizer = util.Finalize(None, self._end, exitpriority=-100)

    def _in_celery(self) -> None:
        """A worker process of Celery ends by os._exit too, after this signal of Celery's."""
        signals = sys.modules.get("celery.signals")
        if signals is None or self._told_celery:
            return
        self._told_celery = True
        end = self._end

        def told(**_said: Any) -> None:
            end()

        signals.worker_process_shutdown.connect(told, weak=False, dispatch_uid="backspan")
