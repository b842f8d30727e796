"""What a provider says of an error may quote the prompt: masked, and what that took is counted on the span."""

from __future__ import annotations

import pytest
from opentelemetry import trace

from backspan import semconv
from backspan.instrument import _outcome
from backspan.instrument._call import Asked, Call, Operation, Service
from backspan.redact.parts import masked

MESSAGE = "no such user: ada@example.com, bo@example.com"


def call(error, **content):
    asked = Asked("m", {}, None, dict(content))
    made = Call(Operation("chat", answers=True), Service({}, {}), asked, False)
    made.end(error)


def counted(span):
    return {key.rpartition(".")[2]: value for key, value in span.attributes.items()
            if key.startswith(semconv.REDACTION_ENTITIES)}


def test_counted_and_masked(patched, content):
    call(ValueError(MESSAGE))
    span = patched.one()
    assert span.status.description == "no such user: [email], [email]"
    assert counted(span) == {"email": 2}
    assert semconv.REDACTION_POLICY in span.attributes


def test_on_top_of_what_was_counted_in_the_content(patched, content):
    call(ValueError(MESSAGE), **{f"{semconv.REDACTION_ENTITIES}.email": 5, f"{semconv.REDACTION_ENTITIES}.ip": 1})
    assert counted(patched.one()) == {"email": 7, "ip": 1}


def test_all_of_a_long_message_is_counted(patched, content):
    call(ValueError("x" * 2000 + " " + MESSAGE))
    span = patched.one()
    assert len(span.status.description) == 1000 and counted(span) == {"email": 2}


def test_nothing_is_said_or_counted_while_content_is_off(patched):
    call(ValueError(MESSAGE))
    span = patched.one()
    assert span.status.status_code is trace.StatusCode.ERROR and span.status.description is None
    assert counted(span) == {} and semconv.REDACTION_POLICY not in span.attributes


def test_without_an_error_there_is_no_policy(patched, content):
    call(None)
    assert semconv.REDACTION_POLICY not in patched.one().attributes


def test_twin_a_count_that_is_forgotten_is_noticed(patched, content, monkeypatch):
    monkeypatch.setattr(_outcome, "masked", lambda text, attributes: masked(text, {}))
    with pytest.raises(AssertionError):
        test_counted_and_masked(patched, content)
