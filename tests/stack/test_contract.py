"""OTel name -> Prometheus name -> labels, through the real Collector and Prometheus; the rules rest on it."""

from __future__ import annotations

import pytest
from tests.stack.backend import NotFound, get, until
from tests.stack.conftest import House
from tests.stack.test_end_to_end import say_vote, sdk_app
from tests.support.openai_server import OpenAIServer

from backspan import semconv

pytestmark = pytest.mark.stack

SOURCE = {"service_name", "deployment_environment_name", "job", "instance"}
COHORT = SOURCE | set(semconv.PROM_DIMENSIONS)
CALL = SOURCE | {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model",
                 "server_address", "server_port", "gen_ai_prompt_name", "gen_ai_prompt_version",
                 "feature_flag_result_variant"}
EXPECTED = {
    semconv.PROM_ANSWERS: COHORT,
    semconv.PROM_FEEDBACK: COHORT | set(semconv.FEEDBACK_LABELS),
    f"{semconv.PROM_FEEDBACK_SCORE}_count": COHORT | set(semconv.FEEDBACK_LABELS),
    f"{semconv.PROM_FEEDBACK_DELAY}_count": COHORT | set(semconv.FEEDBACK_LABELS),
    "gen_ai_client_inference_duration_seconds_count": CALL,
    "gen_ai_client_inference_usage_input_tokens_total": CALL | {"gen_ai_token_modality"},
    "gen_ai_client_inference_usage_output_tokens_total": CALL | {"gen_ai_token_modality"},
}
"""Prometheus name -> the labels it may have. Prometheus drops a label whose value is empty."""
NEEDED = {"service_name", "deployment_environment_name", "gen_ai_request_model"}


def labels(house: House, name: str, service: str) -> list[set[str]] | None:
    """Labels of the series of ``service`` under ``name``, or None while there are none."""
    found = get(house.backend.ports.prometheus, "/api/v1/series", **{"match[]": f'{name}{{service_name="{service}"}}'})
    return [set(series) - {"__name__"} for series in found["data"]] or None


def test_names_and_labels_in_prometheus(house: House, model: OpenAIServer) -> None:
    with sdk_app(house, model, "contract", OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test") as (_, app):
        assert say_vote(app) == "add"
        for name, allowed in EXPECTED.items():
            for found in until(lambda name=name: labels(house, name, "contract"), name):
                assert found <= allowed, (name, found - allowed)
                assert found >= NEEDED, (name, NEEDED - found)


def test_the_gateway_and_the_sdk_spell_alike(house: House, model: OpenAIServer) -> None:
    """Rules add up what both count, by the same labels."""
    seen: dict[bool, set[frozenset[str]]] = {}

    def alike() -> bool | None:
        """One is scraped, the other pushes: for a moment Prometheus may have more series of one."""
        query = f'{semconv.PROM_FEEDBACK}{{service_name="alike",name="user_thumbs",op="add"}}'
        series = [one["metric"] for one in house.backend.query(query)]
        seen.update({gateway: {frozenset(one) for one in series if (one["instance"] == "gateway") is gateway}
                     for gateway in (True, False)})
        return True if seen[True] and seen[True] == seen[False] else None

    with sdk_app(house, model, "alike", OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test") as (_, app):
        assert say_vote(app) == "add"
        try:
            until(alike, "the same labels of both counters")
        except NotFound:
            pytest.fail(f"the gateway's labels: {seen[True]}, the SDK's: {seen[False]}")


def test_a_name_that_nobody_emits_is_noticed(house: House) -> None:
    assert labels(house, "backspan_no_such_name_total", "contract") is None
