"""What goes into the store and what comes out: plain records, no SQL and no wire format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from backspan import semconv
from backspan.context import Target

if TYPE_CHECKING:
    from sqlalchemy import Connection

INFERENCE = frozenset({semconv.CHAT, semconv.TEXT_COMPLETION, "generate_content"})
"""Operations that produce an answer; a span of one of these is a turn by itself if nobody named a turn."""
ROOTS = frozenset({"", semconv.INVOKE_WORKFLOW, "invoke_agent"})
"""Operations of a span that *is* a turn, given that it carries ``backspan.turn.id``."""

LABELS = (*semconv.DIMENSIONS, semconv.ENVIRONMENT, semconv.SERVICE_NAME)
"""Dimensions of every series that the store counts."""
LIVE = frozenset({semconv.ADD, semconv.CHANGE})
"""Operations that leave a vote standing."""


@dataclass(frozen=True)
class Call:
    """One GenAI span. Times are Unix seconds; an absent text is the empty string, an absent number None."""

    trace_id: str
    span_id: str
    operation: str
    started: float
    ended: float
    parent_id: str = ""
    turn_id: str = ""
    service: str = ""
    environment: str = ""
    conversation_id: str = ""
    user_id: str = ""
    segment: str = ""
    variant: str = ""
    model: str = ""
    response_model: str = ""
    provider: str = ""
    prompt_name: str = ""
    prompt_version: str = ""
    index_name: str = ""
    index_version: str = ""
    response_id: str = ""
    join_key: str = ""
    consent: str = ""
    """Purposes that the user agreed to, comma-separated."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    outcome: str = ""
    finish: str = ""
    """Why the model stopped: the first of the finish reasons."""
    error: str = ""
    answered: bool = True
    """Somebody may have seen an answer: a whole one, or the beginning of a broken one."""
    query: str = ""
    answer: str = ""
    messages: list[Any] = field(default_factory=list[Any])
    documents: list[Any] = field(default_factory=list[Any])

    @property
    def turn_key(self) -> str:
        """The turn this call belongs to: the named one, else itself if it answers, else none (``""``)."""
        if self.turn_id:
            return self.turn_id
        return f"{self.trace_id}-{self.span_id}" if self.operation in INFERENCE else ""


@dataclass
class Vote:
    """One judgement about one target. ``at`` is when the answer was given, ``time`` when it was judged (Unix seconds).

    ``dims`` is None when the caller knows only ids: they are then taken from the judged turn, now or when it arrives.
    ``revision`` is given by an application that keeps its own versions: ``(version, op)``. ``solicited`` tells whether
    the judgement was asked for; None: nobody said.

    Nobody changes one; a frozen class would take three times as long to make.
    """

    id: str
    name: str
    time: float
    value: float | None = None
    label: str | None = None
    polarity: str = semconv.NEUTRAL
    reasons: tuple[str, ...] = ()
    comment: str | None = None
    correction: str | None = None
    source: str = semconv.END_USER
    retract: bool = False
    rater: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    trace_flags: int = 1
    response_id: str | None = None
    conversation_id: str | None = None
    turn_id: str | None = None
    at: float | None = None
    dims: Mapping[str, str] | None = None
    revision: tuple[int, str] | None = None
    delay: float | None = None
    solicited: bool | None = None
    details: Mapping[str, Any] | None = None
    circumstances: Mapping[str, Any] | None = None


class Judged(Protocol):
    """A validated verdict, as `backspan.feedback.model.Judgement` has it."""

    @property
    def name(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def polarity(self) -> str: ...
    @property
    def reasons(self) -> tuple[str, ...]: ...
    @property
    def comment(self) -> str | None: ...
    @property
    def correction(self) -> str | None: ...
    @property
    def source(self) -> str: ...
    @property
    def retract(self) -> bool: ...
    @property
    def solicited(self) -> bool | None: ...
    @property
    def details(self) -> Mapping[str, Any] | None: ...
    @property
    def circumstances(self) -> Mapping[str, Any] | None: ...


def vote_of(
    id: str, judged: Judged, target: Target, rater: str | None, now: float, place: Mapping[str, str] | None = None
) -> Vote:
    """The vote that a verdict on a target is. ``place`` adds environment and service to the target's dimensions."""
    dims = target.dims or None  # an empty mapping: only ids are known
    if dims is not None and place:
        dims = {**place, **dims}
    return Vote(
        id=id, name=judged.name, time=now, value=judged.value, label=judged.label, polarity=judged.polarity,
        reasons=judged.reasons, comment=judged.comment, correction=judged.correction, source=judged.source,
        retract=judged.retract, rater=rater, trace_id=target.trace_id, span_id=target.span_id,
        trace_flags=target.trace_flags, response_id=target.response_id, conversation_id=target.conversation_id,
        turn_id=target.turn_id, at=target.at, dims=dims, solicited=judged.solicited,
        details=judged.details, circumstances=judged.circumstances,
    )


@dataclass(frozen=True)
class Receipt:
    """What became of a vote. ``resolved`` is False while the judged answer is not known here."""

    id: str
    version: int
    status: str
    resolved: bool = True


ANSWER, CALL, FEEDBACK = "answer", "call", "feedback"
"""Kinds of `Event`: a turn that was answered, a call of a model, a judgement."""


@dataclass(frozen=True)
class Event:
    """One thing that is counted once, handed in commit order to whoever watches (the detectors).

    ``labels`` are those that Prometheus has of it, by their OpenTelemetry key. ``reasons`` belong to a judgement,
    ``amounts`` (tokens) and ``seconds`` (how long it took) to a call. The ids say where it can be looked up.
    """

    kind: str
    labels: Mapping[str, str]
    time: float
    reasons: tuple[str, ...] = ()
    amounts: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: float | None = None
    trace_id: str = ""
    span_id: str = ""
    turn_id: str = ""
    rater: str | None = None

    def get(self, key: str) -> str:
        """Value of a label; ``""`` when absent."""
        return self.labels.get(key, "")


class Watch(Protocol):
    """Who is told what was counted, inside the transaction that stores it (the charts)."""

    def observe(self, conn: Connection, events: Sequence[Event], now: float) -> None:
        """Take the events of one transaction, in commit order."""
        ...

    def tick(self, conn: Connection, now: float) -> None:
        """Do what is due though nothing came; called about twice a second."""
        ...


CALL_KEYS = {
    semconv.OPERATION_NAME: "operation", semconv.PROVIDER_NAME: "provider", semconv.REQUEST_MODEL: "model",
    semconv.RESPONSE_MODEL: "response_model", semconv.PROMPT_NAME: "prompt_name",
    semconv.PROMPT_VERSION: "prompt_version", semconv.VARIANT: "variant", semconv.ERROR_TYPE: "error",
    semconv.SERVICE_NAME: "service", semconv.ENVIRONMENT: "environment",
}
"""Label of a call's metrics -> field of `Call`."""


def call_event(call: Mapping[Any, Any]) -> Event:
    """The event that a call (its fields, or its row) is."""
    tokens = {name: float(call[name] or 0) for name in ("input_tokens", "output_tokens")}
    return Event(
        CALL, {key: call[name] for key, name in CALL_KEYS.items()}, call["ended"], amounts=tokens,
        seconds=max(0.0, round(call["ended"] - call["started"], 6)), trace_id=call["trace_id"], span_id=call["span_id"],
        turn_id=call["turn_id"],
    )


def age_of(delay: float | None) -> str:
    """Label for a delay in seconds between answer and judgement; an unknown delay counts as fresh."""
    if delay is None or delay <= 3600:
        return semconv.LE_1H
    return semconv.LE_1D if delay <= 86400 else semconv.OLDER


def full_dims(dims: Mapping[str, str]) -> dict[str, str]:
    """All label dimensions in their order, absent ones as ``""``."""
    return {key: str(dims.get(key) or "") for key in LABELS}


def labels_of(judged: Mapping[str, Any], op: str, dims: Mapping[str, str]) -> dict[str, str]:
    """Labels of ``backspan_feedback_total`` for a revision that counts as ``op``."""
    said = (judged["name"], judged["polarity"], op, judged["source"], age_of(judged["delay"]))
    return {**dict(zip(semconv.FEEDBACK_LABELS, said, strict=True)), **dims}
