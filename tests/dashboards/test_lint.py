"""The rules of `tests.support.grafana.lint`: each holds for every dashboard, and each notices what breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.grafana.ask import panels, variables
from tests.support.grafana.files import committed
from tests.support.grafana.lint import RULES

from backspan._assets import asset
from backspan.dashboards.generate import DASHBOARDS

Break = Callable[[dict[str, Any]], None]
DOCUMENTS = committed(asset("grafana/dashboards"))


@pytest.mark.parametrize("name", DASHBOARDS)
@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str, name: str) -> None:
    assert RULES[rule](DOCUMENTS[name]) == []


# --- twins ------------------------------------------------------------------------------------------------------------
def first(document: dict[str, Any], kind: str = "timeseries") -> dict[str, Any]:
    return next(panel for panel in panels(document) if panel["type"] == kind)


def target(text: str, kind: str = "timeseries") -> Break:
    def spoil(document: dict[str, Any]) -> None:
        asked = first(document, kind)["targets"][0]
        asked["query" if "query" in asked else "expr"] = text

    return spoil


def variable(name: str, /, **values: Any) -> Break:
    def spoil(document: dict[str, Any]) -> None:
        next(one for one in variables(document) if one["name"] == name).update(values)

    return spoil


def panel(**values: Any) -> Break:
    return lambda document: first(document).update(values)


def whole(**values: Any) -> Break:
    return lambda document: document.update(values)


def no_rate_columns(document: dict[str, Any]) -> None:
    for one in panels(document):
        one["targets"] = [asked for asked in one["targets"] if not asked.get("legendFormat", "").startswith("95 %")]
        one["transformations"] = []


BREAKS: dict[str, tuple[str, Break]] = {
    "panel_title_description": ("overview", panel(description="short")),
    "panel_units": ("overview", lambda document: first(document)["fieldConfig"]["defaults"].pop("unit")),
    "panel_no_targets": ("overview", panel(targets=[])),
    "panel_datasource": ("overview", panel(datasource={"type": "prometheus", "uid": "abc123"})),
    "template_datasource": ("overview", variable("tempo", name="traces")),
    "template_label_promql": ("overview", variable("service", query="query_result(up)")),
    "template_on_time_change_reload": ("overview", variable("service", refresh=1)),
    "target_rate_interval": ("overview", target("sum(rate(backspan_answers_total[5m]))")),
    "target_counter_agg": ("overview", target("sum(backspan_answers_total)")),
    "uneditable": ("overview", whole(editable=True)),
    "traceql_numbers_have_a_decimal_point": ("conversation", target("{ span.x > 3 }", "table")),
    "n_beside_every_rate": ("feedback", lambda document: first(document)["targets"].pop(1)),
    "interval_beside_every_rate": ("feedback", no_rate_columns),
    "legends_are_given": ("overview", lambda document: first(document)["targets"][0].pop("legendFormat")),
    "ids_are_unique": ("overview", panel(id=1)),
    "panels_do_not_overlap": ("overview", panel(gridPos={"x": 0, "y": 0, "w": 12, "h": 8})),
    "every_variable_is_defined": ("overview", target("sum(rate(backspan_answers_total{a=\"$b\"}[$__rate_interval]))")),
    "every_variable_says_what_it_is": ("overview", variable("service", label="")),
    "limits_do_not_depend_on_the_visible_range": ("control-charts", target("avg_over_time(spc:rate[$__range])")),
    "deploys_and_alerts_are_annotated": ("overview", whole(annotations={"list": []})),
    "the_others_are_linked": ("overview", whole(links=[])),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_dashboard_is_noticed(rule: str) -> None:
    name, spoil = BREAKS[rule]
    broken = copy.deepcopy(DOCUMENTS[name])
    spoil(broken)
    assert RULES[rule](broken) != []


@pytest.mark.parametrize("query", ["{ span.x > 3 }", "{ span.x < -1 }", "{ span.x=10 }",
                                   "{ span.y > 0.5 && span.x < 2 }"])
def test_numbers_without_a_decimal_point_are_noticed(query: str) -> None:
    broken = copy.deepcopy(DOCUMENTS["conversation"])
    target(query, "table")(broken)
    assert RULES["traceql_numbers_have_a_decimal_point"](broken)


def test_a_choice_without_a_decimal_point_is_noticed() -> None:
    broken = copy.deepcopy(DOCUMENTS["retrieval"])
    variable("score", options=[{"text": "1", "value": "1", "selected": True}])(broken)
    assert RULES["traceql_numbers_have_a_decimal_point"](broken)
