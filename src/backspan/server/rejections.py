"""How many judgements, signals and outcomes were refused, and why: a few words, never what was sent.

The counts are those of this process, since it started. They carry no ``instance``: Prometheus adds its own, and the sum
over the replicas of a gateway is what they refused together.
"""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily

from backspan import semconv
from backspan.server.problems import Problem

JUDGED = ("/v1/feedback", "/v1/signals", "/v1/outcomes")
"""Paths whose refusals are counted, and whose callers are limited."""
_BY_STATUS = {400: "schema", 401: "token", 403: "origin", 409: "idempotency", 413: "size", 415: "schema",
              422: "schema", 429: "rate"}


class Rejections:
    """The counter `semconv.FEEDBACK_REJECTED`."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(map(str, semconv.REJECTIONS), 0)

    def count(self, path: str, problem: Problem) -> None:
        """Count ``problem`` if it refuses what came to one of `JUDGED`; faults and a full queue are no refusals."""
        word = reason_of(problem)
        if word is not None and path.startswith(JUDGED):
            self._counts[word] += 1

    def family(self) -> Metric:
        """All reasons, those that were never met at 0."""
        name = semconv.PROM_FEEDBACK_REJECTED
        found = CounterMetricFamily(name.removesuffix("_total"), "Judgements, signals and outcomes refused",
                                    labels=[semconv.LABEL_REASON])
        for word, count in self._counts.items():
            found.add_metric([word], count)
        return found


def reason_of(problem: Problem) -> str | None:
    """One of `semconv.REJECTIONS`, or None for what is not the caller's doing (or no such resource)."""
    if problem.reason is not None:
        return problem.reason
    return "name" if problem.status == 422 and problem.field == "name" else _BY_STATUS.get(problem.status)
