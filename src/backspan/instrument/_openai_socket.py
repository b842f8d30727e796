"""openai over a WebSocket: `realtime`, `beta.realtime`, `realtime.translations`, `responses`, `live` and `live.forks`.

The SDK's connections are patched where the application sends, receives and closes. The modules that hold them are big
and loaded by few, so they are patched when the application imports them.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from inspect import iscoroutinefunction
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from backspan import _hook
from backspan._guard import guarded
from backspan.instrument._call import Call
from backspan.instrument._content import Json
from backspan.instrument._patch import Patches
from backspan.instrument._providers import service_of

MODULES = {
    "openai.resources.realtime.realtime": "Realtime",
    "openai.resources.beta.realtime.realtime": "Realtime",
    "openai.resources.responses.responses": "Responses",
    "openai.resources.beta.responses.responses": "Responses",
    "openai.resources.realtime.translations.translations": "Translation",
    "openai.resources.live.live": "Live",
    "openai.resources.live.forks": "Live",
}
"""Module of the SDK that holds connections -> how they talk, a class of `_openai_session` or `_openai_continuous`."""
_CONTINUOUS = frozenset({"Translation", "Live"})
LANES = "openai.lib.responses_websocket._session"
"""Module of the SDK that has several responses share a connection; it sends past the connection's own methods."""

if TYPE_CHECKING:
    from backspan.instrument._openai_session import Session

_patches = Patches("openai")
_sessions: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()
_sending: ContextVar[bool] = ContextVar("backspan_openai_sending", default=False)
"""Whether a message is being sent in words of the SDK, which sends it once more as bytes."""
_on = False


def instrument() -> None:
    """Patch what has been imported of `MODULES`, and the rest when it is."""
    global _on
    _on = True
    _hook.install(dict.fromkeys((*MODULES, LANES), f"{__name__}:imported"))
    for name in (*MODULES, LANES):
        module = sys.modules.get(name)
        if module is not None:
            imported(module)


def uninstrument() -> None:
    """Put the connections' own methods back."""
    global _on
    _on = False
    _patches.undo()


def imported(module: ModuleType) -> None:
    """Patch the connections of ``module``. Harmless when repeated, and while we are off."""
    if not _on:
        return
    for owner in list(vars(module).values()):
        if isinstance(owner, type) and owner.__module__ == module.__name__:
            if hasattr(owner, "recv_bytes"):
                _patch_connection(owner)
            elif hasattr(owner, "enter"):
                _patch_manager(owner)
            elif module.__name__ == LANES and hasattr(owner, "get_final_response"):
                _wrap(owner, "send", _send_async if iscoroutinefunction(vars(owner)["send"]) else _send)


def _patch_manager(owner: type) -> None:
    asynchronous = hasattr(owner, "__aenter__")
    for name in ("__aenter__" if asynchronous else "__enter__", "enter"):
        _patches.wrap(owner, name, _enter_async if asynchronous else _enter)


def _patch_connection(owner: type) -> None:
    asynchronous = hasattr(owner, "__aiter__")
    _wrap(owner, "parse_event", _parse)
    for name, wrapper in (("send", _send), ("send_raw", _send), ("recv_bytes", _recv), ("close", _close)):
        if hasattr(owner, name):
            _wrap(owner, name, _ASYNC[wrapper] if asynchronous else wrapper)


def _wrap(owner: type, name: str, wrapper: Any) -> None:
    _patches.wrap(next(base for base in owner.__mro__ if name in vars(base)), name, wrapper)


# --- opening --------------------------------------------------------------------------------------------------------
def _enter(wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    connection = wrapped(*args, **kwargs)
    _opened(manager, connection)
    return connection


async def _enter_async(wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    connection = await wrapped(*args, **kwargs)
    _opened(manager, connection)
    return connection


@guarded
def _opened(manager: Any, connection: Any) -> None:
    from backspan.instrument import _openai_session as talking  # few applications get here

    kind = cast(Any, type(manager))
    client: Any = getattr(manager, f"_{kind.__name__}__client")
    model: Any = getattr(manager, f"_{kind.__name__}__model", None)
    url, said = client._base_url, getattr(client, "websocket_base_url", None)
    if said is not None:
        url = type(url)(str(said).replace("ws", "http", 1))
    name, service, model = MODULES[kind.__module__], service_of(client, url), model if isinstance(model, str) else None
    if name in _CONTINUOUS:
        from backspan.instrument import _openai_continuous as continuous

        _sessions[connection] = getattr(continuous, name)(service, model, client)
    else:
        _sessions[connection] = talking.Session(getattr(talking, name)(service, model), client)


# --- sending and receiving ------------------------------------------------------------------------------------------
@guarded
def _begin(connection: Any, args: tuple[Any, ...], kwargs: Json) -> tuple[Session, Call | None] | None:
    """The session, if what is sent is a message of the application's and not the SDK's sending of one."""
    lane: Any = getattr(connection, "_state", None)
    session = None if _sending.get() else _sessions.get(connection._session.connection if lane else connection)
    if session is None:
        return None
    event: Any = args[0] if args else kwargs.get("event", kwargs.get("data"))
    return session, session.sent(event, getattr(lane, "stream_id", None))


def _send(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    begun = _begin(connection, args, kwargs)
    if begun is None:
        return wrapped(*args, **kwargs)
    token = _sending.set(True)
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        begun[0].unsent(begun[1], error)
        raise
    finally:
        _sending.reset(token)


async def _send_async(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    begun = _begin(connection, args, kwargs)
    if begun is None:
        return await wrapped(*args, **kwargs)
    token = _sending.set(True)
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        begun[0].unsent(begun[1], error)
        raise
    finally:
        _sending.reset(token)


def _recv(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    try:
        raw = wrapped(*args, **kwargs)
    except BaseException as error:
        _lost(connection, error)
        raise
    _came(connection, raw)
    return raw


async def _recv_async(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    try:
        raw = await wrapped(*args, **kwargs)
    except BaseException as error:
        _lost(connection, error)
        raise
    _came(connection, raw)
    return raw


@guarded
def _lost(connection: Any, error: BaseException) -> None:
    session = _sessions.get(connection)
    if session is not None and type(error).__name__.startswith("ConnectionClosed"):
        session.lost(error)


@guarded
def _came(connection: Any, raw: Any) -> None:
    session = _sessions.get(connection)
    if session is not None:
        session.came(raw)


def _parse(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    event = wrapped(*args, **kwargs)
    _parsed(connection, args[0] if args else kwargs.get("data"), event)
    return event


@guarded
def _parsed(connection: Any, raw: Any, event: Any) -> None:
    session = _sessions.get(connection)
    if session is not None:
        session.received(raw, event)


# --- closing --------------------------------------------------------------------------------------------------------
def _close(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    _closed(connection)  # first: whoever reads in another thread is about to learn it
    return wrapped(*args, **kwargs)


@guarded
def _closed(connection: Any) -> None:
    session = _sessions.get(connection)
    if session is not None:
        session.closed()


_ASYNC: dict[Any, Any] = {_send: _send_async, _recv: _recv_async, _close: _close}
