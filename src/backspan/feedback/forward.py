"""Votes on their way to a gateway: a bounded queue, one thread, endless retries, and losses said aloud.

Posting is idempotent at the gateway, so a vote is sent again until it is answered. Votes leave in the order in which
they were given, because a change must not overtake what it changes.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final, cast
from urllib.parse import urlsplit

from opentelemetry.instrumentation.utils import suppress_instrumentation

from backspan import telemetry
from backspan._guard import guarded, say_once
from backspan.config import settings

MAX_QUEUED: Final = 10_000
MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
TIMEOUT_S: Final = 5.0
"""Most that one attempt takes."""
EXIT_S: Final = 3.0
"""Most that ending the process waits for votes to leave."""
FAILING_EXIT_S: Final = 0.5
"""The same when the last attempt failed."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
PATH: Final = "/v1/feedback"
_MAX_PROBLEM: Final = 65536
_RETRIED: Final = frozenset({408, 425, 429})


@dataclass(frozen=True)
class _Post:
    url: str
    headers: Mapping[str, str]
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, which the gateway answers without writing."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Forwarder:
    """Sends votes to a gateway without making anybody wait.

    Attributes:
        sent: votes that the gateway took.
        lost: votes that it refused, that found the queue full, or that the end of the process left behind.
    """

    def __init__(self, max_queued: int = MAX_QUEUED, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self.sent = 0
        self.lost = 0
        self._max_queued = max_queued
        self._max_bytes = max_bytes
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._queue: deque[_Post] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self._failing = False

    def after_fork_in_child(self) -> None:
        """Leave the parent's votes to the parent's thread."""
        self._start_afresh()

    # --- the application's side -------------------------------------------------------------------------------------
    def post(self, payload: Mapping[str, Any], token: str | None, path: str = PATH) -> None:
        """Queue one request body for ``path``. A full queue refuses it: counted, and said once."""
        url = gateway_endpoint(path)
        if url is None:
            self._lose("bad_url", "a vote was lost: BACKSPAN_GATEWAY_URL must begin with http:// or https://")
            return
        post = _Post(url, _headers(token), json.dumps(payload, separators=(",", ":")).encode())
        with self._changed:
            full = len(self._queue) >= self._max_queued or self._bytes + len(post.body) > self._max_bytes
            if not full:
                self._enqueue(post)
        if full:
            self._lose("full", "a vote was lost: the queue to the gateway is full")

    def _enqueue(self, post: _Post) -> None:
        self._queue.append(post)
        self._bytes += len(post.body)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="backspan-feedback", daemon=True)
            self._thread.start()
            telemetry.at_exit(self.close)
        self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until every vote was answered, at most ``timeout_s`` seconds; False if some are left."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout_s)

    def close(self, timeout_s: float = EXIT_S) -> None:
        """Send what is queued within ``timeout_s`` seconds; what is left then is lost, counted and said.

        A gateway that failed the last attempt gets `FAILING_EXIT_S` at most.
        """
        patience = min(timeout_s, FAILING_EXIT_S) if self._failing else timeout_s
        with self._changed:
            self._deadline = time.monotonic() + patience
            self._changed.notify_all()
        if self.flush(patience):
            return
        with self._changed:
            left = len(self._queue)
            self._queue.clear()
            self._bytes = 0
        self._lose("exit", f"the process ends and the gateway did not answer; votes lost: {left}", left)

    def _lose(self, key: str, message: str, votes: int = 1) -> None:
        if votes:
            self.lost += votes
            say_once(f"forward:{key}", message)

    # --- the thread's side ------------------------------------------------------------------------------------------
    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                post = self._queue[0]
            answered = self._attempt(post)
            if answered is None:  # a fault of ours: sending it again would meet it again
                self._lose("fault", "a vote was lost on its way to the gateway")
            self._failing = answered is False
            if not self._failing:
                self._done(post)
                pause = FIRST_PAUSE_S
            else:
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _done(self, post: _Post) -> None:
        with self._changed:
            if self._queue and self._queue[0] is post:
                self._queue.popleft()
                self._bytes -= len(post.body)
            self._changed.notify_all()

    def _wait(self, pause: float) -> None:
        """Wait before the next attempt; the end of the process cuts it short, once."""
        with self._changed:
            ending = self._deadline is not None
            self._changed.wait_for(lambda: not ending and self._deadline is not None, pause * random.uniform(0.5, 1))

    @guarded
    def _attempt(self, post: _Post) -> bool:
        """Send once; tell whether the vote was answered for good, be it taken or refused."""
        request = urllib.request.Request(post.url, post.body, dict(post.headers), method="POST")
        try:
            with suppress_instrumentation(), self._opener.open(request, timeout=self._patience()) as response:
                response.read()
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error.code, names_a_field(error.read(_MAX_PROBLEM)))
        except (OSError, HTTPException):
            host = urlsplit(post.url).hostname
            say_once("forward:down", f"the gateway {host} does not answer; votes wait and are sent again")
            return False
        self.sent += 1
        return True

    def _patience(self) -> float:
        left = TIMEOUT_S if self._deadline is None else self._deadline - time.monotonic()
        return max(0.1, min(TIMEOUT_S, left))

    def _refused(self, status: int, final: bool) -> bool:
        if not final and (status >= 500 or status in _RETRIED):
            say_once("forward:busy", f"the gateway answers {status}; votes wait and are sent again")
            return False
        hint = "; is BACKSPAN_API_KEY right, and the token not expired?" if status in (401, 403) else ""
        self._lose(f"refused:{status}", f"a vote was lost: the gateway answered {status}{hint}")
        return True


def gateway_endpoint(path: str = PATH) -> str | None:
    """The URL that votes are posted to, or None if ``BACKSPAN_GATEWAY_URL`` is not an HTTP URL."""
    base = settings().gateway_url or ""
    parts = urlsplit(base)
    return base.rstrip("/") + path if parts.scheme in ("http", "https") and parts.netloc else None


def names_a_field(body: bytes) -> bool:
    """Tell whether a problem document blames a field of the request: sending it again would not help."""
    try:
        problem: Any = json.loads(body)
    except ValueError:
        return False
    return isinstance(problem, dict) and bool(cast("dict[str, Any]", problem).get("field"))


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "backspan"}
    key = settings().api_key
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if token is not None:
        headers["Backspan-Token"] = token
    return headers


forwarder = Forwarder()
"""The one of this process."""

telemetry.on_flush.append(forwarder.flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: forwarder.after_fork_in_child())
