"""The reference page of the HTTP API, from the description that a server gives of itself."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from backspan.server.app import create_app
from backspan.server.config import ServerConfig
from backspan.store import sqlite_url

WHO = {"token": "feedback token", "key": "key"}
PARTS = {
    "Judge": ("/v1/feedback", "/v1/signals", "/v1/outcomes", "/v1/config", "/widget"),
    "Receive and send spans": ("/v1/",),
    "Look and decide": ("/api/",),
    "Watch": ("/",),
}
"""Heading -> beginnings of the paths below it; the first that fits takes a path."""


HEADING = "| route | what | who | parameters |\n| --- | --- | --- | --- |\n"
SAID = """# HTTP

What `backspan gateway` and `backspan up` answer. `/openapi.json` of a running server has every field of every body;
errors are problem documents (`application/problem+json`, RFC 9457).

*Who*: a *feedback token* is sent as `Backspan-Token`, or in the body as `token`; a *key* as `Authorization: Bearer …`,
with the [scope](../how-to/open-gateway.md#keys-for-servers) that the route needs. Programs on the gateway's own machine
need no key. `GET` changes nothing.

"""


def page() -> str:
    """The page, in Markdown."""
    left: dict[str, dict[str, Any]] = dict(described()["paths"])
    parts: list[str] = []
    for heading, beginnings in PARTS.items():
        here = {path: left.pop(path) for path in list(left) if path.startswith(beginnings)}
        rows = "\n".join(_row(method, path, one) for path, item in here.items() for method, one in item.items())
        parts.append(f"## {heading}\n\n{HEADING}{rows}\n")
    return SAID + "\n".join(parts)


def described() -> dict[str, Any]:
    """The OpenAPI document of a gateway."""
    with tempfile.TemporaryDirectory() as folder:
        return create_app(ServerConfig(url=sqlite_url(Path(folder) / "none.db"), gateway=True)).openapi()


def _row(method: str, path: str, operation: dict[str, Any]) -> str:
    known = [WHO[name] for one in operation["security"] for name in one]
    if WHO["token"] not in known and '"token"' in json.dumps(operation.get("requestBody", {})):
        known.insert(0, f"{WHO['token']} in the body")
    given = ", ".join(f"`{one['name']}`" for one in operation.get("parameters", []) if f"{{{one['name']}}}" not in path)
    return f"| `{method.upper()} {path}` | {operation['summary']} | {', '.join(known) or 'anybody'} | {given} |"
