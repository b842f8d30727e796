"""What the shipped Collector does to spans on their way. Each part has a twin: a configuration in which it is broken.

Sinks stand in for Tempo and the gateway here, so that what arrives can be looked at whole; `test_collector_load` sends
to the real ones.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stack.backend import get, until
from tests.stack.collectors import PROFILES, SHIPPED, Collector, accepts, pairs, post, request, running, span
from tests.stack.conftest import House
from tests.support.otlp_sink import Span

from backspan import semconv

pytestmark = pytest.mark.stack

CARD = "4111-1111-1111-1111"
IDS = {
    semconv.RESPONSE_ID: CARD, semconv.CONVERSATION_ID: CARD, "gen_ai.tool.call.id": CARD,
    semconv.FEEDBACK_ID: "12345678901234561234567890123456", semconv.FEEDBACK_TRACE_ID: "1234-5678-9012-3456",
    semconv.FEEDBACK_SPAN_ID: "1234567890123456", semconv.TURN_ID: CARD, semconv.PROMPT_HASH: "1234567890123456",
    semconv.ENDUSER_PSEUDO_ID: CARD,
}
"""Ids that look like card numbers."""
CHAT = {semconv.OPERATION_NAME: semconv.CHAT, semconv.REQUEST_MODEL: "gpt-test"}


def messages(text: str) -> str:
    """A prompt as an application records it."""
    return json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}])


def arrived(collector: Collector, said: dict[str, Any]) -> dict[str, Any]:
    """The attributes with which a span comes to Tempo."""
    post(collector.url, request([span(1, said)]))
    (one,) = collector.tempo.wait_spans(1)
    return one.attributes


def test_ids_arrive_whole_and_content_is_masked(tmp_path: Path) -> None:
    secret = f"I am anna@example.com, card {CARD}, order 1234567890123456"
    with running(tmp_path) as collector:
        said = arrived(collector, {**IDS, semconv.INPUT_MESSAGES: messages(secret), "user.id": "anna"})
    assert {key: said[key] for key in IDS} == IDS
    (message,) = json.loads(said[semconv.INPUT_MESSAGES])
    text = message["parts"][0]["content"]
    assert re.fullmatch(r"I am [0-9a-f]{64}, card [0-9a-f]{64}, order 1234567890123456", text)
    assert "user.id" not in said


def test_events_and_the_resource_are_masked(tmp_path: Path) -> None:
    one = span(1, {})
    one.events.add(name="said").attributes.extend(pairs({"text": "by anna@example.com"}))
    with running(tmp_path) as collector:
        post(collector.url, request([one], "anna@example.com"))
        (found,) = collector.tempo.wait_spans(1)
    assert re.fullmatch(r"by [0-9a-f]{64}", found.events[0][1]["text"])
    assert re.fullmatch(r"[0-9a-f]{64}", found.resource["service.name"])


def test_ids_are_masked_without_their_exemption(tmp_path: Path) -> None:
    with running(tmp_path, "processors: {redaction/pii: {ignored_key_patterns: []}}") as collector:
        said = arrived(collector, IDS)
    assert said[semconv.RESPONSE_ID] != CARD
    assert said[semconv.FEEDBACK_TRACE_ID] != IDS[semconv.FEEDBACK_TRACE_ID]


def test_a_plain_user_id_becomes_a_pseudonym(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        said = arrived(collector, {"user.id": "anna"})
    assert re.fullmatch(r"[0-9a-f]{64}", said[semconv.ENDUSER_PSEUDO_ID])


def test_a_plain_user_id_arrives_if_the_key_is_not_blocked(tmp_path: Path) -> None:
    with running(tmp_path, "processors: {redaction/pii: {blocked_key_patterns: []}}") as collector:
        assert arrived(collector, {"user.id": "anna"})[semconv.ENDUSER_PSEUDO_ID] == "anna"


LONG = messages("x" * 100_000)
BY_COUNT = "{batch: {flush_timeout: 2s, sizer: items, min_size: 8192, max_size: 8192}}"


def send_long(collector: Collector, count: int, at_once: int = 20) -> None:
    for start in range(0, count, at_once):
        numbers = range(start, start + at_once)
        post(collector.url, request(span(n, {**CHAT, semconv.INPUT_MESSAGES: LONG}) for n in numbers))


def test_long_prompts_arrive_whole(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        send_long(collector, 100)
        spans = collector.tempo.wait_spans(100)
        turns = collector.others.wait_spans(100)
    assert all(one.attributes[semconv.INPUT_MESSAGES] == LONG for one in [*spans, *turns])


def test_long_prompts_are_lost_in_batches_by_count(tmp_path: Path) -> None:
    broken = f"exporters: {{otlp_grpc/tempo: {{sending_queue: {BY_COUNT}}}}}"
    with running(tmp_path, broken) as collector:
        send_long(collector, 100, at_once=100)  # what comes slowly makes small messages, however counted
        collector.others.wait_spans(100)
        until(lambda: "ResourceExhausted" in collector.log.read_text(encoding="utf-8") or None, "a refusal")
        assert len(collector.tempo.spans) < 100


# --- sampling -------------------------------------------------------------------------------------------------------
NOTHING = {"COLLECTOR_KEEP_PERCENT": "0", "COLLECTOR_DECISION_WAIT": "1s"}
VOTE = {semconv.FEEDBACK_ID: "f" * 32, semconv.EVALUATION_NAME: "user_thumbs"}


def sampled(collector: Collector, awaited: int = 0) -> tuple[int, int]:
    """How many of 50 answers and of 50 judgements arrived by the time that a later, failed answer did.

    Requests to Tempo may overtake each other, so as many judgements as are ``awaited`` are waited for.
    """
    post(collector.url, request(span(n, CHAT) for n in range(50)))
    post(collector.url, request(span(n, VOTE) for n in range(100, 150)))
    post(collector.url, request([span(200, CHAT, failed=True)]))
    collector.tempo.wait_spans(1, where=lambda one: one.name == "chat 200")
    collector.tempo.wait_spans(awaited, where=lambda one: 100 <= _number(one) < 150)
    numbers = [_number(one) for one in collector.tempo.spans]
    return sum(n < 50 for n in numbers), sum(100 <= n < 150 for n in numbers)


def _number(one: Span) -> int:
    return int(one.name.split()[1])


def test_feedback_is_never_sampled(tmp_path: Path) -> None:
    with running(tmp_path, PROFILES / "tail-sampling.yaml", **NOTHING) as collector:
        assert sampled(collector, awaited=50) == (0, 50)
        assert len(collector.others.wait_spans(51)) == 51, "the gateway keeps every turn"


def test_what_was_promoted_passes_the_sampler(tmp_path: Path) -> None:
    with running(tmp_path, PROFILES / "tail-sampling.yaml", **NOTHING) as collector:
        post(collector.url, request([span(1, {**CHAT, semconv.TRACE_PROMOTED: True}), span(2, CHAT)]))
        post(collector.url, request([span(200, CHAT, failed=True)]))
        collector.tempo.wait_spans(1, where=lambda one: one.name == "chat 200")
        assert {one.name for one in collector.tempo.wait_spans(2)} == {"chat 1", "chat 200"}


def test_feedback_is_lost_if_it_meets_the_sampler(tmp_path: Path) -> None:
    broken = "service: {pipelines: {traces/feedback: {processors: [filter/feedback, tail_sampling]}}}"
    with running(tmp_path, PROFILES / "tail-sampling.yaml", broken, **NOTHING) as collector:
        assert sampled(collector) == (0, 0)


def test_nothing_is_sampled_without_the_profile(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        post(collector.url, request(span(n, CHAT) for n in range(50)))
        post(collector.url, request(span(n, VOTE) for n in range(100, 150)))
        assert len(collector.tempo.wait_spans(100)) == 100


# --- metrics from spans ---------------------------------------------------------------------------------------------
QUICK = "connectors: {span_metrics: {metrics_flush_interval: 1s}, span_metrics/foreign: {metrics_flush_interval: 1s}}"
FOREIGN = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-test", "prompt.id": "qa",
           "llm.prompt_template.version": "7"}
OF_ALL = {"traces.span.metrics.calls", "traces.span.metrics.duration"}


def counted(collector: Collector, said: dict[str, Any], *more: str) -> dict[str, dict[str, Any]]:
    """The labels of every metric that comes out for a span, by its name, in the second round of exports.

    ``more`` come from a connector with a clock of its own, so they are waited for.
    """
    post(collector.url, request([span(1, said)]))

    def twice() -> bool | None:
        names = [point.metric for point in collector.others.points]
        return True if min(names.count(name) for name in OF_ALL) >= 2 and names_of(collector) >= {*more} else None

    until(twice, "two exports of metrics")
    return {point.metric: point.attributes for point in collector.others.points}


def test_spans_in_another_dialect_are_counted_with_the_conventions_labels(tmp_path: Path) -> None:
    with running(tmp_path, QUICK) as collector:
        found = counted(collector, FOREIGN, semconv.INFERENCE_DURATION)
    assert set(found) == {*OF_ALL, semconv.INFERENCE_DURATION}
    for labels in found.values():
        assert labels[semconv.OPERATION_NAME] == semconv.CHAT
        assert labels[semconv.REQUEST_MODEL] == "gpt-test"
        assert (labels[semconv.PROMPT_NAME], labels[semconv.PROMPT_VERSION]) == ("qa", "7")


def test_the_conventions_buckets() -> None:
    document = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    buckets = document["connectors"]["span_metrics/foreign"]["histogram"]["explicit"]["buckets"]
    assert tuple(float(one.removesuffix("ms")) / 1000 for one in buckets) == semconv.DURATION_BUCKETS


def test_a_sender_that_counts_itself_is_not_counted_under_its_names(tmp_path: Path) -> None:
    with running(tmp_path, QUICK) as collector:
        assert set(counted(collector, CHAT)) == OF_ALL


def test_it_would_be_counted_twice_without_the_filter(tmp_path: Path) -> None:
    broken = "service: {pipelines: {traces/foreign: {processors: []}}}"
    with running(tmp_path, QUICK, broken) as collector:
        assert semconv.INFERENCE_DURATION in counted(collector, CHAT, semconv.INFERENCE_DURATION)


PROMOTED = {**FOREIGN, semconv.TRACE_PROMOTED: True}


def names_of(collector: Collector) -> set[str]:
    """Names of the metrics that have come so far."""
    return {point.metric for point in collector.others.points}


def names(collector: Collector, *more: str) -> set[str]:
    """What is counted when three spans came, of which the second is a promoted one: names of spans, other metrics.

    The metrics ``more`` are waited for.
    """
    for number, said in ((1, CHAT), (2, PROMOTED), (3, CHAT)):
        post(collector.url, request([span(number, said)]))

    def seen() -> set[str] | None:
        found = {str(point.attributes.get("span.name")) for point in collector.others.points if point.metric in OF_ALL}
        return found if "chat 3" in found and names_of(collector) >= {*more} else None

    found = until(seen, "metrics of the last span")
    assert len(collector.tempo.wait_spans(3)) == 3
    return found | names_of(collector) - OF_ALL


def test_a_promoted_span_is_kept_and_counted_nowhere(tmp_path: Path) -> None:
    with running(tmp_path, QUICK) as collector:
        assert names(collector) == {"chat 1", "chat 3"}


def test_it_would_be_counted_without_its_filter(tmp_path: Path) -> None:
    broken = "service: {pipelines: {traces/measured: {processors: []}}}"
    with running(tmp_path, QUICK, broken) as collector:
        found = names(collector, semconv.INFERENCE_DURATION)
        assert found == {"chat 1", "chat 2", "chat 3", semconv.INFERENCE_DURATION}


def expressions() -> list[str]:
    """Every PromQL of the shipped dashboards and rules."""
    found: list[str] = []
    for path in [*PROFILES.parent.glob("rules/*.yml"), *(PROFILES.parents[1] / "grafana/dashboards").glob("*.json")]:
        found += re.findall(r'(?:expr: |"expr": )(.*)', path.read_text(encoding="utf-8"))
    return found


def adds_both(expression: str) -> bool:
    """Whether calls counted from spans meet calls counted by the sender, which are the same calls."""
    return "traces_span_metrics" in expression and bool(re.search(r"gen_ai_client_|backspan_", expression))


def test_no_panel_or_rule_counts_a_call_twice() -> None:
    assert len(expressions()) > 50
    assert [one for one in expressions() if adds_both(one)] == []


def test_a_panel_that_counts_a_call_twice_is_noticed() -> None:
    total = "sum(traces_span_metrics_calls_total) + sum(gen_ai_client_inference_duration_seconds_count)"
    assert adds_both(total)


# --- itself ---------------------------------------------------------------------------------------------------------
def test_the_collector_counts_what_it_does(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        post(collector.url, request([span(1, CHAT)]))
        collector.tempo.wait_spans(1)
        said = until(lambda: said if "otelcol_exporter_sent_spans" in (said := collector.metrics()) else None, "counts")
    assert "otelcol_receiver_accepted_spans" in said
    for exporter in ("otlp_grpc/tempo", "otlp_http/gateway", "otlp_http/prometheus"):
        assert re.search(rf'otelcol_exporter_queue_capacity{{[^}}]*exporter="{exporter}"', said), exporter


def test_a_refusing_receiver_is_seen_in_the_counts(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        collector.others.refuse(503)
        post(collector.url, request([span(1, CHAT)]))
        waiting = r'otelcol_exporter_queue_size{[^}]*exporter="otlp_http/gateway"[^}]*} ([0-9.e+]+)'

        def queued() -> bool | None:
            found = re.search(waiting, collector.metrics())
            return True if found and float(found[1]) > 0 else None

        until(queued, "the queue of the gateway")
        collector.others.refuse(None)
        assert len(collector.others.wait_spans(1, 120)) == 1  # pauses between tries grow to 45 s


def test_prometheus_scrapes_the_collector(house: House) -> None:
    def scraped() -> bool | None:
        targets = get(house.backend.ports.prometheus, "/api/v1/targets")["data"]["activeTargets"]
        health = {one["labels"]["job"]: one["health"] for one in targets}
        return True if health.get("otelcol") == "up" else None

    until(scraped, "the Collector as a target that is up")
    post(f"http://127.0.0.1:{house.backend.ports.otlp_http}", request([span(1, {})]))  # some begin with the first span
    for name in ("otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity", "otelcol_receiver_refused_spans"):
        until(lambda name=name: house.backend.query(f'{name}{{job="otelcol"}}') or None, name)


def test_every_profile_is_accepted(tmp_path: Path) -> None:
    profiles = sorted(PROFILES.glob("*.yaml"))
    assert len(profiles) == 4
    assert all(accepts(tmp_path, profile) for profile in profiles)
    loki, *rest = sorted(profiles, key=lambda path: path.name != "logs-loki.yaml")
    assert accepts(tmp_path, loki, *(path for path in rest if path.name != "logs-file.yaml"))


@pytest.mark.parametrize("name", [path.name for path in sorted(PROFILES.glob("*.yaml"))])
def test_a_spoilt_profile_is_refused(tmp_path: Path, name: str) -> None:
    spoilt = (PROFILES / name).read_text(encoding="utf-8").replace("service:", "servis:")
    assert not accepts(tmp_path, spoilt)
