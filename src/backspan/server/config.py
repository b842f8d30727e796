"""What a server is told: by the command line, or by a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from backspan.store import Retention
from backspan.store.retention import DAY

UP_PORT = 4318
GATEWAY_PORT = 8318


@dataclass(frozen=True)
class ServerConfig:
    """One server.

    Attributes:
        url: SQLAlchemy URL of the store.
        gateway: False is the embedded server (counts answers and feedback spans, evaluates the charts); True is the
            gateway of a real back end (applications and Prometheus do that there).
        api_key: lets callers name targets by id, and read, from elsewhere than this machine.
        emit_to: OTLP/HTTP base URL to which accepted votes go as feedback spans; None sends nothing.
        forward: also pass every OTLP request on to ``emit_to``.
        spec: charts to evaluate; None is the shipped spec.
        keep: the rolling window.
        trust_loopback: callers on this machine need no key.
    """

    url: str
    gateway: bool = False
    api_key: str | None = None
    emit_to: str | None = None
    forward: bool = False
    spec: Path | None = None
    keep: Retention = field(default_factory=Retention)
    trust_loopback: bool = True


GATEWAY_KEEP = Retention(turns=30 * DAY, votes=400 * DAY, size=None)
"""What a gateway keeps: content for a month, judgements a little longer than a year."""
