"""The series in which a judgement is counted. Label values are few by design, so their text is made once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from backspan import semconv
from backspan.store.schema import dumps

Key = tuple[str, str]
"""A series: its metric and its labels as canonical JSON."""
Dims = tuple[tuple[str, str], ...]
"""The label dimensions of a vote, as pairs."""
SUM = "sum"
"""Value of ``le`` in the row that holds a histogram's sum."""
_BUCKETS = {semconv.PROM_FEEDBACK_SCORE: semconv.SCORE_BUCKETS, semconv.PROM_FEEDBACK_DELAY: semconv.DELAY_BUCKETS}
_KNOWN = 8192


def key_of(metric: str, labels: Mapping[str, str]) -> Key:
    """The series of ``metric`` with these labels."""
    return metric, dumps(labels)


@lru_cache(maxsize=_KNOWN)
def judged(said: tuple[str, ...], reasons: tuple[str, ...], dims: Dims) -> tuple[Mapping[str, str], tuple[Key, ...]]:
    """The labels of a judgement and the series that count it: itself, then each reason.

    ``said`` are the values of `semconv.FEEDBACK_LABELS`.
    """
    labels = {**dict(zip(semconv.FEEDBACK_LABELS, said, strict=True)), **dict(dims)}
    why = (key_of(semconv.PROM_FEEDBACK_REASONS, {**labels, semconv.LABEL_REASON: reason}) for reason in reasons)
    return labels, (key_of(semconv.PROM_FEEDBACK, labels), *why)


@lru_cache(maxsize=_KNOWN)
def asked(name: str, polarity: str, solicited: bool, dims: Dims) -> Key:
    """The series of first judgements that were asked for, or volunteered."""
    said = (name, polarity, semconv.ASKED if solicited else semconv.VOLUNTEERED)
    return key_of(semconv.PROM_FEEDBACK_SOLICITED,
                  {**dict(zip(semconv.SOLICITED_LABELS, said, strict=True)), **dict(dims)})


@lru_cache(maxsize=_KNOWN)
def signalled(name: str, polarity: str, dims: Dims) -> Key:
    """The series of signals that nobody gave on purpose."""
    return key_of(semconv.PROM_SIGNALS,
                  {semconv.LABEL_NAME: name, semconv.LABEL_POLARITY: polarity, **dict(dims)})


def observed(metric: str, name: str, source: str, dims: Dims, value: float) -> tuple[Key, Key]:
    """The series of a histogram that take ``value``: its bucket (not cumulative), and the sum."""
    return placed(metric, name, source, dims, bisect_left(_BUCKETS[metric], value))


def place(metric: str, value: float | None) -> int | None:
    """The bucket that takes ``value``; None for none."""
    return None if value is None else bisect_left(_BUCKETS[metric], value)


@lru_cache(maxsize=_KNOWN)
def placed(metric: str, name: str, source: str, dims: Dims, place: int) -> tuple[Key, Key]:
    """`observed` for a bucket by its number."""
    bounds = _BUCKETS[metric]
    labels = {semconv.LABEL_NAME: name, semconv.LABEL_SOURCE: source, **dict(dims)}
    le = repr(float(bounds[place])) if place < len(bounds) else "+Inf"
    return key_of(metric, {**labels, "le": le}), key_of(metric, {**labels, "le": SUM})


@lru_cache(maxsize=_KNOWN)
def compared(name: str, pair: tuple[str, str, str], op: str, dims: Dims) -> Key:
    """The series of one pair of answers, by the place of the leading one: its other dimensions are the pair's."""
    place = {key: value for key, value in dims if key in (semconv.SERVICE_NAME, semconv.ENVIRONMENT)}
    return key_of(semconv.PROM_COMPARISONS, {**dict(zip(semconv.COMPARISON_LABELS, (name, *pair, op), strict=True)),
                                             **place})


def pairs(comparison: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """The pairs that a comparison (of the answer that leads it) counts; see `backspan.feedback.compare`."""
    if comparison is None or not comparison["lead"]:
        return []
    return [tuple(pair) for pair in comparison["pairs"]]
