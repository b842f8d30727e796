"""The loop, closed by the example application: answers, votes by token, the page, and from its links back to the votes.

Only the variable switches the application's instrumentation on. What the users did is known exactly, so what the back
end returns must be exactly that. Each check has a twin that must fail.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.stack import links
from tests.stack.backend import ABSENT_S, Backend, NotFound, get, until
from tests.stack.conftest import House
from tests.stack.example import ENVIRONMENT, SERVICE, Town, application, traces

from backspan._assets import asset

pytestmark = pytest.mark.stack
GOOD, BAD = "v1", "v2"
COHORT = f'service_name="{SERVICE}",deployment_environment_name="{ENVIRONMENT}"'


@pytest.fixture(scope="module")
def town(house: House, tmp_path_factory: pytest.TempPathFactory) -> Generator[Town]:
    """Forty visits under the good prompt, sixty under the bad one; the application goes on running."""
    with application(house, tmp_path_factory.mktemp("town"), RAG_CHAT_EVALUATE="1") as town:
        town.let_in(GOOD, 0, 40)
        town.let_in(BAD, 40, 60)
        yield town


@pytest.fixture(scope="module")
def page(house: House, town: Town) -> dict[str, Any]:
    """The page about the bad prompt."""
    return until(lambda: next(iter(about(house, BAD)), None), f"page about {BAD}")


def about(house: House, version: str) -> list[dict[str, Any]]:
    """Pages about a prompt version of the application."""
    return [page for page in house.pager.of(SERVICE) if page["labels"].get("gen_ai_prompt_version") == version]


def found_traces(backend: Backend, traceql: str) -> set[str]:
    """Trace ids that a query finds, with their leading zeros."""
    found = get(backend.ports.tempo, "/api/search", q=traceql, limit="500")["traces"]
    return {trace["traceID"].zfill(32) for trace in found}


def exactly(look: Any, wanted: object, what: str) -> None:
    """Wait until ``look`` gives what was sent and nothing else."""
    seen: list[object] = [None]

    def same() -> bool | None:
        seen[0] = look()
        return seen[0] == wanted or None

    try:
        until(same, what)
    except NotFound:
        pytest.fail(f"{what}: {seen[0]!r} is not {wanted!r}")


# --- traces -----------------------------------------------------------------------------------------------------------
def test_a_trace_by_its_id_tells_how_the_answer_came_about(house: House, town: Town) -> None:
    one = town.of(BAD, "down")[0]

    def complete() -> dict[str, Any] | None:  # the spans of a trace need not leave the application together
        spans = {span["name"].split()[0]: span for span in house.backend.find_trace(one.turn["trace_id"])}
        return spans if {"chat", "embeddings", "retrieval"} <= set(spans) else None

    spans = until(complete, "all spans of a trace")
    said = {a["key"]: next(iter(a["value"].values())) for a in spans["chat"]["attributes"]}
    whole = json.dumps([span["attributes"] for span in house.backend.find_trace(one.turn["trace_id"])])
    assert json.dumps(one.answer)[1:-1].split(" [")[0][:40] in whole.replace('\\\\"', '\\"')
    assert (said["gen_ai.prompt.name"], said["gen_ai.prompt.version"]) == ("support", BAD)


def test_the_answers_of_a_prompt_version_are_found_and_no_others(house: House, town: Town) -> None:
    chats = f'resource.service.name="{SERVICE}" && span.gen_ai.operation.name="chat"'
    query = f'{{ {chats} && span.gen_ai.prompt.version="%s" }}'
    for version in (GOOD, BAD):
        exactly(lambda version=version: found_traces(house.backend, query % version), traces(town.of(version)), version)
    assert traces(town.of(GOOD)) != found_traces(house.backend, query % BAD)
    assert found_traces(house.backend, query % "v3") == set()


# --- there and back ---------------------------------------------------------------------------------------------------
def test_from_the_rated_trace_to_its_feedback_and_back(house: House, town: Town) -> None:
    one = town.of(BAD, "down")[0]
    trace_id = one.turn["trace_id"]

    def thumbs() -> dict[str, Any] | None:  # the application's own judgement may be there before
        votes = house.backend.find_vote(trace_id)
        return next((vote for vote in votes if vote["gen_ai.evaluation.name"] == "user_thumbs"), None)

    assert until(thumbs, f"thumbs on {trace_id}")["link:spanID"] == one.turn["span_id"]
    query = f'{{ span.backspan.feedback.trace_id="{trace_id}" && name="evaluation user_thumbs" }}'
    (feedback,) = until(lambda: found_traces(house.backend, query) or None, query)
    assert feedback != trace_id
    (span,) = house.backend.find_trace(feedback)
    (link,) = span["links"]
    back = {s["spanId"] for s in house.backend.find_trace(_hex(link["traceId"]))}
    assert _hex(link["traceId"]) == trace_id and link["spanId"] in back


def test_an_answer_that_nobody_rated_has_no_rating(house: House, town: Town) -> None:
    silent = next(one for one in town.answered if not one.thumbs and not one.asked_again)
    assert house.backend.find_trace(silent.turn["trace_id"])
    query = f'{{ span.backspan.feedback.trace_id="{silent.turn["trace_id"]}" && name="evaluation user_thumbs" }}'
    with pytest.raises(NotFound):
        until(lambda: found_traces(house.backend, query) or None, query, seconds=2)


def _hex(encoded: str) -> str:
    """Tempo's JSON gives ids in base64, or in hexadecimal; either way the id."""
    if re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{16}", encoded):
        return encoded
    import base64

    return base64.b64decode(encoded).hex()


# --- exemplars --------------------------------------------------------------------------------------------------------
def exemplars(backend: Backend, query: str) -> set[str]:
    """Trace ids of all exemplars of a query."""
    data = get(backend.ports.prometheus, "/api/v1/query_exemplars", query=query, start="0", end="9999999999")["data"]
    return {one["labels"]["trace_id"] for series in data for one in series["exemplars"] if "trace_id" in one["labels"]}


EXEMPLARS = {
    "the gateway's counter": f'backspan_feedback_total{{{COHORT},instance="gateway",name="user_thumbs"}}',
    "the SDK's histogram": f"gen_ai_client_inference_duration_seconds_bucket{{{COHORT}}}",
    "the SDK's counter": f'backspan_feedback_total{{{COHORT},instance!="gateway",name="evaluator_grounded"}}',
}


@pytest.mark.parametrize("query", EXEMPLARS.values(), ids=EXEMPLARS)
def test_exemplars_lead_to_traces_of_the_answers(house: House, town: Town, query: str) -> None:
    found = until(lambda: exemplars(house.backend, query) or None, query)
    assert found <= traces(town.answered)
    for trace_id in sorted(found)[:5]:
        assert house.backend.find_trace(trace_id)


def test_exemplars_of_the_collector_lead_to_spans_of_the_application(house: House, town: Town) -> None:
    """They may point at a feedback span too, or at the embedding of the documents at the start."""
    query = f'traces_span_metrics_duration_seconds_bucket{{service_name="{SERVICE}"}}'
    for trace_id in sorted(until(lambda: exemplars(house.backend, query) or None, query))[:5]:
        assert house.backend.find_trace(trace_id)


def test_exemplars_of_a_series_that_is_not_there(house: House, town: Town) -> None:
    assert exemplars(house.backend, 'backspan_feedback_total{service_name="nobody"}') == set()
    with pytest.raises(NotFound):
        house.backend.find_trace("00000000000000000000000000c0ffee", seconds=1)


# --- the page ---------------------------------------------------------------------------------------------------------
def test_the_bad_prompt_is_paged_and_the_good_one_is_not(house: House, page: dict[str, Any]) -> None:
    labels = page["labels"]
    assert (labels["alertname"], labels["chart"], labels["partition"], labels["severity"]) == (
        "BackspanQualityRegression", "thumbs_down", "prompt", "page")
    assert about(house, GOOD) == []


def test_every_link_of_the_page_is_known(page: dict[str, Any]) -> None:
    """A link that is added to the alerts must be followed here too."""
    assert set(links.urls(page)) == {"panel", "spans", "generatorURL"}
    assert (asset("docker-compose.yml").parent / page["annotations"]["runbook_url"]).is_file()


def test_the_link_to_the_spans_returns_exactly_the_down_voted_answers(
    house: House, town: Town, page: dict[str, Any]
) -> None:
    sent = sorted((one.turn["trace_id"], one.turn["span_id"]) for one in town.of(BAD, "down"))
    assert 10 < len(sent) < links.explore(page["annotations"]["spans"]).limit
    exactly(lambda: sorted(links.followed(house.backend, page["annotations"]["spans"])), sent, "down-voted answers")
    for trace_id, span_id in sent[:3]:
        assert span_id in {_hex(span["spanId"]) for span in house.backend.find_trace(trace_id)}


def test_the_query_in_plain_text_is_the_same(page: dict[str, Any]) -> None:
    assert links.explore(page["annotations"]["spans"]).query == page["annotations"]["traces"]


@pytest.mark.parametrize("change", [
    (quote(BAD), GOOD), ("negative", "positive"), (SERVICE, "elsewhere"), ("user_thumbs", "user_stars"),
])
def test_a_link_with_another_condition_returns_something_else(
    house: House, town: Town, page: dict[str, Any], change: tuple[str, str]
) -> None:
    sent = {(one.turn["trace_id"], one.turn["span_id"]) for one in town.of(BAD, "down")}
    spoilt = page["annotations"]["spans"].replace(*change)
    assert spoilt != page["annotations"]["spans"]
    assert set(links.followed(house.backend, spoilt)) != sent


def test_the_link_to_the_panel_selects_the_cohort(house: House, town: Town, page: dict[str, Any]) -> None:
    board, chosen = links.panel(page["annotations"]["panel"])
    known = {one["name"] for one in board["templating"]["list"]}
    assert set(chosen) <= known
    where = links.selector(board, chosen)
    assert where.count("=") == 4  # service, environment, prompt, version; chart and partition choose the chart
    down, rated = len(town.of(BAD, "down")), len(town.of(BAD, "down")) + len(town.of(BAD, "up"))
    votes = f'name="user_thumbs",op="add",instance="gateway",{where}'
    house.backend.find_value(f"sum(backspan_feedback_total{{{votes}}})", rated)
    house.backend.find_value(f'sum(backspan_feedback_total{{{votes},polarity="negative"}})', down)
    chart = f'spc:rate{{chart="{chosen["chart"]}",partition="{chosen["partition"]}",{where}}}'
    assert len(house.backend.query(chart)) == 1


def test_a_panel_of_another_version_counts_something_else(house: House, town: Town, page: dict[str, Any]) -> None:
    board, chosen = links.panel(page["annotations"]["panel"].replace(f"var-version={BAD}", f"var-version={GOOD}"))
    rated = len(town.of(BAD, "down")) + len(town.of(BAD, "up"))
    votes = f'sum(backspan_feedback_total{{name="user_thumbs",op="add",{links.selector(board, chosen)}}})'
    with pytest.raises(NotFound):
        house.backend.find_value(votes, rated, seconds=1)


def test_the_link_to_the_expression_shows_the_series_that_fired(house: House, page: dict[str, Any]) -> None:
    parts = urlsplit(page["generatorURL"])
    assert parts.port == house.backend.ports.prometheus
    (expression,) = parse_qs(parts.query)["g0.expr"]
    fired = {"service_name": SERVICE, "gen_ai_prompt_version": BAD, "partition": "prompt"}
    shown = [one["metric"] for one in house.backend.query(expression)]
    assert [one for one in shown if fired.items() <= one.items()]
    assert not [one for one in shown if {**fired, "gen_ai_prompt_version": GOOD}.items() <= one.items()]


# --- the twin of all: without the variable ----------------------------------------------------------------------------
def test_without_the_variable_nothing_is_there(house: House, tmp_path: Path) -> None:
    question = {"question": "How long are gift cards valid?", "session": "s1"}
    with application(house, tmp_path, BACKSPAN="0", OTEL_SERVICE_NAME="rag-unseen") as town:
        request = urllib.request.Request(
            f"{town.url}/chat", json.dumps(question).encode(), {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            assert json.load(answer)["feedback_token"] is None
    query = '{ resource.service.name="rag-unseen" }'
    with pytest.raises(NotFound):
        until(lambda: found_traces(house.backend, query) or None, query, ABSENT_S)
