"""Embeddings: sizes always; the texts are never recorded, the conventions have no place for them."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, each, peek
from backspan.instrument._openai_common import set_usage, text_or_none

OPERATION = Operation(semconv.EMBEDDINGS, answers=False)


def asked(body: Json, content: bool) -> Asked:
    """Read a request body."""
    attributes: Json = {}
    size, encoding, given = body.get("dimensions"), body.get("encoding_format"), body.get("input")
    if isinstance(size, int):
        attributes[semconv.EMBEDDINGS_DIMENSION] = size
    if isinstance(encoding, str):
        attributes[semconv.REQUEST_ENCODING_FORMATS] = [encoding]
    several = each(given)
    attributes[semconv.INPUT_MESSAGE_COUNT] = 1 if isinstance(given, str) or _tokens(several) else len(several)
    attributes[semconv.INPUT_CHARACTERS] = sum(len(text) for text in (several or [given]) if isinstance(text, str))
    return Asked(text_or_none(body.get("model")), attributes, None, {})


def _tokens(given: list[Any]) -> bool:
    return bool(given) and isinstance(given[0], int)


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `CreateEmbeddingResponse`, or a `Bag` of one."""
    call.response_model = text_or_none(peek(answer, "model"))
    set_usage(call, peek(answer, "usage"))
    if semconv.EMBEDDINGS_DIMENSION in call.asked.attributes:
        return
    rows = each(peek(answer, "data"))
    vector: Any = peek(rows[0], "embedding") if rows else None
    if isinstance(vector, list):
        call.attributes[semconv.EMBEDDINGS_DIMENSION] = len(vector)  # pyright: ignore[reportUnknownArgumentType]
