"""From whatever an application holds of an answer to a `Target`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any, Protocol, cast, runtime_checkable

from opentelemetry.trace import Span, SpanContext

from backspan import semconv, telemetry
from backspan._guard import guard
from backspan.context import Target, Turn, current_turn, lookup
from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.validate import parse_target

_IDS = re.compile(r"(?:[0-9a-f]{2}-)?([0-9a-f]{32})-([0-9a-f]{16})(?:-([0-9a-f]{2}))?")
"""A W3C ``traceparent``, or the id of a turn."""
_ACCEPTED = (
    "must be None (the current turn), a turn, a response with an id, a response id, a token, (trace_id, span_id), "
    "a mapping of ids, or a span"
)


@runtime_checkable
class Identified(Protocol):
    """A response of a model client: what counts is its ``id``."""

    id: str


def target_of(given: object) -> Target | None:
    """Find the target that ``given`` means; a token is not read here.

    Accepted: None (the turn in force), a `Turn` or `Target`, a span or span context of OpenTelemetry, a response or
    chunk with a text ``id``, a response id, ``(trace_id, span_id)`` as hex digits or integers, a ``traceparent`` or
    turn id, and a mapping with the fields of `parse_target`.

    Returns None if nothing can be judged for a reason that no argument can mend: there is no turn here, or nothing is
    recorded because backspan is off.

    Raises:
        InvalidFeedback: for anything else, and for malformed or all-zero ids.
    """
    if given is None or isinstance(given, Turn | Target):
        return _known(given)
    if isinstance(given, Span | SpanContext):
        return _of_span(given.get_span_context() if isinstance(given, Span) else given)
    if isinstance(given, Mapping):
        return enriched(_only_ids(cast("Mapping[Any, Any]", given)))
    if isinstance(given, tuple | list):
        return _of_pair(cast("tuple[Any, ...] | list[Any]", given))
    if isinstance(given, str):
        return _of_text(given)
    if isinstance(given, Identified) and isinstance(given.id, str) and given.id:  # pyright: ignore[reportUnnecessaryIsInstance]
        return _of_text(given.id)
    raise InvalidFeedback("target", _ACCEPTED)


def with_place(target: Target) -> Target:
    """Add the environment and the service of this process to the dimensions, if there are any.

    A gateway counts votes for many services, and its own resource says nothing of them.
    """
    if not target.dims:
        return target
    with guard("feedback.target.with_place"):
        resource = telemetry.resource_attributes()
        place = {key: str(resource[key]) for key in (semconv.ENVIRONMENT, semconv.SERVICE_NAME) if resource.get(key)}
        return replace(target, dims={**place, **target.dims})
    return target


def _known(given: Turn | Target | None) -> Target | None:
    target = given.target() if isinstance(given, Turn) else given if given is not None else current_turn()
    if target is None or (target.trace_id, target.response_id, target.conversation_id) == (None, None, None):
        return None
    if target.trace_id is not None or target.span_id is not None:
        parse_target({"trace_id": target.trace_id, "span_id": target.span_id})
    return target


def as_payload(target: Target) -> dict[str, Any]:
    """The target's fields that are known, as `parse_target` reads them."""
    found = {field.name: getattr(target, field.name) for field in dataclass_fields(Target)}
    return {**{key: value for key, value in found.items() if value is not None}, "dims": dict(target.dims)}


def _of_span(context: SpanContext) -> Target | None:
    if not context.is_valid:  # no provider records: nothing the caller could mend
        return None
    trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return enriched(Target(trace_id, span_id, int(context.trace_flags)))


def _only_ids(given: Mapping[Any, Any]) -> Target:
    unknown = [key for key in given if key not in {field.name for field in dataclass_fields(Target)}]
    if unknown:
        raise InvalidFeedback("target", "has an unknown field")
    return parse_target(given)


def _of_pair(given: tuple[Any, ...] | list[Any]) -> Target:
    if len(given) != 2:
        raise InvalidFeedback("target", "must be a pair (trace_id, span_id)")
    trace_id, span_id = given
    return enriched(parse_target({"trace_id": _hex(trace_id, 32), "span_id": _hex(span_id, 16)}))


def _hex(id: object, digits: int) -> object:
    """An integer id as hex digits; anything else is left to `parse_target`, None as the malformed id it is here."""
    if isinstance(id, int) and not isinstance(id, bool) and 0 <= id < 16**digits:
        return f"{id:0{digits}x}"
    return "" if id is None else id


def _of_text(text: str) -> Target:
    ids = _IDS.fullmatch(text)
    if ids is not None:
        flags = {} if ids[3] is None else {"trace_flags": int(ids[3], 16)}
        return enriched(parse_target({"trace_id": ids[1], "span_id": ids[2], **flags}))
    return lookup(text) or parse_target({"response_id": text})


def enriched(target: Target) -> Target:
    """Add what this process remembers of the answer: its time and the dimensions of its metrics."""
    key = target.response_id if target.trace_id is None else f"{target.trace_id}-{target.span_id}"
    known = lookup(key) if key and not target.dims else None
    if known is None:
        return target
    said = {key: value for key, value in as_payload(target).items() if key not in ("dims", "trace_flags")}
    return replace(known, **said)
