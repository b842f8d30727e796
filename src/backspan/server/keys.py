"""Keys of servers, and what each may do."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

from backspan.store import Store, keys

READ = "read"
FEEDBACK = "feedback:write"
OUTCOMES = "outcomes:write"
SIGNALS = "signals:write"
OTLP = "otlp:write"
ADMIN = "admin"
"""Whatever there is: also what changes how the server works (baselines, sending spans again)."""
SCOPES = (READ, FEEDBACK, OUTCOMES, SIGNALS, OTLP, ADMIN)
FRESH_SECONDS = 5.0
"""How long a key that was taken back may still be known here."""


class Keyring:
    """The key of the environment, which may do anything, and those in the store.

    All keys are read at once, at most every `FRESH_SECONDS`: whoever tries many costs no more reads than one.
    """

    def __init__(
        self, store: Store | None, everything: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._everything = everything.encode() if everything else None
        self._clock = clock
        self._known: dict[str, keys.ApiKey] = {}
        self._read_at: float | None = None

    def scopes_of(self, text: str) -> frozenset[str]:
        """What the holder of this key may do: nothing if it is none of ours."""
        if self._everything is not None and hmac.compare_digest(text.encode(), self._everything):
            return frozenset(SCOPES)
        parts = keys.split(text)
        if parts is None or self._store is None:
            return frozenset()
        found = self._fresh(self._store).get(parts[0])
        return _all_of(found.scopes) if found is not None and found.opens(parts[1]) else frozenset()

    def _fresh(self, store: Store) -> dict[str, keys.ApiKey]:
        now = self._clock()
        if self._read_at is None or now - self._read_at >= FRESH_SECONDS:
            with store.reading() as conn:
                self._known = {key.id: key for key in keys.all_of(conn)}
            self._read_at = now
        return self._known


def _all_of(scopes: frozenset[str]) -> frozenset[str]:
    return frozenset(SCOPES) if ADMIN in scopes else scopes
