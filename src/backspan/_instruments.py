"""The instruments of every part of backspan, in one place, so that a name cannot be made twice with two meanings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from backspan import semconv

Series = frozenset[tuple[str, Any]]
"""A label set, as pairs."""
_MOST_SERIES = 2000
_OVERFLOW: Series = frozenset({("otel.metric.overflow", True)})


class Tally:
    """A counter for every call's path: sums up here and is read when metrics are collected.

    Adding to the SDK's own counter costs a fifth of a whole span each time. The price is that there are no exemplars.
    Past 2,000 label sets the rest is summed under ``otel.metric.overflow``, as the SDK does.
    """

    def __init__(self, meter: Meter, name: str, unit: str, doc: str) -> None:
        self._sums: dict[Series, int] = {}
        self._lock = Lock()
        meter.create_observable_counter(name, [self._read], unit, doc)

    def add(self, amount: int, attributes: Mapping[str, str] | None = None, context: Context | None = None) -> None:
        """Add ``amount`` to the series of ``attributes``; ``context`` is there to look like a counter."""
        self.add_to(frozenset((attributes or {}).items()), amount)

    def add_to(self, series: Series, amount: int) -> None:
        """Add ``amount`` to a series given by its label pairs, for callers that add to several tallies."""
        with self._lock:
            if series not in self._sums and len(self._sums) >= _MOST_SERIES:
                series = _OVERFLOW
            self._sums[series] = self._sums.get(series, 0) + amount

    def _read(self, options: CallbackOptions) -> list[Observation]:
        with self._lock:
            sums = list(self._sums.items())
        return [Observation(total, dict(series)) for series, total in sums]


@dataclass(frozen=True)
class Instruments:
    """The instruments that every part of backspan records on, made once per meter provider."""

    inference_duration: Histogram
    time_to_first_chunk: Histogram
    input_tokens: Tally
    output_tokens: Tally
    operation_duration: Histogram
    old_token_usage: Histogram
    old_time_to_first_chunk: Histogram
    answers: Tally
    feedback: Counter
    feedback_reasons: Counter
    feedback_score: Histogram
    feedback_delay: Histogram
    signals: Counter


def make_instruments(meter: Meter) -> Instruments:
    """Make every instrument on ``meter``."""

    def histogram(name: str, unit: str, doc: str, buckets: Sequence[float]) -> Histogram:
        return meter.create_histogram(name, unit, doc, explicit_bucket_boundaries_advisory=buckets)

    seconds = semconv.DURATION_BUCKETS
    return Instruments(
        inference_duration=histogram(semconv.INFERENCE_DURATION, "s", "Duration of model calls", seconds),
        time_to_first_chunk=histogram(
            semconv.INFERENCE_TIME_TO_FIRST_CHUNK, "s", "Time from the request to the first chunk", seconds),
        input_tokens=Tally(meter, semconv.INFERENCE_INPUT_TOKENS, "{token}", "Tokens sent to the model"),
        output_tokens=Tally(meter, semconv.INFERENCE_OUTPUT_TOKENS, "{token}", "Tokens the model answered"),
        operation_duration=histogram(
            semconv.OPERATION_DURATION, "s", "Duration of embeddings and retrieval", seconds),
        old_token_usage=histogram(semconv.OLD_TOKEN_USAGE, "{token}", "Tokens used", semconv.TOKEN_BUCKETS),
        old_time_to_first_chunk=histogram(
            semconv.OLD_TIME_TO_FIRST_CHUNK, "s", "Time from the request to the first chunk", seconds),
        answers=Tally(meter, semconv.ANSWERS, "{answer}", "Answers given, sampled or not"),
        feedback=meter.create_counter(semconv.FEEDBACK, "{feedback}", "Acts of judgement"),
        feedback_reasons=meter.create_counter(semconv.FEEDBACK_REASONS_METRIC, "{reason}", "Reasons given"),
        feedback_score=histogram(semconv.FEEDBACK_SCORE_METRIC, "1", "Scores given", semconv.SCORE_BUCKETS),
        feedback_delay=histogram(
            semconv.FEEDBACK_DELAY_METRIC, "s", "Time from the answer to its judgement", semconv.DELAY_BUCKETS),
        signals=meter.create_counter(semconv.SIGNALS, "{signal}", "Implicit signals"),
    )
