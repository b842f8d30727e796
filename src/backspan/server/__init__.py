"""The server: OTLP in, feedback in, metrics and a query API out. `create_app` is the door, `gateway` one to mount.

They are loaded when they are asked for: commands that need one word of a module here need no web server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backspan.server.app import create_app
    from backspan.server.config import ServerConfig
    from backspan.server.mount import gateway

__all__ = ["ServerConfig", "create_app", "gateway"]
_WHERE = {"ServerConfig": "config", "create_app": "app", "gateway": "mount"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
