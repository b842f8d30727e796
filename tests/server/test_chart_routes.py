"""The chart routes of a running server: windows, baselines, and the facts behind an alert."""

import json
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backspan import semconv

from .charting import NO_TICKETS
from .conftest import TARGET

COHORT = {semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "test"}
PROMPT = {**COHORT, semconv.PROMPT_NAME: "support"}
WINDOWS, BASELINES = "/api/charts/thumbs_down/windows", "/api/charts/thumbs_down/baselines"
PLAIN = {"partition": "service", "labels": COHORT, "p0": 0.2}


def span(n, version, at, **said):
    """An answered chat call as OTLP."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key, value in COHORT.items():
        group.resource.attributes.add(key=key).value.string_value = value
    made = group.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(f"{n + 1:032x}"), span_id=bytes.fromhex(f"{n + 1:016x}"), name="chat",
        start_time_unix_nano=int((at - 2) * 1e9), end_time_unix_nano=int(at * 1e9))
    attributes = {
        semconv.OPERATION_NAME: "chat", semconv.PROMPT_NAME: "support", semconv.PROMPT_VERSION: version,
        semconv.REQUEST_MODEL: "m-1", semconv.RESPONSE_MODEL: f"m-1-{version}", semconv.INDEX_VERSION: version, **said}
    for key, value in attributes.items():
        if isinstance(value, list):
            made.attributes.add(key=key).value.array_value.values.add().string_value = value[0]
        else:
            made.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


@pytest.fixture(scope="module")
def story(servers, tmp_path_factory):
    return told(servers, tmp_path_factory.mktemp("spec"))


def told(servers, folder):
    """A regression of version 2 that only votes of the last minute show: a server with its alert."""
    spec = folder / "spc.yaml"
    spec.write_text(NO_TICKETS)
    server = servers("up", "--spec", str(spec)).start()
    began = time.time()
    for n in range(90):
        version = "1" if n < 60 else "2"
        cut = {semconv.RESPONSE_FINISH_REASONS: ["length" if n % 3 == 0 and n >= 60 else "stop"]}
        broken = {semconv.ERROR_TYPE: "timeout"} if n == 70 else {}
        documents = {semconv.RETRIEVAL_DOCUMENT_IDS: [f"doc-{version}"]}
        body = span(n, version, began - 1, **cut, **broken, **documents)
        assert server.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})[0] == 200
        if n != 70:
            bad = n % 20 == 0 if n < 60 else n % 5 != 0
            target = {"trace_id": f"{n + 1:032x}", "span_id": f"{n + 1:016x}"}
            reasons = [("wrong" if n >= 60 else "slow")] if bad else []
            said = {"thumbs": not bad, "reasons": reasons, "target": target,
                    "rater": "the same" if n >= 80 else f"rater {n}"}
            assert server.vote(said)[0] == 201
    return server


def alert_of(server, partition="service"):
    found = [a for a in server.json("/api/alerts")[1]["alerts"] if a["cohort"]["partition"] == partition]
    assert len(found) == 1
    return found[0]


def test_windows_are_counted_from_the_rows(story):
    status, said = story.json(f"{WINDOWS}?width=3600")
    assert (status, said["width"]) == (200, 3600)
    totals = {}
    for one in said["windows"]:
        assert one["start"] % 3600 == 0 and set(one) == {"partition", "labels", "start", "n", "bad"}
        key = one["partition"], one["labels"].get(semconv.PROMPT_VERSION)
        n, bad = totals.get(key, (0, 0))
        totals[key] = (n + one["n"], bad + one["bad"])
    assert totals == {("service", None): (89, 27), ("prompt", "1"): (60, 3), ("prompt", "2"): (29, 24)}
    later = story.json(f"{WINDOWS}?width=60&since={time.time() + 60:.0f}&until={time.time() + 120:.0f}")[1]
    assert later == {"width": 60, "windows": []}
    assert story.json(WINDOWS)[1]["width"] == 3600


@pytest.mark.parametrize(("query", "field"), [
    ("width=0", "width"), ("width=x", "width"), ("since=2&until=1", "since"), ("since=-1", "since"),
    ("width=1&since=1&until=90000000", "width"), ("until=1e400", "until"),
])
def test_windows_of_nonsense_are_refused(story, query, field):
    status, _, body = story.request("GET", f"{WINDOWS}?{query}")
    assert (status, json.loads(body)["field"]) == (422, field)


def test_charts_that_are_not_there(story):
    for path in ("charts/none", "charts/none/windows", "charts/none/baselines", "explain?alert=999"):
        assert story.json(f"/api/{path}")[0] == 404
    assert story.json("/api/explain")[0] == story.json("/api/explain?alert=x")[0] == 422
    assert story.json("/api/canaries")[1] == {"evaluated_by": "backspan", "canaries": []}


def test_an_alert_is_explained_with_counts(story):
    alert = alert_of(story)
    status, facts = story.json(f"/api/explain?alert={alert['id']}")
    assert status == 200 and facts["alert"]["id"] == alert["id"] and facts["chart"] == "thumbs_down"
    before, after = facts["before"], facts["after"]
    assert before["n"] + after["n"] == 89 and before["bad"] + after["bad"] == 27
    assert after["rate"] > 0.6 and before["rate"] < 0.1
    top = facts["reasons"][0]
    assert (top["reason"], top["of"], top["before"]["n"]) == ("wrong", after["bad"], 0)
    assert top["share"] == top["n"] / top["of"] and top["lift"] > 1 and top["all"]["n"] == 24
    raters = facts["raters"]["after"]
    assert raters["top"]["n"] == 10 and raters["distinct"] == raters["n"] - 9 and raters["unknown"] == 0
    assert raters["top_bad"] == {"n": 8, "of": after["bad"], "share": 8 / after["bad"]}
    guilty = {one["key"]: one for one in facts["dimensions"]}
    assert {semconv.PROMPT_VERSION, semconv.RESPONSE_MODEL, semconv.INDEX_VERSION} <= guilty.keys()
    assert guilty[semconv.RESPONSE_MODEL]["value"] == "m-1-2" and guilty[semconv.PROMPT_VERSION]["n"] == 29
    assert facts["coverage"]["before"]["answers"] + facts["coverage"]["after"]["answers"] == 89
    calls = [facts["calls"][side] for side in ("before", "after")]
    assert [sum(side[key] for side in calls) for key in ("n", "errors", "truncated")] == [90, 1, 10]
    samples = facts["samples"]
    assert 0 < len(samples) <= 10 and all(len(one["trace_id"]) == 32 and one["turn_id"] for one in samples)
    assert "rater" not in json.dumps(facts["raters"]["after"]["top"])


def test_what_changed_is_told_where_answers_were_on_both_sides(story):
    """Here every answer is older than the first bad vote, so nothing came since."""
    facts = story.json(f"/api/explain?alert={alert_of(story)['id']}")[1]
    assert facts["documents"]["before"] == {"answers": 89, "with_documents": 89, "without": 0, "distinct": 2}
    assert {(one["key"], one["what"]) for one in facts["changes"]} <= {
        (key, "went") for key in (semconv.PROMPT_VERSION, semconv.RESPONSE_MODEL, semconv.INDEX_VERSION)}


@pytest.mark.parametrize(("change", "field"), [
    ({"partition": "none"}, "partition"), ({"labels": {semconv.SERVICE_NAME: "chat"}}, "labels"),
    ({"labels": {**COHORT, semconv.SERVICE_NAME: 5}}, "labels"), ({"p0": 0}, "p0"), ({"p0": 1.5}, "p0"),
    ({"p0": "0.2"}, "p0"), ({"p0": None}, "p0"), ({"phi": 0.5}, "phi"), ({"phase": "given"}, "phase"),
    ({"phase": "rebased"}, "reason"), ({"phase": "rebased", "reason": " "}, "reason"), ({"reason": 5}, "reason"),
    ({"excluded": [{"start": 5}]}, "excluded"), ({"excluded": {}}, "excluded"), ({"more": 1}, ""),
])
def test_baselines_that_cannot_be_are_refused(story, change, field):
    status, headers, body = story.request("PUT", BASELINES, {"baselines": [{**PLAIN, **change}]})
    assert status == 422 and headers["content-type"] == "application/problem+json"
    assert json.loads(body)["field"] == f"baselines[0].{field}".rstrip(".")
    assert story.json(BASELINES)[1]["baselines"] == [] or field


def test_bodies_that_are_no_baselines(story):
    assert story.request("PUT", BASELINES, b"{", {"Content-Type": "application/json"})[0] == 400
    for body in ([], {"baselines": 5}, {"baselines": [5]}, {}, {"baselines": [PLAIN, PLAIN]}):
        assert story.request("PUT", BASELINES, body)[0] == 422


def test_only_trusted_callers_set_baselines(story):
    for header in ({"Origin": "http://evil.example"}, {"X-Forwarded-For": "1.2.3.4"}):
        assert story.request("PUT", BASELINES, {"baselines": []}, header)[0] == 401
        assert story.request("GET", BASELINES, headers=header)[0] == 401


def test_setting_a_baseline_ends_the_alert_of_its_cohort_and_stays_over_a_restart(servers, tmp_path):
    story = told(servers, tmp_path)  # of its own: the others look at the alert
    assert alert_of(story)["state"] == "firing" and alert_of(story, "prompt")["state"] == "firing"
    row = {**PLAIN, "p0": 0.35, "phi": 1.2, "phase": "rebased", "reason": "a harder task",
           "excluded": [{"start": 3600, "reason": "an outage"}]}
    status, said = story.json(BASELINES, "PUT", {"baselines": [row]})
    assert status == 200 and [{k: v for k, v in one.items() if k != "time"} for one in said["baselines"]] == [row]
    assert alert_of(story)["state"] == "cleared" and alert_of(story, "prompt")["state"] == "firing"
    story.kill()
    story.start()
    [service] = [c for c in story.json("/api/charts/thumbs_down")[1]["cohorts"] if c["partition"] == "service"]
    assert (service["phase"], service["p0"], service["phi"], service["statistic"]) == ("rebased", 0.35, 1.2, None)
    other = {"partition": "prompt", "labels": {**PROMPT, semconv.PROMPT_VERSION: "2"}, "p0": 0.3, "phi": 1.0}
    merged = story.json(BASELINES, "PUT", {"baselines": [other]})[1]["baselines"]
    assert [one["partition"] for one in merged] == ["prompt", "service"] and merged[0]["phase"] == "frozen"
    assert story.json(BASELINES)[1]["baselines"] == merged
    assert story.json(BASELINES, "PUT", {"baselines": merged})[0] == 200


def test_the_gateway_has_no_charts_of_its_own(servers):
    gateway = servers("gateway").start()
    said = gateway.json("/api/charts")[1]
    assert said == {"evaluated_by": "prometheus", "charts": [], "canaries": [], "limits": []}
    assert gateway.json(WINDOWS)[0] == gateway.json("/api/explain?alert=1")[0] == 404
    assert gateway.vote({"thumbs": True, "target": TARGET})[0] == 201
