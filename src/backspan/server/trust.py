"""Who may name a target by its ids, and who may read: this machine, or the holder of the API key."""

from __future__ import annotations

import hmac
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request

from backspan.server.config import ServerConfig
from backspan.server.problems import Problem

_PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip")


def trusted(request: Request, config: ServerConfig) -> bool:
    """Tell whether the caller has the API key, or is a program on this machine.

    A request that a proxy passed on is not from this machine. Nor is one that a web page made: a browser says so in
    ``Origin``, and a page whose name was made to point here (DNS rebinding) shows in ``Host``.
    """
    if config.api_key and _has_key(request, config.api_key):
        return True
    if not config.trust_loopback or any(name in request.headers for name in _PROXIED):
        return False
    peer = request.client.host if request.client is not None else ""
    return loopback(peer) and _local(f"//{request.headers.get('host', '')}") and _same_origin(request)


def require(request: Request, config: ServerConfig) -> None:
    """Raises `Problem` 401 unless `trusted`."""
    if not trusted(request, config):
        raise Problem(401, "needs a feedback token, the API key (Authorization: Bearer), or a caller on this machine",
                      headers={"WWW-Authenticate": "Bearer"})


@lru_cache(maxsize=1024)
def loopback(host: str) -> bool:
    """Tell whether ``host`` is an address or name of this machine only."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def bearer(request: Request) -> str:
    """What follows ``Authorization: Bearer``, or ``""``."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _has_key(request: Request, key: str) -> bool:
    return hmac.compare_digest(bearer(request).encode(), key.encode())


def _local(url: str) -> bool:
    try:
        return loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host', '')}"
