"""Moderations and decisions: models that judge an input and say nothing. The input is content, the verdict is not."""

from __future__ import annotations

from typing import Any, cast

from backspan import semconv
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, each, field, media_part, peek, text_part
from backspan.instrument._openai_common import common_attributes, put_content, set_usage, text_or_none, texts

MODERATION = Operation(semconv.MODERATION, answers=False)
DECISION = Operation(semconv.DECISION, answers=False)


def asked(body: Json, content: bool) -> Asked:
    """Read a request body: a text, texts, or parts that are texts and pictures."""
    return _asked(body, content, "moderations")


def decision_asked(body: Json, content: bool) -> Asked:
    """Read a request body: a text or messages, and questions about them."""
    return _asked(body, content, "decisions")


def _asked(body: Json, content: bool, api: str) -> Asked:
    attributes, model = common_attributes(body, api)
    given = body.get("input")
    several = [given] if isinstance(given, str) else each(given)
    attributes[semconv.INPUT_MESSAGE_COUNT] = len(several)
    attributes[semconv.INPUT_CHARACTERS] = sum(map(len, texts(several)))
    recorded: Json = {}
    if content and several:
        put_content(recorded, semconv.INPUT_MESSAGES, [{"role": "user", "parts": [_part(part) for part in several]}])
    return Asked(model, attributes, None, recorded)


def _part(part: Any) -> Json:
    image = field(part, "image_url")
    if image is not None:
        return media_part("image", str(field(image, "url") or image))
    text = part if isinstance(part, str) else field(part, "text") or "\n".join(texts(field(part, "content")))
    return text_part(str(text or ""))


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `ModerationCreateResponse`, or a `Bag` of one."""
    call.response_id, call.response_model = text_or_none(peek(answer, "id")), text_or_none(peek(answer, "model"))
    results = each(peek(answer, "results"))
    if not results:
        return
    call.attributes[semconv.MODERATION_FLAGGED] = any(peek(result, "flagged") is True for result in results)
    flagged = {name for result in results for name, said in _fields(peek(result, "categories")) if said is True}
    if flagged:
        call.attributes[semconv.MODERATION_CATEGORIES] = sorted(flagged)


def _fields(categories: Any) -> list[tuple[str, Any]]:
    """The categories by the names that the provider gives them: fields of a model are spelt with underscores only."""
    kind = cast(Any, type(categories))
    named: Any = getattr(kind, "model_fields", None) or getattr(kind, "__fields__", {})
    extra: Json = getattr(categories, "__pydantic_extra__", None) or {}
    said: Json = {**(getattr(categories, "__dict__", None) or {}), **extra}
    return [(getattr(named.get(name), "alias", None) or name, value) for name, value in said.items()]


def decided(call: Call, answer: Any, content: bool) -> None:
    """Read a `Decision`, or a `Bag` of one."""
    call.response_id, call.response_model = text_or_none(peek(answer, "id")), text_or_none(peek(answer, "model"))
    set_usage(call, peek(answer, "usage"), responses=True)
