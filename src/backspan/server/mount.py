"""The gateway as a part of another application: mounted in FastAPI or Starlette, or behind WSGI.

A mounted application is told nothing of the lifespan of the one around it, and WSGI has none. So the gateway opens its
store when it is first asked, or earlier if its `Gateway.lifespan` is put into the other's, and closes it at the latest
when the process ends.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp, Receive, Scope, Send

from backspan.config import settings
from backspan.server.app import create_app
from backspan.server.config import GATEWAY_KEEP, ServerConfig
from backspan.store import postgres_url, sqlite_url

_ENDPOINT = "http://127.0.0.1:4318"


def gateway(
    database: str | Path | None = None, *, forward: str | None = None, origins: Sequence[str] | None = None,
    audience: str | None = None, trust_loopback: bool = False,
) -> Gateway:
    """The application that ``backspan gateway`` serves, to be mounted in one of yours.

    What is not given is read from the environment, as ``backspan gateway`` does. Nothing is opened yet: a process may
    still fork.

    Args:
        database: SQLite file or ``postgresql://`` URL; None: ``gateway.db`` in ``BACKSPAN_DATA_DIR``.
        forward: OTLP/HTTP endpoint for feedback spans; None: ``OTEL_EXPORTER_OTLP_ENDPOINT``, else a Collector on this
            machine.
        origins: origins whose pages may ask; None: ``BACKSPAN_ORIGINS``.
        audience: only tokens made for it are opened; None: ``BACKSPAN_AUDIENCE``.
        trust_loopback: whether callers on this machine need no key. Not by default: behind a proxy on the same machine
            everybody seems to be one.

    Raises:
        backspan.store.StoreError: if ``database`` is a URL of another kind.
    """
    said = settings()
    endpoint = forward or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or _ENDPOINT
    rates = tuple((kind.strip(), rate.strip()) for kind, _, rate in (word.partition("=") for word in said.limits))
    url = _url(database)
    return Gateway(lambda: ServerConfig(
        url=url(), gateway=True, api_key=said.api_key, emit_to=endpoint, keep=GATEWAY_KEEP,
        trust_loopback=trust_loopback, origins=tuple(said.origins if origins is None else origins),
        audience=audience or said.audience, proxies=tuple(said.proxies), rates=rates, rates_at=said.limits_storage,
    ))


def _url(database: str | Path | None) -> Callable[[], str]:
    """What makes the URL: a file's folder is made with it, so not before it is needed."""
    if isinstance(database, str) and "://" in database:
        found = postgres_url(database)
        return lambda: found
    path = settings().data_dir / "gateway.db" if database is None else Path(database)
    return lambda: sqlite_url(path)


class Gateway:
    """An ASGI application that makes itself ready; see `gateway`.

    Faults of the store or of a setting are raised by the first request, or by the lifespan.
    """

    def __init__(self, configure: Callable[[], ServerConfig]) -> None:
        self._configure = configure
        self._lock = threading.Lock()
        self._app: ASGIApp | None = None
        self._life = ExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI event."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        app = self._app or self._open()
        await app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncGenerator[None]:
        """Open the store, and close it after the block: for the lifespan of the application around."""
        self._open()
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Commit what is queued and close the store; a request after that opens it again."""
        with self._lock:
            self._app, life, self._life = None, self._life, ExitStack()
        atexit.unregister(self.close)
        life.close()

    def _open(self) -> ASGIApp:
        """The application, made now if need be. Its lifespan runs in an event loop of its own, as it may outlive ours.

        (An event loop that ends finishes the asynchronous generators that were begun in it.)
        """
        with self._lock:
            if self._app is None:
                app = create_app(self._configure())
                portal = self._life.enter_context(start_blocking_portal())
                self._life.enter_context(portal.wrap_async_context_manager(app.router.lifespan_context(app)))
                self._app = app
                atexit.register(self.close)
            return self._app

    async def _live(self, receive: Receive, send: Send) -> None:
        """Served by itself: the lifespan is ours."""
        await receive()
        self._open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.close()
        await send({"type": "lifespan.shutdown.complete"})
