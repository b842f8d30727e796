"""Objectives: the budget that is left and the burn alerts, in Python and through the real PromQL engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.rules.documents import given
from tests.rules.promtools import broken, fails, found, passes

from backspan.rules import generate, slo
from backspan.rules.slo_oracle import Ledger, alarms, expectations, promtool_tests
from backspan.rules.spec import Chart, Spec, parse

INTERVAL = 240
"""Seconds: a week is 2,520 evaluations, a missed one is longer than Prometheus looks back, and it divides an hour."""
DAY = 86_400


def spec_of(objective: float = 0.95, **changed: Any) -> Spec:
    """The shipped chart with an objective over seven days (the shortest), evaluated every four minutes."""
    document = given(slo={"objective": objective, "period": "7d"}, **changed)
    return parse(document | {"interval": f"{INTERVAL}s", "lookback": "2h"})


def chart_of(spec: Spec) -> Chart:
    return spec.charts[0]


# --- the oracle -----------------------------------------------------------------------------------------------------
def run(ledger: Ledger, batches: dict[int, tuple[int, int]], until: int) -> Any:
    """The last row after a step every interval until ``until`` (excluded)."""
    row = None
    for at in range(0, until, INTERVAL):
        row = ledger.step(at, *batches.get(at, (0, 0)))
    return row


def ledger_of(objective: float = 0.95) -> Ledger:
    spec = spec_of(objective)
    found_slo = chart_of(spec).slo
    assert found_slo is not None
    return Ledger(spec, found_slo)


def test_budget_of_a_week() -> None:
    row = run(ledger_of(), {0: (100, 1), DAY - DAY % INTERVAL: (100, 3)}, 2 * DAY)
    assert row.budget_left == pytest.approx(1 - 4 / 10)


def test_what_is_older_than_the_period_comes_back() -> None:
    batches = {0: (100, 50), 6 * DAY: (100, 1)}
    assert run(ledger_of(), batches, 7 * DAY).budget_left < 0
    assert run(ledger_of(), batches, 7 * DAY + INTERVAL).budget_left == pytest.approx(1 - 1 / 5)


def test_a_cohort_that_nobody_rates_for_the_period_begins_anew() -> None:
    assert run(ledger_of(), {0: (100, 50)}, 7 * DAY + INTERVAL) is None
    assert run(ledger_of(), {0: (100, 50), 8 * DAY: (10, 0)}, 8 * DAY + INTERVAL).budget_left == 1.0


def test_one_bad_event_of_two_pages_nobody_and_two_of_two_do() -> None:
    one, two = ({0: (2000, 0), 5 * DAY: (2, bad)} for bad in (1, 2))
    row = run(ledger_of(0.99), one, 5 * DAY + INTERVAL)
    assert min(burn for burn in row.burn.values() if burn) > 14.4 and not row.page
    assert run(ledger_of(0.99), two, 5 * DAY + INTERVAL).page  # at 1 % by chance once in 10,000 windows


def test_a_low_objective_has_no_alert_that_could_never_fire() -> None:
    rules = slo.rules(spec_of(0.8), chart_of(spec_of(0.8)))
    assert [rule["labels"]["severity"] for rule in rules if "alert" in rule] == ["ticket"]


def test_an_objective_on_a_rate_is_refused() -> None:
    chart = replace(chart_of(spec_of()), indicator="regenerate")
    with pytest.raises(ValueError, match="needs a share of good events"):
        slo.rules(spec_of(), chart)


def test_the_broadest_cohorts_have_the_budget() -> None:
    assert [p.name for p in slo.partitions(chart_of(spec_of()))] == ["service"]


def test_no_rule_runs_before_what_it_waits_for() -> None:
    """Rules that name no other rule of the group run first when Prometheus evaluates concurrently: constants only."""
    recorded = slo.recording(spec_of(), chart_of(spec_of()))
    names = {name for name, _ in recorded} | {"spc:n", "spc:bad"}
    early = [name for name, expr in recorded if not any(f"{other}{{" in expr for other in names)]
    assert early == [slo.OBJECTIVE, slo.PERIOD]


# --- the rules ------------------------------------------------------------------------------------------------------
def group(spec: Spec) -> dict[str, Any]:
    """The objective's rules alone: spc:n and spc:bad are the test's input."""
    rules = slo.rules(spec, chart_of(spec))
    return {"groups": [{"name": "backspan_spc_thumbs_down", "interval": f"{spec.interval}s", "rules": rules}]}


def batches(seed: int, steps: int) -> list[tuple[int, int]]:
    """(n, bad) per evaluation: quiet nights, a bad day, silence for hours."""
    random, out = Random(seed), []
    for step in range(steps):
        awake = (step * INTERVAL) % DAY > 6 * 3600 and not 0.5 < step / steps < 0.56
        n = int(random.random() * 12) if awake and random.random() < 0.7 else 0
        share = 0.5 if 0.3 < step / steps < 0.33 else 0.12 if 0.6 < step / steps < 0.7 else 0.03
        out.append((n, sum(random.random() < share for _ in range(n))))
    return out


def inputs(labels: str, stream: list[tuple[int, int]]) -> list[dict[str, str]]:
    selector = f'{{chart="thumbs_down",partition="service",{labels}}}'
    return [
        {"series": f"spc:{name}{selector}", "values": " ".join(str(one[i]) if one[0] else "stale" for one in stream)}
        for i, name in enumerate(("n", "bad"))
    ]


STEPS = 36 * 3600 // INTERVAL
COHORTS = {"chat": (1, 0), "search": (2, STEPS // 3)}
"""Service -> seed and the step at which it begins."""


def case(spec: Spec, every: int) -> dict[str, Any]:
    """Two services over eight days; everything is compared at each ``every``-th evaluation."""
    chart, series, expected = chart_of(spec), list[Any](), list[Any]()
    streams: dict[str, list[tuple[int, int]]] = {}
    for service, (seed, begin) in COHORTS.items():
        streams[service] = [(0, 0)] * begin + batches(seed, STEPS - begin)
        series += inputs(f'service_name="{service}"', streams[service])
    assert chart.slo is not None
    ledgers = {service: Ledger(spec, chart.slo) for service in streams}
    for step in range(STEPS):
        rows = {service: ledgers[service].step(step * INTERVAL, *streams[service][step]) for service in streams}
        if step % every == 0 or step == STEPS - 1:
            for service, row in rows.items():
                expected += expectations(chart, "service", {"service_name": service}, row, step * INTERVAL)
            expected += alarms(chart, rows.values(), step * INTERVAL)
    return document(series, expected)


def document(series: list[Any], expected: list[Any]) -> dict[str, Any]:
    step = f"{INTERVAL}s"
    test = {"interval": step, "input_series": series, "promql_expr_test": expected}
    return {"rule_files": ["rules.yml"], "evaluation_interval": step, "tests": [test]}


@pytest.fixture(params=found(), ids=lambda path: Path(path).parent.name)
def tool(request: pytest.FixtureRequest) -> str:
    """Each promtool at hand."""
    return request.param


@pytest.mark.promtool
def test_random_streams_equal_the_oracle(tool: str, tmp_path: Path) -> None:
    spec = spec_of()
    passes(tool, tmp_path, group(spec), case(spec, 37))


BROKEN = {
    "a total that forgets": (slo.PREV, "[2h]", "[1s]"),
    "another budget": (slo.BUDGET_LEFT, "/ 0.05", "/ 0.06"),
    "young cohorts lose their first events": (slo.SUM, "* 0 and ignoring", "* 1 and ignoring"),
    "a window too long": (slo.SUM, "offset 5h36m", "offset 6h36m"),
    "a window too short": (slo.SUM, "offset 1h24m", "offset 1h20m"),
    "alive for ever": (slo.TOTAL, "time()", "0"),
    "burn of all events": (slo.BURN, 'stat="bad"', 'stat="n"'),
    "half a surprise": (slo.SURPRISE, "+ (", "+ 0 * ("),
}


@pytest.mark.promtool
@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules_are_noticed(tmp_path: Path, name: str) -> None:
    """The twin."""
    spec = spec_of()
    fails(found()[-1], tmp_path, broken(group(spec), *BROKEN[name]), case(spec, 37))


# --- the end of the period, outages, the shipped test ---------------------------------------------------------------
def quiet(streams: dict[int, tuple[int, int]], steps: int) -> list[tuple[int, int]]:
    return [streams.get(step, (0, 0)) for step in range(steps)]


@pytest.mark.promtool
def test_the_end_of_the_period(tmp_path: Path) -> None:
    """What leaves the period comes back to the budget, to the evaluation."""
    spec, last = spec_of(), 7 * DAY // INTERVAL
    chart = chart_of(spec)
    stream = quiet({0: (60, 20), 5: (40, 0), last - 3: (100, 4)}, last + 8)
    assert chart.slo is not None
    ledger, expected = Ledger(spec, chart.slo), list[Any]()
    for step, (n, bad) in enumerate(stream):
        row = ledger.step(step * INTERVAL, n, bad)
        if step >= last - 4:
            expected += expectations(chart, "service", {"service_name": "chat"}, row, step * INTERVAL)
    passes(found()[-1], tmp_path, group(spec), document(inputs('service_name="chat"', stream), expected))


@pytest.mark.promtool
@pytest.mark.parametrize("hours", [1, 4])
def test_an_outage(tool: str, tmp_path: Path, hours: int) -> None:
    """Nothing is evaluated for an hour (shorter than the look-back), or for four; then the copy is the past."""
    spec, begin = spec_of(), 20 * 3600 // INTERVAL
    chart, end = chart_of(spec), begin + hours * 3600 // INTERVAL
    stream = [(0, 0) if begin <= step < end else one for step, one in enumerate(batches(3, STEPS))]
    rules = group(spec)
    for rule in rules["groups"][0]["rules"]:
        down = f"(vector(time()) < {begin * INTERVAL} or vector(time()) >= {end * INTERVAL})"
        rule["expr"] = f"({rule['expr']}) and on () {down}"
    assert chart.slo is not None
    ledger, expected = Ledger(spec, chart.slo), list[Any]()
    for step, (n, bad) in enumerate(stream):
        if not begin <= step < end:
            row = ledger.step(step * INTERVAL, n, bad)
            if step >= end and step % 7 == 0:
                expected += expectations(chart, "service", {"service_name": "chat"}, row, step * INTERVAL)
    passes(tool, tmp_path, rules, document(inputs('service_name="chat"', stream), expected))


@pytest.mark.promtool
def test_the_generated_file_and_its_test(tool: str, tmp_path: Path) -> None:
    """The whole group of the chart, from raw counters."""
    spec = parse(given(slo={"objective": 0.95}))
    passes(tool, tmp_path, generate.rule_file(spec, chart_of(spec)),
           promtool_tests(spec, chart_of(spec), "rules.yml"))


LABELS = {"alertname": "BackspanBudgetBurn", "chart": "thumbs_down", "partition": "service", "indicator": "thumbs_down",
          "severity": "page", "service_name": "chat"}
ANNOTATIONS = {
    "summary": "thumbs_down: the error budget burns at 20.0 times the rate that spends it in 7d; -1900% of it left;"
    " service_name=chat",
    "objective": "0.95 of the events good over 7d, so a share of 0.05 may be bad",
    "evidence": "burn rate at or above its limit in both windows of a pair (14m and 2m at 14.4 or 1h24m and 7m at 6),"
    " and so many bad events that a service which just keeps its objective shows them in one long window of 1000 at"
    " most",
    "n": "6 bad of 6 in 14m; 6 bad of 6 in 1h24m; 6 bad of 6 in 7d",
    "description": "Share of thumbs down among first votes with a thumb.",
    "clears": "an hour after the short window burns slower than that; the budget itself comes back over 7d",
    "runbook_url": "docs/how-to/quality-alert.md",
}


@pytest.mark.promtool
def test_the_alert_says_what_is_left(tool: str, tmp_path: Path) -> None:
    spec = spec_of()
    test = {
        "interval": "4m",
        "input_series": inputs('service_name="chat"', [(2, 2)] * 3 + [(0, 0)] * 30),
        "alert_rule_test": [
            {"eval_time": "0s", "alertname": slo.ALERT, "exp_alerts": []},
            {"eval_time": "8m", "alertname": slo.ALERT, "exp_alerts": [
                {"exp_labels": LABELS, "exp_annotations": ANNOTATIONS},
            ]},
        ],
    }
    rules: Any = group(spec)
    rules["groups"][0]["rules"].pop()  # the ticket
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "4m", "tests": [test]}
    passes(tool, tmp_path, rules, document)
