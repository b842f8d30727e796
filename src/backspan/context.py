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
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from opentelemetry.context import Context, attach
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from backspan import semconv, telemetry
from backspan._guard import guard, guarded
from backspan._scoped import Scoped
from backspan._turns import Target, Turn, lookup, remember
from backspan.config import settings, token_keys


# --- the scope ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scope:
    """Everything said about the calls made here. ``user`` is a pseudonym already (see `pseudonym`)."""

    turn: Turn | None = None
    conversation_id: str | None = None
    user: str | None = None
    role: str | None = None
    segment: str | None = None
    region: str | None = None
    consent: tuple[str, ...] = ()
    prompt_name: str | None = None
    prompt_version: str | None = None
    variants: tuple[tuple[str, str], ...] = ()
    index_name: str | None = None
    index_version: str | None = None

    @cached_property
    def variant(self) -> str | None:
        """The variant for spans and labels: the bare value of one flag, ``flag=value,…`` for several."""
        if len(self.variants) == 1:
            return self.variants[0][1]
        return ",".join(f"{flag}={value}" for flag, value in self.variants) or None

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Span attributes of this scope; only those that were said."""
        said: dict[str, Any] = {
            semconv.TURN_ID: self.turn.id if self.turn is not None else None,
            semconv.CONVERSATION_ID: self.conversation_id,
            semconv.ENDUSER_PSEUDO_ID: self.user,
            semconv.ROLE: self.role,
            semconv.SEGMENT: self.segment,
            semconv.REGION: self.region,
            semconv.CONSENT: self.consent or None,
            semconv.PROMPT_NAME: self.prompt_name,
            semconv.PROMPT_VERSION: self.prompt_version,
            semconv.FEATURE_FLAG_KEY: ",".join(flag for flag, _ in self.variants) or None,
            semconv.VARIANT: self.variant,
            semconv.INDEX_NAME: self.index_name,
            semconv.INDEX_VERSION: self.index_version,
        }
        return MappingProxyType({key: value for key, value in said.items() if value is not None})


__all__ = [
    "Scope", "Target", "Turn", "answered", "current", "current_turn", "dims", "lookup", "note_index", "on_first_answer",
    "prompt", "prompt_hash", "pseudonym", "remember", "session", "span_attributes", "turn", "variant",
]

_NOTHING = Scope()
_scope: ContextVar[Scope] = ContextVar("backspan", default=_NOTHING)


def current() -> Scope:
    """The scope in force here."""
    return _scope.get()


def current_turn() -> Target | None:
    """The turn in force here, as a target for `record_feedback` and `feedback_token`; None outside of a turn."""
    turn = _scope.get().turn
    return turn.target() if turn is not None else None


def span_attributes(scope: Scope) -> Mapping[str, Any]:
    """Attributes that ``scope`` puts on a span."""
    return scope.attributes


def dims(scope: Scope, model: str | None = None, prompt_version: str | None = None) -> dict[str, str]:
    """Metric labels of ``scope`` for an answer of ``model``: every key of `semconv.DIMENSIONS`, "" when not said.

    ``prompt_version`` is used where the application named no version (the hash of the system instructions).
    """
    index = scope.index_version or (scope.turn.index[1] if scope.turn is not None else None)
    return {
        semconv.REQUEST_MODEL: model or "",
        semconv.PROMPT_NAME: scope.prompt_name or "",
        semconv.PROMPT_VERSION: scope.prompt_version or prompt_version or "",
        semconv.VARIANT: scope.variant or "",
        semconv.SEGMENT: scope.segment or "",
        semconv.INDEX_VERSION: index or "",
    }


# --- answers --------------------------------------------------------------------------------------------------------
on_first_answer: list[Callable[[Mapping[str, str]], None]] = []
"""Called with the dims of a cohort when it first answers, so that its feedback series can start at 0."""
_LISTENER = "backspan.feedback.series"
"""Appends to `on_first_answer` when it is imported; by name, because it stands above this module."""
_cohorts: set[tuple[int, frozenset[tuple[str, str]]]] = set()


def answered(target: Target, scope: Scope | None = None) -> None:
    """Note that a model answered: remember it, and count it unless it is part of a turn, which counts itself."""
    if target.response_id:
        remember(target.response_id, target)
    if target.trace_id:
        remember(f"{target.trace_id}-{target.span_id}", target)
    instruments = telemetry.instruments()
    series = frozenset(target.dims.items())
    if (id(instruments), series) not in _cohorts:
        _open_cohort(target.dims, (id(instruments), series))
    turn = (scope or _scope.get()).turn
    if turn is None:
        instruments.answers.add_to(series, 1)
    else:
        turn.saw(target)


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
            self._token = _scope.set(self._changed(_scope.get()))
        return _scope.get()

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
        _scope.reset(token)
    except ValueError:  # closed in another context, where nothing was set
        pass


def prompt(name: str, version: str | int | None = None) -> _Change:
    """Say which prompt template the calls made here use. Without ``version`` the instructions' hash stands for it."""
    return _Change(prompt_name=str(name), prompt_version=None if version is None else str(version))


_CONSENT = {True: ("analytics", "improve"), False: ()}


def session(
    id: str | None = None, *, user: str | None = None, role: str | None = None, segment: str | None = None,
    region: str | None = None, consent: bool | str | Iterable[str] = (),
) -> _Change:
    """Say whose conversation the calls made here belong to.

    ``id`` becomes ``gen_ai.conversation.id``. ``user`` leaves this process only as a pseudonym (`pseudonym`).
    ``consent`` names purposes the user agreed to (``analytics``, ``improve``, ``contact``); True stands for
    ``analytics`` and ``improve``. Only ``segment`` becomes a metric label.
    """
    agreed = _CONSENT[consent] if isinstance(consent, bool) else (consent,) if isinstance(consent, str) else consent
    said = {"conversation_id": id, "user": pseudonym(user) if user and settings().enabled else None, "role": role,
            "segment": segment, "region": region, "consent": tuple(agreed)}
    return _Change(**{key: value for key, value in said.items() if value})


def variant(flag: str, value: str) -> _Change:
    """Say which variant of an experiment, canary or feature flag the calls made here run under."""
    return _AddVariant(flag=str(flag), value=str(value))


class turn(Scoped):
    """Mark one thing the user sees: one request and its answer, with every call it takes.

    Yields a `Turn`, a handle for `record_feedback` and `feedback_token` that stays valid after the block. The calls
    inside share ``backspan.turn.id`` and count as one answer. A turn inside a turn belongs to the outer one.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._turn: Turn | None = None
        self._span: Span | None = None
        self._token: Token[Scope] | None = None
        self._attached: Token[Context] | None = None
        self._seen: Scope = _NOTHING

    def again(self) -> turn:
        return turn(self._name)

    def __enter__(self) -> Turn:
        outer = _scope.get().turn
        if outer is not None:
            return outer
        self._turn = Turn(self._name)
        if settings().enabled:
            self._open()
        return self._turn

    @guarded
    def _open(self) -> None:
        scope = _scope.get()
        name = f"{semconv.INVOKE_WORKFLOW} {self._name}" if self._name else semconv.INVOKE_WORKFLOW
        attributes: dict[str, Any] = {semconv.OPERATION_NAME: semconv.INVOKE_WORKFLOW, **scope.attributes}
        if self._name:
            attributes[semconv.WORKFLOW_NAME] = self._name
        self._span = telemetry.get_tracer().start_span(name, kind=SpanKind.INTERNAL, attributes=attributes)
        self._turn = Turn(self._name, self._span, scope.conversation_id)
        self._span.set_attribute(semconv.TURN_ID, self._turn.id or "")
        self._attached = attach(set_span_in_context(self._span))
        self._token = _scope.set(replace(scope, turn=self._turn))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close(kind)
        _restore(self._token)
        self._token = None

    @guarded
    def _close(self, kind: type[BaseException] | None) -> None:
        if self._span is None or self._turn is None:
            return
        _detach(self._attached)
        if kind is not None and issubclass(kind, Exception):
            self._span.set_status(Status(StatusCode.ERROR))
            self._span.set_attribute(semconv.ERROR_TYPE, kind.__qualname__)
        target = self._turn.target()
        if self._turn.answered:
            telemetry.instruments().answers.add(1, target.dims, context=set_span_in_context(self._span))
            self._span.set_attributes({k: v for k, v in target.dims.items() if v})
            remember(target.turn_id or "", target)
        self._span.end()
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
    open_turn = _scope.get().turn
    if open_turn is not None and (name or version):
        open_turn.index = (name, version)


def _after_fork_in_child() -> None:
    _cohorts.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
