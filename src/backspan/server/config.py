"""What a server is told: by the command line, or by a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backspan.store import Retention
from backspan.store.retention import DAY

if TYPE_CHECKING:
    from backspan.server.keys import Keyring
    from backspan.server.limits import Limiter

UP_PORT = 4318
GATEWAY_PORT = 8318


@dataclass(frozen=True)
class ServerConfig:
    """One server.

    Attributes:
        url: SQLAlchemy URL of the store.
        gateway: False is the embedded server (counts answers and feedback spans, evaluates the charts); True is the
            gateway of a real back end (applications and Prometheus do that there).
        api_key: lets callers do anything, from elsewhere than this machine; keys that may do less are in the store.
        emit_to: OTLP/HTTP base URL to which accepted votes go as feedback spans; None sends nothing.
        forward: also pass every OTLP request on to ``emit_to``.
        spec: charts to evaluate; None is the shipped spec.
        keep: the rolling window.
        trust_loopback: callers on this machine need no key.
        origins: origins (``https://app.example.com``) whose pages may read the answers.
        audience: the server's own name; only tokens made for it are opened. None: those made for nobody in particular.
        proxies: networks whose ``X-Forwarded-For`` is believed.
        rates: what is allowed how often (`backspan.server.limits`), over `limits.DEFAULTS`: ``{"token": "60/hour"}``.
        rates_at: where it is counted, a storage URL of the library ``limits``; None is this process's memory.
        keys: made with the application.
        limiter: made with the application.
    """

    url: str
    gateway: bool = False
    api_key: str | None = None
    emit_to: str | None = None
    forward: bool = False
    spec: Path | None = None
    keep: Retention = field(default_factory=Retention)
    trust_loopback: bool = True
    origins: tuple[str, ...] = ()
    audience: str | None = None
    proxies: tuple[str, ...] = ()
    rates: tuple[tuple[str, str], ...] = ()
    rates_at: str | None = None
    keys: Keyring | None = None
    limiter: Limiter | None = None


GATEWAY_KEEP = Retention(turns=30 * DAY, votes=400 * DAY, size=None)
"""What a gateway keeps: content for a month, judgements a little longer than a year."""
