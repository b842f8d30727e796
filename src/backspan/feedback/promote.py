"""Who asks for a kept trace: a bad judgement in this process, or one that a gateway has heard of.

The thread that asks the gateway starts with the first trace that is kept, and asks only while any is.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any, Final, cast
from urllib.parse import urlencode, urlsplit

from opentelemetry.instrumentation.utils import suppress_instrumentation

from backspan import semconv, telemetry
from backspan._guard import guarded, say_once
from backspan.config import settings
from backspan.context import Target
from backspan.feedback.token import InvalidToken, is_token, read

PATH: Final = "/v1/promotions"
EVERY_S: Final = 2.0
"""Seconds from one question to the next, by a factor of 0.8 to 1.2; ten times as long while nobody answers."""
_TIMEOUT_S: Final = 5.0
_MOST: Final = 1 << 20


@guarded
def judged(target: Target | str | None, polarities: Iterable[str | None]) -> None:
    """Promote the trace of ``target`` (a token will do) if one of ``polarities`` is bad and its trace is kept here."""
    if not settings().keep or semconv.NEGATIVE not in polarities:
        return
    found = _opened(target) if isinstance(target, str) else target
    if found is not None and found.trace_id is not None and not found.trace_flags & 1:
        telemetry.promote([int(found.trace_id, 16)])


def _opened(token: str) -> Target | None:
    try:
        return read(token, audience=settings().audience).target if is_token(token) else None
    except InvalidToken:  # of another service, or of no use; the gateway will say so
        return None


class Asker:
    """Asks the gateway which traces were judged bad, as long as any is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._something = threading.Event()
        self._after: int | None = None

    def begin(self) -> None:
        """Something is kept now."""
        if _url() is None:
            return
        self._something.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="backspan-promote", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._something.wait()
            self._something.clear()
            while (oldest := telemetry.oldest_kept()) is not None:
                answered = self.ask(oldest)
                time.sleep(EVERY_S * random.uniform(0.8, 1.2) * (1 if answered else 10))

    @guarded
    def ask(self, since: float) -> bool:
        """Ask once, promote what is named, and go on from there next time; False if nobody answers.

        ``since`` is in Unix seconds, for the first question of a process.
        """
        answer = self._answer({"since": since} if self._after is None else {"after": self._after})
        if answer is None:
            return False
        telemetry.promote([int(str(one), 16) for one in cast("list[Any]", answer["trace_ids"])])
        self._after = int(answer["after"])
        return True

    def _answer(self, query: dict[str, Any]) -> dict[str, Any] | None:
        request = urllib.request.Request(f"{_url()}?{urlencode(query)}", headers=_headers())
        try:
            with suppress_instrumentation(), urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return json.loads(response.read(_MOST))
        except (OSError, HTTPException, ValueError) as error:
            said = getattr(error, "code", None) or "no answer"
            say_once("promote:down", f"kept traces are not promoted while the gateway does not say which: {said}")
            return None


def _url() -> str | None:
    base = settings().gateway_url or ""
    return base.rstrip("/") + PATH if urlsplit(base).scheme in ("http", "https") else None


def _headers() -> dict[str, str]:
    key = settings().api_key
    return {"User-Agent": "backspan", **({} if key is None else {"Authorization": f"Bearer {key}"})}


_asker = Asker()


def begin() -> None:
    """Called by `backspan.telemetry`, by name, when something is kept."""
    _asker.begin()


def _after_fork_in_child() -> None:
    global _asker
    _asker = Asker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
