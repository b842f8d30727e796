"""What every route may answer besides its own: the problems, who may ask, and the headers that go with it.

Written once for all routes, whoever described them, so that none is forgotten.
"""

from __future__ import annotations

import re
from typing import Any, cast

from backspan.server.problems import TITLES
from backspan.server.rejections import JUDGED

Json = dict[str, Any]
OTLP = ("/v1/traces", "/v1/metrics", "/v1/logs")
SCHEMES: Json = {
    "token": {"type": "apiKey", "in": "header", "name": "Backspan-Token",
              "description": "A feedback token: judges the one answer that it was made for."},
    "key": {"type": "http", "scheme": "bearer",
            "description": "An API key of `backspan gateway keys add`, or BACKSPAN_API_KEY."},
}
PROBLEM: Json = {
    "type": "object", "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "field": {"type": "string", "description": "What is at fault, if one thing is"}},
    "example": {"type": "about:blank", "title": "Invalid", "status": 422, "detail": "stars: must be 1 to 5",
                "field": "stars"},
}
_JUDGE_WRITES = (400, 401, 403, 409, 413, 415, 422, 429, 503)
_JUDGE_READS = (401, 403, 422, 429, 503)
_API_WRITES = (400, 401, 403, 404, 409, 413, 415, 422, 503)
_API_READS = (401, 403, 404, 409, 422)
_OTLP_STATUSES = (400, 401, 403, 413, 415, 503)
_TELLS = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
_IDEMPOTENCY: Json = {
    "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "The same key with the same request gets the first answer again for a day, marked "
                   "`Idempotent-Replayed: true`; with another request it is refused."}


def complete(schema: Json) -> None:
    """Add to every operation of an OpenAPI document what it answers when something is wrong."""
    parts = schema.setdefault("components", {})
    parts["securitySchemes"] = SCHEMES
    parts["schemas"] = {"Problem": PROBLEM, **{
        name: one for name, one in parts.get("schemas", {}).items() if "ValidationError" not in name}}
    for path, item in cast("dict[str, dict[str, Json]]", schema["paths"]).items():
        for method, operation in [(method, dict(one)) for method, one in item.items()]:
            item[method] = operation  # a copy: methods may share one description
            operation.setdefault("security", _security(path))
            operation.setdefault("operationId", "_".join([method, *re.findall(r"\w+", path)]))
            operation["responses"] = _responses(path, method, operation)
            if method == "post" and path in JUDGED:
                operation["parameters"] = [*operation.get("parameters", []), _IDEMPOTENCY]


def _security(path: str) -> list[Json]:
    if path.startswith(JUDGED):
        return [{"token": []}, {"key": []}, {}]
    return [{"key": []}, {}] if path.startswith("/api") or path in OTLP else []


def _responses(path: str, method: str, operation: Json) -> Json:
    own: Json = operation.get("responses", {})
    good = {status: one for status, one in own.items() if status[0] in "123" or status == "503" and not _problems(one)}
    if path in OTLP:
        kinds: Json = {"application/x-protobuf": {}, "application/json": {}}
        wrong = {str(status): {"description": f"{TITLES[status]}: google.rpc.Status", "content": kinds}
                 for status in _OTLP_STATUSES}
    else:
        said = (int(status) for status in own if status.isdigit() and status[0] == "4")
        found = {*_statuses(path, method, bool(operation["security"])), *said}
        wrong = {str(status): _wrong(status) for status in (found | {404} if "{" in path else found)}
    return dict(sorted({**wrong, "500": _wrong(500), **good}.items()))


def _problems(response: Json) -> bool:
    return "application/problem+json" in response.get("content", {})


def _statuses(path: str, method: str, asked: bool) -> tuple[int, ...]:
    """``asked``: whether it is asked who the caller is."""
    if path.startswith(JUDGED):
        return _JUDGE_READS if method == "get" else _JUDGE_WRITES
    if path.startswith("/api"):
        return _API_READS if method == "get" else _API_WRITES
    if method != "get":
        return _JUDGE_WRITES
    return (401, 403, 422, 503) if asked else (422, 503) if path.startswith("/v1/") else (503,)


def _wrong(status: int) -> Json:
    said: Json = {"description": TITLES.get(status, "Error"), "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    if status in _TELLS:
        said["headers"] = {_TELLS[status]: {"schema": {"type": "string"}}}
    return said
