"""Specs that the tests of the rules share."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from backspan.rules.spec import Spec, parse

SERVICE = ["service.name", "deployment.environment.name"]
COHORTS = {"service": SERVICE, "prompt": [*SERVICE, "gen_ai.prompt.name", "gen_ai.prompt.version"]}


def given(**changed: Any) -> dict[str, Any]:
    """A spec of one chart on a given standard, as a document; ``changed`` are keys of the chart."""
    chart = {
        "name": "thumbs_down", "indicator": "thumbs_down", "cohorts": deepcopy(COHORTS), "false_alarm_every": 100000,
        "baseline": {"kind": "given", "p0": 0.10}, "severity": "page", "runbook": "docs/how-to/quality-alert.md",
    }
    return {"version": 1, "interval": "15s", "lookback": "6h", "charts": [{**chart, **changed}]}


def short(**changed: Any) -> Spec:
    """The same with times so short that 75 minutes see everything: look-back, window, idle and forgetting.

    The look-back is no multiple of the interval: at its very edge Prometheus 2 and 3 differ. Three times the accepted
    rate is more than 0.95.
    """
    times = {"false_alarm_every": 400, "window": "5m", "idle_after": "3m", "forget_after": "1h",
             "baseline": {"kind": "given", "p0": 0.35}}
    return parse(given(**{**times, **changed}) | {"interval": "30s", "lookback": "10m17s"})
