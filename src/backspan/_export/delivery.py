"""How telemetry of ours fares on its way out: what was taken, what was lost and why; said once, counted always."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from backspan._guard import say_once

SPAN, FEEDBACK = "span", "feedback"
"""The kinds that losses are counted by."""
OUTAGE_SECONDS = 30.0
"""An outage that has lost nothing yet is said when it is this old."""
_working = threading.local()


class _HoldBack(logging.Filter):
    """Drops records logged by a thread that is inside one of our exporters."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_working, "ours", False)


_hold_back = _HoldBack()


def hold_back_library_logs() -> None:
    """Keep what the exporters' libraries log while they work for us off the application's stderr."""
    names = [n for n in logging.root.manager.loggerDict if n.startswith(("opentelemetry.", "urllib3", "grpc"))]
    for name in names:
        logging.getLogger(name).addFilter(_hold_back)


@contextmanager
def held_back() -> Generator[None]:
    """Mark this thread as working for us."""
    _working.ours = True
    try:
        yield
    finally:
        _working.ours = False


class Delivery:
    """How one endpoint fares. ``failing`` tells whether the last attempt failed.

    ``dropped`` counts spans that are lost for good, by (kind, reason): ``span`` or ``feedback``; ``full`` (the queue),
    ``refused`` (by the endpoint), ``malformed`` (cannot be encoded), ``exit`` (not taken before the process ended).
    ``stripped`` counts spans that lost their content only, ``retries`` attempts that are to be repeated.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.delivered = self.stripped = self.retries = 0
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.failing = False
        self._lock = threading.RLock()
        self._since: float | None = None

    @property
    def lost(self) -> int:
        """Spans lost, for whatever reason."""
        return self.dropped.total()

    def deliver(self, items: int) -> None:
        """Count ``items`` as taken."""
        with self._lock:
            self.delivered += items
            recovered, self.failing, self._since = self.failing, False, None
        if recovered:
            logging.getLogger("backspan").info("backspan: %s takes telemetry again", self.endpoint)

    def retry(self) -> None:
        """Count a failed attempt that will be repeated; an outage of `OUTAGE_SECONDS` is said in one line."""
        with self._lock:
            self.retries += 1
            self.failing = True
            now = time.monotonic()
            self._since = since = now if self._since is None else self._since
        if now - since >= OUTAGE_SECONDS:
            self._say("cannot deliver telemetry to {}; it is kept as long as there is room")

    def lose(self, kinds: Counter[str], reason: str, detail: str = "", stripped: int = 0) -> None:
        """Count spans lost by kind, and spans that lost their content; the first loss is said in one line."""
        if not kinds.total() and not stripped:
            return
        with self._lock:
            self.stripped += stripped
            for kind, count in kinds.items():
                self.dropped[kind, reason] += count
        if reason == "refused":
            self._say(f"{{}} refuses some telemetry ({detail}); that is dropped")
        elif reason == "full":
            self._say("cannot deliver telemetry to {} as fast as it comes; the oldest is dropped, content first")
        else:
            self._say("cannot deliver telemetry to {}")

    def fail(self) -> None:
        """Note that the last totals of the metrics could not be delivered."""
        self.failing = True
        self._say("cannot deliver telemetry to {}")

    def _say(self, what: str) -> None:
        say_once("export", f"{what.format(self.endpoint)}; the application is not affected "
                           "(`backspan up` listens there, `backspan doctor` looks)")
