"""The metrics of one ended call: the default instruments, the older names, and those of ``BACKSPAN_METRICS=all``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backspan import semconv
from backspan.config import settings

if TYPE_CHECKING:
    from backspan._instruments import Extra
    from backspan.instrument._call import Call

_SCOPE_LABELS = (semconv.PROMPT_NAME, semconv.PROMPT_VERSION, semconv.VARIANT)


def record(call: Call, elapsed: float) -> None:
    """Record what ``call`` was: ``elapsed`` seconds, its tokens, its first chunk, how it failed."""
    labels, to, operation = _labels(call), call.to, call.operation
    failed = {**labels, semconv.ERROR_TYPE: call.error_type} if call.error_type else labels
    inference, both = operation.answers and operation.inference, settings().semconv_both
    if not inference or both:
        to.operation_duration.record(elapsed, failed, call.context)
    if inference:
        to.inference_duration.record(elapsed, failed, call.context)
        _tokens(call, labels)
        if call.first_chunk:
            to.time_to_first_chunk.record(call.until_first_chunk, labels, call.context)
    if semconv.COST in call.attributes:
        to.cost.add(call.attributes[semconv.COST], labels)
    if both:
        _old(call, labels)
    if to.extra is not None:
        _extra(call, to.extra, labels)


def _labels(call: Call) -> dict[str, Any]:
    labels = call.labels
    if call.response_model:
        labels[semconv.RESPONSE_MODEL] = call.response_model
    if call.prompt:
        labels[semconv.PROMPT_NAME] = call.prompt
    if call.version:  # as on the span, so that charts of calls and of votes have the same cohorts
        labels[semconv.PROMPT_VERSION] = call.version
    said = call.scope.attributes
    if said:
        labels.update({key: said[key] for key in _SCOPE_LABELS if key in said})
    return labels


def _tokens(call: Call, labels: dict[str, Any]) -> None:
    if call.modalities:
        for modality, (told, said) in call.modalities.items():
            series = frozenset({**labels, semconv.TOKEN_MODALITY: modality}.items())
            call.to.input_tokens.add_to(series, told)
            call.to.output_tokens.add_to(series, said)
        return
    told, said = call.input_tokens, call.output_tokens
    about = {**labels, semconv.TOKEN_MODALITY: "unknown" if told is None and said is None else "text"}
    if semconv.USAGE_ESTIMATED in call.attributes:
        about[semconv.USAGE_ESTIMATED] = True
    series = frozenset(about.items())
    call.to.input_tokens.add_to(series, told or 0)
    call.to.output_tokens.add_to(series, said or 0)


def _old(call: Call, labels: dict[str, Any]) -> None:
    to = call.to
    for kind, tokens in (("input", call.input_tokens), ("output", call.output_tokens)):
        if tokens is not None:
            to.old_token_usage.record(tokens, {**labels, semconv.TOKEN_TYPE: kind}, call.context)
    if call.first_chunk:
        to.old_time_to_first_chunk.record(call.until_first_chunk, labels, call.context)


# --- BACKSPAN_METRICS=all -------------------------------------------------------------------------------------------
_LEFT = (("requests", semconv.RATELIMIT_REMAINING_REQUESTS), ("tokens", semconv.RATELIMIT_REMAINING_TOKENS))


def _extra(call: Call, to: Extra, labels: dict[str, Any]) -> None:
    said = call.attributes
    series = frozenset(labels.items())
    for tally, key in to.by_attribute:
        tally.add_to(series, said.get(key, 0))  # 0 too: a share needs its series from the first answer on
    if call.operation.inference and call.operation.answers:
        series = frozenset({**labels, semconv.TOKEN_MODALITY: "text"}.items())
        for tally, key in to.token_parts:
            tally.add_to(series, said.get(key, 0))
    if call.answers:
        to.refusals.add_to(call.cohort()[1], int(semconv.REFUSED in said))
    if call.stream:
        to.streams.add(1, {**labels, semconv.STREAM_OUTCOME: said.get(semconv.STREAM_OUTCOME, "")})
    if call.first_content:
        to.time_to_first_content.record(call.until_first_content, labels, call.context)
    for limit, key in _LEFT:
        if key in said:
            where = {**call.service.labels, semconv.REQUEST_MODEL: call.asked.model or "", semconv.LABEL_LIMIT: limit}
            to.ratelimit_remaining.set(said[key], where)
