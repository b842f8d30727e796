"""Every query of the dashboard, run against the real Prometheus and Tempo after a regression."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.stack.backend import NotFound, thumbs_of, until
from tests.stack.conftest import Alarm, House
from tests.stack.test_end_to_end import say_vote, sdk_app
from tests.support.openai_server import OpenAIServer

from backspan.config import asset

pytestmark = pytest.mark.stack
_VALUES = {"__rate_interval": "1m", "__range": "1h", "chart": "thumbs_down", "partition": "prompt"}


def queries(dashboard: Path) -> dict[str, dict[str, Any]]:
    """Every target of every panel, and of the annotations, by title and query letter."""
    document = json.loads(dashboard.read_text(encoding="utf-8"))
    owners = [*document["panels"], *document["annotations"]["list"]]
    owners += [panel for row in document["panels"] for panel in row.get("panels", [])]
    return {
        f"{owner.get('title', owner.get('name'))} {target['refId']}": target
        for owner in owners
        for target in [*owner.get("targets", []), *([owner["target"]] if "target" in owner else [])]
    }


def filled(query: str) -> str:
    """The query as Grafana sends it with "All" chosen everywhere."""
    return re.sub(r"\$(\w+)", lambda found: _VALUES.get(found[1], ".*"), query)


def unanswered(house: House, targets: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the queries that return nothing."""

    def empty(target: dict[str, Any]) -> bool:
        ask = house.backend.query if "expr" in target else house.backend.search
        return not ask(filled(target.get("expr", target.get("query"))))

    return [name for name, target in targets.items() if empty(target)]


def test_every_query_of_the_dashboard_returns_data(house: House, alarm: Alarm, model: OpenAIServer) -> None:
    targets = queries(asset("grafana/dashboards/backspan.json"))
    assert len(targets) > 15
    missing: list[str] = []

    def complete() -> bool | None:
        missing[:] = unanswered(house, targets)
        return True if not missing else None

    with sdk_app(house, model, "dashboard") as (_, app):
        exported = thumbs_of('service_name="dashboard",instance!="gateway"')
        house.backend.find_value(exported, 0)  # `increase` sees the second answer only if the first was exported alone
        assert say_vote(app) == "add"
        try:
            until(complete, "data for every query")
        except NotFound:
            pytest.fail(f"no data for: {missing}")


def test_a_query_of_a_metric_that_does_not_exist_is_noticed(house: House) -> None:
    assert unanswered(house, {"x A": {"expr": "backspan_no_such_metric{chart=~\"$chart\"}"}}) == ["x A"]
