"""The votes of this process, so that repeating one is harmless and changing one counts once."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock

from backspan.context import Target
from backspan.feedback.compare import identity
from backspan.feedback.emit import emit
from backspan.feedback.model import Feedback, Judgement, Receipt, feedback_id, revise

CAPACITY = 10_000


class MemorySink:
    """Keeps the last revision of the ``capacity`` most recent feedbacks and hands every new one to ``emitter``.

    Safe for threads: of identical votes at the same time one is an ``add``. A forked child starts with what its parent
    knew; processes do not share what they learn later, and what was pushed out is forgotten. A gateway knows all.
    """

    def __init__(self, capacity: int = CAPACITY, emitter: Callable[[Feedback], None] = emit) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._capacity = capacity
        self._emit = emitter
        self._known: OrderedDict[str, Feedback] = OrderedDict()
        self._lock = Lock()
        _sinks.add(self)

    def put(self, judgement: Judgement, target: Target, rater: str | None, now: float) -> Receipt:
        """Accept one judgement about ``target`` at unix second ``now``; emits unless nothing changed."""
        key = feedback_id(target, identity(judgement), rater)
        with self._lock:
            revision, receipt = revise(self._known.get(key), judgement, target, rater, now)
            if revision is not None:
                self._keep(key, revision)
        if revision is not None:
            self._emit(revision)
        return receipt

    def __len__(self) -> int:
        return len(self._known)

    def _keep(self, key: str, revision: Feedback) -> None:
        self._known[key] = replace(revision, previous=None)
        self._known.move_to_end(key)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def renew_lock(self) -> None:
        """Drop a lock that a thread of the parent process may have held when this process was forked."""
        self._lock = Lock()


_sinks: weakref.WeakSet[MemorySink] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for sink in tuple(_sinks):
        sink.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
