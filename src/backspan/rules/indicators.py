"""The catalogue of what a chart can watch: for each indicator its PromQL and, side by side, its query of the store.

Both readings come from the same `Events`, so that the pager and the embedded server cannot drift apart. Of judgements
only first ones count (``op="add"``): a rater who changes their mind a thousand times is one event.

An indicator whose data nobody sends yet is in the catalogue all the same: its rules find no series and say nothing
until the first one exists. `Indicator.needs` says what brings them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from backspan import semconv
from backspan.spc.shiryaev import Model

Kind = Literal["share", "rate", "gauge"]
"""``share``: bad ones among n events (binomial). ``rate``: events per exposure (Poisson). ``gauge``: a value."""
StoreKind = Literal["", "feedback", "reason", "answer", "call", "retrieval"]
"""What the store counts: a judgement, a reason of one, an answered turn, a model call, a retrieval; "": nothing."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return _NOTHING


def matchers(labels: Mapping[str, str]) -> str:
    """PromQL matchers of ``labels``, without braces: ``name="user_thumbs",op="add"``."""
    return ",".join(f"{key}={_quoted(value)}" for key, value in labels.items())


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Events:
    """Events of one kind, counted by a Prometheus counter and by the store.

    ``where`` (equal), ``like`` (begins with, and goes on) and ``unlike`` (differs from; an absent label is "") select
    them by OpenTelemetry key. ``within`` selects those that took at most that many seconds: then ``metric`` is a
    histogram, of which it must be a bucket. ``amount`` names the number that each event adds (default: 1 each).
    ``promql`` is a selector given by a user instead of all that; the store cannot count it.
    """

    metric: str = ""
    store: StoreKind = ""
    where: Mapping[str, str] = field(default_factory=_nothing)
    like: Mapping[str, str] = field(default_factory=_nothing)
    unlike: Mapping[str, str] = field(default_factory=_nothing)
    histogram: bool = False
    within: float | None = None
    amount: str = ""
    promql: str = ""

    @property
    def name(self) -> str:
        """Name of the Prometheus series."""
        if not self.histogram:
            return self.metric
        return f"{self.metric}_count" if self.within is None else f"{self.metric}_bucket"

    @property
    def matchers(self) -> str:
        """PromQL matchers without braces."""
        said = [f"{semconv.prometheus_label(key)}={_quoted(value)}" for key, value in self.where.items()]
        said += [f"{semconv.prometheus_label(key)}=~{_quoted(value + '.+')}" for key, value in self.like.items()]
        said += [f"{semconv.prometheus_label(key)}!={_quoted(value)}" for key, value in self.unlike.items()]
        return ",".join([*said, *([f'le="{self.within!r}"'] if self.within is not None else [])])

    @property
    def selector(self) -> str:
        """PromQL selector of the counter."""
        return self.promql or (f"{self.name}{{{self.matchers}}}" if self.matchers else self.name)

    def narrowed(self, where: Mapping[str, str]) -> Events:
        """These events, with more labels that must be equal."""
        return replace(self, where=MappingProxyType({**self.where, **where})) if where else self

    def matches(self, get: Callable[[str], str]) -> bool:
        """Tell whether an event of the right kind is meant; ``get`` reads a label by its OpenTelemetry key.

        ``within`` is not looked at: a duration is no label.
        """
        return (
            all(get(key) == value for key, value in self.where.items())
            and all(get(key).startswith(value) and get(key) != value for key, value in self.like.items())
            and all(get(key) != value for key, value in self.unlike.items())
        )


@dataclass(frozen=True)
class Indicator:
    """What a chart watches.

    ``total`` are all events (or the exposure), ``bad`` the ones that matter among them; with ``good`` given instead,
    the bad ones are the rest. ``falls``: a fall is what is worse. ``gauge``: the metric of one, worse when it rises.
    ``unit``: Grafana's name of the unit of the rate. ``spans``: TraceQL condition of the spans behind bad events.
    ``needs``: what must send the data, if backspan alone does not.
    """

    name: str
    description: str
    kind: Kind
    total: Events = field(default_factory=Events)
    bad: Events | None = None
    good: Events | None = None
    falls: bool = False
    gauge: str = ""
    unit: str = "percentunit"
    spans: str = ""
    needs: str = ""

    @property
    def model(self) -> Model:
        """How its events come about."""
        return Model("poisson" if self.kind == "rate" else "binomial", self.falls)

    @property
    def nested(self) -> bool:
        """Tell whether the bad events are among the series of all, so that one count serves both."""
        total, bad = self.total, self.bad
        return (
            bad is not None
            and not total.promql
            and not bad.promql
            and bad.name == total.name
            and bad.within is None
            and total.where.items() <= bad.where.items()
            and total.like.items() <= bad.like.items()
            and total.unlike.items() <= bad.unlike.items()
        )

    @property
    def counted(self) -> Events:
        """The events counted beside all: the bad ones, or the good ones. Raises ValueError for a gauge."""
        found = self.bad or self.good
        if found is None:
            raise ValueError(f"{self.name} is a gauge: it counts no events")
        return found

    @property
    def in_store(self) -> bool:
        """Tell whether the embedded store can count it."""
        return self.kind != "gauge" and bool(self.total.store and self.counted.store)

    @property
    def keys(self) -> tuple[str, ...]:
        """OpenTelemetry keys that all its series carry, so that a cohort can be made of them."""
        both = (self.total, self.bad or self.good or self.total)
        ours = all(events.promql or events.metric.startswith("backspan_") for events in both)
        return (*semconv.PROMOTED, *(semconv.DIMENSIONS if ours else _CALL_KEYS))


_CALL_KEYS = (semconv.REQUEST_MODEL, semconv.PROMPT_NAME, semconv.PROMPT_VERSION, semconv.VARIANT,
              semconv.RESPONSE_MODEL, semconv.PROVIDER_NAME)
"""Labels of the conventions' metrics of a model call, as our instrumentation records them."""

# --- events ---------------------------------------------------------------------------------------------------------
_CALLS = Events(semconv.prometheus_name(semconv.INFERENCE_DURATION, unit="s"), "call", histogram=True)
_CHUNKS = Events(semconv.prometheus_name(semconv.INFERENCE_TIME_TO_FIRST_CHUNK, unit="s"), "call", histogram=True)
_ANSWERS = Events(semconv.PROM_ANSWERS, "answer")
SLOW_ANSWER, SLOW_FIRST_CHUNK = 10.24, 2.56
"""Seconds; bucket bounds of the conventions' histograms."""


def _judgements(where: Mapping[str, str], like: Mapping[str, str] = _NOTHING) -> Events:
    said = {**where, semconv.LABEL_OP: semconv.ADD}
    return Events(semconv.PROM_FEEDBACK, "feedback", MappingProxyType(said), MappingProxyType(dict(like)))


def _negative(name: str, feedback: str, description: str) -> Indicator:
    total = _judgements({semconv.LABEL_NAME: feedback})
    return Indicator(
        name, description, "share", total, total.narrowed({semconv.LABEL_POLARITY: semconv.NEGATIVE}),
        spans=_judged("=", semconv.EVALUATION_SPAN.format(name=feedback)),
    )


def _family(name: str, prefix: str, description: str) -> Indicator:
    total = _judgements({}, {semconv.LABEL_NAME: prefix})
    return Indicator(
        name, description, "share", total, total.narrowed({semconv.LABEL_POLARITY: semconv.NEGATIVE}),
        spans=_judged("=~", semconv.EVALUATION_SPAN.format(name=f"{prefix}.+")),
    )


def _judged(compared: str, name: str) -> str:
    return f'name{compared}"{name}" && span.{semconv.FEEDBACK_POLARITY}="{semconv.NEGATIVE}"'


def _signal(name: str, signal: str, description: str, *, falls: bool = False) -> Indicator:
    return Indicator(
        name, description, "rate", _ANSWERS, _judgements({semconv.LABEL_NAME: signal}), falls=falls,
        spans=f'name="{semconv.EVALUATION_SPAN.format(name=signal)}"', needs="an app that records it",
    )


def _slow(name: str, description: str, calls: Events, limit: float, spans: str) -> Indicator:
    return Indicator(name, description, "share", calls, good=replace(calls, within=limit), spans=spans)


def _tokens(name: str, instrument: str, amount: str, description: str) -> Indicator:
    tokens = Events(semconv.prometheus_name(instrument, counter=True), "call", amount=amount)
    return Indicator(name, description, "rate", _CALLS, tokens, unit="short")


def _later(name: str, kind: Kind, description: str, needs: str, total: Events, metric: str, unit: str) -> Indicator:
    if kind == "gauge":
        return Indicator(name, description, kind, gauge=metric, unit=unit, needs=needs)
    return Indicator(name, description, kind, total, Events(metric), unit=unit, needs=needs)


def _reasons(extra: Mapping[str, str]) -> Events:
    return Events(semconv.PROM_FEEDBACK_REASONS, "reason", MappingProxyType({semconv.LABEL_OP: semconv.ADD, **extra}))


_RETRIEVALS = Events("backspan_retrievals_total")
_BY_USERS = {semconv.LABEL_SOURCE: semconv.END_USER}
_BAD = {semconv.LABEL_POLARITY: semconv.NEGATIVE}


def _all() -> Iterable[Indicator]:
    yield _negative("thumbs_down", semconv.USER_THUMBS, "Share of thumbs down among first votes with a thumb.")
    yield _negative("low_stars", semconv.USER_STARS, "Share of negative star ratings among first star ratings.")
    yield Indicator(
        "bad_reasons", "Reasons given with negative judgements, per judgement of a user; narrow it to one reason with"
        " `where: {reason: ...}`.", "rate", _judgements(_BY_USERS), _reasons({**_BY_USERS, **_BAD}),
        spans=f'span.{semconv.FEEDBACK_POLARITY}="{semconv.NEGATIVE}"')
    yield Indicator(
        "reason_completeness", "Reasons per negative judgement of a user: a fall says that the form is broken, or that"
        " people no longer bother.", "rate", _judgements({**_BY_USERS, **_BAD}), _reasons({**_BY_USERS, **_BAD}),
        falls=True)
    yield Indicator(
        "feedback_coverage", "First judgements of users per answer. A fall to nothing is a broken widget: no other"
        " chart can then see anything.", "rate", _ANSWERS, _judgements(_BY_USERS), falls=True)
    yield Indicator(
        "feedback_volume", "First judgements of any source per answer: users, signals, evaluators, reviewers.", "rate",
        _ANSWERS, _judgements({}), falls=True)
    yield _signal("regenerate", "implicit_regenerate", "Answers asked for again, per answer.")
    yield _signal("reformulation", "implicit_reformulation", "Questions put again in other words, per answer.")
    yield _signal("stop", "implicit_stop", "Answers stopped while they were written, per answer.")
    yield _signal("escalation", "implicit_escalation", "Calls for a human, per answer.")
    yield _signal("abandonment", "implicit_abandonment", "Sessions left without an end, per answer.")
    yield _signal("copy", "implicit_copy", "Answers copied, per answer: a fall is what is worse.", falls=True)
    yield _signal("accept", "implicit_accept", "Suggestions accepted, per answer: a fall is worse.", falls=True)
    yield _family("implicit_negative", "implicit_", "Share of negative implicit signals among all of them.")
    yield _family("evaluator_failures", "evaluator_", "Share of negative verdicts of automated evaluations.")
    yield _family("review_failures", "review_", "Share of negative verdicts of human review.")
    yield _family("outcome_failures", "outcome_", "Share of outcomes that went wrong: orders, tickets, refunds.")
    yield Indicator(
        "errors", "Share of model calls that failed, whatever the error.", "share", _CALLS,
        replace(_CALLS, unlike=MappingProxyType({semconv.ERROR_TYPE: ""})), spans="status=error")
    yield _slow("slow_answers", f"Share of model calls that took more than {SLOW_ANSWER:g} s.", _CALLS, SLOW_ANSWER,
                f"duration>{SLOW_ANSWER * 1000:.0f}ms")
    yield _slow("slow_first_chunk", f"Share of streams whose first chunk took more than {SLOW_FIRST_CHUNK:g} s.",
                replace(_CHUNKS, store=""), SLOW_FIRST_CHUNK,
                f"span.{semconv.RESPONSE_TIME_TO_FIRST_CHUNK}>{SLOW_FIRST_CHUNK:.2f}")
    yield _tokens("input_tokens", semconv.INFERENCE_INPUT_TOKENS, "input_tokens", "Tokens sent per model call.")
    yield _tokens("output_tokens", semconv.INFERENCE_OUTPUT_TOKENS, "output_tokens", "Tokens answered per model call.")
    yield _later("cost", "rate", "Cost per model call, in US dollars.", "the extra `cost` in the app", _CALLS,
                 "backspan_cost_usd_total", "currencyUSD")
    yield _later("refusals", "rate", "Answers that the model refused or a filter cut, per answer.",
                 "`BACKSPAN_METRICS=all` in the app", _ANSWERS, "backspan_refusals_total", "percentunit")
    counted = "instrumentation that counts retrievals"
    yield _later("empty_retrievals", "rate", "Retrievals that found nothing, per retrieval.", counted, _RETRIEVALS,
                 "backspan_retrievals_empty_total", "percentunit")
    yield _later("weak_retrievals", "rate", "Retrievals whose best score is below the index's limit, per retrieval.",
                 counted, _RETRIEVALS, "backspan_retrievals_weak_total", "percentunit")
    yield _later("rater_concentration", "gauge", "Share of the day's judgements that one rater gave.",
                 "a gateway that counts raters", Events(), "backspan_feedback_rater_share", "percentunit")
    yield _later("oldest_unreviewed", "gauge", "Seconds since the oldest bad answer that nobody reviewed.",
                 "the review queue", Events(), "backspan_review_oldest_seconds", "s")
    yield _later("input_drift", "gauge", "Distance of today's inputs from those of the baseline.",
                 "drift evaluation", Events(), "backspan_drift_score", "none")


INDICATORS: Mapping[str, Indicator] = MappingProxyType({indicator.name: indicator for indicator in _all()})
"""Every indicator by name."""
