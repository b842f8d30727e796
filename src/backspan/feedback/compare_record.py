"""`record_feedback` of a comparison: here, or on its way to a gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from backspan import semconv
from backspan.config import settings
from backspan.context import Target
from backspan.feedback import compare
from backspan.feedback.fields import MAX_CANDIDATES, InvalidFeedback
from backspan.feedback.model import Judgement, Receipt, feedback_id
from backspan.feedback.target import as_payload, enriched, target_of, with_place
from backspan.feedback.token import Claims, is_token, read
from backspan.feedback.validate import bare

Put = Callable[[Judgement, Target, "Claims | None", float], "Receipt | None"]
"""Keeps one judgement of one target, of the holder of a token, at a Unix second."""


def said(chosen: object, rejected: object, candidates: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """``candidates``, or what ``chosen`` and ``rejected`` (one answer, or a list of them) say in that form.

    Raises:
        InvalidFeedback: if both or only a half is given.
    """
    if candidates is not None:
        if chosen is not None or rejected is not None:
            raise InvalidFeedback("candidates", "give candidates, or chosen with rejected")
        return [_named(one) for one in candidates]
    if chosen is None or rejected is None:
        raise InvalidFeedback("rejected" if rejected is None else "chosen", "chosen and rejected go together")
    losers = cast("list[object]", rejected) if isinstance(rejected, list) else [rejected]
    return [_named({"target": chosen, "rank": 1}), *(_named({"target": one, "rank": 2}) for one in losers)]


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidFeedback("candidates", f"must be a list of 2 to {MAX_CANDIDATES} answers")
    target = given.get("target")
    if isinstance(target, str) and is_token(target):
        return {**{key: value for key, value in given.items() if key != "target"}, "token": target}
    return dict(given)


def judgement(given: Mapping[str, Any], names: Collection[str] | None = None) -> Judgement:
    """What is common to all answers of a comparison. Raises `InvalidFeedback`."""
    return bare({key: value for key, value in given.items() if value is not None}, names)


def keep(given: Mapping[str, Any], found: list[compare.Entry], put: Put) -> Receipt | None:
    """Keep a comparison in this process; None if nothing can be judged here."""
    claims = [read(one.token, audience=settings().audience) if one.token else None for one in found]
    targets = [enriched(known.target) if known else target_of(one.target)
               for one, known in zip(found, claims, strict=True)]
    one_rater({known.rater for known in claims if known is not None})
    common = judgement(given)
    for known in claims:
        judgement(given, known.names if known else None)
    if any(target is None for target in targets):
        return None
    parts = compare.split(common, [compare.Candidate(cast("Target", target), one.rank, one.position)
                                   for one, target in zip(found, targets, strict=True)])
    now, who = time.time(), next((known for known in claims if known is not None), None)
    receipts = [put(part, target, who, now) for target, part in parts]
    return replace(receipts[0], name=common.name) if receipts[0] is not None else None


def one_rater(raters: set[str | None]) -> None:
    """Raises `InvalidFeedback` if tokens of several people were put together."""
    if len(raters) > 1:
        raise InvalidFeedback("candidates", "all tokens must be of one rater")


def body(given: Mapping[str, Any], found: list[compare.Entry]) -> dict[str, Any] | None:
    """The request body for a gateway; None if nothing can be judged."""
    parts: list[dict[str, Any]] = []
    for one in found:
        place = {"rank": one.rank, **({} if one.position is None else {"position": one.position})}
        target = None if one.token else target_of(one.target)
        if one.token is None and target is None:
            return None
        parts.append({**place, "token": one.token} if target is None else
                     {**place, "target": as_payload(with_place(target))})
    return {**{key: value for key, value in given.items() if value is not None}, "candidates": parts,
            "reasons": sorted(set(given["reasons"]))}


def queued(given: Mapping[str, Any], found: list[compare.Entry], rater: str | None) -> Receipt:
    """The receipt of a comparison that went to a gateway: its id is known if no token is in it."""
    name = str(given.get("name") or semconv.USER_PREFERENCE)
    if any(one.token for one in found):
        return Receipt("", 0, "queued", name)
    targets = [target_of(one.target) for one in found]
    parts = compare.split(judgement(given), [compare.Candidate(cast("Target", target), one.rank, one.position)
                                             for one, target in zip(found, targets, strict=True)])
    target, lead = parts[0]
    return Receipt(feedback_id(target, compare.identity(lead), rater), 0, "queued", name)
