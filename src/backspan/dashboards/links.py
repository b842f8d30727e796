"""Links that a dashboard carries: to other dashboards, and into Explore with a query that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from backspan import semconv

OVERVIEW, FEEDBACK, CHARTS, RETRIEVAL = "backspan-overview", "backspan-feedback", "backspan", "backspan-retrieval"
COHORTS, QUALITY, CONVERSATION = "backspan-cohorts", "backspan-quality", "backspan-conversation"
"""UIDs. The control charts have the one that alerts link to (`backspan.rules.links`)."""
KEPT = "${service:queryparam}&${environment:queryparam}&${prompt:queryparam}&${version:queryparam}"
"""The reader's choice of cohort, carried on."""

_MARK = "\0"
_VALUE = "${__value.raw}"
_DOCUMENT = (f'{{ span.{semconv.FEEDBACK_POLARITY} = "{semconv.NEGATIVE}"'
             f' && span.{semconv.RETRIEVAL_DOCUMENT_IDS} = "{_MARK}" }}')
_TRACE = f'{{ link:traceID = "{_MARK}" || span.{semconv.FEEDBACK_TRACE_ID} = "{_MARK}" }}'


def dashboard(uid: str, variables: Mapping[str, str] | None = None, *, kept: bool = True) -> str:
    """Another dashboard over the same time; ``variables`` are set to values or to Grafana's own placeholders."""
    said = "".join(f"&var-{name}={value}" for name, value in (variables or {}).items())
    return f"/d/{uid}?${{__url_time_range}}{f'&{KEPT}' if kept else ''}{said}"


def trace(field: str = _VALUE) -> str:
    """Explore with the trace whose id is in ``field``."""
    return _explore(_MARK, field)


def feedback_on(field: str = _VALUE) -> str:
    """Explore with the judgements of the trace whose id is in ``field``: the way that the trace view lacks."""
    return _explore(_TRACE, field)


def bad_feedback_with(field: str = _VALUE) -> str:
    """Explore with the bad judgements of answers that rest on the document whose id is in ``field``."""
    return _explore(_DOCUMENT, field)


def _explore(traceql: str, field: str) -> str:
    """Explore on the traces; Grafana encodes what it puts in for ``field``, all else is encoded here."""
    source = "${tempo}"
    query = {"refId": "A", "datasource": {"type": "tempo", "uid": source}, "queryType": "traceql", "query": traceql}
    panes = {"a": {"datasource": source, "queries": [query], "range": {"from": "now-7d", "to": "now"}}}
    text = json.dumps(panes, separators=(",", ":"), ensure_ascii=False).replace("\\u0000", _MARK)
    encoded = quote(text, safe="").replace(quote(source, safe=""), source)
    return f"/explore?schemaVersion=1&orgId=1&panes={encoded.replace('%00', field)}"
