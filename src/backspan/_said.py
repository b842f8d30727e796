"""What was said here: the scope in force, and the attributes and labels that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from opentelemetry.context import Context

from backspan import semconv, telemetry
from backspan._request import Request, serving
from backspan._turns import Target, Turn

Cohort = tuple[Mapping[str, str], frozenset[tuple[str, str]]]
"""Metric labels of an answer, and the same as a set of pairs."""
_MOST_COHORTS = 64


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
    join_key: str | None = None

    @cached_property
    def variant(self) -> str | None:
        """The variant for spans and labels: the bare value of one flag, ``flag=value,…`` for several."""
        if len(self.variants) == 1:
            return self.variants[0][1]
        return ",".join(f"{flag}={value}" for flag, value in self.variants) or None

    @cached_property
    def cohorts(self) -> dict[tuple[str | None, ...], Cohort]:
        """The cohorts of answers given in this scope, made once each; see `cohort`."""
        return {}

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
            semconv.JOIN_KEY: self.join_key,
        }
        return MappingProxyType({key: value for key, value in said.items() if value is not None})


NOTHING = Scope()
"""Nothing was said."""
scope_here: ContextVar[Scope] = ContextVar("backspan", default=NOTHING)
"""Changed by the context managers of `backspan.context` only."""


def current() -> Scope:
    """The scope in force here; in a web request with a turn (see `calling`) that turn is part of it."""
    scope, here = scope_here.get(), serving()
    if here is None or here.turn is None or scope.turn is not None:
        return scope
    return _joined(here, scope)


def calling() -> tuple[Scope, Context | None]:
    """The scope of a call that starts here, and the context of its parent, None for the current one.

    In a web request that a middleware of ours watches, the first call opens the turn that all of them belong to.
    """
    scope, here = scope_here.get(), serving()
    if here is None or scope.turn is not None or open_turn_of(here, scope) is None:
        return scope, None
    return _joined(here, scope), here.parent()


def open_turn_of(here: Request, scope: Scope | None = None) -> Turn | None:
    """The turn of the request ``here``, opened now if it has none; None after its answer has left."""
    scope = scope_here.get() if scope is None else scope
    return here.open(scope.attributes, scope.conversation_id, scope.user)


def _joined(here: Request, scope: Scope) -> Scope:
    def join(known: Scope) -> Scope:
        return replace(known, turn=here.turn)

    joined: Scope = here.joined(scope, join)
    return joined


def current_turn() -> Target | None:
    """The turn in force here, as a target for `record_feedback` and `feedback_token`; None outside of a turn."""
    turn, here = current().turn, serving()
    if turn is None and here is not None:
        turn = here.said
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


def cohort(scope: Scope, model: str | None, prompt_version: str | None, prompt: str | None) -> Cohort:
    """The `dims` of an answer in ``scope`` and the labels that it is counted by, made once for each; not to be changed.

    ``prompt`` is a name that the request gives, used where the application gives none.
    """
    key = (model, prompt_version, prompt, scope.turn.index[1] if scope.turn is not None else None)
    known = scope.cohorts.get(key)
    if known is None:
        labels = dims(scope, model, prompt_version)
        if prompt and not scope.prompt_name:
            labels[semconv.PROMPT_NAME] = prompt
        if len(scope.cohorts) >= _MOST_COHORTS:
            scope.cohorts.clear()
        known = scope.cohorts[key] = (labels, frozenset(telemetry.instruments().bounds.of(labels).items()))
    return known
