"""``POST /v1/outcomes``: what became of the work, told by other programs, in a batch; and their webhooks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backspan import semconv
from backspan.context import Target
from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.model import parse_target
from backspan.feedback.outcome import FIELDS, PATH, Said, read_outcome
from backspan.feedback.validate import TARGET_FIELDS
from backspan.server import bodies, hooks, once, openapi, trust
from backspan.server.config import ServerConfig
from backspan.server.keys import OUTCOMES, READ
from backspan.server.once import UnderWay
from backspan.server.problems import Problem, busy
from backspan.store import Busy, Store, outcomes, vote_of
from backspan.store.batch import Batch
from backspan.store.idempotency import Claim
from backspan.store.outcomes_report import report

if TYPE_CHECKING:
    from backspan.server.routes import Parts

MOST_OUTCOMES = 500
MOST_BYTES = 1024 * 1024
REFUSED, WAITING = "refused", "waiting"


@dataclass(frozen=True)
class _Refused:
    field: str
    detail: str


class OutcomesApi:
    """Handlers for ``/v1/outcomes``. Raises `hooks.HooksError` if the file of the webhooks is wrong."""

    def __init__(self, store: Store, config: ServerConfig) -> None:
        self._store = store
        self._config = config
        self._hooks = hooks.load()
        self._under_way = UnderWay()

    async def write(self, request: Request) -> Response:
        """POST: 200 with a result for each outcome; 4xx if the batch itself is wrong."""
        trust.require(request, self._config, OUTCOMES)
        said = _decoded(await _json(request))
        given = cast("dict[str, Any]", said).get("outcomes") if isinstance(said, dict) else None
        if not isinstance(given, list) or not 1 <= len(cast("list[Any]", given)) <= MOST_OUTCOMES:
            raise Problem(422, f"outcomes: must be a list of 1 to {MOST_OUTCOMES}", field="outcomes")
        with self._under_way.claim(request, cast("dict[str, Any]", said)) as claim:
            return await self._keep(request, cast("list[Any]", given), claim)

    async def hook(self, request: Request) -> Response:
        """POST: a webhook of another system, read as its mapping says."""
        hook = self._hooks.get(request.path_params["hook"])
        if hook is None:
            raise Problem(404, "no such webhook is set up here")
        sent = await _json(request)
        if not hook.signed(request.headers, sent):
            trust.require(request, self._config, OUTCOMES, hook.lacks)
        body = _decoded(sent)
        try:
            given = hook.read(body)
        except hooks.Unfit as error:
            raise Problem(422, str(error), field=error.field) from None
        if not given:
            return JSONResponse({"accepted": 0, "refused": 0, "results": []})
        with self._under_way.claim(request, {"body": body}, hook.delivered(request.headers, body)) as claim:
            return await self._keep(request, given, claim)

    async def _keep(self, request: Request, given: list[Any], claim: Claim | None = None) -> Response:
        now = time.time()
        read = [self._read(request, one, now) for one in given]
        good = [one for one in read if isinstance(one, outcomes.Outcome)]
        identify = self._store.identify

        def job(batch: Batch) -> list[dict[str, Any]]:
            kept = iter(outcomes.accept(batch, good, identify))
            return [_refusal(one) if isinstance(one, _Refused) else _result(one, next(kept)) for one in read]

        try:
            done = await once.work(self._store, job, claim)
        except Busy:
            raise busy() from None
        results = once.answered(done)
        refused = sum(one["status"] == REFUSED for one in results)
        return JSONResponse({"accepted": len(results) - refused, "refused": refused, "results": results},
                            headers={"Cache-Control": "no-store", **(once.AGAIN if done.again else {})})

    # --- one outcome ------------------------------------------------------------------------------------------------
    def _read(self, request: Request, given: Any, now: float) -> outcomes.Outcome | _Refused:
        try:
            if not isinstance(given, dict):
                raise InvalidFeedback("outcomes", "each must be an object")
            fields = {key: value for key, value in cast("dict[str, Any]", given).items() if value is not None}
            said = read_outcome(fields)
            return self._outcome(said, self._target(request, fields, said), now)
        except InvalidFeedback as error:
            return _Refused(error.field, str(error))
        except Problem as problem:
            return _Refused("token", problem.detail)

    def _target(self, request: Request, given: dict[str, Any], said: Said) -> Target | None:
        token, target = given.get("token"), given.get("target")
        about = [one for one in (token, target, said.join_key) if one is not None]
        if len(about) > 1 or (not about and said.assisted is not False):
            raise InvalidFeedback("target", "give one of target, token and join_key")
        if not about and said.id is None:
            raise InvalidFeedback("id", "is needed where neither an answer nor a join_key is named")
        if token is not None:
            if not isinstance(token, str):
                raise InvalidFeedback("token", "must be a string")
            return trust.opened(request, self._config, token).target
        if target is None:
            return None
        if not isinstance(target, dict) or not cast("dict[str, Any]", target).keys() <= set(TARGET_FIELDS):
            raise InvalidFeedback("target", f"must be an object with fields among {', '.join(TARGET_FIELDS)}")
        return parse_target(cast("dict[str, Any]", target))

    def _outcome(self, said: Said, target: Target | None, now: float) -> outcomes.Outcome:
        one, at = said.judgement, said.time if said.time is not None else now
        vote, subject = None, f"join:{said.join_key}"
        if target is not None and said.assisted is not False:
            vote = vote_of(self._store.identify(target, one.name, None), one, target, None, at)
            subject = f"vote:{vote.id}"
        return outcomes.Outcome(
            outcomes.outcome_id(said.id, subject, one.name), one.name, one.polarity, at, one.value, one.label,
            said.assisted, said.join_key, vote)


def _refusal(one: _Refused) -> dict[str, Any]:
    return {"status": REFUSED, "reason": one.field, "detail": one.detail}


def _result(one: outcomes.Outcome, noted: outcomes.Noted) -> dict[str, Any]:
    return {"id": noted.id, "name": one.name, "status": noted.status, WAITING: noted.waiting}


async def _json(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "content-type must be application/json")
    return await bodies.read(request, MOST_BYTES)


def _decoded(sent: bytes) -> Any:
    try:
        return json.loads(sent.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON in UTF-8") from None


# --- the routes -----------------------------------------------------------------------------------------------------
def add(app: FastAPI, parts: Parts) -> None:
    """Add the routes."""
    api = OutcomesApi(parts.store, parts.config)
    app.add_route(PATH, api.write, methods=["POST"])
    app.add_route(PATH + "/hooks/{hook}", api.hook, methods=["POST"])
    app.include_router(_reports(parts))
    name = {"name": "hook", "in": "path", "required": True, "schema": {"type": "string"}}
    openapi.tell(app, {
        PATH: {"post": _operation("Tell outcomes, each kept or refused by itself", _body())},
        PATH + "/hooks/{hook}": {"post": {**_operation("A webhook, read as its mapping says", {}),
                                          "parameters": [name]}},
    })


def _reports(parts: Parts) -> APIRouter:
    def allowed(request: Request) -> None:
        trust.require(request, parts.config, READ)

    api = APIRouter(prefix="/api", dependencies=[Depends(allowed)])

    @api.get("/outcomes", summary="Votes against outcomes, and work with a model against work without")
    def compared(  # pyright: ignore[reportUnusedFunction]
        since: Annotated[float, Query(ge=0, description="Unix seconds")] = 0.0,
        until: Annotated[float | None, Query(ge=0)] = None,
        vote: Annotated[str, Query(max_length=64)] = semconv.USER_THUMBS,
        name: Annotated[str | None, Query(max_length=64)] = None,
    ) -> dict[str, Any]:
        with parts.store.reading() as conn:
            return report(conn, since, until, vote=vote, name=name)

    return api


def _body() -> dict[str, Any]:
    outcome: dict[str, Any] = {
        "type": "object", "required": ["name"], "additionalProperties": False,
        "properties": {
            "name": {"type": "string"}, "value": {"type": ["number", "boolean"]}, "label": {"type": "string"},
            "polarity": {"enum": list(semconv.POLARITIES)}, "join_key": {"type": "string", "maxLength": 256},
            "target": {"type": "object"}, "token": {"type": "string"}, "assisted": {"type": "boolean"},
            "id": {"type": "string", "maxLength": 256}, "time": {"type": "number", "description": "Unix seconds"}},
    }
    assert set(outcome["properties"]) == set(FIELDS)
    return {"type": "object", "required": ["outcomes"], "properties": {
        "outcomes": {"type": "array", "items": outcome, "minItems": 1, "maxItems": MOST_OUTCOMES}}}


def _operation(summary: str, body: dict[str, Any]) -> dict[str, Any]:
    result = {"type": "object", "properties": {
        "accepted": {"type": "integer"}, "refused": {"type": "integer"},
        "results": {"type": "array", "items": {"type": "object"}}}}
    return {
        "summary": summary, "security": [{"key": []}, {}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "What became of each", "content": {"application/json": {"schema": result}}},
            "4XX": {"description": "What is wrong", "content": {"application/problem+json": {}}}},
    }
