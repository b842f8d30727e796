"""Every generated rule, as Prometheus itself evaluates it while votes come in: no error, and data if there can be."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.stack.backend import NotFound, get, until
from tests.stack.conftest import Alarm, House

from backspan.rules import series
from backspan.rules.generate import write

pytestmark = pytest.mark.stack
SELDOM = {series.KEPT, series.Z, series.EWMA, series.BEYOND}
"""Recorded every ten minutes, or when an hour's window closes."""


def rules(house: House) -> list[dict[str, Any]]:
    """All rules that Prometheus has, with the file that each comes from."""
    groups = get(house.backend.ports.prometheus, "/api/v1/rules")["data"]["groups"]
    return [{**rule, "file": group["file"]} for group in groups for rule in group["rules"]]


def failing(house: House) -> list[str]:
    """Names and errors of rules that do not evaluate; a rule that was not evaluated yet fails too."""
    return [f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules(house)
            if rule["health"] != "ok"]


def without_data(house: House, chart: str) -> set[str]:
    """Recording rules of a chart that have recorded nothing."""
    names = {rule["name"] for rule in rules(house) if rule["file"].endswith(f"/{chart}.yml")
             and rule["type"] == "recording"}
    return {name for name in names if not house.backend.query(f'last_over_time({name}[1h])')}


def test_every_rule_is_evaluated(house: House, alarm: Alarm) -> None:
    assert len(rules(house)) > 100
    until(lambda: not failing(house) or None, "rules without an error")


def test_every_rule_of_a_rated_chart_records(house: House, alarm: Alarm) -> None:
    silent: set[str] = set()

    def recorded() -> bool | None:
        silent.clear()
        silent.update(without_data(house, "thumbs_down") - SELDOM)
        return None if silent else True

    try:
        until(recorded, "data of every rule")
    except NotFound:
        pytest.fail(f"no data of {silent}")


@contextmanager
def another_rule(house: House, expression: str) -> Generator[None]:
    """One more rule file, read by the running Prometheus."""
    path = house.stack.plan.rules / "another.yml"
    rule = {"record": "x", "expr": expression}
    path.write_text(write({"groups": [{"name": "another", "interval": "1s", "rules": [rule]}]}), encoding="utf-8")
    _read_again(house)
    try:
        yield
    finally:
        path.unlink()
        _read_again(house)


def _read_again(house: House) -> None:
    os.kill(house.stack.running["prometheus"].pid, signal.SIGHUP)


def test_a_rule_that_cannot_be_evaluated_is_noticed(house: House) -> None:
    """The twin: labels that are the same on both sides only if one is left out."""
    with another_rule(house, "up + on () up"):
        until(lambda: [one for one in failing(house) if one.startswith("x: err")] or None, "the rule's error")


def test_a_rule_without_data_is_noticed(house: House) -> None:
    """The twin."""
    with another_rule(house, "no_such_metric"):
        until(lambda: without_data(house, "another") == {"x"} or None, "the rule that records nothing")
