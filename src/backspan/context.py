"""What the application says about a call: turn, prompt, session, variant, retrieval.

All of it lives in one private context variable (never in baggage, which would travel to the model provider), so it
follows ``await`` and new tasks, and nothing of it reaches another request, task or thread. Each function returns an
object that is a context manager and a decorator, for plain, async, generator and async generator functions.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Mapping
from contextvars import Token
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any

from opentelemetry.context import Context, attach
from opentelemetry.trace import Span, set_span_in_context

from backspan import telemetry
from backspan._guard import guard, guarded
from backspan._request import end_turn, serving, start_turn
from backspan._said import (
    NOTHING,
    Cohort,
    Scope,
    calling,
    cohort,
    current,
    current_turn,
    dims,
    open_turn_of,
    scope_here,
    span_attributes,
)
from backspan._scoped import Scoped
from backspan._turns import Answer, Target, Turn, lookup, remember, remember_answer
from backspan.config import settings, token_keys

__all__ = [
    "Answer", "Cohort", "Scope", "Target", "Turn", "answered", "calling", "cohort", "current", "current_turn", "dims",
    "joined", "lookup", "note_index", "on_first_answer", "open_turn_of", "prompt", "prompt_hash", "pseudonym",
    "remember", "session", "span_attributes", "turn", "variant",
]


# --- answers --------------------------------------------------------------------------------------------------------
on_first_answer: list[Callable[[Mapping[str, str]], None]] = []
"""Called with the dims of a cohort when it first answers, so that its feedback series can start at 0."""
_LISTENER = "backspan.feedback.series"
"""Appends to `on_first_answer` when it is imported; by name, because it stands above this module."""
_cohorts: set[tuple[int, frozenset[tuple[str, str]]]] = set()


def answered(answer: Answer, series: frozenset[tuple[str, str]], scope: Scope) -> None:
    """Note that a model answered: remember it, and count it unless it is part of a turn, which counts itself.

    ``series`` are the pairs of ``answer.dims`` as they are counted.
    """
    remember_answer(answer)
    instruments = telemetry.instruments()
    if (id(instruments), series) not in _cohorts:
        _open_cohort(answer.dims, (id(instruments), series))
    if scope.turn is None or not scope.turn.saw(answer):
        instruments.answers.add_to(series, 1)
    if scope.join_key is not None:
        remember(joined(scope.join_key), (scope.turn or answer).target())


def joined(key: str) -> str:
    """Under what the newest answer with a join key is remembered; see `remember` and `lookup`."""
    return f"join\0{key}"


def _open_cohort(labels: Mapping[str, str], cohort: tuple[int, frozenset[tuple[str, str]]]) -> None:
    _cohorts.add(cohort)
    with guard("context.on_first_answer"):
        import_module(_LISTENER)
    for callback in on_first_answer:
        with guard("context.on_first_answer"):
            callback(labels)


# --- pseudonyms -----------------------------------------------------------------------------------------------------
@lru_cache(maxsize=4096)
def _hmac(purpose: str, text: str) -> str:
    key = (token_keys() or ("backspan",))[0].encode()
    return hmac.new(key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def pseudonym(user: str) -> str:
    """128-bit HMAC-SHA-256 of a user id as 32 hex digits, keyed by the first of `config.token_keys`."""
    return _hmac("user", user)[:32]


def prompt_hash(instructions: str) -> str:
    """Keyed hash of system instructions, 16 hex digits: equal texts give equal hashes, and none can be read back."""
    return _hmac("prompt", instructions)[:16]


# --- scopes as context managers and decorators ----------------------------------------------------------------------
class _Change(Scoped):
    """Sets some fields of the scope while it is open."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields
        self._token: Token[Scope] | None = None

    def again(self) -> _Change:
        return _Change(**self._fields)

    def __enter__(self) -> Scope:
        if settings().enabled:
            self._token = scope_here.set(self._changed(scope_here.get()))
        return scope_here.get()

    def _changed(self, scope: Scope) -> Scope:
        return replace(scope, **self._fields)

    def __exit__(self, *exc: object) -> None:
        _restore(self._token)
        self._token = None


class _AddVariant(_Change):
    """Adds one flag to those of the scope."""

    def again(self) -> _AddVariant:
        return _AddVariant(**self._fields)

    def _changed(self, scope: Scope) -> Scope:
        flag, value = self._fields["flag"], self._fields["value"]
        others = tuple(pair for pair in scope.variants if pair[0] != flag)
        return replace(scope, variants=tuple(sorted((*others, (flag, value)))))


def _restore(token: Token[Scope] | None) -> None:
    if token is None:
        return
    try:
        scope_here.reset(token)
    except ValueError:  # closed in another context, where nothing was set
        pass


def prompt(name: str, version: str | int | None = None) -> _Change:
    """Say which prompt template the calls made here use. Without ``version`` the instructions' hash stands for it."""
    return _Change(prompt_name=str(name), prompt_version=None if version is None else str(version))


_CONSENT = {True: ("analytics", "improve"), False: ("none",)}


def session(
    id: str | None = None, *, user: str | None = None, role: str | None = None, segment: str | None = None,
    region: str | None = None, consent: bool | str | Iterable[str] = (), join_key: str | None = None,
) -> _Change:
    """Say whose conversation the calls made here belong to.

    ``id`` becomes ``gen_ai.conversation.id``. ``user`` leaves this process only as a pseudonym (`pseudonym`).
    ``consent`` names purposes the user agreed to (``analytics``, ``improve``, ``contact``); True stands for
    ``analytics`` and ``improve``, False for ``none``: then a gateway keeps no content of these turns. ``join_key`` is
    what the business calls the matter (``ticket-4711``), by which `record_outcome` finds its answers; it leaves this
    process as it is. Only ``segment`` becomes a metric label.
    """
    agreed = _CONSENT[consent] if isinstance(consent, bool) else (consent,) if isinstance(consent, str) else consent
    said = {"conversation_id": id, "user": pseudonym(user) if user and settings().enabled else None, "role": role,
            "segment": segment, "region": region, "consent": tuple(agreed), "join_key": join_key}
    return _Change(**{key: value for key, value in said.items() if value})


def variant(flag: str, value: str) -> _Change:
    """Say which variant of an experiment, canary or feature flag the calls made here run under."""
    return _AddVariant(flag=str(flag), value=str(value))


class turn(Scoped):
    """Mark one thing the user sees: one request and its answer, with every call it takes.

    Yields a `Turn`, a handle for `record_feedback` and `feedback_token` that stays valid after the block. The calls
    inside share ``backspan.turn.id`` and count as one answer. A turn inside a turn belongs to the outer one.
    ``join_key`` is what the business calls the matter, by which `record_outcome` finds this turn (see `session`).
    """

    def __init__(self, name: str | None = None, *, join_key: str | None = None) -> None:
        self._name = name
        self._join_key = join_key
        self._key: str | None = None
        self._turn: Turn | None = None
        self._span: Span | None = None
        self._token: Token[Scope] | None = None
        self._attached: Token[Context] | None = None
        self._seen: Scope = NOTHING

    def again(self) -> turn:
        return turn(self._name, join_key=self._join_key)

    def __enter__(self) -> Turn:
        outer = current().turn
        if outer is not None:
            return outer
        self._turn = Turn(self._name)
        if settings().enabled:
            self._open()
        return self._turn

    @guarded
    def _open(self) -> None:
        scope, here = scope_here.get(), serving()
        if self._join_key is not None:
            scope = replace(scope, join_key=self._join_key)
        self._key = scope.join_key
        self._turn, self._span = start_turn(self._name, scope.attributes, scope.conversation_id)
        if here is not None:
            here.said, here.user = self._turn, scope.user
        self._attached = attach(set_span_in_context(self._span))
        self._token = scope_here.set(replace(scope, turn=self._turn))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close(kind)
        _restore(self._token)
        self._token = None

    @guarded
    def _close(self, kind: type[BaseException] | None) -> None:
        if self._span is None or self._turn is None:
            return
        _detach(self._attached)
        end_turn(self._turn, self._span, kind)
        if self._key is not None:
            remember(joined(self._key), self._turn.target())
        self._span = None


def _detach(token: Token[Context] | None) -> None:
    if token is None:
        return
    try:
        token.var.reset(token)
    except ValueError:  # as in `_restore`; OpenTelemetry's own detach() would log it
        pass


def note_index(name: str | None, version: str | None) -> None:
    """Note the index a retrieval used, so that the answer of the same turn carries its version."""
    open_turn = current().turn
    if open_turn is not None and (name or version):
        open_turn.index = (name, version)


def _after_fork_in_child() -> None:
    _cohorts.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
