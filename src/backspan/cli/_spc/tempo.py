"""The traces behind an alert: a TraceQL query, and what a Tempo finds for it."""

from __future__ import annotations

import json
from typing import Any

from backspan import semconv
from backspan.cli._spc.history import Cohort
from backspan.cli._spc.http import Api, mapping
from backspan.rules.spec import Chart

MOST = 5
_MOST_VOTES = 200
"""Bad events that are asked for: each vote is a trace of its own, and many may be about one answer."""


def traceql(chart: Chart, cohort: Cohort) -> str:
    """TraceQL for the bad events of a cohort; "" where the chart's events leave no spans."""
    spans = chart.watched.spans
    if not spans:
        return ""
    said = [f"{_scope(key)}.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in cohort[1]]
    return f"{{ {' && '.join([spans, *said])} }}"


def _scope(key: str) -> str:
    return "resource" if key in semconv.PROMOTED else "span"


def trace_ids(api: Api, query: str, start: float, end: float) -> list[str]:
    """Ids of the traces that were judged (or that hold the bad spans), newest first. Raises `Fault`."""
    asked = f"{query} | select(span.{semconv.FEEDBACK_TRACE_ID})"
    found = mapping(api.get("/api/search", q=asked, start=int(start), end=int(end) + 1, limit=_MOST_VOTES))
    ids: list[str] = []
    for trace in sorted(found.get("traces") or (), key=_began, reverse=True):
        judged = [value for span in _spans(trace) for value in _values(span, semconv.FEEDBACK_TRACE_ID)]
        ids += judged or [str(trace["traceID"]).zfill(32)]
    return list(dict.fromkeys(ids))[:MOST]


def _began(trace: Any) -> int:
    return int(mapping(trace).get("startTimeUnixNano") or 0)


def _spans(trace: Any) -> list[dict[str, Any]]:
    sets: list[Any] = trace.get("spanSets") or [trace.get("spanSet")]
    return [mapping(span) for one in sets for span in mapping(one).get("spans") or ()]


def _values(span: dict[str, Any], key: str) -> list[str]:
    return [str(next(iter(mapping(a["value"]).values()))) for a in span.get("attributes") or () if a["key"] == key]
