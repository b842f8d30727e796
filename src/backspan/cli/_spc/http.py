"""JSON over HTTP for the commands: time limits, errors that are quoted, and no secret sent to another host."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, cast

from backspan.cli._spc.errors import Fault

TIMEOUT = 30.0
"""Seconds to wait for an answer."""
_QUOTED = 200
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Refused(Fault):
    """The other side answered with an HTTP error; ``status`` is its code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follows a redirect on the same host only: the headers, and with them the token, go along."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urllib.parse.urlsplit(newurl)[:2] != urllib.parse.urlsplit(req.full_url)[:2]:
            raise Fault(f"{req.full_url} redirects to {newurl}: give that address, if you trust it")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Api:
    """One HTTP API below ``base``. Raises `Fault` for a base that is no http(s) address."""

    def __init__(self, base: str, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> None:
        parts = urllib.parse.urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Fault(f"{base!r} is no address; write it as http://host:port")
        if parts.username or parts.password:
            raise Fault("no user or password in an address, please: give --header 'Authorization: ...'")
        self.base = base.rstrip("/")
        self._headers, self._timeout = dict(headers or {}), timeout
        proxies = [urllib.request.ProxyHandler({})] if parts.hostname in _LOCAL else []
        self._opener = urllib.request.build_opener(*proxies, _SameOrigin())

    def get(self, path: str, **query: str | float | None) -> Any:
        """The JSON that ``path`` answers. Raises `Refused` for an HTTP error, `Fault` for silence or no JSON."""
        said = {key: str(value) for key, value in query.items() if value is not None}
        asked = f"?{urllib.parse.urlencode(said)}" if said else ""
        return self._ask(urllib.request.Request(f"{self.base}{path}{asked}"))

    def put(self, path: str, body: object) -> Any:
        """Send JSON by PUT; returns and raises as `get`."""
        data = json.dumps(body).encode()
        return self._ask(urllib.request.Request(
            f"{self.base}{path}", data, {"Content-Type": "application/json"}, method="PUT"))

    def _ask(self, request: urllib.request.Request) -> Any:
        for name, value in self._headers.items():
            request.add_header(name, value)
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                raw = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(f"{self.base}: {error.code}: {_said(error.read(), error.reason)}", error.code) from None
        except urllib.error.URLError as error:
            raise Fault(f"{self.base} does not answer: {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Fault(f"{self.base} does not answer: {error or type(error).__name__}") from None
        return self._json(raw)

    def _json(self, raw: bytes) -> Any:
        try:
            return json.loads(raw) if raw else None
        except ValueError:
            shown = " ".join(raw[:_QUOTED].decode("utf-8", "replace").split())
            raise Fault(f"{self.base} does not speak JSON; it says: {shown[:80]}") from None


def _said(raw: bytes, reason: str) -> str:
    """What an error's body says: Prometheus's ``error``, problem+json's ``detail`` or ``title``, else its text."""
    try:
        body = mapping(json.loads(raw))
    except ValueError:
        body = {}
    for key in ("error", "detail", "title", "message"):
        if body.get(key):
            return " ".join(str(body[key]).split())[:_QUOTED]
    text = " ".join(raw.decode("utf-8", "replace").split())
    return text[:_QUOTED] if text and not text.startswith("<") else str(reason)


def mapping(value: object) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def headers_of(lines: list[str]) -> dict[str, str]:
    """``Name: value`` lines as a mapping. Raises `Fault` for anything else; the value is not repeated."""
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not value.strip() or "\n" in line or "\r" in line:
            raise Fault("--header: write it as 'Name: value'")
        found[name.strip()] = value.strip()
    return found
