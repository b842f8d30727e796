"""``POST /v1/signals``: implicit signals in a batch, as ``navigator.sendBeacon`` sends them. They carry no text.

A page that goes away cannot wait for an answer, set headers, or ask before it sends: the tokens are in the body, and
``text/plain`` is taken like ``application/json``. Each signal is accepted or refused by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backspan import semconv
from backspan.context import Target
from backspan.feedback import fields
from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.model import Judgement, parse_rater, parse_target
from backspan.feedback.signals import ANALYTICS, SERVER, Catalogue, Signal, catalogue
from backspan.feedback.token import Claims
from backspan.feedback.validate import TARGET_FIELDS, allows
from backspan.server import bodies, once, openapi, trust
from backspan.server.config import ServerConfig
from backspan.server.door import admit
from backspan.server.feedback import TOKEN_NAMES
from backspan.server.keys import SIGNALS
from backspan.server.once import UnderWay
from backspan.server.problems import Problem, busy
from backspan.store import Busy, Receipt, Store, Vote, vote_of, votes
from backspan.store.idempotency import Claim
from backspan.store.votes import TOO_MANY

if TYPE_CHECKING:
    from backspan.server.routes import Parts

PATH = "/v1/signals"
MOST_SIGNALS = 50
MOST_BYTES = 64 * 1024
"""What browsers let `sendBeacon` send."""
_KINDS = ("application/json", "text/plain")
_TOP = ("signals", "token", "consent")
_FIELDS = ("name", "value", "token", "target", "rater", "retract", "solicited", "surface", "ui_variant")
_CODE = re.compile(r"[a-z0-9_.-]{1,64}")
REFUSED, NO_CONSENT = "refused", "no_consent"


@dataclass(frozen=True)
class Accepted:
    """A signal that may be kept, as the vote that it becomes."""

    name: str
    vote: Vote
    token: str | None


class SignalsApi:
    """Handler for ``/v1/signals``. Raises `CatalogueError` if the catalogue's file is wrong."""

    def __init__(self, store: Store, config: ServerConfig) -> None:
        self._store = store
        self._config = config
        self._catalogue: Catalogue = catalogue()
        self._under_way = UnderWay()

    async def write(self, request: Request) -> Response:
        """POST: 200 with a result for each signal, whatever became of it; 4xx if the batch itself is wrong."""
        sent = await _batch(request)
        if trust.unwatched(request):
            return _answer([_refused(NO_CONSENT, "the browser asks not to be watched (Sec-GPC)")] * len(sent.signals))
        with self._under_way.claim(request, vars(sent)) as claim:
            return await self._take(request, sent, claim)

    async def _take(self, request: Request, sent: Batch, claim: Claim | None) -> Response:
        now = time.time()
        read = [self._read(request, one, sent, now) for one in sent.signals]
        often = await self._too_often(request, [one for one in read if isinstance(one, Accepted)])
        read = [often.get(one.token, one) if isinstance(one, Accepted) else one for one in read]
        try:
            if claim is None:
                return _answer(await asyncio.gather(*(self._keep(one) for one in read)))
            done = await self._store.work_once(lambda batch: _kept(batch, read), claim)
        except Busy:
            raise busy() from None
        return _answer(once.answered(done), once.AGAIN if done.again else None)

    async def _too_often(self, request: Request, accepted: list[Accepted]) -> dict[str | None, dict[str, Any]]:
        """Refusals by token: a batch is one act of each of its tokens, however many signals there are."""
        found: dict[str | None, dict[str, Any]] = {}
        for token, rater in {one.token: one.vote.rater for one in accepted if one.token is not None}.items():
            problem = await _admitted(request, self._config, rater, token)
            if problem is not None:
                found[token] = _refused("rate", problem.detail)
        return found

    async def _keep(self, one: Accepted | dict[str, Any]) -> dict[str, Any]:
        if isinstance(one, dict):
            return one
        [receipt] = await self._store.accept([one.vote])
        return _result(one.name, receipt)

    # --- one signal -------------------------------------------------------------------------------------------------
    def _read(self, request: Request, said: Any, sent: Batch, now: float) -> Accepted | dict[str, Any]:
        try:
            signal, judgement = self._judgement(said)
            if signal.consent and not self._catalogue.agreed(sent.consent):
                return _refused(NO_CONSENT, f'consent: this signal needs ["{ANALYTICS}"]', signal.feedback_name)
            target, rater, token = self._who(request, cast("dict[str, Any]", said), sent.token, judgement.name)
        except InvalidFeedback as error:
            return _refused(error.field, str(error))
        except Problem as problem:
            return _refused("token", problem.detail)
        key = self._store.identify(target, judgement.name, rater)
        return Accepted(judgement.name, vote_of(key, judgement, target, rater, now), token)

    def _judgement(self, said: Any) -> tuple[Signal, Judgement]:
        if not isinstance(said, dict):
            raise InvalidFeedback("signals", "each must be an object")
        given = cast("dict[str, Any]", said)
        if not given.keys() <= set(_FIELDS):
            raise InvalidFeedback("signals", f"fields are {', '.join(_FIELDS)}; a signal carries no text")
        named = given.get("name")
        signal = self._catalogue.named(named) if isinstance(named, str) else None
        if signal is None or signal.seen_by == (SERVER,):
            raise InvalidFeedback("name", f"must be one of {', '.join(_sent(self._catalogue))}")
        retract = fields.flag(given, "retract")
        value = _value(given, signal, retract)
        place = {code: given[code] for code in ("surface", "ui_variant") if given.get(code) is not None}
        for code, said in place.items():
            if not isinstance(said, str) or not _CODE.fullmatch(said):
                raise InvalidFeedback(code, "must be 1 to 64 of a-z, 0-9, '_', '.' and '-'")
        return signal, Judgement(
            signal.feedback_name, value, signal.label, signal.band(value).polarity, (), None, None, semconv.IMPLICIT,
            retract, fields.optional_flag(given, "solicited"), circumstances=place or None)

    def _who(
        self, request: Request, said: dict[str, Any], shared: str | None, name: str
    ) -> tuple[Target, str | None, str | None]:
        token, given = said.get("token", shared), said.get("target")
        if given is None:
            claims = self._claims(request, token, said, name)
            return claims.target, claims.rater, token
        if said.get("token") is not None or not isinstance(given, dict):
            raise InvalidFeedback("target", "must be an object, and not beside a token")
        trust.require(request, self._config, SIGNALS)
        ids = cast("dict[str, Any]", given)
        if not ids.keys() <= set(TARGET_FIELDS):
            raise InvalidFeedback("target", f"fields are {', '.join(TARGET_FIELDS)}")
        return parse_target(ids), parse_rater(said.get("rater")), None

    def _claims(self, request: Request, token: object, said: Mapping[str, Any], name: str) -> Claims:
        if not isinstance(token, str) or not token:
            raise InvalidFeedback("token", "is missing: in the signal, or beside the signals for all of them")
        if said.get("rater") is not None:
            raise InvalidFeedback("rater", "the token says whose signal it is")
        claims = trust.opened(request, self._config, token)
        if not allows(claims.names or TOKEN_NAMES, name):
            raise InvalidFeedback("name", f"{name} is not allowed by this token")
        return claims


async def _admitted(request: Request, config: ServerConfig, rater: str | None, token: str) -> Problem | None:
    try:
        await admit(request.scope, config, rater, token)
    except Problem as problem:
        return problem
    return None


def _sent(known: Catalogue) -> list[str]:
    return [one.feedback_name for one in known.signals.values() if one.seen_by != (SERVER,)]


def _value(given: Mapping[str, Any], signal: Signal, retract: bool) -> float:
    value = given.get("value", 1.0)
    if retract:
        return 1.0
    if not isinstance(value, int | float) or not signal.least <= value <= signal.most:  # NaN is not within either
        raise InvalidFeedback("value", f"must be a number from {signal.least:g} to {signal.most:g}")
    return float(value)


# --- the batch ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Batch:
    """What a request holds. ``consent``: purposes agreed to, comma-separated; None where nothing was said."""

    signals: list[Any]
    token: str | None
    consent: str | None


async def _batch(request: Request) -> Batch:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise Problem(415, f"content-type must be {' or '.join(_KINDS)}")
    said = _decoded(await bodies.read(request, MOST_BYTES))
    if not said.keys() <= set(_TOP):
        raise Problem(422, f"fields are {', '.join(_TOP)}", field="signals")
    signals, token = said.get("signals"), said.get("token")
    if not isinstance(signals, list) or not 1 <= len(cast("list[Any]", signals)) <= MOST_SIGNALS:
        raise Problem(422, f"signals: must be a list of 1 to {MOST_SIGNALS}", field="signals")
    if token is not None and not isinstance(token, str):
        raise Problem(422, "token: must be a string", field="token")
    return Batch(cast("list[Any]", signals), token, _consent(said.get("consent")))


def _decoded(sent: bytes) -> dict[str, Any]:
    try:
        said: Any = json.loads(sent.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON in UTF-8") from None
    if not isinstance(said, dict):
        raise Problem(422, "the body must be a JSON object", field="signals")
    return cast("dict[str, Any]", said)


def _consent(said: Any) -> str | None:
    """Purposes as a list, or as an object of booleans: ``["analytics"]``, ``{"analytics": true}``."""
    if said is None:
        return None
    if isinstance(said, dict):
        given = cast("dict[Any, Any]", said)
        said = [key for key, value in given.items() if value is True]
    if not isinstance(said, list) or not all(isinstance(one, str) for one in cast("list[Any]", said)):
        raise Problem(422, "consent: must be a list of purposes", field="consent")
    return ",".join(cast("list[str]", said)) or "none"


def _refused(reason: str, detail: str, name: str | None = None) -> dict[str, Any]:
    return {**({"name": name} if name else {}), "status": REFUSED, "reason": reason, "detail": detail}


def _kept(batch: votes.Batch, read: list[Accepted | dict[str, Any]]) -> list[dict[str, Any]]:
    """All signals of a request that is done once, in its transaction."""
    receipts = iter(votes.put(batch, [[one.vote] for one in read if isinstance(one, Accepted)]))
    return [_result(one.name, next(receipts)[0]) if isinstance(one, Accepted) else one for one in read]


def _result(name: str, receipt: Receipt) -> dict[str, Any]:
    if receipt.status == TOO_MANY:
        return _refused(TOO_MANY, "this signal has changed too often")
    return {"name": name, "status": receipt.status, "id": receipt.id, "version": receipt.version,
            "resolved": receipt.resolved}


def _answer(results: list[dict[str, Any]], marked: Mapping[str, str] | None = None) -> Response:
    refused = sum(one["status"] == REFUSED for one in results)
    return JSONResponse({"accepted": len(results) - refused, "refused": refused, "results": results},
                        headers={"Cache-Control": "no-store", **(marked or {})})


# --- the route ------------------------------------------------------------------------------------------------------
def add(app: FastAPI, parts: Parts) -> None:
    """Add the route."""
    app.add_route(PATH, SignalsApi(parts.store, parts.config).write, methods=["POST"])
    openapi.tell(app, {PATH: {"post": _described()}})


def _described() -> dict[str, Any]:
    names = _sent(catalogue())
    signal: dict[str, Any] = {
        "type": "object", "required": ["name"], "additionalProperties": False,
        "properties": {
            "name": {"enum": names}, "value": {"type": "number", "minimum": 0}, "token": {"type": "string"},
            "target": {"type": "object"}, "rater": {"type": "string"}, "retract": {"type": "boolean"},
            "solicited": {"type": "boolean"}, "surface": {"type": "string"}, "ui_variant": {"type": "string"}},
    }
    body: dict[str, Any] = {
        "type": "object", "required": ["signals"], "additionalProperties": False,
        "properties": {
            "signals": {"type": "array", "items": signal, "minItems": 1, "maxItems": MOST_SIGNALS},
            "token": {"type": "string", "description": "For all signals that bring none of their own"},
            "consent": {"type": "array", "items": {"type": "string"}, "description": f"Must hold {ANALYTICS}"}},
    }
    result = {"type": "object", "properties": {
        "accepted": {"type": "integer"}, "refused": {"type": "integer"},
        "results": {"type": "array", "items": {"type": "object"}}}}
    return {
        "summary": "Tell implicit signals, each kept or refused by itself", "security": [{"key": []}, {}],
        "requestBody": {"required": True, "content": {
            "application/json": {"schema": body}, "text/plain": {"schema": {"type": "string"}}}},
        "responses": {
            "200": {"description": "What became of each", "content": {"application/json": {"schema": result}}},
            "4XX": {"description": "What is wrong", "content": {"application/problem+json": {}}}},
    }
