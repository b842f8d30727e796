"""Calls that are open while the application holds their stream, and how they end when nobody ends them.

The garbage collector may drop a stream at any line of the program, and the process may end with streams open.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from types import FrameType
from typing import TYPE_CHECKING

from backspan import telemetry
from backspan._guard import guarded
from backspan.instrument._outcome import ABANDONED

if TYPE_CHECKING:
    from backspan.instrument._call import Call

calls: dict[int, Call] = {}
"""Calls whose stream or unread response the application holds, by identity."""
orphans: deque[tuple[Call, int]] = deque()
"""Calls that could not be ended when their stream was collected, and when that was (Unix nanoseconds)."""

_FINALISERS = frozenset({
    "inside_telemetry", "abandon", "__del__", "ended", "call", "watch", "awatch", "_without", "_without_async"})
_LOCKING = ("opentelemetry.", "backspan.", "prometheus_client.")


def inside_telemetry() -> bool:
    """Tell whether this thread is in code that may hold a lock we need; the finaliser's own frames are not."""
    frame: FrameType | None = sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code.co_name in _FINALISERS:
        frame = frame.f_back
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_LOCKING):
            return True
        frame = frame.f_back
    return False


@guarded
def reap() -> None:
    """End the calls that could not be ended when their stream was collected."""
    while orphans:
        call, at = orphans.popleft()
        call.stop(ABANDONED, at=at)


def hand_out(call: Call) -> None:
    """Take ``call`` among the open ones; the end of the process ends them."""
    calls[id(call)] = call
    if len(calls) == 1:
        telemetry.at_exit(end_all)


def later(call: Call) -> None:
    """Have ``call`` ended at the next one, with the time of now."""
    orphans.append((call, time.time_ns()))


def end_all() -> None:
    """End every open call: the process is about to end, and the providers with it."""
    reap()
    for call in list(calls.values()):
        call.stop(ABANDONED)


def _after_fork_in_child() -> None:
    for call in list(calls.values()):
        call.ticket.clear()  # the parent ends what it began
    calls.clear()
    orphans.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
