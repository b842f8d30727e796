"""``/widget.js``: the web component ``<backspan-feedback>``, as one file that a page of any origin may load.

The same bytes are at an address of their own, ``/widget.<hash>.js``, that never changes and may be kept for ever; a
page names it with its `integrity`. The script finds the API beside the address that it came from, under any path.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256, sha384
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from backspan.server import openapi
from backspan.server.problems import Problem

if TYPE_CHECKING:
    from backspan.server.routes import Parts

SCRIPT, HASHED, TEXTS, ABOUT = "/widget.js", "/widget.{tag}.js", "/widget.texts.json", "/widget.json"
MAX_AGE = 300
"""Seconds for which what may change is kept without asking again."""
FOR_EVER = 31_536_000
_WEB = Path(__file__).with_name("web")
_JS, _JSON = "text/javascript; charset=utf-8", "application/json"


@dataclass(frozen=True)
class Asset:
    """A file as it is served: its bytes, plain and packed, and the first 16 hex digits of their SHA-256."""

    plain: bytes
    packed: bytes
    tag: str
    kind: str

    @property
    def integrity(self) -> str:
        """The value for the attribute ``integrity`` of a page's script element."""
        return f"sha384-{base64.b64encode(sha384(self.plain).digest()).decode()}"


@lru_cache(maxsize=1)
def script() -> Asset:
    """The widget."""
    return _asset((_WEB / "widget.js").read_bytes(), _JS)


@lru_cache(maxsize=1)
def texts() -> Asset:
    """Every word of the widget in every language."""
    found = json.loads((_WEB / "widget" / "texts.json").read_bytes())
    return _asset(json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode(), _JSON)


def _asset(plain: bytes, kind: str) -> Asset:
    return Asset(plain, gzip.compress(plain, 9, mtime=0), sha256(plain).hexdigest()[:16], kind)


def path() -> str:
    """The address that never changes, below that of the gateway."""
    return HASHED.replace("{tag}", script().tag)


def element(base: str) -> str:
    """The HTML that loads the widget from the gateway at ``base``, and nothing else than these very bytes."""
    return (f'<script type="module" src="{base.rstrip("/")}{path()}" integrity="{script().integrity}" '
            'crossorigin="anonymous"></script>')


def add(app: FastAPI, _parts: Parts) -> None:
    """Add the routes. They are for everybody: none of them says anything of anybody."""
    app.add_route(SCRIPT, _serve(script, f"public, max-age={MAX_AGE}"), methods=["GET"])
    app.add_route(ABOUT, _about, methods=["GET"])
    app.add_route(TEXTS, _serve(texts, f"public, max-age={MAX_AGE}"), methods=["GET"])
    app.add_route(HASHED, _hashed, methods=["GET"])
    good, known = {"description": "OK"}, {"description": "As known"}
    described = {
        SCRIPT: {"get": {"summary": "The web component", "responses": {"200": good, "304": known}}},
        ABOUT: {"get": {"summary": "Where the web component is, with its integrity", "responses": {"200": good}}},
        TEXTS: {"get": {"summary": "The words of the web component", "responses": {"200": good}}},
        HASHED: {"get": {"summary": "The web component, at an address that never changes",
                         "parameters": [{"name": "tag", "in": "path", "required": True, "schema": {"type": "string"}}],
                         "responses": {"200": good, "404": {"description": "Another version's"}}}},
    }
    openapi.tell(app, described)


def _serve(asset: Callable[[], Asset], caching: str) -> Callable[[Request], Response]:
    def serve(request: Request) -> Response:
        return respond(request, asset(), caching)

    return serve


def _hashed(request: Request) -> Response:
    if request.path_params["tag"] != script().tag:
        raise Problem(404, "this is not the widget of this version: /widget.json says where it is")
    return respond(request, script(), f"public, max-age={FOR_EVER}, immutable")


def _about(request: Request) -> Response:
    found = {"path": path(), "integrity": script().integrity}
    return respond(request, _asset(json.dumps(found).encode(), _JSON), "no-cache")


def respond(request: Request, asset: Asset, caching: str) -> Response:
    """The asset with its headers, packed if the browser takes that, or 304."""
    headers = {"Cache-Control": caching, "ETag": f'"{asset.tag}"', "Vary": "Accept-Encoding",
               "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin",
               "X-Content-Type-Options": "nosniff"}
    if asset.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    body = asset.packed if packed else asset.plain
    coding = {"Content-Encoding": "gzip"} if packed else {}
    return Response(body, headers={**headers, **coding}, media_type=asset.kind)
