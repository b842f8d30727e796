"""What the request and answer bodies of OpenAI's APIs have in common."""

from __future__ import annotations

from typing import Any, cast

from backspan import semconv
from backspan.instrument._call import Call
from backspan.instrument._content import Json, each, field
from backspan.instrument._fit import put_content as put_content

_NUMBER = (int, float)  # `int | float` is made anew each time, at the price of a whole attribute
_NUMBERS = (
    ("temperature", semconv.REQUEST_TEMPERATURE),
    ("top_p", semconv.REQUEST_TOP_P),
    ("frequency_penalty", semconv.REQUEST_FREQUENCY_PENALTY),
    ("presence_penalty", semconv.REQUEST_PRESENCE_PENALTY),
)


def common_attributes(body: Json, api_type: str) -> tuple[Json, str | None]:
    """Span attributes that every text API shares, and the model asked for."""
    attributes: Json = {semconv.OPENAI_API_TYPE: api_type}
    for name, key in _NUMBERS:
        if name in body and isinstance(body[name], _NUMBER):
            attributes[key] = float(body[name])
    seed, count, tier = body.get("seed"), body.get("n"), body.get("service_tier")
    if isinstance(seed, int):
        attributes[semconv.REQUEST_SEED] = seed
    if isinstance(count, int) and count != 1:
        attributes[semconv.REQUEST_CHOICE_COUNT] = count
    if isinstance(tier, str) and tier != "auto":
        attributes[semconv.OPENAI_REQUEST_SERVICE_TIER] = tier
    if body.get("stream") is True:
        attributes[semconv.REQUEST_STREAM] = True
    _odd_attributes(body, attributes)
    return attributes, text_or_none(body.get("model"))


def _odd_attributes(body: Json, attributes: Json) -> None:
    stop = body.get("stop")
    if isinstance(stop, str):
        attributes[semconv.REQUEST_STOP_SEQUENCES] = [stop]
    elif stop:
        attributes[semconv.REQUEST_STOP_SEQUENCES] = [word for word in each(stop) if isinstance(word, str)]
    effort = body.get("reasoning_effort") or field(body.get("reasoning"), "effort")
    if isinstance(effort, str):
        attributes[semconv.REQUEST_REASONING_LEVEL] = effort


def text_or_none(value: Any) -> str | None:
    """``value`` if it is a text with something in it."""
    return value if isinstance(value, str) and value else None


def texts(content: Any) -> list[str]:
    """The texts among the parts of a message."""
    return [said for part in each(content)
            if isinstance(said := part if isinstance(part, str) else field(part, "text"), str)]


_CHAT_USAGE = ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details")
_RESPONSES_USAGE = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")

_TOLD_PARTS = (
    ("cached_tokens", semconv.USAGE_CACHE_READ_INPUT_TOKENS),
    ("cache_write_tokens", semconv.USAGE_CACHE_WRITE_INPUT_TOKENS),
    ("audio_tokens", semconv.USAGE_AUDIO_INPUT_TOKENS),
)
_SAID_PARTS = (
    ("reasoning_tokens", semconv.USAGE_REASONING_OUTPUT_TOKENS),
    ("audio_tokens", semconv.USAGE_AUDIO_OUTPUT_TOKENS),
)


def view(thing: Any) -> Json:
    """All fields of an answer (an SDK's model, a `Bag` or a dict), for reading several of them; not to be changed."""
    if isinstance(thing, dict):
        return cast(Json, thing)
    fields: Json = getattr(thing, "__dict__", None) or {}
    more: Json | None = getattr(thing, "__pydantic_extra__", None)
    return {**more, **fields} if more else fields


MOST_CHARACTERS = 100_000
"""Characters of text that are kept of one session, which may go on for hours."""


class Room:
    """What is left of `MOST_CHARACTERS`, for all texts of one session."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MOST_CHARACTERS

    def keep(self, texts: list[str], text: str) -> None:
        """Append as much of ``text`` to ``texts`` as there is room for."""
        if self._left > 0:
            texts.append(text[:self._left])
            self._left -= len(text)


def set_usage(call: Call, usage: Any, responses: bool = False) -> None:
    """Take the tokens from a usage object; what is missing stays unknown, never 0."""
    if usage is None:
        return
    told, said, told_details, said_details = _RESPONSES_USAGE if responses else _CHAT_USAGE
    fields = view(usage)
    count = fields.get(told)
    if isinstance(count, int):
        call.input_tokens = count
    count = fields.get(said)
    if isinstance(count, int):
        call.output_tokens = count
    for details, parts in ((fields.get(told_details), _TOLD_PARTS), (fields.get(said_details), _SAID_PARTS)):
        if details is not None:  # old clients leave parts that they do not know as dicts
            fields = view(details)
            for name, key in parts:
                count = fields.get(name)
                if count and isinstance(count, int):  # a part that is nothing need not be said
                    call.attributes[key] = count
