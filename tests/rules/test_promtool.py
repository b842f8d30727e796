"""The generated rules through the real PromQL engine, on every promtool at hand (Prometheus 2.42 and 3.x differ).

Each proof has a twin: the same test with one part of the rules broken, which promtool must refuse.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.rules.documents import given, short
from tests.rules.promtools import fails, found, need, passes, run, verdict
from tests.rules.streams import STEP, random_streams

from backspan.rules import promtool, series
from backspan.rules.expressions import recording_rules
from backspan.rules.generate import generate, rule_file, write
from backspan.rules.spec import load, parse

pytestmark = pytest.mark.promtool


@pytest.fixture(params=found(), ids=lambda path: Path(path).parent.name)
def tool(request: pytest.FixtureRequest) -> str:
    """Each promtool at hand."""
    return need(request.param)


@pytest.fixture
def any_tool() -> str:
    """One promtool: enough to see that a broken rule is noticed."""
    return need(found()[-1])


# --- the shipped files ----------------------------------------------------------------------------------------------
def test_the_shipped_rules_and_their_test(tool: str, tmp_path: Path) -> None:
    files = generate(load())
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in files:
        action = ["test", "rules"] if name.startswith("tests/") else ["check", "rules"]
        done = run(tool, *action, tmp_path / name)
        assert done.returncode == 0, done.stdout[:4000] + done.stderr[:4000]


# --- random streams against the oracle ------------------------------------------------------------------------------
@cache
def random_case(seed: int, every: int, minutes: int = 75) -> str:
    """The test file that the oracle writes; everything is compared at each ``every``-th evaluation."""
    spec = short()
    streams = random_streams(seed, slots=minutes * 60 // STEP, interval=spec.interval)
    times = [*range(0, minutes * 60, every * spec.interval), minutes * 60 - spec.interval]
    chart = spec.charts[0]
    name = f"random streams, seed {seed}"
    return write(promtool.document(spec, chart, "rules.yml", streams, step=STEP, times=set(times), name=name))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_streams_equal_the_oracle(tool: str, tmp_path: Path, seed: int) -> None:
    spec = short()
    passes(tool, tmp_path, rule_file(spec, spec.charts[0]), random_case(seed, 19))


BROKEN = {
    "changed votes counted": ("spc:thumbs_down:seen", ',op="add"', ""),
    "no snapshot of the past": ("spc:thumbs_down:prev", "[10m17s]", "[1s]"),
    "two resets in a row": ("spc:thumbs_down:inc", '{name="user_thumbs",op="add"}[30s]', "[10m]"),
    "growth before a reset lost": ("spc:thumbs_down:inc", " > spc:thumbs_down:prev or", " < -1 or"),
    "a past counted as new": ("spc:thumbs_down:prev", " == 0", " * 0 == 0"),
    "a new series never counted": ("spc:thumbs_down:prev", " == 0", " < 0"),
    "positive votes are bad": ("spc:bad", "negative", "positive"),
    "cohorts by instance": ("spc:n", "sum by (service_name,", "sum by (instance,"),
    "window one evaluation too long": ("spc:window_n", "4m59s500ms", "5m1s"),
    "another accepted rate": ("spc:sr_p0", "0.35", "0.35001"),
    "an alternative dropped": ("spc:sr_alt", "1.2 *", "1.21 *"),
    "state not carried forward": ("spc:sr_alt", 'or last_over_time(spc:sr_prev{chart="thumbs_down"}[500ms])', ""),
    "another weight": ("spc:sr_alt", "/ 10", "/ 11"),
    "no cap": ("spc:sr_alt", "-700, ", "-700, 2 * "),
    "never forgotten": ("spc:", "time() - 3600", "time() - 36000"),
    "mean of the logarithms": ("spc:sr", "avg without (alt) (exp(", "exp(avg without (alt) ("),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules_are_noticed(any_tool: str, tmp_path: Path, name: str) -> None:
    """The twin of the test above."""
    record, old, new = BROKEN[name]
    spec = short()
    rules = rule_file(spec, spec.charts[0])
    broken = [r for r in rules["groups"][0]["rules"] if record in (r.get("record"), "spc:") and old in r["expr"]]
    assert broken
    for rule in broken:
        rule["expr"] = rule["expr"].replace(old, new)
    fails(any_tool, tmp_path, rules, random_case(1, 60))


# --- what happens only after a restart ------------------------------------------------------------------------------
def replay_case() -> str:
    """A batch recorded just before Prometheus was killed: no stale marker ends it, and nobody rates afterwards."""
    cohort = 'chart="thumbs_down",partition="service",service_name="chat"'
    batch = {"spc:n": 8, "spc:bad": 8, "spc:window_n": 8}
    state = {f'spc:llr{{{cohort},alt="{alt}"}}': "1" for alt in ("1.2", "1.5", "2", "3")}
    series = [{"series": f"{name}{{{cohort}}}", "values": f"{value}"} for name, value in batch.items()]
    series += [{"series": name, "values": value} for name, value in state.items()]
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [*series, {"series": "up", "values": "1x20"}],
                "promql_expr_test": [
                    {"expr": f"count(spc:sr{{{cohort}}}) or vector(0)", "eval_time": "15s", "exp_samples": [ZERO]},
                    {"expr": f"count(spc:n{{{cohort}}})", "eval_time": "1m", "exp_samples": [ONE]},
                ],
            }
        ],
    }
    return write(document)


ZERO, ONE = {"labels": "{}", "value": 0}, {"labels": "{}", "value": 1}


def late(rules: Any) -> Any:
    """The rules as a restarted Prometheus runs them: the first evaluation is the one after the recorded batch."""
    for rule in rules["groups"][0]["rules"]:
        if "record" in rule:
            rule["expr"] = f"({rule['expr']}) and on () (vector(time()) > 0)"
    return rules


def test_a_batch_is_not_replayed_after_a_restart(tool: str, tmp_path: Path) -> None:
    spec = parse(given())
    passes(tool, tmp_path, late(rule_file(spec, spec.charts[0])), replay_case())


def test_reading_increments_plainly_would_replay_them(any_tool: str, tmp_path: Path) -> None:
    """The twin: a plain selector finds the old batch for five minutes."""
    spec = parse(given())
    rules = late(rule_file(spec, spec.charts[0]))
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = rule["expr"].replace("[500ms]", "[5m]")
    fails(any_tool, tmp_path, rules, replay_case())


# --- order under concurrent-rule-eval -------------------------------------------------------------------------------
def test_no_rule_runs_before_what_it_waits_for() -> None:
    """promtool runs rules in order, so this is checked on the text: rules that name no other rule of the group run
    first when Prometheus evaluates concurrently. Only the counter's snapshot could, and it must wait for ``prev``."""
    spec = load()
    rules = recording_rules(spec, spec.charts[0])
    names = {name for name, _ in rules}
    for name, expr in rules:
        if name == series.PROMISE:  # a constant, which waits for nothing
            continue
        assert any(f"{other}{end}" in expr for other in names for end in "{[ )"), f"{name} would run first"


# --- the alert ------------------------------------------------------------------------------------------------------
VERSION = 'v 2"&+%;#'
"""A value that has to be escaped in TraceQL, in JSON and in an address."""
LABELS = (
    'deployment_environment_name="production",gen_ai_prompt_name="support",op="add",'
    f"gen_ai_prompt_version={json.dumps(VERSION)}"
)
SERIES = f'backspan_feedback_total{{{LABELS},name="user_thumbs",service_name="chat",polarity="POLARITY",instance="a"}}'
TRACEQL = (
    '{ name="evaluation user_thumbs" && span.backspan.feedback.polarity="negative"'
    ' && resource.service.name="chat" && resource.deployment.environment.name="production"'
)
OF_PROMPT = f' && span.gen_ai.prompt.name="support" && span.gen_ai.prompt.version={json.dumps(VERSION)}'
EXPECTED = {
    "summary": "thumbs_down: 60% (36 of 60 in the last 1h), accepted up to 10%; service_name=chat"
    f" deployment_environment_name=production gen_ai_prompt_name=support gen_ai_prompt_version={VERSION}",
    "evidence": "12.62, limit 9.90: on average at most one false alarm per 100000 rated events of the whole system",
    "since": "the cohort's first ratings, or more than 7 days ago",
    "cohort": "prompt: service_name=chat deployment_environment_name=production gen_ai_prompt_name=support"
    f" gen_ai_prompt_version={VERSION}",
    "n": "60 rated events in the last 1h, 36 of them bad",
    "baseline": "accepted up to 10%, dispersion 1.00, phase given ; control limits for this n: 0% to 21.62%",
    "description": "Share of thumbs down among first votes with a thumb.",
    "clears": "when the evidence falls below 9.90, which takes ratings on the good side of the accepted rate, or 2h"
    " after the cohort's last rating; then it is held for 1h",
    "traces": f"{TRACEQL}{OF_PROMPT} }}",
    "runbook_url": "docs/how-to/quality-alert.md",
}


def spans_link(traceql: str) -> str:
    """Grafana's address of a TraceQL query, made with the standard library."""
    query = {"refId": "A", "queryType": "traceql", "query": traceql, "limit": 100,
             "datasource": {"type": "tempo", "uid": "tempo"}}
    panes = {"a": {"datasource": "tempo", "queries": [query], "range": {"from": "now-24h", "to": "now"}}}
    said = quote(json.dumps(panes, separators=(",", ":")), safe="")
    return f"http://localhost:3000/explore?schemaVersion=1&orgId=1&panes={said}"


def panel_link(**variables: str) -> str:
    said = "".join(f"&var-{name}={quote(value, safe='')}" for name, value in variables.items())
    return f"http://localhost:3000/d/backspan?from=now-24h&to=now&var-chart=thumbs_down{said}"


COHORT = {"service": "chat", "environment": "production"}
LINKS = {
    "spans": spans_link(EXPECTED["traces"]),
    "panel": panel_link(partition="prompt", **COHORT, prompt="support", version=VERSION),
}


def alert_rules() -> Any:
    """The chart on a given standard, run once a minute, without the alerts that open tickets."""
    spec = replace(parse(given(tickets=False)), interval=60)
    return rule_file(spec, spec.charts[0])


def alert_case(**changed: str) -> str:
    """12 minutes at five votes a minute, three of them down; then silence."""
    labels = {
        "alertname": "BackspanQualityRegression",
        "severity": "page",
        "indicator": "thumbs_down",
        "chart": "thumbs_down",
        "service_name": "chat",
        "deployment_environment_name": "production",
    }
    prompt = {"partition": "prompt", "gen_ai_prompt_name": "support", "gen_ai_prompt_version": VERSION}
    service = {"partition": "service"}
    alerts = [
        {"exp_labels": {**labels, **prompt}, "exp_annotations": EXPECTED | LINKS | changed},
        {
            "exp_labels": {**labels, **service},
            "exp_annotations": EXPECTED
            | {
                "summary": EXPECTED["summary"].split(" gen_ai_prompt")[0],
                "cohort": "service: service_name=chat deployment_environment_name=production",
                "traces": f"{TRACEQL} }}",
                "spans": spans_link(f"{TRACEQL} }}"),
                "panel": panel_link(partition="service", **COHORT),
            },
        },
    ]
    name = "BackspanQualityRegression"
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": SERIES.replace("POLARITY", "negative"), "values": "0+3x12 36x300"},
                    {"series": SERIES.replace("POLARITY", "positive"), "values": "0+2x12 24x300"},
                ],
                "alert_rule_test": [
                    {"eval_time": "1m", "alertname": name, "exp_alerts": []},
                    {"eval_time": "13m", "alertname": name, "exp_alerts": alerts},
                    {"eval_time": "3h20m", "alertname": name, "exp_alerts": []},
                ],
                "promql_expr_test": [
                    {"expr": "count(ALERTS{alertstate='firing'})", "eval_time": at, "exp_samples": [sample]}
                    for at, sample in (("2h11m", TWO), ("3h10m", TWO))
                ],
            }
        ],
    }
    return write(document)


TWO = {"labels": "{}", "value": 2}


def test_the_alert_says_what_how_sure_and_which_cohort_and_ends_with_the_ratings(tool: str, tmp_path: Path) -> None:
    passes(tool, tmp_path, alert_rules(), alert_case())


def test_a_wrong_annotation_is_noticed(any_tool: str, tmp_path: Path) -> None:
    """The twin."""
    result = verdict(any_tool, tmp_path, alert_rules(), alert_case(n="61 rated events"))
    assert result.returncode == 1 and "61 rated events" in result.stdout + result.stderr
