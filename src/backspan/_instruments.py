"""The instruments of every part of backspan, in one place, so that a name cannot be made twice with two meanings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from backspan import semconv
from backspan.config import settings

Series = frozenset[tuple[str, Any]]
"""A label set, as pairs."""
_MOST_SERIES = 2000
_OVERFLOW: Series = frozenset({("otel.metric.overflow", True)})


class Tally:
    """A counter for every call's path: sums up here and is read when metrics are collected.

    Adding to the SDK's own counter costs a fifth of a whole span each time. The price is that there are no exemplars.
    Past 2,000 label sets the rest is summed under ``otel.metric.overflow``, as the SDK does.

    A series is first collected as 0, and with its sum from then on: ``increase()`` sees only what is added to a series
    it knows, so that a worker's first answers would never be counted.
    """

    def __init__(self, meter: Meter, name: str, unit: str, doc: str) -> None:
        self._sums: dict[Series, float] = {}
        self._new: set[Series] = set()
        self._zeroed: frozenset[Series] = frozenset()
        self._settled = False
        self._lock = Lock()
        meter.create_observable_counter(name, [self._read], unit, doc)

    def add(self, amount: float, attributes: Mapping[str, Any] | None = None, context: Context | None = None) -> None:
        """Add ``amount`` to the series of ``attributes``; ``context`` is there to look like a counter."""
        self.add_to(frozenset((attributes or {}).items()), amount)

    def add_to(self, series: Series, amount: float) -> None:
        """Add ``amount`` to a series given by its label pairs, for callers that add to several tallies."""
        with self._lock:
            known = self._sums.get(series)
            if known is None:
                known, series = self._begin(series)
            self._sums[series] = known + amount

    def _begin(self, series: Series) -> tuple[float, Series]:
        if len(self._sums) >= _MOST_SERIES:
            series = _OVERFLOW
        if series not in self._sums:
            self._new.add(series)
        return self._sums.get(series, 0), series

    def _read(self, options: CallbackOptions) -> list[Observation]:
        with self._lock:
            sums = list(self._sums.items())
            new: frozenset[Series] = frozenset(() if self._settled else self._new)
            self._zeroed = new
            self._new.clear()
        return [Observation(0 if series in new else total, dict(series)) for series, total in sums]

    @property
    def owes(self) -> bool:
        """Whether a sum has not been collected yet, only its 0 or nothing."""
        return bool(self._new or self._zeroed)

    def settle(self) -> None:
        """The next collection may be the last: new series give their sums at once."""
        self._settled = True


class Bounds:
    """How many values one label of this process's metrics has: what comes after is counted as one value for the rest.

    A value makes a series, and an application may put an id where a version belongs. The first values of a label are
    kept apart, ``BACKSPAN_LABEL_VALUES`` of them unless ``most`` says otherwise; spans and tokens keep the true value.
    A gateway does the same with what it counts, in its database: `backspan.store.labels`.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._known: dict[str, set[str]] = {}
        self._lock = Lock()

    def of(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """The labels as they are counted; the same mapping, if all of their values are kept apart."""
        known = self._known
        for label, value in labels.items():
            if value and value not in known.get(label, ()):
                return {label: self._value(label, value) for label, value in labels.items()}
        return labels

    def _value(self, label: str, value: str) -> str:
        if not value:
            return value
        with self._lock:
            kept = self._known.setdefault(label, set())
            if value in kept:
                return value
            if len(kept) >= (settings().label_values if self._most is None else self._most):
                return semconv.LABEL_REST
            kept.add(value)
        return value


@dataclass(frozen=True)
class Extra:
    """The instruments of ``BACKSPAN_METRICS=all``."""

    by_attribute: tuple[tuple[Tally, str], ...]
    """What is summed over calls, with the span attribute that says how much it was."""
    token_parts: tuple[tuple[Tally, str], ...]
    refusals: Tally
    streams: Tally
    time_to_first_content: Histogram
    ratelimit_remaining: Any

    @property
    def tallies(self) -> list[Tally]:
        """All sums."""
        return [self.refusals, self.streams, *(tally for tally, _ in (*self.by_attribute, *self.token_parts))]


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
    feedback_solicited: Counter
    feedback_skips: Counter
    comparisons: Counter
    signals: Counter
    cost: Tally
    extra: Extra | None
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def _tallies(self) -> list[Tally]:
        more = self.extra.tallies if self.extra is not None else []
        return [self.input_tokens, self.output_tokens, self.answers, self.cost, *more]

    @property
    def owes(self) -> bool:
        """Whether a sum of ours has not been collected yet, only its 0 or nothing."""
        return any(tally.owes for tally in self._tallies)

    def settle(self) -> None:
        """The next collection may be the last: new series give their sums at once."""
        for tally in self._tallies:
            tally.settle()


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
        feedback_solicited=meter.create_counter(
            semconv.FEEDBACK_SOLICITED_METRIC, "{feedback}", "First judgements of users, asked for or volunteered"),
        feedback_skips=meter.create_counter(
            semconv.FEEDBACK_SKIPS_METRIC, "{question}", "Questions that were passed over"),
        comparisons=meter.create_counter(semconv.COMPARISONS, "{pair}", "Pairs of answers that were compared"),
        signals=meter.create_counter(semconv.SIGNALS, "{signal}", "Implicit signals"),
        cost=Tally(meter, semconv.COST_METRIC, "{USD}", "US dollars that calls cost"),
        extra=_make_extra(meter) if settings().metrics_all else None,
    )


def _make_extra(meter: Meter) -> Extra:
    def tally(name: str, unit: str, doc: str) -> Tally:
        return Tally(meter, name, unit, doc)

    return Extra(
        by_attribute=(
            (tally(semconv.RETRIES, "{retry}", "Attempts after the first"), semconv.RETRY_COUNT),
            (tally(semconv.RETRY_DELAY_METRIC, "s", "Time waited between attempts"), semconv.RETRY_DELAY),
            (tally(semconv.TOOL_CALLS, "{call}", "Tool calls asked for"), semconv.TOOL_CALL_COUNT),
            (tally(semconv.TOOL_CALLS_INVALID, "{call}", "Tool calls whose arguments are not a JSON object"),
             semconv.TOOL_CALL_INVALID),
            (tally(semconv.SCHEMA_FAILURES, "{answer}", "Answers that are not the JSON that was asked for"),
             semconv.SCHEMA_FAILED),
            (tally(semconv.MODEL_DIFFERENCES, "{answer}", "Answers of another model than the one asked for"),
             semconv.MODEL_DIFFERS),
        ),
        token_parts=(
            (tally(semconv.INFERENCE_CACHE_READ_TOKENS, "{token}", "Input tokens read from a cache"),
             semconv.USAGE_CACHE_READ_INPUT_TOKENS),
            (tally(semconv.INFERENCE_CACHE_WRITE_TOKENS, "{token}", "Input tokens written to a cache"),
             semconv.USAGE_CACHE_WRITE_INPUT_TOKENS),
            (tally(semconv.INFERENCE_REASONING_TOKENS, "{token}", "Output tokens of reasoning"),
             semconv.USAGE_REASONING_OUTPUT_TOKENS),
        ),
        refusals=tally(semconv.REFUSALS, "{answer}", "Answers that were refused or cut by a filter"),
        streams=tally(semconv.STREAMS, "{stream}", "Streams ended, by outcome"),
        time_to_first_content=meter.create_histogram(
            semconv.TIME_TO_FIRST_CONTENT, "s", "Time from the request to the first content",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS),
        ratelimit_remaining=meter.create_gauge(
            semconv.RATELIMIT_REMAINING, "{unit}", "What the last response said is left of a rate limit"),
    )
