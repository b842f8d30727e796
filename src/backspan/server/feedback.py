"""``/v1/feedback``: judge an answer, change one's mind, take it back, see what one said. GET never writes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backspan import semconv
from backspan.context import Target
from backspan.feedback.model import InvalidFeedback, Judgement, parse, parse_rater, parse_target
from backspan.feedback.token import Claims, InvalidToken, is_token, read
from backspan.feedback.validate import TARGET_FIELDS
from backspan.redact import redact
from backspan.server import bodies, trust
from backspan.server.config import ServerConfig
from backspan.server.problems import Problem, busy
from backspan.store import Busy, Receipt, Store, reads, vote_of
from backspan.store.votes import TOO_MANY

TOKEN_HEADER = "backspan-token"
TOKEN_NAMES = ("user_*", "implicit_*")
"""What the holder of a token may say if the token does not tell."""


@dataclass(frozen=True)
class Act:
    """A request that may be carried out: what is said, about what, by whom."""

    judgements: list[Judgement]
    target: Target
    rater: str | None


class FeedbackApi:
    """Handlers for ``/v1/feedback``."""

    def __init__(self, store: Store, config: ServerConfig) -> None:
        self._store = store
        self._config = config

    async def write(self, request: Request) -> Response:
        """POST and PUT: a first vote is answered 201, everything later 200."""
        return await self._carry_out(request, await _payload(request))

    async def retract(self, request: Request) -> Response:
        """DELETE: take back what was said under a name, given in the path, the query or a body."""
        sent = await _payload(request) if request.headers.get("content-length", "0") != "0" else {}
        named = {"name": request.path_params["name"]} if "name" in request.path_params else {}
        return await self._carry_out(request, {**_query(request), **sent, **named, "retract": True})

    async def show(self, request: Request) -> Response:
        """GET: what stands of one's own judgements of this answer."""
        payload = _query(request)
        try:
            target, rater = self._who(request, payload)[:2]
        except InvalidFeedback as error:
            raise _problem(error) from None
        rows = await asyncio.to_thread(self._standing, target, rater)
        shown = ("id", "version", "name", "value", "label", "polarity", "reasons", "comment", "correction", "time")
        return JSONResponse({"feedback": [{name: row[name] for name in shown} for row in rows]},
                            headers={"Cache-Control": "no-store"})

    def _standing(self, target: Target, rater: str | None) -> list[dict[str, Any]]:
        with self._store.reading() as conn:
            return reads.standing(conn, target, rater)

    async def _carry_out(self, request: Request, payload: dict[str, Any]) -> Response:
        try:
            act = self._read(request, payload)
        except InvalidFeedback as error:
            raise _problem(error) from None
        now = time.time()
        group = [vote_of(self._store.identify(act.target, one.name, act.rater), one, act.target, act.rater, now)
                 for one in act.judgements]
        try:
            receipts = await self._store.accept(group)
        except Busy:
            raise busy() from None
        return _receipt([one.name for one in act.judgements], receipts)

    # --- who says what about what ---
    def _read(self, request: Request, payload: dict[str, Any]) -> Act:
        target, rater, names = self._who(request, payload)
        judgements = parse(payload, names=names)
        return Act([_redacted(one) for one in judgements], target, rater)

    def _who(self, request: Request, payload: dict[str, Any]) -> tuple[Target, str | None, tuple[str, ...] | None]:
        """Target, rater and allowed names. Takes out of ``payload`` what only this decides."""
        token = _token(request, payload)
        if token is not None:
            return self._by_token(request, payload, token)
        trust.require(request, self._config)
        nested = payload.pop("target", {})
        if not isinstance(nested, dict) or not nested.keys() <= set(TARGET_FIELDS):
            raise InvalidFeedback("target", f"must be an object with fields among {', '.join(TARGET_FIELDS)}")
        given = {**payload, **cast("dict[str, Any]", nested)}
        return parse_target(given), parse_rater(payload.get("rater")), None

    def _by_token(
        self, request: Request, payload: dict[str, Any], token: str
    ) -> tuple[Target, str | None, tuple[str, ...] | None]:
        claims = _claims(token)
        stray = next((key for key in ("target", *TARGET_FIELDS) if payload.get(key) is not None), None)
        if stray is not None:
            raise InvalidFeedback(stray, "the token says what is judged")
        rater = parse_rater(payload.get("rater"))
        privileged = rater is not None or claims.names is None or "source" in payload
        if privileged and trust.trusted(request, self._config):
            return claims.target, claims.rater or rater, claims.names
        if rater is not None and rater != claims.rater:
            raise InvalidFeedback("rater", "the token says who judges")
        payload.pop("source", None)  # whoever holds a token cannot call himself a reviewer
        return claims.target, claims.rater, claims.names or TOKEN_NAMES


async def _payload(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "content-type must be application/json")
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Problem(415, "feedback must not be compressed")
    sent = await bodies.read(request, bodies.MOST_FEEDBACK)
    try:
        value = json.loads(sent.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Problem(400, "the body is not UTF-8") from None
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Problem(422, "the body must be a JSON object")
    return cast("dict[str, Any]", value)


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def _query(request: Request) -> dict[str, Any]:
    return dict(request.query_params)


def _token(request: Request, payload: dict[str, Any]) -> str | None:
    """The token: from its header, from ``Authorization: Bearer``, or from the body."""
    said = payload.pop("token", None)
    if said is not None and not isinstance(said, str):
        raise InvalidFeedback("token", "must be a string")
    header = request.headers.get(TOKEN_HEADER)
    bearer = trust.bearer(request)
    return header or said or (bearer if is_token(bearer) else None)


def _claims(token: str) -> Claims:
    try:
        return read(token)
    except InvalidToken as error:
        status = 503 if error.reason == "unavailable" else 401
        raise Problem(status, f"the token {error.message}", field="token",
                      headers={"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{error.reason}"'},
                      ) from None


def _redacted(judgement: Judgement) -> Judgement:
    if judgement.comment is None and judgement.correction is None:
        return judgement
    comment, correction = (text and redact(text) for text in (judgement.comment, judgement.correction))
    return replace(judgement, comment=comment, correction=correction)


def _problem(error: InvalidFeedback) -> Problem:
    return Problem(422, f"{error.field}: {error.message}", field=error.field)


def _receipt(names: list[str], receipts: list[Receipt]) -> Response:
    if any(receipt.status == TOO_MANY for receipt in receipts):
        raise Problem(429, "this vote has changed too often", headers={"Retry-After": "86400"})
    results: list[Mapping[str, Any]] = [
        {"id": receipt.id, "version": receipt.version, "status": receipt.status, "name": name,
         "resolved": receipt.resolved}
        for name, receipt in zip(names, receipts, strict=True)
    ]
    created = any(receipt.status == semconv.ADD for receipt in receipts)
    return JSONResponse({**results[0], "results": results}, 201 if created else 200)
