"""``/api/charts``, ``/api/alerts``, ``/api/canaries`` and ``/api/explain``: the charts as JSON."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection

from backspan.rules.spec import Chart
from backspan.server import bodies
from backspan.server.charts import ChartBook, baselines, canary, explain, history, views
from backspan.server.charts.meter import Meter
from backspan.server.problems import Problem, busy
from backspan.store import Busy, Store, charts

Json = dict[str, Any]
Read = Callable[[Callable[[Connection], Any]], Any]
At = Annotated[float | None, Query(ge=0, le=1e11, description="Unix seconds")]
Width = Annotated[int | None, Query(ge=1, le=30 * 86400, description="Seconds; default: the chart's window")]
_DAY = 86400.0
_WEEK = 7 * _DAY
_MOST_BODY = 2_000_000


def add(api: APIRouter, read: Read, store: Store, book: ChartBook | None) -> None:
    """Add the routes. Without a ``book`` Prometheus evaluates the charts, and there is little to say here."""
    _add_overview(api, read, book)
    _add_evidence(api, read, book)
    _add_baselines(api, read, store, book)


def known(book: ChartBook | None, name: str) -> tuple[ChartBook, Chart]:
    """The chart of that name. Raises `Problem` 404."""
    if book is None or name not in book.charts:
        raise Problem(404, "no such chart")
    return book, book.charts[name]


def counted(book: ChartBook | None, name: str) -> tuple[ChartBook, Chart, Meter]:
    """The chart of that name and how it is counted. Raises `Problem` 404 or, if it is not evaluated here, 409."""
    book, chart = known(book, name)
    if name not in book.meters:
        raise Problem(409, f"not evaluated here: {book.why[name]}")
    return book, chart, book.meters[name]


def _add_overview(api: APIRouter, read: Read, book: ChartBook | None) -> None:
    evaluated_by = "prometheus" if book is None else "backspan"

    @api.get("/charts", summary="Control charts and where each cohort stands")
    def list_charts() -> Json:
        shown: Json = {"charts": [], "canaries": [], "limits": []}
        if book is not None:
            known_book = book
            shown = read(lambda conn: views.overview(conn, known_book, time.time()))
        return {"evaluated_by": evaluated_by, **shown}

    @api.get("/charts/{name}", summary="One control chart: points, limits, statistic, alarms")
    def get_chart(name: str) -> Json:
        found, chart = known(book, name)
        return read(lambda conn: views.detail(conn, found, chart, time.time()))

    @api.get("/alerts", summary="Alerts, newest first")
    def list_alerts() -> Json:
        return {"evaluated_by": evaluated_by, "alerts": [] if book is None else read(views.alerts)}

    @api.get("/canaries", summary="Variants against their control: verdict, interval, evidence")
    def list_canaries() -> Json:
        asked = book.spec.canaries if book is not None else ()
        found = [read(lambda conn, one=one: canary.verdicts(conn, one, time.time())) for one in asked]
        return {"evaluated_by": evaluated_by, "canaries": found}


def _add_evidence(api: APIRouter, read: Read, book: ChartBook | None) -> None:
    @api.get("/charts/{name}/windows", summary="Counts per cohort and window, from the rows that are kept")
    def list_windows(name: str, width: Width = None, since: At = None, until: At = None) -> Json:
        _, chart, meter = counted(book, name)
        end = time.time() if until is None else until
        start, step = end - _WEEK if since is None else since, width or chart.window
        if start >= end:
            raise Problem(422, "since: must be before until", field="since")
        if (end - start) / step > history.MOST_WINDOWS:
            raise Problem(422, f"width: gives more than {history.MOST_WINDOWS} windows", field="width")
        return {"width": step, "windows": read(lambda conn: history.windows(conn, meter, start, end, step))}

    @api.get("/explain", summary="The facts behind an alert, with counts")
    def get_explanation(alert: Annotated[int, Query(ge=1, le=2**62)]) -> Json:
        row = None if book is None else read(lambda conn: charts.get_alert(conn, alert))
        if row is None:
            raise Problem(404, "no such alert")
        _, chart, _ = counted(book, row["chart"])
        return read(lambda conn: explain.explain(conn, chart, row, time.time()))


def _add_baselines(api: APIRouter, read: Read, store: Store, book: ChartBook | None) -> None:
    @api.get("/charts/{name}/baselines", summary="Baselines that a person set")
    def list_baselines(name: str) -> Json:
        _, chart, _ = counted(book, name)
        return {"baselines": read(lambda conn: baselines.listed(conn, chart))}

    @api.put("/charts/{name}/baselines", summary="Set baselines, by cohort; evidence against the old ones ends")
    async def set_baselines(name: str, request: Request) -> Json:
        found, chart, _ = counted(book, name)
        rows = baselines.checked(chart, await bodies.read(request, _MOST_BODY))

        def write(conn: Connection) -> list[Json]:
            found.set_baselines(conn, chart, rows, time.time())
            return baselines.listed(conn, chart)

        try:
            return {"baselines": await asyncio.wrap_future(store.write(write))}
        except Busy:
            raise busy() from None
