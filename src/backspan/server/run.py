"""Running the application under uvicorn: the socket first, so that a busy port is a clear message and not a trace."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

_SWITCH_SECONDS = 0.0005
"""The writing thread gives the interpreter up at every statement; it must not wait 5 ms each time to have it back."""
_GARBAGE = 10_000, 20, 50
"""When the collector looks for cycles. A vote makes hundreds of objects and no cycle; every look stops all threads."""


class PortBusy(Exception):
    """The address cannot be listened on."""


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to ``host`` and ``port`` (0: any free one).

    Raises:
        PortBusy: with what to do about it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(2048)
    except OSError as error:
        bound.close()
        raise PortBusy(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return bound


def serve(app: Any, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish open requests. ``ready`` is called when requests are answered."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, proxy_headers=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=5,
    )
    sys.setswitchinterval(_SWITCH_SECONDS)
    _settle_down()
    before = {number: signal.signal(number, _stopped_already) for number in (signal.SIGTERM, signal.SIGINT)}
    try:  # uvicorn stops cleanly and then raises the signal again, for the handler that was there before: ours
        _Server(config, ready).run([bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settle_down() -> None:
    """Take what is loaded by now, which stays, out of the collector's sight: it would look at it for 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


def _stopped_already(_number: int, _frame: FrameType | None) -> None:
    pass


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
