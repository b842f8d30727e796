"""Keep and promote: what the sampler leaves out is held within bounds, and sent when it is asked for."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, AlwaysRecordSampler

from backspan import semconv
from backspan._export.kept import KeptSpans, marked
from backspan._export.pack import Packer, estimate


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Held:
    """A provider that samples nothing and keeps everything; ``sent`` is what was promoted."""

    def __init__(self, limit=1 << 20, seconds=60.0, sampler=ALWAYS_OFF):
        self.sent, self.clock, self.begun = [], Clock(), []
        self.kept = KeptSpans(self.sent.append, limit, seconds, lambda: self.begun.append(1), self.clock)
        self.provider = TracerProvider(sampler=AlwaysRecordSampler(sampler), shutdown_on_exit=False)
        self.provider.add_span_processor(self.kept)
        self.tracer = self.provider.get_tracer("t")

    def trace(self, children=1, name="answer"):
        """One trace; its id."""
        with self.tracer.start_as_current_span(name) as root:
            for number in range(children):
                self.tracer.start_span(f"call {number}", attributes={"n": number}).end()
        return root.get_span_context().trace_id


def test_what_is_asked_for_is_sent_whole_and_marked():
    held = Held()
    bad, fine = held.trace(2), held.trace()
    assert held.kept.promote([bad]) == 3 and len(held.kept) == 1
    assert [span.name for span in held.sent] == ["call 0", "call 1", "answer"]
    assert {span.context.trace_id for span in held.sent} == {bad} != {fine}
    assert all(span.attributes[semconv.TRACE_PROMOTED] and span.context.trace_flags.sampled for span in held.sent)
    assert held.kept.promote([bad]) == 0 and held.kept.promoted == 3


def test_a_marked_span_says_all_that_the_kept_one_did():
    held = Held()
    with held.tracer.start_as_current_span("root", kind=trace.SpanKind.SERVER) as root:
        root.add_event("e", {"a": 1})
        root.set_status(trace.StatusCode.ERROR, "x")
    (before,) = held.kept._traces[root.get_span_context().trace_id].spans
    after = marked(before)
    said = ("name", "kind", "parent", "start_time", "end_time", "events", "links", "resource", "instrumentation_scope")
    assert all(getattr(before, field) == getattr(after, field) for field in said)
    assert after.status.description == "x" and semconv.TRACE_PROMOTED not in before.attributes
    packed, lost = Packer().pack([after])
    assert len(packed) == 1 and not lost


def test_what_ends_after_it_was_asked_for_is_sent_at_once():
    held = Held()
    with held.tracer.start_as_current_span("answer") as root:
        held.tracer.start_span("call").end()
        held.kept.promote([root.get_span_context().trace_id])
        held.tracer.start_span("late").end()
    assert [span.name for span in held.sent] == ["call", "late", "answer"] and len(held.kept) == 0


def test_what_is_sampled_is_not_held():
    held = Held(sampler=ALWAYS_ON)
    held.trace()
    assert (len(held.kept), held.kept.used, held.begun) == (0, 0, [])


def test_memory_is_bounded_and_the_oldest_go_first():
    held = Held()
    held.trace()
    each = held.kept.used
    small = Held(limit=3 * each)
    ids = [small.trace() for _ in range(10)]
    assert small.kept.used <= 3 * each and list(small.kept._traces) == ids[-3:] and small.kept.dropped == 14
    assert small.kept.promote(ids[:7]) == 0 and small.kept.promote(ids[7:]) == 6 and small.kept.used == 0


def test_without_the_bound_nothing_would_go():
    """The twin."""
    held = Held(limit=1 << 30)
    for _ in range(10):
        held.trace()
    assert len(held.kept) == 10 and held.kept.dropped == 0
    assert held.kept.used == sum(estimate(span) for one in held.kept._traces.values() for span in one.spans)


def test_time_is_bounded():
    held = Held(seconds=60)
    old = held.trace()
    held.clock.now += 50
    young = held.trace()
    assert held.kept.oldest == 1000.0
    held.clock.now += 11
    assert held.kept.oldest == 1050.0 and held.kept.promote([old]) == 0
    assert held.kept.promote([young]) == 2 and held.kept.oldest is None and held.kept.used == 0


def test_it_is_said_when_something_is_held_where_nothing_was():
    held = Held()
    held.trace(3)
    held.trace()
    assert held.begun == [1]
    held.kept.promote(list(held.kept._traces))
    held.trace(0)
    assert held.begun == [1, 1]


def test_a_forked_child_holds_nothing_of_its_parents():
    held = Held()
    parents = held.trace()
    held.kept.forget()
    assert (len(held.kept), held.kept.used, held.kept.promote([parents])) == (0, 0, 0)


# --- our provider ---------------------------------------------------------------------------------------------------
@pytest.fixture
def ours(monkeypatch):
    """Set variables for a provider of ours that samples nothing; its processor holds what it would send."""
    from backspan import config, telemetry

    def make(**variables):
        for name, value in {"OTEL_TRACES_SAMPLER": "always_off", "BACKSPAN": "1",
                            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
                            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
                            "OTEL_METRICS_EXPORTER": "none", **variables}.items():  # it would try, and say so later
            monkeypatch.setenv(name, value)
        config.reload()
        telemetry.reset_for_tests()
        telemetry.tracer_provider()
        return telemetry._state

    yield make
    if telemetry._state.processor is not None:
        telemetry._state.processor._end()
    telemetry.reset_for_tests()
    monkeypatch.undo()
    config.reload()


def answer():
    import backspan
    from backspan import context, telemetry

    with backspan.turn() as turn:
        scope, parent = context.calling()
        telemetry.get_tracer().start_span("chat", context=parent, attributes=dict(scope.attributes)).end()
    return turn


def waiting(state):
    return [span.name for span, _ in state.processor.queue._fresh]


def test_a_bad_vote_in_the_same_process_sends_the_trace(ours):
    import backspan

    state = ours(BACKSPAN_KEEP="1")
    good, bad, none = answer(), answer(), answer()
    assert waiting(state) == [] and len(state.kept) == 3
    backspan.record_feedback(good, thumbs=True)
    backspan.record_feedback(none, name="user_thumbs", retract=True)
    assert waiting(state) == ["evaluation user_thumbs"]
    backspan.record_feedback(bad, thumbs=False)
    assert sorted(waiting(state)) == ["chat", "evaluation user_thumbs", "evaluation user_thumbs", "invoke_workflow"]
    assert bad.target().trace_flags & 1 == 0 and len(state.kept) == 2


def test_without_the_setting_it_is_lost(ours):
    """The twin."""
    import backspan

    state = ours()
    assert state.kept is None
    backspan.record_feedback(answer(), thumbs=False)
    assert waiting(state) == ["evaluation user_thumbs"]


def test_a_token_names_the_trace_too(ours, monkeypatch):
    import backspan
    from backspan.feedback import record
    from backspan.feedback.forward import Forwarder

    monkeypatch.setattr(record, "forwarder", Forwarder())  # its thread must not try and try while other tests run
    state = ours(BACKSPAN_KEEP="1", BACKSPAN_GATEWAY_URL="http://127.0.0.1:9")
    token = backspan.feedback_token(answer())
    backspan.record_feedback(token, thumbs=False)
    assert sorted(waiting(state)) == ["chat", "invoke_workflow"]
    record.forwarder.close(0.0)


def test_the_bounds_are_settings(ours):
    state = ours(BACKSPAN_KEEP="1", BACKSPAN_KEEP_BYTES="9000", BACKSPAN_KEEP_SECONDS="60")
    for _ in range(10):
        answer()
    assert 0 < state.kept.used <= 9000 and state.kept._seconds == 60 and state.kept.dropped
