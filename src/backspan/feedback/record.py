"""`record_feedback` and `feedback_token`: the two functions an application calls."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from backspan._guard import guard, guarded, say_once
from backspan.config import settings
from backspan.context import Target, current, pseudonym
from backspan.feedback import compare, compare_record, promote
from backspan.feedback.emit import emit_skip
from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.forward import forwarder
from backspan.feedback.memory import MemorySink
from backspan.feedback.model import Judgement, Receipt, feedback_id, parse, parse_rater
from backspan.feedback.target import as_payload, enriched, target_of, with_place
from backspan.feedback.token import FORGED, TTL_S, Claims, InvalidToken, is_token, mint, read, well_formed

QUEUED = "queued"
IGNORED = "ignored"
SKIPPED = "skip"
_PERSONAL = ("end_user", "implicit")
"""Sources whose judge is the user of the session."""

_sink = MemorySink()


def record_feedback(
    target: object = None, *, thumbs: bool | str | None = None, stars: int | None = None, name: str | None = None,
    value: float | bool | None = None, label: str | None = None, polarity: str | None = None,
    reasons: Collection[str] = (), comment: str | None = None, correction: str | None = None,
    rater: str | None = None, source: str | None = None, solicited: bool | None = None,
    retract: bool = False, scale: str | None = None, quote: Mapping[str, Any] | None = None,
    consent: Mapping[str, Any] | None = None, skip: bool = False, chosen: object = None, rejected: object = None,
    candidates: Sequence[Mapping[str, Any]] | None = None,
) -> Receipt | list[Receipt]:
    """Record what someone thinks of an answer, so that it finds its way back to the answer's span.

    Repeating a vote is harmless (``unchanged``), another value changes it (``change``), ``retract=True`` takes it back.
    It never waits for the network, and works while ``BACKSPAN`` is unset too. With ``BACKSPAN_GATEWAY_URL`` set the
    vote is queued for the gateway, which does the rest, and nothing is emitted here.

    Args:
        target: the answer. None: the current turn. Else a turn, a response or chunk of the model's client, its id, a
            token of `feedback_token`, ``(trace_id, span_id)``, a mapping with ``trace_id`` and ``span_id`` or
            ``response_id`` or ``conversation_id``, a ``traceparent``, or an OpenTelemetry span.
        thumbs: True or ``"up"``, False or ``"down"``.
        stars: 1 to 5; 1-2 count as negative, 3 as neutral, 4-5 as positive.
        name: any other judgement: ``user_…``, ``implicit_…``, ``evaluator_…``, ``review_…`` or ``outcome_…``, with
            ``value`` (number or boolean), ``label`` (a word), or both; with ``retract`` it may be any name alone.
        polarity: ``negative``, ``neutral`` or ``positive`` for ``name``, where neither the label tells nor, of an
            ``implicit_…`` one, the catalogue of signals.
        reasons: up to 8 codes of ``a-z``, ``0-9`` and ``_``.
        comment: up to 4096 characters. It leaves this process redacted, and only while content is captured.
        correction: what the answer should have been, up to 16,384 characters. As private as ``comment``.
        rater: who judged; leaves this process only as a pseudonym. None: the user of the current session, for votes of
            end users. Without a rater, a target has one vote per name.
        source: one of ``end_user``, ``implicit``, ``evaluator``, ``reviewer``, ``outcome``, ``operator``; None: as the
            name's prefix says.
        solicited: True if the judgement was asked for (a survey, a prompt after the answer), False if the judge came
            with it unasked; None: not known. The two are biased in different ways, and charts can part them.
        retract: take back what was said under the name (or with thumbs, stars, correction).
        scale: name of a declared scale, for a number under a ``user_…`` name that the taxonomy does not declare.
        quote: the part of the answer that is meant: ``text``, ``start`` and ``end`` (characters). Its place and a hash
            of its redacted text leave this process.
        consent: what the judge agreed to: ``analytics``, ``improve``, ``contact`` (booleans) and the ``policy`` he saw.
        skip: the question ``name`` (or thumbs, stars) was seen and passed over; it is counted, and no judgement.
        chosen, rejected: a comparison, `user_preference` unless ``name`` says another: the answer that was preferred,
            and the other one or a list of them, each as ``target`` takes it; ``target`` itself is not given.
        candidates: a comparison of 2 to 8 answers in its full form: mappings with ``target`` (or ``token``), ``rank``
            (1 is the best, equal ranks are a tie) and ``position`` (where it was shown, from 1).

    Returns:
        A `Receipt`; a list of them if several of thumbs, stars, name and correction were given.

    Raises:
        InvalidFeedback: (a ValueError) if an argument is wrong; its ``field`` tells which. For a token that is
            expired, forged or for another audience it is an `InvalidToken`. Never for a fault of delivery.
    """
    said = {
        "thumbs": thumbs, "stars": stars, "name": name, "value": value, "label": label, "polarity": polarity,
        "reasons": reasons, "comment": comment, "correction": correction, "source": source, "solicited": solicited,
        "retract": retract, "scale": scale, "quote": quote, "consent": consent, **({"skip": True} if skip else {}),
    }
    if candidates is not None or chosen is not None or rejected is not None:
        return _compare(target, said, compare_record.said(chosen, rejected, candidates), rater)
    judgements = parse(said)
    parse_rater(rater)
    if settings().gateway_url is not None:
        receipts = _forward(target, said, judgements, rater)
    else:
        receipts = _keep(target, said, judgements, rater)
    return receipts[0] if len(receipts) == 1 else receipts


def feedback_token(
    target: object = None, *, rater: str | None = None, names: Collection[str] | None = None, ttl: float = TTL_S,
    audience: str | None = None, origins: Collection[str] | None = None,
) -> str | None:
    """Seal a token with which a browser can judge this answer and nothing else; about 400 characters, URL-safe.

    Args:
        target: as for `record_feedback`; None: the current turn.
        rater: who may judge; the token holds a pseudonym. None: the user of the current session.
        names: feedback names allowed, ``user_*`` for a prefix; None for all.
        ttl: seconds until it expires.
        audience: only a gateway of the same audience accepts it. None: `BACKSPAN_AUDIENCE`, if that is set.
        origins: exact origins (``https://app.example.com``) whose pages may use it; None for any.

    Returns:
        The token. None, said once, if there is nothing to judge, no key can be had, or the extra ``server`` is missing.

    Raises:
        InvalidFeedback: (a ValueError) if an argument is wrong.
    """
    parse_rater(rater)
    found = target_of(target)
    if found is None:
        _say_nothing_here("feedback_token")
        return None
    who = _pseudonym(rater) or current().user
    audience = audience or settings().audience
    return mint(with_place(found), rater=who, names=names, ttl=ttl, audience=audience, origins=origins)


# --- here -----------------------------------------------------------------------------------------------------------
def _keep(target: object, said: Mapping[str, Any], judgements: list[Judgement], rater: str | None) -> list[Receipt]:
    claims = read(target, audience=settings().audience) if isinstance(target, str) and is_token(target) else None
    if claims is not None:
        judgements = parse(said, names=claims.names)
    found = enriched(claims.target) if claims is not None else target_of(target)
    if found is None:
        return _ignored(judgements)
    now = time.time()
    if judgements[0].skip:
        return [_skip(one, found) for one in judgements]
    kept = [_put(one, found, rater, claims, now) for one in judgements]
    return [
        receipt if receipt is not None else Receipt("", 0, IGNORED, one.name)
        for one, receipt in zip(judgements, kept, strict=True)
    ]


def _compare(target: object, said: Mapping[str, Any], given: list[dict[str, Any]], rater: str | None) -> Receipt:
    """A comparison, here or at the gateway."""
    if target is not None:
        raise InvalidFeedback("target", "the candidates say what is judged")
    found = compare.entries(given, ranked=not said["retract"])
    common = compare_record.judgement(said)
    parse_rater(rater)
    if settings().gateway_url is None:
        kept = compare_record.keep(said, found, lambda one, to, claims, now: _put(one, to, rater, claims, now))
    else:
        kept = _queue_comparison(said, found, common, rater)
    return kept or _ignored([common])[0]


def _queue_comparison(
    said: Mapping[str, Any], found: list[compare.Entry], common: Judgement, rater: str | None
) -> Receipt | None:
    body = compare_record.body(said, found)
    if body is None:
        return None
    tokens = any(one.token for one in found)
    who = (_pseudonym(rater) if settings().api_key is not None else None) if tokens else _who(common, rater, None)
    _queue(body, None, None, who)
    return compare_record.queued(said, found, who)


@guarded
def _put(judgement: Judgement, target: Target, rater: str | None, claims: Claims | None, now: float) -> Receipt:
    receipt = _sink.put(judgement, target, _who(judgement, rater, claims), now)
    if not judgement.retract:
        promote.judged(target, [judgement.polarity])
    return receipt


def _who(judgement: Judgement, rater: str | None, claims: Claims | None) -> str | None:
    if claims is not None and claims.rater is not None:
        return claims.rater
    return _pseudonym(rater) or (current().user if judgement.source in _PERSONAL else None)


def _skip(judgement: Judgement, target: Target) -> Receipt:
    with guard("feedback.skip"):
        emit_skip(judgement.name, target)
    return Receipt("", 0, SKIPPED, judgement.name)


@guarded
def _pseudonym(rater: str | None) -> str | None:
    return None if rater is None else pseudonym(rater)


def _ignored(judgements: list[Judgement]) -> list[Receipt]:
    _say_nothing_here("record_feedback")
    return [Receipt("", 0, IGNORED, one.name) for one in judgements]


def _say_nothing_here(function: str) -> None:
    if settings().enabled:
        say_once(f"feedback:{function}", f"{function} was called without a target and outside of a turn: nothing done")


# --- at the gateway -------------------------------------------------------------------------------------------------
def _forward(target: object, said: Mapping[str, Any], judgements: list[Judgement], rater: str | None) -> list[Receipt]:
    """Queue one request; the gateway reads tokens, because it has their keys.

    A token says itself who judges; another rater is told only with the API key, without which it would be refused.
    """
    token = target if isinstance(target, str) and is_token(target) else None
    if token is not None and not well_formed(token):
        raise InvalidToken(FORGED)
    found = None if token is not None else target_of(target)
    if token is None and found is None:
        return _ignored(judgements)
    if token is None:
        who = _who(judgements[0], rater, None)
    else:
        who = _pseudonym(rater) if settings().api_key is not None else None
    _queue(_body(said), found, token, who)
    promote.judged(found or token, [one.polarity for one in judgements if not one.retract])
    return [
        Receipt("" if found is None else feedback_id(found, one.name, who), 0, QUEUED, one.name) for one in judgements
    ]


def _body(said: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in said.items() if value is not None}
    return {**given, "reasons": sorted(set(said["reasons"]))}


@guarded
def _queue(body: dict[str, Any], found: Target | None, token: str | None, who: str | None) -> None:
    if found is not None:
        body.update(as_payload(with_place(found)))
    if who is not None:
        body["rater"] = who
    forwarder.post(body, token)


__all__ = ["InvalidFeedback", "Receipt", "feedback_token", "record_feedback"]
