"""The rules of a vote's life, as pure functions over rows; see `backspan.store.votes`."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from backspan import semconv
from backspan.store.model import LIVE, Vote
from backspan.store.schema import dumps

CONTENT = ("value", "label", "polarity", "reasons", "comment", "correction", "source")
"""What makes two votes of one key different."""


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
    if stands and same and list(state["reasons"] or ()) == list(vote.reasons):
        return semconv.UNCHANGED
    return semconv.CHANGE


def digest(vote: Vote) -> str:
    """Fingerprint of a revision that an application numbered itself; ``""`` for other votes."""
    if vote.revision is None:
        return ""
    said = [*vote.revision, *(getattr(vote, name) for name in CONTENT)]
    return sha256(dumps(said).encode()).hexdigest()[:32]


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
