"""Who may name a target by its ids, who may read, who may send spans: this machine, or the holder of an API key."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request

from backspan.feedback.token import EXPIRED, UNAVAILABLE, Claims, InvalidToken, read
from backspan.server.config import ServerConfig
from backspan.server.keys import ADMIN, FEEDBACK, SIGNALS, Keyring
from backspan.server.problems import Problem

PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers by which a proxy shows itself."""
_LONGEST_HOST = 300
OPENED = "backspan.token"
"""Key of the ASGI scope under which `opened` leaves the token."""


def trusted(request: Request, config: ServerConfig, needs: str = ADMIN) -> bool:
    """Tell whether the caller has an API key with the scope ``needs``, or is a program on this machine.

    A request that a proxy passed on is not from this machine. Nor is one that a web page made: a browser says so in
    ``Origin``, and a page whose name was made to point here (DNS rebinding) shows in ``Host``.
    """
    if needs in scopes_of(request, config):
        return True
    if not config.trust_loopback or any(name in request.headers for name in PROXIED):
        return False
    peer = request.client.host if request.client is not None else ""
    return loopback(peer) and _local(request.headers.get("host", "")) and _same_origin(request)


def require(request: Request, config: ServerConfig, needs: str = ADMIN, said: str | None = None) -> None:
    """Raises `Problem`: 403 for a key without the scope ``needs``, else 401 (with ``said``); neither if `trusted`."""
    if not trusted(request, config, needs):
        raise _refused(request, config, needs, said or _needed(needs))


def require_sender(request: Request, config: ServerConfig, needs: str) -> None:
    """`require`, but any program on this machine will do, however it names the machine: for what pages cannot send."""
    peer = request.client.host if request.client is not None else ""
    here = config.trust_loopback and loopback(peer) and not any(name in request.headers for name in PROXIED)
    if not here and needs not in scopes_of(request, config):
        raise _refused(request, config, needs, f"needs an API key with the scope {needs} (Authorization: Bearer)")


def scopes_of(request: Request, config: ServerConfig) -> frozenset[str]:
    """What the caller's API key allows; nothing if there is none."""
    text = bearer(request)
    if not text:
        return frozenset()
    return (config.keys or Keyring(None, config.api_key)).scopes_of(text)


def _needed(needs: str) -> str:
    """What would have helped: a token does where one answer is judged."""
    key = "an API key (Authorization: Bearer), or a caller on this machine"
    return f"needs a feedback token, {key}" if needs in (FEEDBACK, SIGNALS) else f"needs {key}"


def _refused(request: Request, config: ServerConfig, needs: str, said: str) -> Problem:
    if scopes_of(request, config):
        missing = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needs}"'}
        return Problem(403, f"the API key lacks the scope {needs}", headers=missing, reason="token")
    return Problem(401, said, headers={"WWW-Authenticate": "Bearer"})


def opened(request: Request, config: ServerConfig, token: str) -> Claims:
    """What a token says, if it was made for this server and for the page that sends it.

    Raises:
        Problem: 401 for a token that is forged, expired or for another audience, 403 from a page of another origin than
            those it names, 503 where there is no key to open it with.
    """
    try:
        claims = read(token, audience=config.audience)
    except InvalidToken as error:
        said = {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{error.reason}"'}
        raise Problem(503 if error.reason == UNAVAILABLE else 401, f"the token {error.message}", field="token",
                      headers=said, reason="expired" if error.reason == EXPIRED else "token") from None
    origin = request.headers.get("origin")
    if origin is not None and claims.origins is not None and origin not in claims.origins:
        raise Problem(403, "the token is for pages of another origin", field="token", reason="origin")
    request.scope[OPENED] = token
    return claims


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


def unwatched(request: Request) -> bool:
    """Tell whether the browser asks that nobody watches its user (``Sec-GPC``, Global Privacy Control)."""
    return request.headers.get("sec-gpc", "").strip() == "1"


def _local(host: str) -> bool:
    return len(host) < _LONGEST_HOST and _names_this_machine(host)


@lru_cache(maxsize=1024)
def _names_this_machine(host: str) -> bool:
    try:
        return loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host', '')}"
