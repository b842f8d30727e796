"""The server: OTLP in, feedback in, metrics and a query API out. `create_app` is the door."""

from __future__ import annotations

from backspan.server.app import create_app
from backspan.server.config import ServerConfig

__all__ = ["ServerConfig", "create_app"]
