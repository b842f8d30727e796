"""What a call cost, by the price list that ships with `genai-prices`; nothing is ever downloaded.

The list is read at the first call that has a price to look up (some 50 ms, once), and asked once an hour for each
model: prices that are plain numbers become a few multiplications, others are computed by the library each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from backspan import semconv
from backspan._guard import say_once

IDS: Mapping[str, str] = {
    "anthropic": "anthropic", "aws.bedrock": "aws", "azure.ai.inference": "azure", "azure.ai.openai": "azure",
    "baseten": "baseten", "cerebras": "cerebras", "cloudflare": "cloudflare", "cohere": "cohere",
    "databricks": "databricks", "deepseek": "deepseek", "fireworks_ai": "fireworks", "gcp.gemini": "google",
    "gcp.gen_ai": "google", "gcp.vertex_ai": "google", "github_copilot": "github-copilot", "groq": "groq",
    "minimax": "minimax", "mistral_ai": "mistral", "moonshot_ai": "moonshotai", "novita": "novita", "openai": "openai",
    "openrouter": "openrouter", "ovhcloud": "ovhcloud", "perplexity": "perplexity", "together_ai": "together",
    "x_ai": "x-ai", "z_ai": "zai", "zhipu_ai": "zhipuai",
}
"""``gen_ai.provider.name`` -> the provider's id in the price list. What is not here has no price."""
_PER = 1e-6
_FRESH = 3600.0
_PLAIN = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")
_AUDIO = ("input_audio_mtok", "output_audio_mtok")


class Tokens(NamedTuple):
    """What a call used; ``read`` and ``written`` (cache) and the audio are parts of ``sent`` and ``said``."""

    sent: int
    said: int
    read: int = 0
    written: int = 0
    audio_sent: int = 0
    audio_said: int = 0


Rate = Callable[[Tokens], float | None]


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether the extra ``cost`` is installed."""
    return find_spec("genai_prices") is not None


def cost(provider: str, model: str, tokens: Tokens) -> float | None:
    """US dollars for ``tokens`` of ``model`` at ``provider`` (its id in the price list); None if no price is known."""
    rate = _rate(provider, model, int(time.time() / _FRESH))
    return rate(tokens) if rate is not None else None


@lru_cache(maxsize=256)
def _rate(provider: str, model: str, hour: int) -> Rate | None:
    """How to price ``model`` in this ``hour``: some prices depend on the day or the hour."""
    from genai_prices import Usage, calc_price

    def exactly(tokens: Tokens) -> float | None:
        try:
            return float(calc_price(_usage(Usage, tokens), model, provider_id=provider).total_price)
        except (LookupError, ValueError):  # no such model, or parts that do not add up
            return None

    try:
        price: Any = calc_price(Usage(input_tokens=1, output_tokens=1), model, provider_id=provider).model_price
    except LookupError:
        say_once(f"cost:{provider}:{model}", f"no price is known for {model} of {provider}")
        return None
    said = [getattr(price, name, None) for name in _PLAIN]
    if any(value is not None and not isinstance(value, Decimal) for value in said):
        return exactly
    if any(getattr(price, name, None) is not None for name in _AUDIO):
        return exactly
    return _plain([None if value is None else float(value) * _PER for value in said])


def _plain(rates: list[float | None]) -> Rate:
    sent, read, written, said = rates
    each_sent, each_said = sent or 0.0, said or 0.0
    each_read = each_sent if read is None else read
    each_written = each_sent if written is None else written

    def price(tokens: Tokens) -> float:
        rest = tokens.sent - tokens.read - tokens.written
        return (rest * each_sent + tokens.read * each_read + tokens.written * each_written + tokens.said * each_said)

    return price


def _usage(make: Any, tokens: Tokens) -> Any:
    parts = {"cache_read_tokens": tokens.read, "cache_write_tokens": tokens.written,
             "input_audio_tokens": tokens.audio_sent, "output_audio_tokens": tokens.audio_said}
    return make(input_tokens=tokens.sent, output_tokens=tokens.said,
                **{name: count for name, count in parts.items() if count})


def of_call(provider: str, model: str, sent: int | None, said: int | None, parts: Mapping[str, Any]) -> float | None:
    """The cost of a call, from its tokens and the attributes that tell their ``parts``."""
    rate = _rate(provider, model, int(time.time() / _FRESH))
    if rate is None:
        return None
    return rate(Tokens(
        sent or 0, said or 0, parts.get(semconv.USAGE_CACHE_READ_INPUT_TOKENS, 0),
        parts.get(semconv.USAGE_CACHE_WRITE_INPUT_TOKENS, 0), parts.get(semconv.USAGE_AUDIO_INPUT_TOKENS, 0),
        parts.get(semconv.USAGE_AUDIO_OUTPUT_TOKENS, 0)))
