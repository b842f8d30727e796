"""Descriptions of the routes that read their bodies themselves, for ``/openapi.json``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from backspan import semconv
from backspan.server import statuses

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
        "solicited": {"type": "boolean", "description": "Was it asked for; absent: not known"},
        "scale": {"type": "string", "description": "Name of a declared scale, for a number under a name without one"},
        "quote": {"type": "object", "description": "A part of the answer: text, start, end (characters)"},
        "consent": {"type": "object", "description": "What the judge agreed to: analytics, improve, contact, policy"},
        "surface": {"type": "string"}, "ui_variant": {"type": "string"},
        "positions": {"type": "object", "description": "Where each reason was shown, from 1"},
        "position": {"type": "integer", "minimum": 1, "maximum": 100},
        "skip": {"type": "boolean", "description": "The question was passed over: counted, and no vote"},
        "candidates": {"type": "array", "minItems": 2, "maxItems": 8, "items": {"type": "object"},
                       "description": "A comparison: token or target, rank (1 is the best) and position of each"},
        "retract": {"type": "boolean"}, "token": {"type": "string"}, "target": _TARGET,
        **_TARGET["properties"],
    },
    "additionalProperties": False,
}
_RECEIPT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"}, "version": {"type": "integer"}, "name": {"type": "string"},
        "status": {"enum": [*semconv.OPS, semconv.UNCHANGED, "skip"]}, "resolved": {"type": "boolean"},
        "results": {"type": "array", "items": {"type": "object"}},
    },
}
_EXAMPLES: dict[str, Any] = {
    "thumb": {"summary": "A thumb down, and why", "value": {"thumbs": "down", "reasons": ["inaccurate"]}},
    "stars": {"summary": "Stars and a better answer", "value": {"stars": 2, "correction": "It is 14 days."}},
    "by ids": {"summary": "From a server, without a token", "value": {
        "name": "review_correct", "value": False, "rater": "reviewer-7",
        "target": {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}}},
    "undo": {"summary": "Take it back", "value": {"name": "user_thumbs", "retract": True}},
}


def tell(app: FastAPI, paths: dict[str, Any]) -> None:
    """Describe routes that read their requests themselves: OpenAPI path items by path."""
    app.state.told.update(paths)


def describe(app: FastAPI) -> None:
    """Make ``app.openapi()`` tell of every route."""
    app.state.told = {}

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, routes=app.routes, openapi_version="3.1.0",
                description="Judgements of answers, and what is known of them. Errors are problem documents (RFC 9457)."
            )
            schema["paths"].update({**_paths(), **app.state.told})
            statuses.complete(schema)
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
        "/healthz/worker": {"get": {"summary": "Is a worker at work on the same database", "responses": {
            "200": {"description": "Yes"}, "503": {"description": "No"}}}},
    }


def _operation(summary: str, body: dict[str, Any] | None, good: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {
        status: {"description": "OK", "content": {"application/json": {"schema": schema}}}
        for status, schema in good.items()
    }
    content = {"application/json": {"schema": body, "examples": _EXAMPLES}}
    request = {"requestBody": {"required": True, "content": content}} if body else {}
    return {"summary": summary, "responses": responses, **request}


def _otlp(signal: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/x-protobuf": {}, "application/json": {}}
    return {"summary": f"OTLP/HTTP {signal}", "requestBody": {"required": True, "content": content},
            "responses": {"200": {"description": "Stored", "content": content}}}
