"""``/api``: turns, feedback, charts and alerts as JSON, for pages and programs on this machine or with the API key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection

from backspan.server import trust
from backspan.server.config import ServerConfig
from backspan.server.problems import Problem
from backspan.server.spc import ChartBook
from backspan.store import Store, reads

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="Rows per page")]
Since = Annotated[float | None, Query(ge=0, description="Unix seconds")]
Polarity = Literal["negative", "neutral", "positive"] | None
Text = Annotated[str | None, Query(max_length=512)]


def router(store: Store, config: ServerConfig, book: ChartBook | None) -> APIRouter:
    """The routes of the query API. ``book`` is None where the charts are evaluated by Prometheus."""

    def allowed(request: Request) -> None:
        trust.require(request, config)

    def read(query: Callable[[Connection], Any]) -> Any:
        with store.reading() as conn:
            try:
                return query(conn)
            except reads.BadCursor as error:
                raise Problem(422, f"cursor: {error}", field="cursor") from None

    api = APIRouter(prefix="/api", dependencies=[Depends(allowed)])
    _add_turns(api, read)
    _add_charts(api, read, book)
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


def _add_charts(
    api: APIRouter, read: Callable[[Callable[[Connection], Any]], Any], book: ChartBook | None
) -> None:
    evaluated_by = "prometheus" if book is None else "backspan"
    known = {} if book is None else book.charts

    @api.get("/charts", summary="Control charts and where each cohort stands")
    def charts() -> dict[str, Any]:
        shown: list[dict[str, Any]] = [] if book is None else read(book.summaries)
        return {"evaluated_by": evaluated_by, "charts": shown}

    @api.get("/charts/{name}", summary="One control chart: points, limits, statistic, alarms")
    def chart(name: str) -> dict[str, Any]:
        if book is None or name not in known:
            raise Problem(404, "no such chart")
        detail = book.detail
        return read(lambda conn: detail(conn, known[name]))

    @api.get("/alerts", summary="Alerts, newest first")
    def alerts() -> dict[str, Any]:
        return {"evaluated_by": evaluated_by, "alerts": [] if book is None else read(book.alerts)}
