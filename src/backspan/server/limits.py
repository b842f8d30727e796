"""How often one may come: by token, by person, by neighbourhood of addresses, and all together.

Counted in sliding windows: the window before counts for the part of it that is still within reach. The library `limits`
reads the rates and counts in a storage that replicas share; in this process's memory it would cost a vote 80
microseconds, so there the same is done here. Callers with an API key, and programs on this machine that no proxy speaks
for, are not limited but by the last.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_network
from math import ceil
from typing import Any, NamedTuple, Protocol, cast

from limits import RateLimitItem, parse
from limits.errors import ConfigurationError, StorageError

from backspan.server.problems import Problem

logger = logging.getLogger("backspan.limits")

DEFAULTS: Mapping[str, str] = {
    "token": "60/hour", "subject": "600/hour", "address": "600/minute", "all": "10000/second",
}
"""Acts by one token and by one person; requests from one neighbourhood (IPv4 /24, IPv6 /56) and from everywhere."""
OFF = "off"
MOST_KEYS = 100_000
"""Keys of one kind that are counted in memory; past it those seen first are forgotten, and so begin anew."""
_V4, _V6 = 3, 7
"""Bytes of an address that say whose neighbourhood it is in: 24 bits, and 56."""
_MAPPED = bytes(10) + b"\xff\xff"


class InvalidRates(ValueError):
    """A limit, its storage or a proxy cannot be read; the message says which and how one looks."""


class Limiter:
    """The limits of one server. ``rates`` is laid over `DEFAULTS`; ``off`` takes one away.

    Args:
        rates: ``{"token": "60/hour"}``.
        at: storage URL of `limits` (``async+redis://host:6379``); None counts in this process.

    Raises:
        InvalidRates: for an unknown limit, or one that cannot be read, or a storage that cannot be had.
    """

    def __init__(self, rates: Mapping[str, str] | None = None, at: str | None = None) -> None:
        self._items = {kind: _item(kind, said) for kind, said in {**DEFAULTS, **(rates or {})}.items() if said != OFF}
        self._shared = None if at is None else _shared(at)
        self._own = {} if at else {kind: Windows(item.amount, item.get_expiry()) for kind, item in self._items.items()}

    async def hit(self, kind: str, key: str) -> None:
        """Count one act.

        Raises:
            Problem: 429 with ``Retry-After``, if there were too many; this one is then not counted.
        """
        own = self._own.get(kind)
        if own is not None:
            if not own.take(key):
                raise _too_many(kind, own.wait(key))
        elif self._shared is not None and kind in self._items:
            await self._hit_shared(self._shared, self._items[kind], kind, key)

    async def _hit_shared(self, shared: _Shared, item: RateLimitItem, kind: str, key: str) -> None:
        try:
            if await shared.hit(item, kind, key):
                return
            reset = (await shared.get_window_stats(item, kind, key)).reset_time
        except (StorageError, OSError) as error:  # who cannot count must not turn away
            logger.error("the limits are not counted: %s", type(error).__name__)
            return
        raise _too_many(kind, reset - time.time())


class _Shared(Protocol):
    async def hit(self, item: RateLimitItem, *identifiers: str) -> bool: ...
    async def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> Any: ...


def _shared(at: str) -> _Shared:
    from limits.aio.strategies import SlidingWindowCounterRateLimiter as Counter
    from limits.storage import storage_from_string

    client: dict[str, str] = {"implementation": "redispy"} if at.startswith("async+redis") else {}
    try:
        return cast("_Shared", Counter(cast("Any", storage_from_string)(at, wrap_exceptions=True, **client)))
    except ConfigurationError as error:  # no such storage, or no client for it
        raise InvalidRates(f"BACKSPAN_LIMITS_STORAGE: {error}") from None


def _item(kind: str, said: str) -> RateLimitItem:
    if kind not in DEFAULTS:
        raise InvalidRates(f"no limit {kind!r}: there are {', '.join(DEFAULTS)}")
    try:
        return parse(said)
    except ValueError:
        raise InvalidRates(f"{kind}: {said!r} is no limit; one is such as {DEFAULTS[kind]}, or {OFF}") from None


def _too_many(kind: str, wait: float) -> Problem:
    seconds = max(1, ceil(wait))
    about = {"token": "with this token", "subject": "by this person", "address": "from this address"}
    return Problem(429, f"too many requests {about.get(kind, 'at once')}", headers={"Retry-After": str(seconds)},
                   reason="rate")


# --- memory ---------------------------------------------------------------------------------------------------------
_NEVER = (-1, 0, 0)


class Windows:
    """At most ``amount`` acts of each key within ``seconds``, in a bounded dictionary."""

    def __init__(self, amount: int, seconds: float, most: int = MOST_KEYS) -> None:
        self._amount = amount
        self._seconds = seconds
        self._most = most
        self._counts: dict[str, tuple[int, int, int]] = {}
        """Key -> number of its last window, and the counts of the one before and of that one."""

    def __len__(self) -> int:
        """Keys that are counted."""
        return len(self._counts)

    def take(self, key: str) -> bool:
        """Count one act, unless that is one too many."""
        now = time.time() / self._seconds
        window, counts = int(now), self._counts
        last, before, current = counts.get(key, _NEVER)
        if last != window:
            before, current = self._of(key, window)
        if int(before * (1 - (now - window)) + current) >= self._amount:
            return False
        if last == -1 and len(counts) >= self._most:
            del counts[next(iter(counts))]
        counts[key] = (window, before, current + 1)
        return True

    def wait(self, key: str) -> float:
        """Seconds until one more than now is within the limit, if nothing else comes."""
        now = time.time() / self._seconds
        before, current = self._of(key, int(now))
        left = (1 - (now - int(now))) * self._seconds
        if current < self._amount:  # the window before must lose weight: before * left / seconds + current < amount
            return left - (self._amount - current) * self._seconds / before if before else 0.0
        return left + (1 - self._amount / current) * self._seconds

    def _of(self, key: str, window: int) -> tuple[int, int]:
        last, before, current = self._counts.get(key, _NEVER)
        if last == window:
            return before, current
        return (current, 0) if last == window - 1 else (0, 0)


# --- addresses ------------------------------------------------------------------------------------------------------
class Network(NamedTuple):
    """Addresses of so many bytes whose bits under ``mask`` are ``bits``."""

    size: int
    bits: int
    mask: int


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks and single addresses. Raises `InvalidRates`."""
    try:
        found = [ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise InvalidRates(f"proxies: {error}") from None
    return tuple(Network(one.max_prefixlen // 8, int(one.network_address), int(one.netmask)) for one in found)


def neighbourhood(address: str) -> str:
    """The network that an address is counted with: IPv4 /24, IPv6 /56; what is no address counts as itself."""
    raw = _packed(address)
    if raw is None:
        return address[:64]
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw[:_V4] + bytes(4 - _V4))
    return socket.inet_ntop(socket.AF_INET6, raw[:_V6] + bytes(16 - _V6))


def sender(peer: str, forwarded: str, proxies: tuple[Network, ...]) -> str:
    """Who sent a request: the last address of ``X-Forwarded-For`` that is no proxy of ours, if the peer is one."""
    if not forwarded or not _one_of(peer, proxies):
        return peer
    for hop in reversed([part.strip() for part in forwarded.split(",")]):
        if not _one_of(hop, proxies):
            return hop
    return peer


@lru_cache(maxsize=4096)
def _one_of(address: str, proxies: tuple[Network, ...]) -> bool:
    raw = _packed(address)
    if raw is None:
        return False
    bits = int.from_bytes(raw, "big")
    return any(len(raw) == size and bits & mask == of for size, of, mask in proxies)


def _packed(address: str) -> bytes | None:
    """The bytes of an address, IPv4 also where it is written as IPv6; None for what is none."""
    try:
        raw = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        return None
    return raw[len(_MAPPED):] if raw.startswith(_MAPPED) and len(raw) == 16 else raw
