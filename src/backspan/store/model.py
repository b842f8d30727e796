"""What goes into the store and what comes out: plain records, no SQL and no wire format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from backspan import semconv
from backspan.context import Target

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
    input_tokens: int | None = None
    output_tokens: int | None = None
    outcome: str = ""
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


@dataclass(frozen=True)
class Vote:
    """One judgement about one target. ``at`` is when the answer was given, ``time`` when it was judged (Unix seconds).

    ``dims`` is None when the caller knows only ids: they are then taken from the judged turn, now or when it arrives.
    ``revision`` is given by an application that keeps its own versions: ``(version, op)``.
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


def vote_of(
    id: str, judged: Judged, target: Target, rater: str | None, now: float, place: Mapping[str, str] | None = None
) -> Vote:
    """The vote that a verdict on a target is. ``place`` adds environment and service to the target's dimensions."""
    dims = {**(place or {}), **target.dims} if target.dims else None  # an empty mapping: only ids are known
    return Vote(
        id=id, name=judged.name, time=now, value=judged.value, label=judged.label, polarity=judged.polarity,
        reasons=judged.reasons, comment=judged.comment, correction=judged.correction, source=judged.source,
        retract=judged.retract, rater=rater, trace_id=target.trace_id, span_id=target.span_id,
        trace_flags=target.trace_flags, response_id=target.response_id, conversation_id=target.conversation_id,
        turn_id=target.turn_id, at=target.at, dims=dims,
    )


@dataclass(frozen=True)
class Receipt:
    """What became of a vote. ``resolved`` is False while the judged answer is not known here."""

    id: str
    version: int
    status: str
    resolved: bool = True


@dataclass(frozen=True)
class Event:
    """One counted judgement, handed in commit order to whoever watches (the detectors)."""

    name: str
    polarity: str
    op: str
    source: str
    age: str
    dims: Mapping[str, str]
    time: float
    trace_id: str

    def get(self, key: str) -> str:
        """Value of a label or a dimension by its OpenTelemetry key; ``""`` when absent."""
        return str(getattr(self, key)) if key in semconv.FEEDBACK_LABELS else self.dims.get(key, "")


def age_of(delay: float | None) -> str:
    """Label for a delay in seconds between answer and judgement; an unknown delay counts as fresh."""
    if delay is None or delay <= 3600:
        return semconv.LE_1H
    return semconv.LE_1D if delay <= 86400 else semconv.OLDER


def full_dims(dims: Mapping[str, str]) -> dict[str, str]:
    """All label dimensions in their order, absent ones as ``""``."""
    return {key: str(dims.get(key) or "") for key in LABELS}
