"""Senders that never give up: calls to the Collector, votes to the gateway, and what was accepted of both.

A sender repeats the same bytes until it is told that they were accepted, as the protocol of each asks. So "accepted" is
exact, and what is repeated has the same ids. Everything follows from the seed but the moments.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backspan import semconv

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PATIENCE_S = 90.0
"""How long one request is repeated before the drill is given up."""
BATCH, PAUSE_S = 4, 0.25
COUNT_EVERY_S = 1.0
_PAUSE_AFTER_ERROR_S = 0.2


class GivenUp(AssertionError):
    """A request was refused for longer than anything in these tests may last."""


@dataclass(frozen=True)
class Call:
    """A call to a model that the Collector accepted."""

    trace_id: str
    span_id: str
    accepted_at: float
    """Unix time."""


@dataclass
class Accepted:
    """What must be found afterwards."""

    calls: list[Call] = field(default_factory=list[Call])
    votes: set[str] = field(default_factory=set[str])
    """Ids of feedback."""
    repeated: int = 0
    """Requests that had to be sent again."""


class Load:
    """Two threads between `__enter__` and `__exit__`: calls with content of ``size`` characters, and votes on them."""

    def __init__(self, otlp: int, gateway: int, service: str, seed: int, size: int = 500) -> None:
        self._traces, self._metrics = (f"http://127.0.0.1:{otlp}/v1/{kind}" for kind in ("traces", "metrics"))
        self._feedback = f"http://127.0.0.1:{gateway}/v1/feedback"
        self._service, self._size, self._random = service, size, random.Random(f"{seed} {service}")
        self.accepted = Accepted()
        self._unrated: deque[Call] = deque()
        self._ended = threading.Event()
        self._errors: list[BaseException] = []
        self._began = time.time_ns()
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in (self._calls, self._votes)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self.stop()
        self._ended.set()

    def wait(self, calls: int) -> None:
        """Until so many calls more have been accepted; they take what the machine has to spare. Raises GivenUp."""
        wanted, end = len(self.accepted.calls) + calls, time.monotonic() + PATIENCE_S
        while len(self.accepted.calls) < wanted:
            if self._errors or time.monotonic() > end:
                raise GivenUp(f"no {calls} calls more were accepted") from next(iter(self._errors), None)
            time.sleep(PAUSE_S)

    def stop(self) -> None:
        """Send no more; returns when all that was begun is accepted. Raises what went wrong in a thread."""
        self._ended.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
        if self._errors:
            raise self._errors[0]

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- raised again where the load is left
            self._errors.append(error)

    def _calls(self) -> None:
        counted = 0.0
        while not self._ended.wait(PAUSE_S):
            self._send_calls()
            if time.monotonic() - counted > COUNT_EVERY_S:
                self._count()
                counted = time.monotonic()
        self._count()

    def _send_calls(self) -> None:
        ids = [(f"{self._random.getrandbits(128):032x}", f"{self._random.getrandbits(64):016x}") for _ in range(BATCH)]
        self._until_accepted(self._traces, traces(self._service, ids, self._size))
        calls = [Call(*pair, accepted_at=time.time()) for pair in ids]
        self.accepted.calls += calls
        self._unrated.extend(calls[::2])

    def _count(self) -> None:
        """The application's own counter, cumulative: what its last export says is what it counted."""
        self._until_accepted(self._metrics, answers(self._service, self._began, len(self.accepted.calls)))

    def _votes(self) -> None:
        while not self._ended.is_set() or self._unrated:
            if not self._unrated:
                time.sleep(PAUSE_S)
                continue
            call = self._unrated.popleft()
            target = {"trace_id": call.trace_id, "span_id": call.span_id}
            vote = {"target": target, "name": vote_name(self._service), "value": False, "rater": "one"}
            said = self._until_accepted(self._feedback, vote)
            self.accepted.votes.add(said["id"])

    def _until_accepted(self, url: str, body: object) -> Any:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return post(url, body)
            except OSError as error:  # refused, cut, timed out, or an answer that is no 2xx
                if time.monotonic() > end:
                    raise GivenUp(f"{url}: {error}") from error
            self.accepted.repeated += 1
            time.sleep(_PAUSE_AFTER_ERROR_S)


def vote_name(service: str) -> str:
    """What the votes of one load are called, so that nobody else's are counted with them."""
    return f"user_{re.sub(r'[^a-z0-9]', '_', service.lower())}"


def post(url: str, body: object, seconds: float = 5) -> Any:
    """JSON of the answer. Raises OSError (URLError, HTTPError, TimeoutError) if there is none, or no good one."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with _OPENER.open(request, timeout=seconds) as response:
            return json.load(response)
    except http.client.HTTPException as error:  # who answers was killed in the middle of it
        raise OSError(f"an answer that is not whole: {error!r}") from error


# --- OTLP as JSON ---------------------------------------------------------------------------------------------------
def traces(service: str, ids: list[tuple[str, str]], size: int) -> dict[str, Any]:
    """One request with a chat call for each (trace id, span id)."""
    spans = [_span(*pair, size) for pair in ids]
    return {"resourceSpans": [{"resource": _resource(service), "scopeSpans": [{"spans": spans}]}]}


def answers(service: str, began: int, count: int) -> dict[str, Any]:
    """The counter of answers, cumulative since ``began`` (Unix nanoseconds)."""
    point = {"startTimeUnixNano": str(began), "timeUnixNano": str(time.time_ns()), "asInt": str(count)}
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}
    metric = {"name": semconv.ANSWERS, "unit": "{answer}", "sum": total}
    return {"resourceMetrics": [{"resource": _resource(service), "scopeMetrics": [{"metrics": [metric]}]}]}


def _resource(service: str) -> dict[str, Any]:
    return {"attributes": _attributes({"service.name": service, "service.instance.id": f"{service}-1"})}


def _span(trace_id: str, span_id: str, size: int) -> dict[str, Any]:
    said = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * size}]}])
    attributes = {
        semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "gpt-test", semconv.RESPONSE_ID: f"r-{trace_id}",
        semconv.PROMPT_NAME: "support", semconv.PROMPT_VERSION: "1", semconv.INPUT_MESSAGES: said,
    }
    now = time.time_ns()
    return {
        "traceId": trace_id, "spanId": span_id, "name": "chat gpt-test", "kind": 3,
        "startTimeUnixNano": str(now - 10**8), "endTimeUnixNano": str(now), "attributes": _attributes(attributes),
    }


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
