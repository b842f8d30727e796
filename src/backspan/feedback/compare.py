"""Comparisons: two to eight answers set against each other by one rater.

A comparison becomes one judgement per answer, so that each counts in its own cohort: its value is the share of the
other answers that it was preferred to (a tie is half), which for a pair is 1 (win), 0 (loss) or 0.5 (tie). All of them
share a group, made of the set of answers, and are revised together; the best one leads: it alone becomes a span, with
one link per answer. So an answer may be compared with many others, and a changed mind about the same set is a change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final, cast

from backspan import semconv
from backspan.context import Target
from backspan.feedback import fields
from backspan.feedback.fields import MAX_CANDIDATES, InvalidFeedback
from backspan.feedback.verdicts import Judgement

CHOSEN: Final = "chosen"
REJECTED: Final = "rejected"
TIED: Final = "tied"
RANKED: Final = "ranked"
_WORDS: Final = {semconv.POSITIVE: "win", semconv.NEGATIVE: "loss", semconv.NEUTRAL: "tie"}
_FIELDS: Final = ("token", "target", "rank", "position")


@dataclass(frozen=True)
class Entry:
    """One answer as it was given: a token or anything else that names a target; ``rank`` 1 is the best, equal ranks are
    a tie; ``position`` is where it was shown, from 1, None if nobody said."""

    token: str | None
    target: Any
    rank: int
    position: int | None


@dataclass(frozen=True)
class Candidate:
    """One answer of a comparison, known."""

    target: Target
    rank: int
    position: int | None


def entries(given: object, *, ranked: bool = True) -> list[Entry]:
    """Read ``candidates``: a list of 2 to 8 objects with ``token`` or ``target``, ``rank`` and ``position``.

    ``ranked``: each needs its rank (not, if the comparison is taken back).

    Raises:
        InvalidFeedback: field ``candidates``.
    """
    if not isinstance(given, list | tuple) or not 2 <= len(cast("Sequence[object]", given)) <= MAX_CANDIDATES:
        raise InvalidFeedback("candidates", f"must be a list of 2 to {MAX_CANDIDATES} answers")
    found = [_entry(one, ranked) for one in cast("Sequence[object]", given)]
    places = [one.position for one in found if one.position is not None]
    if len(set(places)) != len(places):
        raise InvalidFeedback("candidates", "each position once")
    return found


def _entry(given: object, ranked: bool) -> Entry:
    if not isinstance(given, Mapping):
        raise InvalidFeedback("candidates", "each must be an object with token or target, rank and position")
    said = {key: value for key, value in cast("Mapping[str, Any]", given).items() if value is not None}
    token = said.get("token")
    if not said.keys() <= set(_FIELDS) or ("token" in said) == ("target" in said):
        raise InvalidFeedback("candidates", "each has token or target, rank and position, and nothing else")
    if token is not None and not isinstance(token, str):
        raise InvalidFeedback("candidates", "a token must be a string")
    if ranked and "rank" not in said:
        raise InvalidFeedback("candidates", "each needs its rank: 1 is the best, equal ranks are a tie")
    rank = fields.whole(said.get("rank", 1), "candidates", 1, MAX_CANDIDATES)
    position = fields.whole(said["position"], "candidates", 1, 100) if "position" in said else None
    return Entry(token, said.get("target"), rank, position)


def split(common: Judgement, candidates: Collection[Candidate]) -> list[tuple[Target, Judgement]]:
    """The judgements that a comparison is, the leading one first. ``common`` has what all of them share.

    Raises:
        InvalidFeedback: field ``candidates``, if an answer is in it twice.
    """
    ordered = sorted(candidates, key=lambda one: (one.rank, _key(one.target)))
    keys = [_key(one.target) for one in ordered]
    if len(set(keys)) != len(keys):
        raise InvalidFeedback("candidates", "each answer once")
    group = hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()[:16]
    shown = [_shown(one, ordered) for one in ordered]
    whole = {"group": group, "candidates": shown, "pairs": [list(pair) for pair in _pairs(shown)]}
    return [(one.target, _judged(common, one, ordered, {**whole, "lead": i == 0})) for i, one in enumerate(ordered)]


def _key(target: Target) -> str:
    return json.dumps([target.trace_id, target.span_id] if target.trace_id else
                      [target.response_id, target.conversation_id])


def _role(one: Candidate, all_of: Sequence[Candidate]) -> str:
    if len(all_of) > 2:
        return RANKED
    other = all_of[0] if one is all_of[1] else all_of[1]
    return TIED if one.rank == other.rank else CHOSEN if one.rank < other.rank else REJECTED


def _shown(one: Candidate, all_of: Sequence[Candidate]) -> dict[str, Any]:
    """What the span's link, and the count of pairs, need of one answer."""
    target = one.target
    found = {"trace_id": target.trace_id, "span_id": target.span_id, "trace_flags": target.trace_flags,
             "response_id": target.response_id, "role": _role(one, all_of), "rank": one.rank,
             "position": one.position, "variant": target.dims.get(semconv.VARIANT, "")}
    return {key: value for key, value in found.items() if value is not None}


def _pairs(shown: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Every pair of answers, as the variants of the better and the worse one and ``win``, or both and ``tie``."""
    found: list[tuple[str, str, str]] = []
    for better, worse in combinations(shown, 2):  # they are in the order of their ranks
        variants = (better["variant"], worse["variant"])
        if better["rank"] == worse["rank"]:
            found.append((min(variants), max(variants), "tie"))
        else:
            found.append((*variants, "win"))
    return found


def _judged(common: Judgement, one: Candidate, all_of: Sequence[Candidate], comparison: dict[str, Any]) -> Judgement:
    if common.retract:
        return replace(common, details={"comparison": comparison})
    others = len(all_of) - 1
    beaten = sum(1.0 if one.rank < other.rank else 0.5 if one.rank == other.rank else 0.0
                 for other in all_of if other is not one) / others
    polarity = semconv.POSITIVE if beaten > 0.5 else semconv.NEGATIVE if beaten < 0.5 else semconv.NEUTRAL
    return replace(common, value=beaten, label=_WORDS[polarity], polarity=polarity, details={"comparison": comparison})


# --- reading a comparison -------------------------------------------------------------------------------------------
def of(details: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The comparison that a judgement belongs to, None for most."""
    return details.get("comparison") if details else None


def leads(details: Mapping[str, Any] | None) -> bool:
    """Tell whether a judgement speaks for itself: it is no part of a comparison, or leads one."""
    found = of(details)
    return found is None or bool(found["lead"])


def identity(judgement: Judgement) -> str:
    """The name by which the judgement's id is made: within its group, if it is part of a comparison."""
    found = of(judgement.details)
    return judgement.name if found is None else f"{judgement.name}/{found['group']}"
