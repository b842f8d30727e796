"""The token where an application puts it itself: into headers, a JSON body, or an event of a stream."""

from __future__ import annotations

from collections.abc import Collection

from backspan._guard import guard
from backspan._request import serving
from backspan.feedback.answering import TOKEN_HEADER, TRACE_HEADER, event_of
from backspan.feedback.record import feedback_token
from backspan.feedback.target import target_of
from backspan.feedback.token import TTL_S


def feedback_headers(
    target: object = None, *, rater: str | None = None, names: Collection[str] | None = None, ttl: float = TTL_S,
    audience: str | None = None, origins: Collection[str] | None = None,
) -> dict[str, str]:
    """The headers of an answer that can be judged, for any framework: a mapping of name to value.

    ``Backspan-Token``; ``traceresponse``, by which an answer is found in the traces; and ``Cache-Control: private``,
    as the token is for one reader. Arguments and errors are those of `feedback_token`; nothing to judge: no headers.
    """
    token = feedback_token(target, rater=rater, names=names, ttl=ttl, audience=audience, origins=origins)
    said = {} if token is None else {TOKEN_HEADER: token, "Cache-Control": "private"}
    with guard("feedback.carry.headers"):
        found = target_of(target)
        if found is not None and found.trace_id is not None and found.span_id is not None:
            said[TRACE_HEADER] = f"00-{found.trace_id}-{found.span_id}-{found.trace_flags:02x}"
    return said


def feedback_fields(
    target: object = None, *, rater: str | None = None, names: Collection[str] | None = None, ttl: float = TTL_S,
    audience: str | None = None, origins: Collection[str] | None = None,
) -> dict[str, str]:
    """The fields of a JSON answer that can be judged: ``feedback_token`` and ``turn_id``, those that there are.

    Arguments and errors are those of `feedback_token`.
    """
    token = feedback_token(target, rater=rater, names=names, ttl=ttl, audience=audience, origins=origins)
    said = {} if token is None else {"feedback_token": token}
    with guard("feedback.carry.fields"):
        found = target_of(target)
        if found is not None and found.turn_id is not None:
            said["turn_id"] = found.turn_id
    return said


def feedback_event(
    target: object = None, *, rater: str | None = None, names: Collection[str] | None = None, ttl: float = TTL_S,
    audience: str | None = None, origins: Collection[str] | None = None,
) -> str:
    """The server-sent event that carries the token, to be sent after the answer: ``event: backspan-token``.

    Arguments and errors are those of `feedback_token`; nothing to judge: "". A middleware adds no second one.
    """
    said = event_of(feedback_token(target, rater=rater, names=names, ttl=ttl, audience=audience, origins=origins))
    here = serving()
    if said and here is not None:
        here.told = True
    return said
