"""Baselines that a person sets: read, checked, merged by cohort."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, cast

from sqlalchemy import Connection

from backspan.rules.spec import Chart
from backspan.server.charts.meter import cohort_key, cohort_of, known_partitions
from backspan.server.problems import Problem
from backspan.spc.phases import FROZEN, REBASED
from backspan.store import charts

_MOST = 10_000
_MOST_TEXT = 2000
_KEYS = {"partition", "labels", "p0", "phi", "phase", "reason", "excluded"}
Json = dict[str, Any]


def listed(conn: Connection, chart: Chart) -> list[Json]:
    """The baselines that stand by a person's hand."""
    return [
        {**cohort_of(row["cohort"]), "p0": row["p0"], "phi": row["phi"], "phase": row["phase"], "reason": row["reason"],
         "excluded": row["excluded"] or [], "time": row["time"]}
        for row in charts.list_baselines(conn, chart.name).values()
    ]


def checked(chart: Chart, body: bytes) -> list[Json]:
    """Rows of the baselines in a request's body.

    Raises:
        Problem: 400 for what is not JSON, 422 with the field at fault for anything that cannot be a baseline.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    items = cast("Json", said).get("baselines") if isinstance(said, dict) else None
    if not isinstance(items, list):
        raise Problem(422, "an object with a list under `baselines` is needed", field="baselines")
    given = cast("list[Any]", items)
    if len(given) > _MOST:
        raise Problem(422, f"{_MOST} baselines at most", field="baselines")
    rows = [_row(chart, item, f"baselines[{i}]") for i, item in enumerate(given)]
    if len({row["cohort"] for row in rows}) < len(rows):
        raise Problem(422, "a cohort is named twice", field="baselines")
    return rows


def _row(chart: Chart, item: object, path: str) -> Json:
    if not isinstance(item, dict):
        raise Problem(422, "a baseline is an object", field=path)
    said = cast("Json", item)
    unknown = sorted(set(said) - _KEYS - {"time"})
    if unknown:
        raise Problem(422, f"unknown: {', '.join(unknown)[:80]}", field=path)
    phase, reason = said.get("phase", FROZEN), said.get("reason", "")
    if phase not in (FROZEN, REBASED):
        raise Problem(422, f"must be {FROZEN} or {REBASED}", field=f"{path}.phase")
    if not isinstance(reason, str) or len(reason) > _MOST_TEXT:
        raise Problem(422, f"must be text of {_MOST_TEXT} characters at most", field=f"{path}.reason")
    if phase == REBASED and not reason.strip():
        raise Problem(422, "accepting a new level needs a reason", field=f"{path}.reason")
    return {"cohort": _cohort(chart, said, path), "p0": _p0(chart, said, path), "phi": _phi(said, path),
            "phase": phase, "reason": reason, "excluded": _excluded(said, path)}


def _cohort(chart: Chart, said: Mapping[str, Any], path: str) -> str:
    partitions = known_partitions(chart)
    partition = partitions.get(str(said.get("partition")))
    if partition is None:
        raise Problem(422, f"must be one of {', '.join(partitions)}", field=f"{path}.partition")
    labels = said.get("labels")
    if not isinstance(labels, dict) or set(cast("Json", labels)) != set(partition.by):
        raise Problem(422, f"must give a value for each of {', '.join(partition.by)}", field=f"{path}.labels")
    values = cast("dict[str, Any]", labels)
    if not all(isinstance(value, str) and len(value) <= _MOST_TEXT for value in values.values()):
        raise Problem(422, "values must be text", field=f"{path}.labels")
    return cohort_key(partition, values)


def _number(said: Mapping[str, Any], key: str, path: str, default: float | None = None) -> float:
    value = said.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Problem(422, "must be a number", field=f"{path}.{key}")
    return float(value)


def _p0(chart: Chart, said: Mapping[str, Any], path: str) -> float:
    p0 = _number(said, "p0", path)
    try:
        chart.model.check(p0)
    except ValueError as error:
        raise Problem(422, str(error).rpartition(", got")[0], field=f"{path}.p0") from None
    return p0


def _phi(said: Mapping[str, Any], path: str) -> float:
    phi = _number(said, "phi", path, 1.0)
    if not 1.0 <= phi <= 1e9:
        raise Problem(422, "must be at least 1", field=f"{path}.phi")
    return phi


def _excluded(said: Mapping[str, Any], path: str) -> list[Json]:
    """Windows that were left out of the fit, each with its start and the reason."""
    given = said.get("excluded", [])
    if not isinstance(given, list) or len(cast("list[Any]", given)) > _MOST:
        raise Problem(422, f"must be a list of {_MOST} at most", field=f"{path}.excluded")
    rows: list[Json] = []
    for item in cast("list[Any]", given):
        row = cast("Json", item) if isinstance(item, dict) else {}
        reason = row.get("reason")
        if not isinstance(reason, str) or not reason.strip() or len(reason) > _MOST_TEXT:
            raise Problem(422, "a window that is left out needs a reason", field=f"{path}.excluded")
        rows.append({"start": _number(row, "start", f"{path}.excluded"), "reason": reason})
    return rows
