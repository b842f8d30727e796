"""``POST /v1/feedback`` with ``candidates``: a comparison of answers, each named by its token or, for callers that may,
by its ids."""

from __future__ import annotations

from typing import Any, cast

from starlette.requests import Request

from backspan.context import Target
from backspan.feedback import compare
from backspan.feedback.compare_record import one_rater
from backspan.feedback.model import InvalidFeedback, Judgement, parse_rater, parse_target
from backspan.feedback.token import Claims
from backspan.feedback.validate import TARGET_FIELDS, bare
from backspan.server import keys, trust
from backspan.server.config import ServerConfig


def read(
    request: Request, config: ServerConfig, payload: dict[str, Any], token_names: tuple[str, ...]
) -> tuple[list[tuple[Target, Judgement]], str | None]:
    """What is said of each answer, the leading one first, and who says it. ``token_names`` are allowed by a token that
    does not say which.

    Raises:
        InvalidFeedback: if the body is wrong.
        Problem: if a token is, or the caller may not name answers by ids.
    """
    found = compare.entries(payload.pop("candidates"), ranked=payload.get("retract") is not True)
    stray = next((key for key in ("token", "target", *TARGET_FIELDS) if payload.get(key) is not None), None)
    if stray is not None:
        raise InvalidFeedback(stray, "the candidates say what is judged")
    claims = [trust.opened(request, config, one.token) for one in found if one.token is not None]
    trusted = trust.trusted(request, config, keys.FEEDBACK)
    if len(claims) < len(found):
        trust.require(request, config, keys.FEEDBACK)
    if not trusted:
        payload.pop("source", None)  # whoever holds a token cannot call himself a reviewer
    rater = _rater(payload, claims, trusted)
    given = {key: value for key, value in payload.items() if value is not None}
    for one in claims:
        bare(given, one.names if trusted else one.names or token_names)
    opened = iter(claims)
    candidates = [compare.Candidate(next(opened).target if one.token is not None else _target(one.target), one.rank,
                                    one.position) for one in found]
    return compare.split(bare(given), candidates), rater


def _target(given: Any) -> Target:
    said = cast("dict[str, Any]", given) if isinstance(given, dict) else {"": None}
    if not said.keys() <= set(TARGET_FIELDS):
        raise InvalidFeedback("candidates", f"a target is an object with fields among {', '.join(TARGET_FIELDS)}")
    return parse_target(said)


def _rater(payload: dict[str, Any], claims: list[Claims], trusted: bool) -> str | None:
    """The one rater of all tokens; where they name none, the one that a caller with a key says."""
    raters = {one.rater for one in claims}
    one_rater(raters)
    said, sealed = parse_rater(payload.get("rater")), next(iter(raters), None)
    if said is not None and said != sealed and (sealed is not None or not trusted):
        raise InvalidFeedback("rater", "the tokens say who judges")
    return sealed or said
