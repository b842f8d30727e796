"""GenAI, retrieval and feedback spans of an OTLP request as records of the store."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from backspan import semconv
from backspan.context import pseudonym
from backspan.dialects.apply import translated
from backspan.dialects.names import USER_ID
from backspan.server import masking
from backspan.store import Call, Vote

_HEX = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[a-z0-9_]{1,64}")
_MOST_TEXT = 256
"""Characters of an attribute that becomes an id or a dimension."""


class Malformed(ValueError):
    """A span whose ids or feedback attributes cannot be used."""


class Received:
    """What one request held. ``foreign`` names the turns whose sender counts no answers, ``promoted`` those that were
    sent because they were bad (`Store.put_spans`)."""

    def __init__(self, request: ExportTraceServiceRequest) -> None:
        self.calls: list[Call] = []
        self.votes: list[Vote] = []
        self.foreign: set[str] = set()
        self.promoted: set[str] = set()
        self.rejected = 0
        for group in request.resource_spans:
            resource = attributes(group.resource.attributes)
            for scope in group.scope_spans:
                for span in scope.spans:
                    self._take(span, resource, scope.scope.name)

    def _take(self, span: Span, resource: Mapping[str, Any], scope: str) -> None:
        try:
            _check_ids(span)
            said = translated(attributes(span.attributes))
            if semconv.FEEDBACK_ID in said:
                self.votes.append(masking.vote(vote(span, said, resource)))
            elif semconv.OPERATION_NAME in said:
                self.calls.append(masking.call(call(span, said, resource)))
                if scope != semconv.SCOPE and semconv.TURN_ID not in said:
                    self.foreign.add(self.calls[-1].turn_key)
                if said.get(semconv.TRACE_PROMOTED) is True:
                    self.promoted.add(self.calls[-1].turn_key)
        except Malformed:
            self.rejected += 1


def _check_ids(span: Span) -> None:
    if len(span.trace_id) != 16 or not any(span.trace_id) or len(span.span_id) != 8 or not any(span.span_id):
        raise Malformed("trace id or span id")


# --- attribute values -----------------------------------------------------------------------------------------------
def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python values."""
    return {pair.key: plain(pair.value) for pair in pairs}


def plain(value: AnyValue) -> Any:
    """One attribute value as a Python value; bytes are dropped."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    return None if kind is None or kind == "bytes_value" else getattr(value, kind)


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    return _clean(str(value))[:_MOST_TEXT] if isinstance(value, str | int | float) else ""


def _clean(text: str) -> str:
    return text.replace("\0", "")  # PostgreSQL holds none


def _number(said: Mapping[str, Any], key: str) -> int | None:
    value = said.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _score(said: Mapping[str, Any], key: str) -> float | None:
    value = said.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def _structured(said: Mapping[str, Any], key: str) -> list[Any]:
    """An attribute of the conventions that is a list, given as such or as JSON text."""
    value = said.get(key)
    try:
        value = _storable(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, RecursionError):
        return []
    return cast("list[Any]", value) if isinstance(value, list) else []


def _storable(value: Any) -> Any:
    """A value of JSON without what no database holds as text: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return _clean(value.encode("utf-8", "replace").decode("utf-8"))
    if isinstance(value, list):
        return [_storable(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in cast("dict[Any, Any]", value).items()}
    return value


# --- calls ----------------------------------------------------------------------------------------------------------
def call(span: Span, said: Mapping[str, Any], resource: Mapping[str, Any]) -> Call:
    """The call that a GenAI span describes."""
    inputs, outputs = _structured(said, semconv.INPUT_MESSAGES), _structured(said, semconv.OUTPUT_MESSAGES)
    error = _text(said, semconv.ERROR_TYPE) or ("error" if span.status.code == Status.STATUS_CODE_ERROR else "")
    return Call(
        trace_id=span.trace_id.hex(), span_id=span.span_id.hex(), parent_id=span.parent_span_id.hex(),
        operation=_text(said, semconv.OPERATION_NAME), started=span.start_time_unix_nano / 1e9,
        ended=span.end_time_unix_nano / 1e9, turn_id=_text(said, semconv.TURN_ID),
        service=_text(resource, semconv.SERVICE_NAME), environment=_text(resource, semconv.ENVIRONMENT),
        conversation_id=_text(said, semconv.CONVERSATION_ID), user_id=_user(said),
        segment=_text(said, semconv.SEGMENT), variant=_text(said, semconv.VARIANT),
        model=_text(said, semconv.REQUEST_MODEL), response_model=_text(said, semconv.RESPONSE_MODEL),
        provider=_text(said, semconv.PROVIDER_NAME), prompt_name=_text(said, semconv.PROMPT_NAME),
        prompt_version=_text(said, semconv.PROMPT_VERSION) or _text(said, semconv.PROMPT_HASH),
        index_name=_text(said, semconv.INDEX_NAME), index_version=_text(said, semconv.INDEX_VERSION),
        response_id=_text(said, semconv.RESPONSE_ID), join_key=_text(said, semconv.JOIN_KEY),
        consent=",".join(str(one) for one in _structured(said, semconv.CONSENT))[:_MOST_TEXT],
        input_tokens=_number(said, semconv.USAGE_INPUT_TOKENS),
        output_tokens=_number(said, semconv.USAGE_OUTPUT_TOKENS), outcome=_text(said, semconv.STREAM_OUTCOME),
        finish=_finish(said), error=error, answered=not error or semconv.STREAM_TIME_TO_FIRST_CONTENT in said,
        query=_query(said, inputs), answer=_spoken(outputs[:1]), messages=inputs, documents=list(_documents(said)),
    )


def _user(said: Mapping[str, Any]) -> str:
    """The user's pseudonym; a plain id, which only instrumentations other than ours send, becomes one here."""
    plain_id = _text(said, USER_ID)
    return _text(said, semconv.ENDUSER_PSEUDO_ID) or (pseudonym(plain_id) if plain_id else "")


def _finish(said: Mapping[str, Any]) -> str:
    reasons = _structured(said, semconv.RESPONSE_FINISH_REASONS)
    return _clean(str(reasons[0]))[:64] if reasons else ""


def _query(said: Mapping[str, Any], inputs: list[Any]) -> str:
    asked = said.get(semconv.RETRIEVAL_QUERY)
    if isinstance(asked, str):
        return _clean(asked)
    users = [message for message in _objects(inputs) if message.get("role") == "user"]
    return _spoken(users[-1:])


def _spoken(messages: Sequence[Any]) -> str:
    """The text parts of messages."""
    parts = [part for message in _objects(messages) for part in _objects(message.get("parts"))]
    texts = [part.get("content") for part in parts if part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def _objects(value: object) -> list[dict[str, Any]]:
    """The JSON objects in a list; none if it is no list."""
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _documents(said: Mapping[str, Any]) -> Sequence[Any]:
    given = _objects(_structured(said, semconv.RETRIEVAL_DOCUMENTS))
    if given:
        return given
    ids = _structured(said, semconv.RETRIEVAL_DOCUMENT_IDS)
    scores = _structured(said, semconv.RETRIEVAL_DOCUMENT_SCORES)
    return [{"id": id, **({"score": scores[i]} if i < len(scores) else {})} for i, id in enumerate(ids)]


# --- feedback -------------------------------------------------------------------------------------------------------
def vote(span: Span, said: Mapping[str, Any], resource: Mapping[str, Any]) -> Vote:
    """The judgement that a feedback span describes.

    Raises:
        Malformed: if its id, version, operation or name cannot be used.
    """
    id, name, op = (_text(said, key) for key in (semconv.FEEDBACK_ID, semconv.EVALUATION_NAME, semconv.FEEDBACK_OP))
    version, polarity = said.get(semconv.FEEDBACK_VERSION), _text(said, semconv.FEEDBACK_POLARITY)
    if not _HEX.fullmatch(id) or not _NAME.fullmatch(name) or op not in semconv.OPS:
        raise Malformed("feedback id, name or op")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**31:
        raise Malformed("feedback version")
    if polarity not in semconv.POLARITIES:
        raise Malformed("feedback polarity")
    source, time = _text(said, semconv.FEEDBACK_SOURCE), span.start_time_unix_nano / 1e9
    delay = _score(said, semconv.FEEDBACK_DELAY)
    reasons = sorted(str(reason)[:64] for reason in _structured(said, semconv.FEEDBACK_REASONS))[:8]
    return Vote(
        id=id, name=name, time=time, value=_score(said, semconv.EVALUATION_SCORE_VALUE),
        label=_text(said, semconv.EVALUATION_SCORE_LABEL) or None, polarity=polarity, reasons=tuple(reasons),
        comment=_long(said, semconv.FEEDBACK_COMMENT), correction=_long(said, semconv.FEEDBACK_CORRECTION),
        source=source if source in semconv.SOURCES else semconv.END_USER, retract=op == semconv.RETRACT,
        rater=_text(said, semconv.ENDUSER_PSEUDO_ID) or None, **_judged(span, said),
        response_id=_text(said, semconv.RESPONSE_ID) or None,
        conversation_id=_text(said, semconv.CONVERSATION_ID) or None, turn_id=_text(said, semconv.TURN_ID) or None,
        at=None if delay is None else time - delay, delay=delay, revision=(version, op),
        solicited=_truth(said, semconv.FEEDBACK_SOLICITED),
        dims={**{key: _text(said, key) for key in semconv.DIMENSIONS},
              **{key: _text(resource, key) for key in (semconv.SERVICE_NAME, semconv.ENVIRONMENT)}},
    )


def _truth(said: Mapping[str, Any], key: str) -> bool | None:
    value = said.get(key)
    return value if isinstance(value, bool) else None


def _long(said: Mapping[str, Any], key: str) -> str | None:
    value = said.get(key)
    return _clean(value)[:16384] if isinstance(value, str) and value else None


def _judged(span: Span, said: Mapping[str, Any]) -> dict[str, Any]:
    """Ids of the judged span: from the attributes, else from the one link."""
    trace_id, span_id = _text(said, semconv.FEEDBACK_TRACE_ID), _text(said, semconv.FEEDBACK_SPAN_ID)
    flags = 1
    if len(span.links) == 1:
        trace_id, span_id = trace_id or span.links[0].trace_id.hex(), span_id or span.links[0].span_id.hex()
        flags = span.links[0].flags & 0xFF
    good = _HEX.fullmatch(trace_id) and len(span_id) == 16
    return {"trace_id": trace_id, "span_id": span_id, "trace_flags": flags} if good else {}
