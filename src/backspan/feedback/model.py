"""What a judgement is, which ones are valid, and how a vote changes.

`parse` turns keyword arguments or a request body into judgements; `revise` says what one more judgement does to the
last known revision of the same feedback. Both are pure: no clock, no I/O, no telemetry. `feedback.memory.MemorySink`
and the gateway's store follow the same rules, and both satisfy `Sink`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from json.encoder import encode_basestring_ascii
from typing import Any, Protocol

from backspan import semconv
from backspan.context import Target
from backspan.feedback.compare import identity
from backspan.feedback.validate import InvalidFeedback, Judgement, parse, parse_rater, parse_target

__all__ = [
    "Acknowledgement", "Feedback", "InvalidFeedback", "Judgement", "Receipt", "Sink", "age", "feedback_id",
    "metric_dims", "parse", "parse_rater", "parse_target", "revise",
]

HOUR_S = 3600.0
DAY_S = 86400.0


@dataclass(frozen=True)
class Feedback:
    """One revision of one act of judgement; nothing of it ever changes afterwards.

    Attributes:
        id: 32 hex digits, see `feedback_id`; the same for all revisions.
        version: 1 for the first vote, then one more with every change or retract.
        op: ``add`` (a first vote), ``change`` (a new value, also after a retract) or ``retract`` (the old value).
        name: for example ``user_thumbs``.
        value: the score, or None when there is none (a correction).
        label: the verdict as a word, for example ``pass`` or ``fail``.
        polarity: ``negative``, ``neutral`` or ``positive``.
        source: who judged: one of `semconv.SOURCES`.
        reasons: sorted codes, for example ``("inaccurate",)``.
        comment, correction: text of a person, as given (not yet redacted).
        rater: pseudonym of who judged; None if unknown.
        target: what was judged.
        resolved: False when only a response id is known and nobody knows its span.
        time: unix seconds of the judgement.
        delay: seconds from the answer to the judgement, never negative; None when the answer's time is unknown.
        previous: the value that this revision takes away: for ``retract`` always, for ``change`` unless the old value
            had been retracted before. Its own ``previous`` is None.
        details: what a verdict of a special kind says besides: ``scale`` (its name), ``quote`` (``text``, ``start``,
            ``end``), ``comparison`` (see `backspan.feedback.compare`); None for most.
        circumstances: how it came about, which is no part of it: ``consent``, ``probability`` of being asked,
            ``edit_ratio``.
        solicited: True if the judgement was asked for, False if it was volunteered, None if nobody said. It is how a
            judgement came about and no part of it: saying the same again with another one changes nothing.
    """

    id: str
    version: int
    op: str
    name: str
    value: float | None
    label: str | None
    polarity: str
    source: str
    reasons: tuple[str, ...]
    comment: str | None
    correction: str | None
    rater: str | None
    target: Target
    resolved: bool
    time: float
    delay: float | None
    previous: Feedback | None = None
    solicited: bool | None = None
    details: Mapping[str, Any] | None = None
    circumstances: Mapping[str, Any] | None = None

    @property
    def age(self) -> str:
        """Bucket of `delay`, see `age`."""
        return age(self.delay)

    @property
    def live(self) -> bool:
        """Tell whether the vote stands, that is, was not retracted."""
        return self.op != semconv.RETRACT


@dataclass(frozen=True)
class Receipt:
    """What became of one judgement.

    Attributes:
        id: the feedback's id, equal for every repetition.
        version: the revision that holds now; 0 when a retract found nothing.
        status: ``add``, ``change``, ``retract`` or ``unchanged`` (nothing emitted). Two more come from
            `record_feedback` only, with version 0: ``queued`` (on its way to the gateway, which alone knows more) and
            ``ignored`` (nothing was judged: no turn here, or backspan is off and the turn has no span).
        name: the feedback's name.
    """

    id: str
    version: int
    status: str
    name: str = ""


class Acknowledgement(Protocol):
    """What a `Sink` answers; `Receipt` is one."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def status(self) -> str: ...


class Sink(Protocol):
    """Where judgements go: the process's memory, or the gateway's store."""

    def put(self, judgement: Judgement, target: Target, rater: str | None, now: float) -> Acknowledgement:
        """Accept one judgement at unix second ``now``. Repeating it is harmless and answered ``unchanged``."""
        ...


def age(delay: float | None) -> str:
    """Bucket of a delay in seconds: ``le_1h``, ``le_1d`` or ``older``; disjoint, upper bounds included.

    An unknown delay counts as ``le_1h``: an alert on fresh votes must not miss those that name a span only.
    """
    if delay is None or delay <= HOUR_S:
        return semconv.LE_1H
    return semconv.LE_1D if delay <= DAY_S else semconv.OLDER


def feedback_id(target: Target, name: str, rater: str | None) -> str:
    """Deterministic id: SHA-256 of the target's id, the name and the rater, cut to 32 hex digits.

    A target with a trace id is known by trace and span id, else by response id, else by conversation id. Judgements
    without a rater share one id per target and name.
    """
    known, span_id = _known(target), target.span_id if target.trace_id is not None else None
    said = ", ".join("null" if one is None else encode_basestring_ascii(one) for one in (*known, span_id, name, rater))
    return hashlib.sha256(f"[{said}]".encode()).hexdigest()[:32]  # a list of JSON, without making an encoder for it


def _known(target: Target) -> tuple[str, str]:
    if target.trace_id is not None:
        return "trace", target.trace_id
    if target.response_id is not None:
        return "response", target.response_id
    return ("none", "") if target.conversation_id is None else ("conversation", target.conversation_id)


def revise(
    last: Feedback | None, judgement: Judgement, target: Target, rater: str | None, now: float
) -> tuple[Feedback | None, Receipt]:
    """Apply a judgement to the last revision of the same feedback (None: never judged).

    Returns the new revision, or None when nothing changed, and the receipt.
    """
    key = feedback_id(target, identity(judgement), rater)
    if not _differs(last, judgement):
        return None, Receipt(key, last.version if last else 0, semconv.UNCHANGED, judgement.name)
    live = replace(last, previous=None) if last and last.live else None
    version = last.version + 1 if last else 1
    op = _op(last, judgement)
    revision = _revision(key, version, op, live if judgement.retract and live else judgement, target, rater, now)
    return replace(revision, previous=live), Receipt(key, version, op, judgement.name)


def _differs(last: Feedback | None, judgement: Judgement) -> bool:
    if last is None or not last.live:
        return not judgement.retract
    return judgement.retract or _content(last) != _content(judgement)


def _content(judged: Feedback | Judgement) -> tuple[object, ...]:
    return (judged.value, judged.label, judged.polarity, judged.reasons, judged.comment, judged.correction,
            judged.source, judged.details)


def _op(last: Feedback | None, judgement: Judgement) -> str:
    if judgement.retract:
        return semconv.RETRACT
    return semconv.ADD if last is None else semconv.CHANGE


def _revision(
    key: str, version: int, op: str, judged: Feedback | Judgement, target: Target, rater: str | None, now: float
) -> Feedback:
    return Feedback(
        id=key, version=version, op=op, name=judged.name, value=judged.value, label=judged.label,
        polarity=judged.polarity, source=judged.source, reasons=judged.reasons, comment=judged.comment,
        correction=judged.correction, rater=rater, target=target,
        resolved=target.trace_id is not None or target.response_id is None, time=now,
        delay=None if target.at is None else max(0.0, now - target.at), solicited=judged.solicited,
        details=judged.details, circumstances=judged.circumstances,
    )


def metric_dims(target: Target) -> Mapping[str, str]:
    """The target's dimensions as metric attributes: every key of `semconv.DIMENSIONS`, absent ones empty."""
    return {key: target.dims.get(key, "") for key in semconv.DIMENSIONS}
