"""``/api``: turns, feedback, charts and alerts as JSON, for pages and programs on this machine or with the API key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection

from backspan.server import (
    chart_routes,
    comparison_routes,
    documents,
    erasure_routes,
    keys,
    outbox_routes,
    quarantine_routes,
    trust,
)
from backspan.server.charts import ChartBook
from backspan.server.config import ServerConfig
from backspan.server.problems import Problem
from backspan.store import Store, reads

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="Rows per page")]
Since = Annotated[float | None, Query(ge=0, description="Unix seconds")]
Polarity = Literal["negative", "neutral", "positive"] | None
Text = Annotated[str | None, Query(max_length=512)]


def router(store: Store, config: ServerConfig, book: ChartBook | None) -> APIRouter:
    """The routes of the query API. ``book`` is None where the charts are evaluated by Prometheus."""

    def allowed(request: Request) -> None:
        trust.require(request, config, keys.READ if request.method == "GET" else keys.ADMIN)

    def read(query: Callable[[Connection], Any]) -> Any:
        with store.reading() as conn:
            try:
                return query(conn)
            except reads.BadCursor as error:
                raise Problem(422, f"cursor: {error}", field="cursor") from None

    api = APIRouter(prefix="/api", dependencies=[Depends(allowed)])
    _add_turns(api, read)
    documents.add(api, read)
    comparison_routes.add(api, read)
    chart_routes.add(api, read, store, book)
    outbox_routes.add(api, read, store, config)
    quarantine_routes.add(api, read, store)
    erasure_routes.add(api, read, store)
    return api


def _add_turns(api: APIRouter, read: Callable[[Callable[[Connection], Any]], Any]) -> None:
    @api.get("/turns", summary="Turns, newest first, with what stands of their feedback")
    def turns(
        trace_id: Text = None, turn_id: Text = None, session: Text = None, prompt_version: Text = None,
        model: Text = None, polarity: Polarity = None, since: Since = None, limit: Limit = 50, cursor: Text = None,
    ) -> dict[str, Any]:
        rows, after = read(lambda conn: reads.list_turns(
            conn, trace_id=trace_id, turn_id=turn_id, session=session, prompt_version=prompt_version, model=model,
            polarity=polarity, since=since, limit=limit, cursor=cursor))
        return {"turns": rows, "cursor": after}

    @api.get("/turns/{turn_id}", summary="One turn with its calls, documents and feedback")
    def turn(turn_id: str) -> dict[str, Any]:
        found = read(lambda conn: reads.get_turn(conn, turn_id))
        if found is None:
            raise Problem(404, "no such turn")
        return found

    @api.get("/feedback", summary="Votes as they stand, newest first")
    def feedback(
        id: Text = None, trace_id: Text = None, span_id: Text = None, turn_id: Text = None, response_id: Text = None,
        conversation_id: Text = None, name: Text = None, polarity: Polarity = None, since: Since = None,
        limit: Limit = 50, cursor: Text = None,
    ) -> dict[str, Any]:
        rows, after = read(lambda conn: reads.list_feedback(
            conn, id=id, trace_id=trace_id, span_id=span_id, turn_id=turn_id, response_id=response_id,
            conversation_id=conversation_id, name=name, polarity=polarity, since=since, limit=limit, cursor=cursor))
        return {"feedback": rows, "cursor": after}

    @api.get("/feedback/{id}", summary="All revisions of one vote, oldest first")
    def revisions(id: str) -> dict[str, Any]:
        found = read(lambda conn: reads.revisions_of(conn, id))
        if not found:
            raise Problem(404, "no such feedback")
        return {"revisions": found}
