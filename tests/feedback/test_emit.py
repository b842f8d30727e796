"""One revision as span, event, log event and metric points."""

from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from backspan import semconv, telemetry
from backspan.feedback import series
from backspan.feedback.emit import deterministic_ids, emit, emit_span, judged_span
from backspan.feedback.model import parse, revise
from tests.support.answers import answered

from .conftest import DIMS, NOW, SPAN_ID, TRACE_ID, target

LABELS = (semconv.LABEL_NAME, semconv.LABEL_POLARITY, semconv.LABEL_OP)


def feedback(on=None, last=None, **given):
    revision, _ = revise(last, parse(given or {"thumbs": False})[0], on or target(), "ada", NOW)
    assert revision is not None
    return revision


def sample_nothing(out):
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(out.exporter))
    telemetry._state.tracer_provider = provider


def exemplars(points):
    return {(f"{one.trace_id:032x}", f"{one.span_id:016x}") for point in points for one in point.exemplars}


def test_a_feedback_is_one_root_span_with_one_link_and_one_event(out):
    emit(feedback(thumbs=False, reasons=["old", "wrong"]))
    (span,) = out.spans
    assert (span.name, span.kind, span.parent, span.status.status_code) == (
        "evaluation user_thumbs", SpanKind.INTERNAL, None, StatusCode.UNSET)
    assert span.instrumentation_scope.name == "backspan"
    assert span.start_time == span.end_time == int(NOW * 1e9)
    (link,) = span.links
    assert link.context == judged_span(target())
    assert (link.context.is_remote, link.context.trace_flags) == (True, 3)
    assert span.context.trace_id != link.context.trace_id
    (event,) = span.events
    assert (event.name, event.timestamp) == ("gen_ai.evaluation.result", span.start_time)
    verdict = {
        "gen_ai.evaluation.name": "user_thumbs", "gen_ai.evaluation.score.value": 0.0,
        "gen_ai.evaluation.score.label": "fail", "gen_ai.response.id": "chatcmpl-1",
        "backspan.feedback.version": 1, "backspan.feedback.op": "add", "backspan.feedback.polarity": "negative",
        "backspan.feedback.source": "end_user", "backspan.feedback.reasons": ("old", "wrong"),
        "backspan.feedback.id": feedback().id,
    }
    assert dict(event.attributes) == verdict
    assert isinstance(event.attributes["gen_ai.evaluation.score.value"], float)
    assert dict(span.attributes) == verdict | DIMS | {
        "backspan.feedback.resolved": True, "backspan.feedback.delay": 60.0, "backspan.feedback.trace_id": TRACE_ID,
        "backspan.feedback.span_id": SPAN_ID, "backspan.turn.id": f"{TRACE_ID}-{SPAN_ID}",
        "gen_ai.conversation.id": "c-1", "enduser.pseudo.id": "ada",
    }


@pytest.mark.parametrize("on", [
    target(trace_id=None, span_id=None), target(trace_id=None, span_id=None, response_id=None),
], ids=["response", "conversation"])
def test_without_a_known_span_there_is_no_link_and_no_exemplar(out, on):
    with telemetry.get_tracer().start_as_current_span("unrelated request"):
        emit(feedback(on))
    assert out.spans[0].links == ()
    assert exemplars(out.points(semconv.FEEDBACK)) == set()


def test_the_active_span_neither_becomes_the_parent_nor_gets_the_exemplar(out):
    with telemetry.get_tracer().start_as_current_span("feedback endpoint"):
        emit(feedback())
    assert out.spans[0].parent is None
    assert exemplars(out.points(semconv.FEEDBACK)) == {(TRACE_ID, SPAN_ID)}


def test_the_judged_span_is_left_as_it_was(out):
    judged = telemetry.get_tracer().start_span("chat")
    judged.end()
    before = judged.to_json()
    context = judged.get_span_context()
    emit(feedback(target(trace_id=f"{context.trace_id:032x}", span_id=f"{context.span_id:016x}")))
    assert judged.to_json() == before
    assert [span.name for span in out.spans] == ["chat", "evaluation user_thumbs"]


def test_the_feedback_of_an_unsampled_answer_arrives(out):
    sample_nothing(out)
    emit(feedback(target(trace_flags=0)))
    assert [span.name for span in out.spans] == ["evaluation user_thumbs"]
    assert out.spans[0].links[0].context.trace_flags == 0
    assert out.counts(*LABELS) == {("user_thumbs", "negative", "add"): 1}


def test_a_child_of_an_unsampled_answer_would_not_arrive(out):
    sample_nothing(out)
    parent = trace.set_span_in_context(trace.NonRecordingSpan(judged_span(target(trace_flags=0))))
    telemetry.get_tracer().start_span("evaluation user_thumbs", parent).end()
    assert out.spans == ()


def test_metrics_carry_the_dimensions_and_an_exemplar_of_the_judged_span(out):
    emit(feedback(thumbs=False, reasons=["old"]))
    expected = {
        semconv.FEEDBACK: {"name": "user_thumbs", "polarity": "negative", "op": "add", "source": "end_user",
                           "age": "le_1h"},
        semconv.FEEDBACK_REASONS_METRIC: {"name": "user_thumbs", "polarity": "negative", "op": "add",
                                          "source": "end_user", "age": "le_1h", "reason": "old"},
        semconv.FEEDBACK_SCORE_METRIC: {"name": "user_thumbs", "source": "end_user"},
        semconv.FEEDBACK_DELAY_METRIC: {"name": "user_thumbs", "source": "end_user"},
    }
    collected = out.collect()
    assert collected.keys() == expected.keys()
    for name, labels in expected.items():
        (point,) = collected[name]
        assert dict(point.attributes) == labels | DIMS
        assert exemplars([point]) == {(TRACE_ID, SPAN_ID)}
    (delay,) = collected[semconv.FEEDBACK_DELAY_METRIC]
    assert isinstance(delay, HistogramDataPoint)
    assert (delay.sum, delay.explicit_bounds) == (60.0, semconv.DELAY_BUCKETS)


SOLICITED = (semconv.LABEL_NAME, semconv.LABEL_POLARITY, semconv.LABEL_SOLICITED)


def _asked(out):
    points = out.points(semconv.FEEDBACK_SOLICITED_METRIC)
    return {tuple(point.attributes[key] for key in SOLICITED): point.value for point in points}


@pytest.mark.parametrize(("solicited", "label"), [(True, "asked"), (False, "volunteered")])
def test_a_judgement_says_whether_it_was_asked_for(out, solicited, label):
    emit(feedback(thumbs=False, solicited=solicited))
    (span,) = out.spans
    for attributes in (span.attributes, span.events[0].attributes, out.logs[0].attributes):
        assert attributes["backspan.feedback.solicited"] is solicited
    (point,) = out.points(semconv.FEEDBACK_SOLICITED_METRIC)
    assert dict(point.attributes) == {"name": "user_thumbs", "polarity": "negative", "solicited": label} | DIMS
    assert exemplars([point]) == {(TRACE_ID, SPAN_ID)}


def test_only_first_judgements_of_users_are_counted_as_asked_for(out):
    first = feedback(thumbs=True, solicited=True)
    emit(first)
    emit(feedback(last=first, thumbs=False, solicited=True))
    emit(feedback(stars=5))
    emit(feedback(name="review_correct", value=True, solicited=True))
    assert _asked(out) == {("user_thumbs", "positive", "asked"): 1}


def test_how_a_judgement_came_about_is_no_part_of_it(out):
    first = feedback(thumbs=True, solicited=True)
    again, receipt = revise(first, parse({"thumbs": True, "solicited": False})[0], target(), "ada", NOW)
    assert (again, receipt.status) == (None, "unchanged")
    assert feedback(last=first, thumbs=True, retract=True).solicited is True


def test_absent_dimensions_are_empty_labels(out):
    emit(feedback(target(dims={})))
    (point,) = out.points(semconv.FEEDBACK)
    assert {point.attributes[key] for key in semconv.DIMENSIONS} == {""}


def test_a_change_takes_the_old_value_away_where_it_was_counted(out):
    first = feedback(thumbs=True, reasons=["nice"])
    later = target(at=NOW - 90_000, dims={})
    emit(first)
    emit(feedback(later, last=first, thumbs=False))
    gone = [p for p in out.points(semconv.FEEDBACK) if p.attributes["op"] == "retract"]
    assert [(p.attributes["polarity"], p.attributes["age"], p.attributes[semconv.PROMPT_VERSION]) for p in gone] == [
        ("positive", "le_1h", "7")]
    assert out.counts(*LABELS, "age") == {
        ("user_thumbs", "positive", "add", "le_1h"): 1,
        ("user_thumbs", "positive", "retract", "le_1h"): 1,
        ("user_thumbs", "negative", "change", "older"): 1,
    }
    reasons = {p.attributes["op"]: p.value for p in out.points(semconv.FEEDBACK_REASONS_METRIC)}
    assert reasons == {"add": 1, "retract": 1}


def test_a_retract_counts_once_and_scores_nothing(out):
    first = feedback(thumbs=True)
    emit(first)
    emit(feedback(last=first, thumbs=True, retract=True))
    assert out.counts(*LABELS) == {("user_thumbs", "positive", "add"): 1, ("user_thumbs", "positive", "retract"): 1}
    assert out.points(semconv.FEEDBACK_SCORE_METRIC)[0].count == 1
    assert [span.attributes[semconv.FEEDBACK_OP] for span in out.spans] == ["add", "retract"]


def test_the_log_event_has_the_judged_spans_context_and_the_same_payload(out):
    emit(feedback())
    (log,) = out.logs
    assert (log.event_name, f"{log.trace_id:032x}", f"{log.span_id:016x}", log.trace_flags) == (
        "gen_ai.evaluation.result", TRACE_ID, SPAN_ID, 3)
    assert dict(log.attributes) == dict(out.spans[0].events[0].attributes)
    assert log.severity_text == "INFO"


@pytest.mark.parametrize("content", [False, True])
def test_what_people_wrote_leaves_redacted_and_only_with_content(out, setenv, content):
    setenv(BACKSPAN="content" if content else "1")
    emit(feedback(thumbs=False, comment="ask ada@example.com"))
    emit(feedback(correction="It is ada@example.com"))
    thumbs, correction = out.spans
    said = thumbs.attributes.get(semconv.FEEDBACK_COMMENT), correction.attributes.get(semconv.FEEDBACK_CORRECTION)
    assert said == (("ask [email]", "It is [email]") if content else (None, None))
    assert thumbs.events[0].attributes.get(semconv.EVALUATION_EXPLANATION) == said[0]
    sent = "".join([*(span.to_json() for span in out.spans), *(str(dict(log.attributes)) for log in out.logs),
                    out.reader.get_metrics_data().to_json()])
    assert "example.com" not in sent
    assert ("It is" in sent) is content


@pytest.mark.parametrize("content", [False, True])
def test_what_was_masked_in_what_people_wrote_is_counted_on_the_span(out, setenv, content):
    setenv(BACKSPAN="content" if content else "1")
    emit(feedback(thumbs=False, comment="ask ada@example.com or bo@example.com, 10.1.2.3"))
    emit(feedback(correction="It is cy@example.com"))
    emit(feedback(thumbs=False))
    counted = {"backspan.redaction.entities.email": 2, "backspan.redaction.entities.ip": 1}
    assert [{key: value for key, value in span.attributes.items() if key.startswith(semconv.REDACTION_ENTITIES)}
            for span in out.spans] == ([counted, {"backspan.redaction.entities.email": 1}, {}] if content else [{}] * 3)
    assert [semconv.REDACTION_POLICY in span.attributes for span in out.spans] == [content, content, False]
    assert not any(key.startswith("backspan.redaction") for key in out.spans[0].events[0].attributes)


def test_a_span_sent_twice_is_the_same_span(out):
    one = feedback()
    emit_span(one, telemetry.feedback_tracer())
    emit_span(one, telemetry.feedback_tracer())
    emit_span(replace(one, version=2), telemetry.feedback_tracer())
    first, again, other = out.spans
    assert first.to_json() == again.to_json()
    assert deterministic_ids(one) == (first.context.trace_id, first.context.span_id)
    assert other.context.trace_id != first.context.trace_id
    assert out.points(semconv.FEEDBACK) == []


def test_in_the_applications_process_its_id_generator_draws(out):
    emit(feedback())
    emit(feedback())
    assert len({span.context.trace_id for span in out.spans}) == 2


def test_a_faulty_processor_costs_the_span_only(out, setenv, caplog):
    class Broken(SimpleSpanProcessor):
        def on_start(self, span, parent_context=None):
            raise RuntimeError

    setenv(BACKSPAN_RAISE="0")
    telemetry._state.tracer_provider.add_span_processor(Broken(out.exporter))
    emit(feedback())
    assert out.counts(*LABELS) == {("user_thumbs", "negative", "add"): 1}
    assert "feedback.emit.span failed with RuntimeError" in caplog.text


def test_every_series_of_a_cohort_starts_at_zero(out):
    series.open_series(DIMS)
    points = out.points(semconv.FEEDBACK)
    assert len(points) == 12
    assert {point.value for point in points} == {0}
    emit(feedback())
    assert len(out.points(semconv.FEEDBACK)) == 12
    assert [dict(p.attributes)["polarity"] for p in out.points(semconv.FEEDBACK) if p.value] == ["negative"]


def test_votes_that_were_asked_for_start_at_zero_too(out):
    series.open_series(DIMS)
    emit(feedback(thumbs=False, solicited=False))
    assert _asked(out) == {
        (name, polarity, said): int((name, polarity, said) == ("user_thumbs", "negative", "volunteered"))
        for name in ("user_thumbs", "user_stars") for polarity in ("negative", "positive")
        for said in ("asked", "volunteered")}
    assert len(out.points(semconv.FEEDBACK_SOLICITED_METRIC)) == 8


def test_the_first_answer_of_a_cohort_opens_its_series(out):
    for version in ("7", "7", "8"):
        answered(target(dims={**DIMS, semconv.PROMPT_VERSION: version}))
    points = out.points(semconv.FEEDBACK)
    assert [point.attributes[semconv.PROMPT_VERSION] for point in points] == ["7"] * 12 + ["8"] * 12
    assert {point.value for point in points} == {0}


def test_with_a_gateway_the_zeros_are_the_gateways(out, setenv):
    setenv(BACKSPAN_GATEWAY_URL="http://127.0.0.1:1")
    series.open_series(DIMS)
    assert out.points(semconv.FEEDBACK) == []
