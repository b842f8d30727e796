"""``GET /api/comparison``: votes side by side, raw and without the habits of those who cast them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from backspan import semconv
from backspan.store import comparison
from backspan.store.retention import DAY

Read = Callable[[Callable[[Connection], Any]], Any]
Text = Annotated[str | None, Query(max_length=512)]
Moment = Annotated[float | None, Query(ge=0, description="Unix seconds")]
WINDOW = 7 * DAY
"""Seconds that are looked back, unless the question says otherwise."""


def add(api: APIRouter, read: Read) -> None:
    """Add the route."""

    @api.get("/comparison", summary="Votes of users by variant, version, model, ...: raw, and centred per rater")
    def compare(
        since: Moment = None, until: Moment = None, by: comparison.By = "variant", control: Text = None,
        name: Annotated[str, Query(max_length=64)] = semconv.USER_THUMBS,
        measure: Annotated[comparison.Measure, Query(description=(
            "negative: share of negative votes; value: mean value"))] = comparison.NEGATIVE,
        prompt: Annotated[str | None, Query(max_length=512, description="Only answers of this prompt")] = None,
    ) -> dict[str, Any]:
        start = time.time() - WINDOW if since is None else since
        wanted = comparison.Wanted(start, until, name, by, control, measure, prompt)
        return read(lambda conn: comparison.sides(conn, wanted))
