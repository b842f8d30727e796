"""The rules of a vote's life, as pure functions over rows; see `backspan.store.votes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backspan import semconv
from backspan.store.model import LIVE, Vote
from backspan.store.schema import dumps
from backspan.store.sealing import fingerprint

CONTENT = ("value", "label", "polarity", "reasons", "comment", "correction", "source", "details")
"""What makes two votes of one key different."""
KEPT = (*CONTENT, "solicited", "circumstances")
"""What a revision keeps of a vote."""
TARGET = ("rater", "trace_id", "span_id", "trace_flags", "response_id", "conversation_id", "turn_id", "at", "dims",
          "said", "resolved")
"""Columns of a vote that say what it judges."""


def takes_away(row: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Tell whether ``row`` takes away the value of the revision before it."""
    return row["op"] in (semconv.CHANGE, semconv.RETRACT) and before["op"] in LIVE


def op_of(state: Mapping[str, Any] | None, vote: Vote) -> str:
    """What ``vote`` does to the state it meets: an operation, or ``unchanged``."""
    stands = state is not None and state["op"] in LIVE
    if vote.retract:
        return semconv.RETRACT if stands else semconv.UNCHANGED
    if state is None:
        return semconv.ADD
    same = all(state[name] == getattr(vote, name) for name in CONTENT if name != "reasons")
    if stands and same and list(state["reasons"] or ()) == list(vote.reasons) and not _agrees_otherwise(state, vote):
        return semconv.UNCHANGED
    return semconv.CHANGE


def _agrees_otherwise(state: Mapping[str, Any], vote: Vote) -> bool:
    """Tell whether ``vote`` says something else of consent than the state. Whoever says nothing changes nothing."""
    before: Mapping[str, Any] = state["circumstances"] or {}
    agreed = vote.circumstances.get("consent") if vote.circumstances else None
    return agreed is not None and bool(agreed != before.get("consent"))


def origin(vote: Vote, details: Mapping[str, Any] | None) -> str:
    """Where a revision came from: ``http``, or ``span`` of an application; ``quiet`` is no span of its own.

    That is so for all answers of a comparison but the one that leads it.
    """
    if vote.revision is not None:
        return "span"
    comparison = details.get("comparison") if details else None
    return "quiet" if comparison is not None and not comparison["lead"] else "http"


def digest(vote: Vote) -> str:
    """Fingerprint of a revision that an application numbered itself; ``""`` for other votes."""
    if vote.revision is None:
        return ""
    said = [*vote.revision, *(getattr(vote, name) for name in CONTENT if name != "details" or vote.details)]
    return fingerprint(dumps(said).encode())[:32]


def target_columns(vote: Vote) -> dict[str, Any]:
    """Columns of a new vote that say what it judges."""
    return {
        "rater": vote.rater, "trace_id": vote.trace_id, "span_id": vote.span_id, "trace_flags": vote.trace_flags,
        "response_id": vote.response_id, "conversation_id": vote.conversation_id, "turn_id": None,
        "at": vote.at, "dims": None, "said": None, "resolved": vote.trace_id is not None or vote.response_id is None,
    }


def exemplar(state: Mapping[str, Any], cause: Mapping[str, Any]) -> dict[str, Any] | None:
    """The judged span as an exemplar, if it is known."""
    if not state["trace_id"]:
        return None
    return {"trace_id": state["trace_id"], "span_id": state["span_id"], "time": cause["time"]}
