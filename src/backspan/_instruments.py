"""The instruments of every part of backspan, in one place, so that a name cannot be made twice with two meanings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.metrics import Counter, Histogram, Meter

from backspan import semconv


@dataclass(frozen=True)
class Instruments:
    """The instruments that every part of backspan records on, made once per meter provider."""

    inference_duration: Histogram
    time_to_first_chunk: Histogram
    input_tokens: Counter
    output_tokens: Counter
    operation_duration: Histogram
    old_token_usage: Histogram
    old_time_to_first_chunk: Histogram
    answers: Counter
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
        input_tokens=meter.create_counter(semconv.INFERENCE_INPUT_TOKENS, "{token}", "Tokens sent to the model"),
        output_tokens=meter.create_counter(semconv.INFERENCE_OUTPUT_TOKENS, "{token}", "Tokens the model answered"),
        operation_duration=histogram(
            semconv.OPERATION_DURATION, "s", "Duration of embeddings and retrieval", seconds),
        old_token_usage=histogram(semconv.OLD_TOKEN_USAGE, "{token}", "Tokens used", semconv.TOKEN_BUCKETS),
        old_time_to_first_chunk=histogram(
            semconv.OLD_TIME_TO_FIRST_CHUNK, "s", "Time from the request to the first chunk", seconds),
        answers=meter.create_counter(semconv.ANSWERS, "{answer}", "Answers given, sampled or not"),
        feedback=meter.create_counter(semconv.FEEDBACK, "{feedback}", "Acts of judgement"),
        feedback_reasons=meter.create_counter(semconv.FEEDBACK_REASONS_METRIC, "{reason}", "Reasons given"),
        feedback_score=histogram(semconv.FEEDBACK_SCORE_METRIC, "1", "Scores given", semconv.SCORE_BUCKETS),
        feedback_delay=histogram(
            semconv.FEEDBACK_DELAY_METRIC, "s", "Time from the answer to its judgement", semconv.DELAY_BUCKETS),
        signals=meter.create_counter(semconv.SIGNALS, "{signal}", "Implicit signals"),
    )
