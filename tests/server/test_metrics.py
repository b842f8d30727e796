"""``/metrics``: names, labels, zeros, exemplars, in both formats."""

import json

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from backspan import semconv
from backspan.server.metrics import _Snapshot
from backspan.server.problems import Problem
from backspan.server.rejections import Rejections
from backspan.store.counters import Series

from .conftest import DIMS, token
from .test_otlp import request_json, span_json

LABELS = {*semconv.PROM_DIMENSIONS, semconv.PROM_ENVIRONMENT, semconv.PROM_SERVICE, "instance"}


@pytest.fixture
def server(servers):
    return servers().start()


def _samples(server, metric, /, parse=prometheus, **wanted):
    text = server.metrics(openmetrics=parse is openmetrics)
    return [sample for family in parse(text) for sample in family.samples
            if sample.name == metric and wanted.items() <= sample.labels.items()]


def test_names_and_labels_are_those_of_the_applications_sdk(server):
    server.vote({"thumbs": "down", "reasons": ["inaccurate"], "token": token(1)})
    families = {family.name: family for family in prometheus(server.metrics())}
    expected = {
        "backspan_feedback": {*LABELS, *semconv.FEEDBACK_LABELS},
        "backspan_feedback_reasons": {*LABELS, *semconv.FEEDBACK_LABELS, "reason"},
        "backspan_feedback_score": {*LABELS, "name", "source"},
        "backspan_feedback_delay_seconds": {*LABELS, "name", "source"},
    }
    for name, labels in expected.items():
        for sample in families[name].samples:
            assert sample.labels.keys() - {"le"} == labels, name
            assert sample.labels["instance"] == "gateway"
    [one] = families["backspan_feedback"].samples
    assert (one.labels["gen_ai_prompt_version"], one.labels["service_name"], one.labels["backspan_segment"]) == (
        DIMS[semconv.PROMPT_VERSION], "chat", "")


def test_a_new_series_is_zero_twice_and_then_exact(server):
    server.vote({"thumbs": "down", "token": token(1)})
    seen = [_samples(server, semconv.PROM_FEEDBACK)[0].value for _ in range(2)]
    server.vote({"thumbs": "down", "token": token(2)})
    seen += [_samples(server, semconv.PROM_FEEDBACK)[0].value for _ in range(2)]
    assert seen == [0, 0, 2, 2]


def test_the_first_answer_opens_every_feedback_series_of_its_cohort(server):
    server.request("POST", "/v1/traces", request_json(span_json(1)))
    [answers] = _samples(server, semconv.PROM_ANSWERS)
    assert (answers.value, answers.labels["gen_ai_request_model"]) == (0, "m-json")
    zeros = _samples(server, semconv.PROM_FEEDBACK, op="add", source="end_user", gen_ai_request_model="m-json")
    assert len({(s.labels["name"], s.labels["polarity"], s.labels["age"]) for s in zeros}) == len(zeros) == 12
    assert _samples(server, semconv.PROM_ANSWERS)[0].value == 1
    server.vote({"thumbs": "down", "target": {"trace_id": f"{1:032x}", "span_id": f"{1:016x}", "at": 1}})
    found = _samples(server, semconv.PROM_FEEDBACK, name="user_thumbs", polarity="negative", age="older")
    assert [sample.value for sample in found] == [1], "its series had been zero for two scrapes already"


def test_exemplars_name_the_judged_span(server):
    server.vote({"thumbs": "down", "token": token(7)})
    for _ in range(2):
        server.metrics()
    [sample] = _samples(server, semconv.PROM_FEEDBACK, parse=openmetrics)
    assert sample.value == 1
    assert sample.exemplar.labels == {"trace_id": f"{7:032x}", "span_id": f"{7:016x}"}


def test_histograms_are_cumulative_and_whole(server):
    for number, stars in enumerate((1, 5, 5), start=1):
        server.vote({"stars": stars, "token": token(number)})
    for _ in range(2):
        assert {s.value for s in _samples(server, "backspan_feedback_score_count")} == {0}
    buckets = {s.labels["le"]: s.value for s in _samples(server, "backspan_feedback_score_bucket")}
    assert (buckets["0.75"], buckets["1.0"], buckets["4.0"], buckets["5.0"], buckets["+Inf"]) == (0, 1, 1, 3, 3)
    assert _samples(server, "backspan_feedback_score_sum")[0].value == 11


def test_counters_survive_a_restart(server):
    server.vote({"thumbs": "down", "token": token(1)})
    for _ in range(3):
        before = _samples(server, semconv.PROM_FEEDBACK)
    server.stop()
    server.start()
    assert _samples(server, semconv.PROM_FEEDBACK) == before and before[0].value == 1


def test_a_gateway_does_not_count_what_applications_count_themselves(servers):
    gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").start()
    gateway.request("POST", "/v1/traces", request_json(span_json(1), scope="backspan"))
    said = {semconv.FEEDBACK_ID: "a" * 32, semconv.FEEDBACK_OP: "add", semconv.EVALUATION_NAME: "user_thumbs",
            semconv.FEEDBACK_POLARITY: "negative"}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]
    attributes.append({"key": semconv.FEEDBACK_VERSION, "value": {"intValue": "1"}})
    status, _, answer = gateway.request("POST", "/v1/traces", request_json(span_json(2, attributes=attributes)))
    assert (status, json.loads(answer)) == (200, {})
    for _ in range(3):
        assert _samples(gateway, semconv.PROM_ANSWERS) == []
        assert sum(s.value for s in _samples(gateway, semconv.PROM_FEEDBACK)) == 0
    gateway.request("POST", "/v1/traces", request_json(span_json(3)))  # the twin: a sender that counts nothing
    assert len(_samples(gateway, semconv.PROM_ANSWERS)) == 1
    assert len(gateway.json("/api/feedback")[1]["feedback"]) == 1
    charts = gateway.json("/api/charts")[1]
    assert (charts["evaluated_by"], charts["charts"]) == ("prometheus", [])


def _lines(series):
    rejections = Rejections()
    rejections.count("/v1/feedback", Problem(429, "too many"))
    text = generate_latest(_Snapshot(series, rejections)).decode()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_replica_that_shows_no_counts_shows_what_it_refused():
    """Refusals are those of one process, so every replica has its own; Prometheus says whose they are."""
    assert f'{semconv.PROM_FEEDBACK_REJECTED}{{reason="rate"}} 1.0' in _lines(None)
    assert all(line.startswith(semconv.PROM_FEEDBACK_REJECTED) and "instance" not in line for line in _lines(None))
    counted = Series(semconv.PROM_ANSWERS, {}, 3.0, None, False, 3.0)
    assert {line for line in _lines([counted]) if not line.startswith(semconv.PROM_FEEDBACK_REJECTED)}
