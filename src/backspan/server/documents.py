"""Votes by document: ``GET /api/documents``, and gauges for the worst ones.

Ids of documents are without bound, and so are never labels of counters. The gauges show at most `SHOWN` documents by
each of two orders, and are read again at most once in `PAUSE` seconds.
"""

from __future__ import annotations

import asyncio
import re
import time
from asyncio import Task
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from sqlalchemy import Connection

from backspan import semconv
from backspan._guard import guarded
from backspan.context import pseudonym
from backspan.redact import redact
from backspan.store import Store, documents
from backspan.store.retention import DAY

WINDOW = 7 * DAY
"""Seconds that the gauges look back, and the API unless it is told otherwise."""
SHOWN = 20
"""Documents with gauges, by each order: the most negative votes, the most bad answers beyond what is expected."""
PAUSE = 60.0
"""Least seconds from one reading to the next; a reading that is slow makes it longer (`_SHARE_OF_TIME`)."""
MOST_LABEL = 80
"""Characters of a document's id as a label."""
_SHARE_OF_TIME = 0.02
_PATIENCE = 0.5
"""Seconds that a scrape waits for a reading; its client gives up after two."""
_HASHED = 16
_PLAIN = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]{1,8}")
"""Ids that hold no personal data, though a UUID may look like the number of something."""

Read = Callable[[Callable[[Connection], Any]], Any]
Text = Annotated[str | None, Query(max_length=1024)]
Moment = Annotated[float | None, Query(ge=0, description="Unix seconds")]
Source = Literal["end_user", "implicit", "evaluator", "reviewer", "outcome", "operator", "any"]
Order = Annotated[documents.Order, Query(description=(
    "negative: most negative votes first; excess: most bad answers beyond what the share of the others predicts"))]


def add(api: APIRouter, read: Read) -> None:
    """Add the route."""

    @api.get("/documents", summary="Votes by the document that the judged answers rest on, worst first")
    def worst(
        since: Moment = None, until: Moment = None, source: Source = semconv.END_USER, index: Text = None,
        version: Text = None, document: Text = None, order: Order = documents.NEGATIVE,
        limit: Annotated[int, Query(ge=1, le=100)] = 20, cursor: Annotated[str | None, Query(max_length=64)] = None,
        centred: Annotated[bool, Query(description="Also without the habits of those who voted")] = False,
    ) -> dict[str, Any]:
        asked = documents.Asked(
            time.time() - WINDOW if since is None else since, until, source, index, version, document, order)
        return read(lambda conn: documents.page(conn, asked, limit, cursor, centred=centred))


# --- gauges ---------------------------------------------------------------------------------------------------------
class Gauges:
    """What is known of the worst documents, read in a thread now and then: a scrape shows what was read last."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._rows: Sequence[Mapping[str, Any]] = ()
        self._due = 0.0
        self._reading: Task[None] | None = None

    async def rows(self) -> Sequence[Mapping[str, Any]]:
        """Documents as `backspan.store.documents.top` gives them."""
        if self._reading is None and time.monotonic() >= self._due:
            self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        if self._reading is not None:
            done, _ = await asyncio.wait({self._reading}, timeout=_PATIENCE)
            if done:
                self._reading = None
        return self._rows

    def _read(self) -> None:
        started = time.monotonic()
        self._due = started + PAUSE
        self._take()
        now = time.monotonic()
        self._due = max(self._due, now + (now - started) / _SHARE_OF_TIME)

    @guarded
    def _take(self) -> None:
        with self._store.reading() as conn:
            self._rows = documents.top(conn, self._clock() - WINDOW, SHOWN)


def families(rows: Iterable[Mapping[str, Any]], instance: str) -> Iterable[Metric]:
    """The gauges of ``rows``; none without rows."""
    given = [(_labels(row, instance), row) for row in rows]
    if not given:
        return
    names = list(given[0][0])
    yield _gauge(semconv.PROM_DOCUMENT_VOTES, "Votes of users on the answers that rest on a document, in 7 days",
                 [*names, semconv.LABEL_POLARITY], _each(given, "votes"))
    yield _gauge(semconv.PROM_DOCUMENT_JUDGED, "Judged answers that rest on a document, in 7 days", names,
                 (([*labels.values()], row["judged"]) for labels, row in given))
    for metric, key, doc in ((semconv.PROM_DOCUMENT_SHARE, "share", "Share of bad ones among them"),
                             (semconv.PROM_DOCUMENT_LIFT, "lift", "That share, by the one of answers without it")):
        yield _gauge(metric, doc, [*names, semconv.LABEL_STAT], _each(given, key))


def _each(given: Iterable[tuple[dict[str, str], Mapping[str, Any]]], key: str) -> Iterable[tuple[list[str], float]]:
    """One sample per entry of a document's mapping ``key``; none where there is no mapping, or no number."""
    for labels, row in given:
        said: Mapping[str, float | None] = row[key] or {}
        for name, value in said.items():
            if value is not None:
                yield [*labels.values(), name], value


def _gauge(name: str, doc: str, labels: Sequence[str], samples: Iterable[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, doc, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _labels(row: Mapping[str, Any], instance: str) -> dict[str, str]:
    return {
        semconv.PROM_SERVICE: row["service"], semconv.PROM_ENVIRONMENT: row["environment"],
        semconv.prometheus_label(semconv.INDEX_NAME): label_of(row["index_name"]),
        semconv.prometheus_label(semconv.INDEX_VERSION): label_of(row["index_version"]),
        semconv.LABEL_DOCUMENT: label_of(row["document"]), "instance": instance,
    }


def label_of(id: str) -> str:
    """An id as a label: redacted and cut; where that changed it, a keyed hash keeps it apart from others."""
    if not id or _PLAIN.fullmatch(id):
        return id
    masked = redact(id)
    if masked == id and len(id) <= MOST_LABEL:
        return id
    return f"{masked[:MOST_LABEL - _HASHED - 1]}~{pseudonym(id)[:_HASHED]}"
