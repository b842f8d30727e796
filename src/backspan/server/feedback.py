"""``/v1/feedback``: judge an answer, change one's mind, take it back, see what one said. GET never writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backspan import semconv
from backspan.context import Target
from backspan.feedback import fields, signals
from backspan.feedback.compare import identity
from backspan.feedback.model import InvalidFeedback, Judgement, parse_rater, parse_target
from backspan.feedback.signals import ANALYTICS
from backspan.feedback.token import is_token
from backspan.feedback.validate import TARGET_FIELDS
from backspan.server import bodies, compared, keys, trust
from backspan.server.config import ServerConfig
from backspan.server.door import admit
from backspan.server.once import AGAIN, HEADER, UnderWay, answered, asked_otherwise, work
from backspan.server.problems import Problem, busy
from backspan.server.quick import JsonAnswer, loads, quoted
from backspan.server.readings import Readings, plain, redacted
from backspan.store import Busy, Receipt, Store, Vote, corrections, reads, vote_of
from backspan.store.batch import Batch
from backspan.store.guards import VERIFIED
from backspan.store.idempotency import Claim, Done
from backspan.store.skips import STATUS as SKIPPED
from backspan.store.votes import TOO_MANY

TOKEN_HEADER = "backspan-token"
_JSON = "application/json"
TOKEN_NAMES = ("user_*", "implicit_*")
"""What the holder of a token may say if the token does not tell."""


@dataclass(frozen=True)
class Act:
    """A request that may be carried out: what is said of what, and by whom."""

    said: list[tuple[Target, Judgement]]
    rater: str | None


class FeedbackApi:
    """Handlers for ``/v1/feedback``."""

    def __init__(self, store: Store, config: ServerConfig) -> None:
        self._store = store
        self._config = config
        self._under_way = UnderWay()
        self._readings = Readings()

    async def write(self, request: Request) -> Response:
        """POST and PUT: a first vote is answered 201, everything later 200."""
        sent = await _sent(request)
        act = self._again(request, sent)
        if act is not None:
            return await self._act(request, act, None)
        return await self._carry_out(request, _decoded(sent), sent)

    async def retract(self, request: Request) -> Response:
        """DELETE: take back what was said under a name, given in the path, the query or a body."""
        sent = _decoded(await _sent(request)) if request.headers.get("content-length", "0") != "0" else {}
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
        shown = ("id", "version", "name", "value", "label", "polarity", "reasons", "comment", "correction", "solicited",
                 "time")
        said = [{**{name: row[name] for name in shown}, "quote": _part(row["details"], "quote"),
                 "consent": _part(row["circumstances"], "consent")} for row in rows]
        return JSONResponse({"feedback": said}, headers={"Cache-Control": "no-store"})

    def _standing(self, target: Target, rater: str | None) -> list[dict[str, Any]]:
        with self._store.reading() as conn:
            return reads.standing(conn, target, rater)

    async def _carry_out(self, request: Request, payload: dict[str, Any], sent: bytes = b"") -> Response:
        if HEADER not in request.headers:
            return await self._act(request, self._read(request, payload, sent), None)
        with self._under_way.claim(request, payload) as claim:
            return await self._act(request, self._read(request, payload), claim)

    async def _act(self, request: Request, act: Act, claim: Claim | None) -> Response:
        await admit(request.scope, self._config, act.rater)
        if act.said[0][1].skip:
            return await self._skip(act, claim)
        if any(one.correction is not None and not one.retract for _, one in act.said):
            act = await asyncio.to_thread(self._measured, act)
        now = time.time()
        group = [vote_of(self._store.identify(target, identity(one), act.rater), one, target, act.rater, now)
                 for target, one in act.said]
        done = await self._accept(group, claim)
        return _receipt([one.name for _, one in act.said], done)

    async def _skip(self, act: Act, claim: Claim | None) -> Response:
        """Count questions that were passed over."""
        def job(batch: Batch) -> list[list[Any]]:
            return [[*self._store.note_skip(batch.conn, target, one.name, act.rater)] for target, one in act.said]

        try:
            done = await work(self._store, job, claim)
        except Busy:
            raise busy() from None
        noted = answered(done)
        results = [{"id": id, "version": 0, "name": one.name, "status": SKIPPED if new else semconv.UNCHANGED,
                    "resolved": True} for (id, new), (_, one) in zip(noted, act.said, strict=True)]
        return JSONResponse({**results[0], "results": results}, 201 if noted[0][1] else 200,
                            AGAIN if done.again else None)

    def _measured(self, act: Act) -> Act:
        """Note how far corrections are from the answers that are stored."""
        with self._store.reading() as conn:
            return replace(act, said=[(target, _with_ratio(one, corrections.answer_of(conn, target)))
                                      for target, one in act.said])

    async def _accept(self, group: list[Vote], claim: Claim | None) -> Done[list[Receipt]]:
        try:
            if claim is None:
                return Done(await self._store.accept(group), False)
            return await self._store.accept_once(group, claim)
        except Busy:
            raise busy() from None

    # --- who says what about what ---
    def _again(self, request: Request, sent: bytes) -> Act | None:
        """What a token and a body say, if the same verdict came before: most votes."""
        token = request.headers.get(TOKEN_HEADER)
        if token is None or HEADER in request.headers or not self._readings.met(sent):
            return None
        target, rater, names = self._by_token(request, {}, token)
        said = self._readings.again(sent, names)
        return None if said is None else Act([(target, one) for one in said], rater)

    def _read(self, request: Request, payload: dict[str, Any], sent: bytes = b"") -> Act:
        try:
            if "candidates" in payload:
                said, rater = compared.read(request, self._config, payload, TOKEN_NAMES)
                return Act([(target, redacted(one)) for target, one in said], rater)
            signal = _is_signal(payload)
            whole = sent if plain(payload) and not signal else b""
            target, rater, names = self._who(request, payload)
            if signal and trust.OPENED in request.scope and not trust.trusted(request, self._config, keys.FEEDBACK):
                _need_consent(request, payload)
            verdicts = self._readings.read(payload, names, whole)
        except InvalidFeedback as error:
            raise _problem(error) from None
        if trust.OPENED not in request.scope:  # no token: a caller who may name targets vouches for who judges
            verdicts = [replace(one, circumstances={**(one.circumstances or {}), "trust": VERIFIED})
                        for one in verdicts]
        return Act([(target, one) for one in verdicts], rater)

    def _who(self, request: Request, payload: dict[str, Any]) -> tuple[Target, str | None, tuple[str, ...] | None]:
        """Target, rater and allowed names. Takes out of ``payload`` what only this decides."""
        token = _token(request, payload)
        if token is not None:
            return self._by_token(request, payload, token)
        trust.require(request, self._config, keys.FEEDBACK)
        nested = payload.pop("target", {})
        if not isinstance(nested, dict) or not nested.keys() <= set(TARGET_FIELDS):
            raise InvalidFeedback("target", f"must be an object with fields among {', '.join(TARGET_FIELDS)}")
        given = {**payload, **cast("dict[str, Any]", nested)}
        return parse_target(given), parse_rater(payload.get("rater")), None

    def _by_token(
        self, request: Request, payload: dict[str, Any], token: str
    ) -> tuple[Target, str | None, tuple[str, ...] | None]:
        claims = trust.opened(request, self._config, token)
        if payload:
            _refuse_target(payload)
        rater = parse_rater(payload.get("rater"))
        privileged = rater is not None or claims.names is None or "source" in payload
        if privileged and trust.trusted(request, self._config, keys.FEEDBACK):
            return claims.target, claims.rater or rater, claims.names
        if rater is not None and rater != claims.rater:
            raise InvalidFeedback("rater", "the token says who judges")
        payload.pop("source", None)  # whoever holds a token cannot call himself a reviewer
        return claims.target, claims.rater, claims.names or TOKEN_NAMES


async def _sent(request: Request) -> bytes:
    kind = request.headers.get("content-type", "")
    if kind != _JSON and kind.partition(";")[0].strip().lower() != _JSON:
        raise Problem(415, "content-type must be application/json")
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Problem(415, "feedback must not be compressed")
    return await bodies.read(request, bodies.MOST_FEEDBACK)


def _decoded(sent: bytes) -> dict[str, Any]:
    try:
        value = loads(sent.decode("utf-8"))
    except UnicodeDecodeError:
        raise Problem(400, "the body is not UTF-8") from None
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Problem(422, "the body must be a JSON object")
    return cast("dict[str, Any]", value)


def _part(said: Mapping[str, Any] | None, name: str) -> Any:
    return None if said is None else said.get(name)


def _is_signal(payload: Mapping[str, Any]) -> bool:
    return str(payload.get("name", "")).startswith(semconv.IMPLICIT_PREFIX)


def _need_consent(request: Request, payload: Mapping[str, Any]) -> None:
    """What a browser observed is kept under the same conditions as at ``/v1/signals``; taking it back is free."""
    if payload.get("retract") is True:
        return
    if trust.unwatched(request):
        raise InvalidFeedback("name", "signals are not kept: the browser asks not to be watched (Sec-GPC)")
    known = signals.catalogue()
    signal, said = known.named(str(payload["name"])), fields.consent(payload)
    agreed = known.agreed(None) if said is None else said.get(ANALYTICS) is True
    if not agreed and (signal is None or signal.consent):
        raise InvalidFeedback("consent", f'this signal needs {{"{ANALYTICS}": true}}')


def _refuse_target(payload: dict[str, Any]) -> None:
    stray = next((key for key in ("target", *TARGET_FIELDS) if payload.get(key) is not None), None)
    if stray is not None:
        raise InvalidFeedback(stray, "the token says what is judged")


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


def _with_ratio(judgement: Judgement, answer: str | None) -> Judgement:
    if answer is None or judgement.correction is None:
        return judgement
    ratio = corrections.edit_ratio(answer, judgement.correction)
    return replace(judgement, circumstances={**(judgement.circumstances or {}), "edit_ratio": ratio})


def _problem(error: InvalidFeedback) -> Problem:
    return Problem(422, f"{error.field}: {error.message}", field=error.field)


def _receipt(names: list[str], done: Done[list[Receipt]]) -> Response:
    receipts = done.result
    if receipts is None:
        raise asked_otherwise()
    statuses = {receipt.status for receipt in receipts}
    if TOO_MANY in statuses:
        raise Problem(429, "this vote has changed too often", headers={"Retry-After": "86400"}, reason="revisions")
    results = [_row(name, receipt) for name, receipt in zip(names, receipts, strict=True)]
    said = f'{results[0][:-1]},"results":[{",".join(results)}]}}'
    return JsonAnswer(said, 201 if semconv.ADD in statuses else 200, AGAIN if done.again else None)


def _row(name: str, receipt: Receipt) -> str:
    """JSON, in a tenth of the time that an encoder takes."""
    return (f'{{"id":{quoted(receipt.id)},"version":{receipt.version},"status":{quoted(receipt.status)},'
            f'"name":{quoted(name)},"resolved":{"true" if receipt.resolved else "false"}}}')
