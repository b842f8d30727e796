"""Descriptions of the routes that read their bodies themselves, for ``/openapi.json``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from backspan import semconv

_HEX = {"trace_id": "^[0-9a-f]{32}$", "span_id": "^[0-9a-f]{16}$"}
_TARGET: dict[str, Any] = {
    "type": "object",
    "description": "What is judged, for callers without a token: trace_id with span_id, response_id, or "
                   "conversation_id. The fields may also stand in the body itself.",
    "properties": {
        **{name: {"type": "string", "pattern": pattern} for name, pattern in _HEX.items()},
        "response_id": {"type": "string"}, "conversation_id": {"type": "string"},
        "at": {"type": "number", "description": "When the answer was given, Unix seconds"},
        "dims": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "additionalProperties": False,
}
_JUDGEMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "thumbs": {"enum": [True, False, "up", "down"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "name": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"},
        "value": {"type": ["number", "boolean"]}, "label": {"type": "string", "maxLength": 64},
        "polarity": {"enum": list(semconv.POLARITIES)},
        "reasons": {"type": "array", "items": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"}, "maxItems": 8},
        "comment": {"type": "string", "maxLength": 4096}, "correction": {"type": "string", "maxLength": 16384},
        "source": {"enum": list(semconv.SOURCES)}, "rater": {"type": "string", "maxLength": 256},
        "retract": {"type": "boolean"}, "token": {"type": "string"}, "target": _TARGET,
    },
    "additionalProperties": True,
}
_RECEIPT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"}, "version": {"type": "integer"}, "name": {"type": "string"},
        "status": {"enum": [*semconv.OPS, semconv.UNCHANGED]}, "resolved": {"type": "boolean"},
        "results": {"type": "array", "items": {"type": "object"}},
    },
}
_SECURITY: list[dict[str, list[str]]] = [{"token": []}, {"key": []}, {}]


def describe(app: FastAPI) -> None:
    """Make ``app.openapi()`` tell of every route."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes, openapi_version="3.1.0")
            schema["paths"].update(_paths())
            schema.setdefault("components", {})["securitySchemes"] = {
                "token": {"type": "apiKey", "in": "header", "name": "Backspan-Token"},
                "key": {"type": "http", "scheme": "bearer"},
            }
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document


def _paths() -> dict[str, Any]:
    write = _operation("Judge an answer, or change one's mind", _JUDGEMENT, {"200": _RECEIPT, "201": _RECEIPT})
    ids = [{"name": name, "in": "query", "schema": {"type": "string"}}
           for name in ("trace_id", "span_id", "response_id", "conversation_id", "rater")]
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    took = _operation("Take back what was said", None, {"200": _RECEIPT})
    return {
        "/v1/feedback": {
            "post": write, "put": write, "delete": {**took, "parameters": ids},
            "get": {**_operation("What stands of one's own judgements", None, {"200": {"type": "object"}}),
                    "parameters": ids},
        },
        "/v1/feedback/{name}": {"delete": {**took, "parameters": [name, *ids]}},
        **{f"/v1/{signal}": {"post": _otlp(signal)} for signal in ("traces", "metrics", "logs")},
        "/metrics": {"get": {"summary": "Prometheus or OpenMetrics text", "responses": {"200": {"description": "OK"}}}},
        "/healthz": {"get": {"summary": "Is it up", "responses": {"200": {"description": "OK"}}}},
    }


def _operation(summary: str, body: dict[str, Any] | None, good: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {
        status: {"description": "OK", "content": {"application/json": {"schema": schema}}}
        for status, schema in good.items()
    }
    responses["4XX"] = {"description": "What is wrong", "content": {"application/problem+json": {}}}
    request = {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}} if body else {}
    return {"summary": summary, "security": _SECURITY, "responses": responses, **request}


def _otlp(signal: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/x-protobuf": {}, "application/json": {}}
    return {"summary": f"OTLP/HTTP {signal}", "requestBody": {"required": True, "content": content},
            "responses": {"200": {"description": "Stored", "content": content}}}
