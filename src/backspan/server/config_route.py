"""``GET /v1/config``: what a form needs to ask well: names, scales, reasons and texts per language, and the limits.

It says nothing of anybody, so it wants no token and may be cached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from backspan.feedback import fields
from backspan.feedback.taxonomy import Name, Scale, Taxonomy, Texts
from backspan.feedback.taxonomy_file import load
from backspan.server import openapi

if TYPE_CHECKING:
    from backspan.server.routes import Parts

PATH = "/v1/config"
MAX_AGE = 300
"""Seconds for which an answer may be kept without asking again."""
_LIMITS = {"comment": fields.MAX_COMMENT, "correction": fields.MAX_CORRECTION, "reasons": fields.MAX_REASONS,
           "quote": fields.MAX_QUOTE, "candidates": fields.MAX_CANDIDATES}


def add(app: FastAPI, _parts: Parts) -> None:
    """Add the route. Raises `TaxonomyError` or OSError if ``BACKSPAN_TAXONOMY`` cannot be used."""
    from backspan.config import settings

    app.add_route(PATH, _handler(load(settings().taxonomy)), methods=["GET"])
    language = {"name": "lang", "in": "query", "schema": {"type": "string"},
                "description": "Only this language; where a text is not in it, the first one of the taxonomy"}
    openapi.tell(app, {PATH: {"get": {
        "summary": "What may be said: names, scales, reasons, texts and limits", "parameters": [language],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}},
                      "304": {"description": "As the ETag says"}}}}})


def _handler(taxonomy: Taxonomy) -> Any:
    made: dict[str | None, tuple[bytes, str]] = {}

    def show(request: Request) -> Response:
        language = _language(taxonomy, request.query_params.get("lang"))
        if language not in made:
            made[language] = _encoded(document(taxonomy, language))
        body, tag = made[language]
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={MAX_AGE}"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    return show


def _language(taxonomy: Taxonomy, asked: str | None) -> str | None:
    """The language of the taxonomy that is meant: ``de`` by ``de-AT``; the first one, if none is. None: all."""
    if asked is None:
        return None
    known = {language.lower(): language for language in taxonomy.languages}
    said = asked.lower()
    return known.get(said) or known.get(said.partition("-")[0]) or taxonomy.languages[0]


def _encoded(found: Mapping[str, Any]) -> tuple[bytes, str]:
    tag = sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
    return json.dumps({"version": tag, **found}, ensure_ascii=False).encode(), f'"{tag}"'


def document(taxonomy: Taxonomy, language: str | None = None) -> dict[str, Any]:
    """The answer for one language, or for all of them, without its ``version``."""

    def said(texts: Texts) -> dict[str, str]:
        if language is None:
            return dict(texts)
        found = texts.get(language) or texts.get(taxonomy.languages[0])
        return {language: found} if found else {}

    return {
        "revision": taxonomy.revision,
        "languages": list(taxonomy.languages) if language is None else [language],
        "names": {name: _name(one, said) for name, one in taxonomy.names.items()},
        "scales": {name: _scale(one) for name, one in taxonomy.scales.items()},
        "reasons": [{"code": one.code, "polarity": list(one.polarities), "label": said(one.label), "last": one.last}
                    for one in taxonomy.reasons.values()],
        "texts": {key: said(texts) for key, texts in taxonomy.texts.items()},
        "limits": dict(_LIMITS),
    }


def _name(name: Name, said: Any) -> dict[str, Any]:
    found = {"type": name.type, "question": said(name.question), "scale": name.scale and name.scale.name,
             "labels": dict(name.labels), "texts": {key: said(texts) for key, texts in name.texts.items()}}
    return {key: value for key, value in found.items() if value}


def _scale(scale: Scale) -> dict[str, Any]:
    return {"min": scale.min, "max": scale.max, "step": scale.step, "bands": [vars(band) for band in scale.bands]}
