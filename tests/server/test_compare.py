"""Comparisons, skipped questions and corrections over HTTP, as far as the counters and the spans."""

import re
import time

import pytest

from backspan import semconv
from backspan.context import Target
from backspan.feedback.token import mint
from tests.support.otlp_sink import OtlpSink

from .conftest import DIMS, until


def one_of(number, variant, rater="p-anna", **more):
    return mint(Target(f"{number:032x}", f"{number:016x}", 1, dims={**DIMS, semconv.VARIANT: variant},
                       at=time.time() - 5), rater=rater, **more)


def compare(server, *ranked, method="POST", **more):
    candidates = [{"token": token, "rank": rank, "position": place} for place, (token, rank) in enumerate(ranked, 1)]
    return server.vote({"name": "user_preference", "candidates": candidates, **more}, method)


def count(server, metric, **labels):
    """Sum of the lines of one metric that carry all labels."""
    lines = [line for line in server.metrics().splitlines() if line.startswith(metric + "{")]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(re.search(rf"[{{,]{re.escape(one)}", line)
                                                                      for one in wanted))


@pytest.fixture(scope="module")
def sink():
    with OtlpSink() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(servers, sink):
    return servers("gateway", "--forward", sink.endpoint).start()


def spans_of(sink, name, number):
    """Evaluation spans of that name that link to trace ``number``."""
    return [span for span in sink.spans if span.name == f"evaluation {name}"
            and any(trace == f"{number:032x}" for trace, _ in span.links)]


def test_a_comparison_is_one_span_with_a_link_per_answer_and_counts_for_each(gateway, sink):
    first, second = one_of(1, "control"), one_of(2, "canary")
    status, receipt = compare(gateway, (first, 2), (second, 1), reasons=["other"])
    assert (status, receipt["status"], len(receipt["results"])) == (201, "add", 2)
    assert compare(gateway, (second, 1), (first, 2))[1]["status"] in ("change", "unchanged")
    (span, *_) = until(lambda: spans_of(sink, "user_preference", 1))
    assert [(one["backspan.feedback.role"], one["backspan.feedback.rank"]) for one in span.link_attributes] == [
        ("chosen", 1), ("rejected", 2)]
    until(lambda: count(gateway, "backspan_comparisons_total", winner="canary", loser="control", op="add") == 1)
    for variant, polarity in (("canary", "positive"), ("control", "negative")):
        until(lambda v=variant, p=polarity: count(gateway, "backspan_feedback_total", name="user_preference",
                                                  op="add", polarity=p, feature_flag_result_variant=v) == 1)


def test_a_mind_that_changes_and_what_is_taken_back_net_to_nothing(gateway, sink):
    first, second = one_of(11, "x"), one_of(12, "y")
    assert compare(gateway, (first, 1), (second, 2))[1]["status"] == "add"
    assert compare(gateway, (first, 1), (second, 2))[1]["status"] == "unchanged"
    assert compare(gateway, (first, 2), (second, 1))[1]["status"] == "change"
    status, gone = gateway.json("/v1/feedback/user_preference", "DELETE",
                                {"candidates": [{"token": first}, {"token": second}]})
    assert (status, gone["status"]) == (200, "retract")

    def net():
        live = sum(count(gateway, "backspan_comparisons_total", winner="x", op=op) +
                   count(gateway, "backspan_comparisons_total", winner="y", op=op) for op in ("add", "change"))
        taken = sum(count(gateway, "backspan_comparisons_total", winner=one, op="retract") for one in "xy")
        return live, taken

    until(lambda: net() == (2, 2))
    until(lambda: len(spans_of(sink, "user_preference", 11)) == 3)  # add, change, retract: one each
    assert len({(span.trace_id, span.span_id) for span in spans_of(sink, "user_preference", 11)}) == 3


@pytest.mark.parametrize(("body", "status", "field"), [
    (lambda: {"candidates": [{"token": one_of(21, "a"), "rank": 1}]}, 422, "candidates"),
    (lambda: {"candidates": [{"token": one_of(21, "a"), "rank": 1},
                             {"token": one_of(22, "b", "p-bert"), "rank": 2}]}, 422, "candidates"),
    (lambda: {"candidates": [{"token": one_of(21, "a"), "rank": 1}, {"token": one_of(21, "a"), "rank": 2}]},
     422, "candidates"),
    (lambda: {"candidates": [{"token": one_of(21, "a"), "rank": 1}, {"token": "bs1." + "A" * 60, "rank": 2}]},
     401, "token"),
    (lambda: {"candidates": [{"token": one_of(21, "a", names=["user_thumbs"]), "rank": 1},
                             {"token": one_of(22, "b"), "rank": 2}]}, 422, "name"),
    (lambda: {"candidates": [{"token": one_of(21, "a"), "rank": 1}, {"target": {"trace_id": "a"}, "rank": 2}]},
     422, None),
])
def test_a_wrong_comparison_is_refused(gateway, body, status, field):
    answered, problem = gateway.vote({"name": "user_preference", **body()})
    assert answered == status and (field is None or problem["field"] == field)


def test_a_skip_that_is_sent_again_with_its_key_gets_its_first_answer(gateway):
    held = one_of(32, "again")
    sent = [gateway.vote({"name": "user_thumbs", "skip": True, "token": held}, Idempotency_Key=key)
            for key in ("skip-1", "skip-1", "skip-2")]
    assert [(status, answer["status"]) for status, answer in sent] == [
        (201, "skip"), (201, "skip"), (200, "unchanged")]


def test_a_skip_counts_once_and_is_no_vote(gateway):
    held = one_of(31, "skipping")
    answers = [gateway.vote({"name": "user_thumbs", "skip": True, "token": held}) for _ in range(3)]
    assert [(status, answer["status"]) for status, answer in answers] == [
        (201, "skip"), (200, "unchanged"), (200, "unchanged")]
    assert gateway.json("/v1/feedback", backspan_token=held)[1] == {"feedback": []}
    until(lambda: count(gateway, "backspan_feedback_skips_total", name="user_thumbs",
                        feature_flag_result_variant="skipping") == 1)
    assert count(gateway, "backspan_feedback_total", feature_flag_result_variant="skipping") == 0
    assert gateway.vote({"thumbs": True, "token": held})[1]["status"] == "add"  # may still be answered
