"""Charts and rules of the live tests: short times, groups of one second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backspan.rules.generate import rule_file
from backspan.rules.spec import Chart, Spec, parse

INTERVAL_S = 1


def spec(**chart: Any) -> Spec:
    """A spec with the chart ``thumbs_down``: two partitions, evaluated every second. ``chart``: keys to change."""
    one = {
        "name": "thumbs_down",
        "indicator": "thumbs_down",
        "cohorts": {"service": ["service.name"], "prompt": ["service.name", "gen_ai.prompt.version"]},
        "false_alarm_every": 400,
        "baseline": {"kind": "given", "p0": 0.35},
        "keep_firing_for": "0s",
    }
    document = {"version": 1, "interval": f"{INTERVAL_S}s", "lookback": "10m17s", "charts": [{**one, **chart}]}
    return parse(document)


def brief(of: Spec, name: str) -> Chart:
    """The chart under another name, with times so short that two minutes see all of them."""
    return replace(of.charts[0], name=name, window=15, idle_after=20, forget_after=40)


def broken(of: Spec, chart: Chart, record: str, old: str | None, new: str) -> dict[str, Any]:
    """The rules of ``chart`` with one change in the rule that records ``record``; ``old`` None: all of it."""
    document = rule_file(of, chart)
    (rule,) = (rule for rule in document["groups"][0]["rules"] if rule.get("record") == record)
    assert old is None or old in rule["expr"], f"{record} has no {old!r}"
    rule["expr"] = rule["expr"].replace(rule["expr"] if old is None else old, new)
    return document


def rule_files(of: Spec, charts: Mapping[str, Chart]) -> dict[str, Any]:
    """The rule file of each chart by its name."""
    return {name: rule_file(of, chart) for name, chart in charts.items()}
