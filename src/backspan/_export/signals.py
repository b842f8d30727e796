"""SIGTERM: a process that the signal kills, by its default, sends what is queued before it dies, by the same signal.

Whoever runs programs ends them by SIGTERM, and its default runs no exit handler. So, where nobody has set a handler,
one of ours is set: it ends telemetry within `SECONDS`, puts the default back and raises the signal again, so that the
exit code is the one of the default. It is never set over a handler of the application, and if the application sets one
later and calls ours from it, ours does nothing, as the default it stands for could not have been called.

Uvicorn catches the signal, shuts down, and then raises it with the handler that it found, mostly the default, before
any code of ours could set one. So what is queued is sent at the end of its ``Server.shutdown``.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from backspan import config
from backspan._guard import guard

SECONDS = 10.0
"""Most that a signalled process goes on for us."""
_FLUSH_SECONDS = 3.0
_end: Callable[[], object] | None = None


def prepare(end: Callable[[], object], flush: Callable[[float], object]) -> None:
    """Have ``end`` called before SIGTERM kills this process, and ``flush`` where uvicorn is about to let it.

    Harmless when repeated. From another thread than the main one a handler cannot be set, so nothing happens then.
    """
    global _end
    _end = end
    with guard("signals"):
        if config.settings().sigterm:
            _take_sigterm()
            _follow_uvicorn(flush)


def _take_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    if signal.getsignal(number) is not _on_sigterm:
        return  # called by the handler that replaced ours
    signal.signal(number, signal.SIG_DFL)
    if _end is not None:
        within(SECONDS, _end)
    signal.raise_signal(number)


def within(seconds: float, work: Callable[[], object]) -> None:
    """Run ``work`` in a thread: the main one may have been interrupted while it held a lock that the work needs."""

    def guarded_work() -> None:
        with guard("signals.end"):
            work()

    with guard("signals.thread"):
        thread = threading.Thread(target=guarded_work, name="backspan-end", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # Python 3.12.0 and 3.12.1 start no thread from an exit handler
            guarded_work()
        else:
            thread.join(seconds)


def _follow_uvicorn(flush: Callable[[float], object]) -> None:
    module = sys.modules.get("uvicorn.server")
    if module is None or hasattr(module.Server.shutdown, "__wrapped__"):
        return
    import wrapt

    async def shut_down(
        wrapped: Callable[..., Awaitable[Any]], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        done = await wrapped(*args, **kwargs)
        if signal.SIGTERM in getattr(instance, "_captured_signals", ()):
            within(_FLUSH_SECONDS, lambda: flush(_FLUSH_SECONDS))
        return done

    wrapt.wrap_function_wrapper(module, "Server.shutdown", shut_down)
