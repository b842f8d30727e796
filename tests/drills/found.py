"""What of a load has arrived: the same questions that a person would ask Tempo, Prometheus and the gateway."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.drills.load import Accepted, Call, vote_name
from tests.stack.backend import Backend, NotFound, get, until

from backspan import semconv

SETTLE_S = 240.0
"""How long queues may take to empty once everything runs again; on a busy machine one look takes a minute."""


def missing_traces(backend: Backend, calls: Iterable[Call]) -> list[Call]:
    """Calls whose trace Tempo does not find by its id."""
    with ThreadPoolExecutor(4) as pool:
        wanted = list(calls)
        return [call for call, there in zip(wanted, pool.map(lambda c: _in_tempo(backend, c), wanted), strict=True)
                if not there]


def _in_tempo(backend: Backend, call: Call) -> bool:
    try:
        return bool(get(backend.ports.tempo, f"/api/v2/traces/{call.trace_id}").get("trace"))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 404:
            raise
        return False


def missing_turns(backend: Backend, service: str, calls: Iterable[Call]) -> set[str]:
    """Trace ids of calls that the gateway does not keep."""
    there = {turn["trace_id"] for turn in pages(backend, "turns") if turn["service"] == service}
    return {call.trace_id for call in calls} - there


def missing_votes(backend: Backend, accepted: Accepted) -> set[str]:
    """Ids of feedback that the gateway does not keep."""
    return accepted.votes - {vote["id"] for vote in pages(backend, "feedback")}


def missing_vote_spans(backend: Backend, service: str, accepted: Accepted) -> set[str]:
    """Ids of feedback that Tempo does not find by a search."""
    votes = f'{{ name = "evaluation {vote_name(service)}" }} | select(span.{semconv.FEEDBACK_ID})'
    query = {"q": votes, "limit": "100000", "spss": "100"}
    traces = get(backend.ports.tempo, "/api/search", **query)["traces"]
    spans = [span for trace in traces for found in trace["spanSets"] for span in found["spans"]]
    there = {next(iter(a["value"].values())) for span in spans for a in span["attributes"]
             if a["key"] == semconv.FEEDBACK_ID}
    return accepted.votes - there


def counted(backend: Backend, promql: str) -> float:
    """Value of a query that gives one number; 0 if it gives none."""
    found = backend.query(promql)
    return float(found[0]["value"][1]) if found else 0.0


def votes_counted(backend: Backend, service: str) -> float:
    """First votes of one load that Prometheus has of the gateway."""
    votes = f'instance="gateway",name="{vote_name(service)}",op="add"'
    return counted(backend, f"sum({semconv.PROM_FEEDBACK}{{{votes}}})")


def answers_counted(backend: Backend, service: str) -> float:
    """Answers that Prometheus has of one service's own counter."""
    # Prometheus shows what has ended for five minutes, and on a busy machine a look may begin after them.
    own = f'{semconv.PROM_ANSWERS}{{service_name="{service}",instance!="gateway"}}'
    return counted(backend, f"sum(last_over_time({own}[1h]))")


def pages(backend: Backend, what: str) -> Iterable[dict[str, Any]]:
    """All ``turns`` of the gateway, or all its ``feedback``, newest first."""
    cursor: dict[str, str] = {}
    while True:
        page = get(backend.ports.gateway, f"/api/{what}", limit="500", **cursor)
        yield from page[what]
        if page["cursor"] is None:
            return
        cursor = {"cursor": page["cursor"]}


def settled(backend: Backend, service: str, accepted: Accepted, but: Set[str] = frozenset()) -> dict[str, Any]:
    """What is still missing when nothing is, or when `SETTLE_S` have passed: by kind, empty if it all arrived.

    The kinds in ``but`` are not asked for. Raises NotFound if not one look came to its end.
    """
    last: list[dict[str, Any]] = []

    def look() -> bool | None:
        found = lacking(backend, service, accepted)
        last.append({what: missing for what, missing in found.items() if what not in but})
        return None if last[-1] else True

    try:
        until(look, "everything that was accepted", SETTLE_S)
    except NotFound:
        if not last:
            raise
    return last[-1]


def lacking(backend: Backend, service: str, accepted: Accepted) -> dict[str, Any]:
    """What is missing, or counted wrongly, at this moment: by kind, empty if nothing is."""
    found: dict[str, Any] = {
        "traces": missing_traces(backend, accepted.calls),
        "turns": missing_turns(backend, service, accepted.calls),
        "votes": missing_votes(backend, accepted),
        "spans of votes": missing_vote_spans(backend, service, accepted),
    }
    # Last: where a look at every trace takes as long as queues may, what it began with is no longer so.
    votes, answers = votes_counted(backend, service), answers_counted(backend, service)
    found |= {
        "votes counted": [] if votes == len(accepted.votes) else [votes, len(accepted.votes)],
        "answers counted": [] if answers == len(accepted.calls) else [answers, len(accepted.calls)],
    }
    return {what: missing for what, missing in found.items() if missing}
