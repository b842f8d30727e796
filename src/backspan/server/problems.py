"""Errors as RFC 9457 problem documents. They name the field and the rule, never what was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

TITLES = {
    400: "Bad request", 401: "Not authorised", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    409: "Conflict", 413: "Too large", 415: "Unsupported media type", 422: "Invalid", 429: "Too many requests",
    500: "Fault", 503: "Busy",
}


class Problem(Exception):
    """An answer that is an error: ``status``, what is wrong, and, if there is one, the field at fault.

    ``reason`` says under which word of `backspan.server.rejections` it is counted, where status and field do not tell.
    """

    def __init__(
        self, status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = headers
        self.reason = reason

    def response(self) -> Response:
        """The problem document."""
        body = {"type": "about:blank", "title": TITLES.get(self.status, "Error"), "status": self.status,
                "detail": self.detail, **({"field": self.field} if self.field else {})}
        return Response(json.dumps(body, ensure_ascii=False), self.status, dict(self.headers or {}),
                        "application/problem+json")


def busy() -> Problem:
    """The store has too much to do; nothing was stored."""
    return Problem(503, "too much is waiting to be stored: try again", headers={"Retry-After": "1"})
