"""Asking the real programs. Every `find_...` waits up to a bound for what it looks for, and raises `NotFound`."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from backspan.cli._stack.plan import Ports

T = TypeVar("T")
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
WAIT_S = 90.0
"""Longest wait for what must come: Tempo's search sees a new span after about ten seconds."""
ABSENT_S = 15.0
"""How long a twin waits for what must not come: longer than the same thing takes when it does come."""


class NotFound(AssertionError):
    """What was looked for did not come in time."""


def until(look: Callable[[], T | None], what: str, seconds: float = WAIT_S) -> T:
    """The first result of ``look`` that is not None. Who does not answer, or not to the end, shows nothing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except (OSError, http.client.HTTPException):
            found = None
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise NotFound(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.25)


def get(port: int, path: str, **query: str) -> Any:
    """JSON that the program on ``port`` answers."""
    parameters = f"?{urllib.parse.urlencode(query)}" if query else ""
    with _LOCAL.open(f"http://127.0.0.1:{port}{path}{parameters}", timeout=30) as response:
        return json.load(response)


def post(port: int, path: str, body: object, method: str = "POST") -> tuple[int, Any]:
    """Status and JSON of the answer to a JSON body. Raises HTTPError for a refusal."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    with _LOCAL.open(request, timeout=30) as response:
        return response.status, json.load(response)


@dataclass(frozen=True)
class Backend:
    """The programs of one stack, as somebody with a browser sees them."""

    ports: Ports

    def turns(self) -> dict[str, dict[str, Any]]:
        """Newest turns of the gateway, by id."""
        return {turn["turn_id"]: turn for turn in get(self.ports.gateway, "/api/turns")["turns"]}

    def find_turn(self, response_id: str, seconds: float = WAIT_S) -> dict[str, Any]:
        """The gateway's turn of an answer."""

        def look() -> dict[str, Any] | None:
            return next((turn for turn in self.turns().values() if turn["response_id"] == response_id), None)

        return until(look, f"turn of {response_id}", seconds)

    def vote(self, turn: dict[str, Any], thumbs: str, rater: str = "one") -> str:
        """Judge a turn over HTTP; the status that the gateway answers."""
        target = {"trace_id": turn["trace_id"], "span_id": turn["span_id"]}
        body = {"target": target, "thumbs": thumbs, "rater": rater}
        return post(self.ports.gateway, "/v1/feedback", body)[1]["status"]

    def find_trace(self, trace_id: str, seconds: float = WAIT_S) -> list[dict[str, Any]]:
        """Spans of a trace in Tempo."""

        def look() -> list[dict[str, Any]] | None:
            found = get(self.ports.tempo, f"/api/v2/traces/{trace_id}")
            batches = found.get("trace", {}).get("resourceSpans", [])
            return [s for batch in batches for scope in batch["scopeSpans"] for s in scope["spans"]] or None

        return until(look, f"trace {trace_id}", seconds)

    def search(self, traceql: str) -> list[dict[str, Any]]:
        """Spans that a TraceQL query finds: their attributes by key."""
        traces = get(self.ports.tempo, "/api/search", q=traceql)["traces"]
        spans = [span for trace in traces for found in trace["spanSets"] for span in found["spans"]]
        return [{a["key"]: next(iter(a["value"].values())) for a in span.get("attributes", [])} for span in spans]

    def find_vote(self, trace_id: str, seconds: float = WAIT_S) -> list[dict[str, Any]]:
        """Feedback spans that link to a trace. Tempo compares a link's trace id without leading zeros."""
        selected = "event.gen_ai.evaluation.name, event.gen_ai.evaluation.score.value, link:spanID"
        traceql = f'{{ link:traceID = "{trace_id.lstrip("0")}" }} | select({selected})'
        return until(lambda: self.search(traceql) or None, f"vote on {trace_id}", seconds)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Series of an instant query."""
        return get(self.ports.prometheus, "/api/v1/query", query=promql)["data"]["result"]

    def find_value(self, promql: str, value: float, seconds: float = WAIT_S) -> None:
        """Wait until a query has this one value."""

        def look() -> bool | None:
            return [float(one["value"][1]) for one in self.query(promql)] == [value] or None

        until(look, f"{promql} == {value}", seconds)

    def find_exemplar(self, selector: str, trace_id: str, seconds: float = WAIT_S) -> dict[str, str]:
        """Labels of the exemplar of ``selector``'s series that names a trace."""

        def look() -> dict[str, str] | None:
            span = {"start": str(time.time() - 3600), "end": str(time.time() + 60)}
            data = get(self.ports.prometheus, "/api/v1/query_exemplars", query=selector, **span)["data"]
            found = [exemplar["labels"] for series in data for exemplar in series["exemplars"]]
            return next((labels for labels in found if labels.get("trace_id") == trace_id), None)

        return until(look, f"exemplar of {trace_id} on {selector}", seconds)


def thumbs_of(source: str) -> str:
    """Selector of the negative first thumbs that ``source`` counts: an instance, or labels of the cohort."""
    return f'backspan_feedback_total{{name="user_thumbs",polarity="negative",op="add",age="le_1h",{source}}}'
