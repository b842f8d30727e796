"""Gauges against their limits, in Python and through the real PromQL engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.rules.documents import given
from tests.rules.promtools import broken, fails, found, passes

from backspan.rules import limits
from backspan.rules.spec import Limit, Spec, load, parse

GAUGE = 'backspan_review_oldest_seconds{service_name="chat",deployment_environment_name="production",instance="%s"}'


def spec_of(**changed: Any) -> Spec:
    limit = {"name": "oldest", "indicator": "oldest_unreviewed", "above": 3600, "for": "2m", **changed}
    return parse(given() | {"interval": "30s", "limits": [limit]})


def test_it_fires_once_it_lasted_and_not_before() -> None:
    limit = Limit("oldest", "oldest_unreviewed", 10, lasting=60)
    values = [5, 11, 11, 11, 10, 11, 11, None, 11]
    assert limits.firing(limit, values, 30) == [False, False, False, True, False, False, False, False, False]


def test_no_limits_no_file() -> None:
    assert limits.rule_file(parse(given())) is None
    assert limits.promtool_tests(parse(given()), "rules.yml") is None


def test_every_shipped_limit_has_its_line_and_its_alert() -> None:
    rules = (limits.rule_file(load()) or {})["groups"][0]["rules"]
    assert [rule["labels"]["limit"] for rule in rules] == [limit.name for limit in load().limits] * 2


@pytest.fixture(params=found(), ids=lambda path: Path(path).parent.name)
def tool(request: pytest.FixtureRequest) -> str:
    """Each promtool at hand."""
    return request.param


@pytest.mark.promtool
def test_the_generated_test(tool: str, tmp_path: Path) -> None:
    passes(tool, tmp_path, limits.rule_file(spec_of()), limits.promtool_tests(spec_of(), "rules.yml"))


@pytest.mark.promtool
@pytest.mark.parametrize(("old", "new"), [("> 3600", ">= 3600"), ("> 3600", "> 3700")])
def test_another_limit_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    """The twin."""
    rules = broken(limits.rule_file(spec_of()), limits.ALERT, old, new)
    fails(found()[-1], tmp_path, rules, limits.promtool_tests(spec_of(), "rules.yml"))


@pytest.mark.promtool
def test_another_duration_is_noticed(tmp_path: Path) -> None:
    """The twin."""
    rules: Any = limits.rule_file(spec_of())
    rules["groups"][0]["rules"][-1]["for"] = "1m"
    fails(found()[-1], tmp_path, rules, limits.promtool_tests(spec_of(), "rules.yml"))


@pytest.mark.promtool
def test_one_alert_for_all_processes_says_how_much(tool: str, tmp_path: Path) -> None:
    spec = spec_of(severity="page", owner="llm-team", runbook="https://example.com/review")
    labels = {"alertname": "BackspanLimitExceeded", "limit": "oldest", "indicator": "oldest_unreviewed",
              "severity": "page", "owner": "llm-team", "service_name": "chat",
              "deployment_environment_name": "production"}
    annotations = {
        "summary": "oldest: oldest_unreviewed is 2h 0m 0s, limit 3600; service_name=chat"
        " deployment_environment_name=production",
        "description": "Seconds since the oldest bad answer that nobody reviewed.",
        "clears": "when the value is no longer above 3600; it was above for 2m before this came",
        "runbook_url": "https://example.com/review",
    }
    test = {
        "interval": "30s",
        "input_series": [{"series": GAUGE % "a", "values": "7200x10"}, {"series": GAUGE % "b", "values": "4000x10"}],
        "alert_rule_test": [{"eval_time": "3m", "alertname": "BackspanLimitExceeded",
                             "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}]}],
    }
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [test]}
    passes(tool, tmp_path, limits.rule_file(spec), document)
