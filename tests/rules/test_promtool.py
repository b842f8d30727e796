"""The generated rules through the real PromQL engine, on every promtool at hand (Prometheus 2.42 and 3.x differ).

Each proof has a twin: the same test with one part of the rules broken, which promtool must refuse.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.rules.streams import STEP, random_streams

from backspan.rules import promtool
from backspan.rules.expressions import recording_rules
from backspan.rules.generate import generate, rule_file, write
from backspan.rules.spec import Spec, default_path, load, parse

pytestmark = pytest.mark.promtool

BUILT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "backspan" / "stack" / "bin" / "promtool"


def found() -> list[str]:
    """Every promtool at hand: the one on PATH and the one that ``make stack`` builds."""
    candidates = [shutil.which("promtool"), str(BUILT) if BUILT.is_file() else None]
    return list(dict.fromkeys(os.path.realpath(path) for path in candidates if path)) or ["none"]


def need(path: str) -> str:
    if path == "none":
        hint = "run `make stack`, or install Debian's package `prometheus`"
        pytest.fail(f"no promtool on PATH nor at {BUILT}: {hint}", pytrace=False)
    return path


@pytest.fixture(params=found(), ids=lambda path: Path(path).parent.name)
def tool(request: pytest.FixtureRequest) -> str:
    """Each promtool at hand."""
    return need(request.param)


@pytest.fixture
def any_tool() -> str:
    """One promtool: enough to see that a broken rule is noticed."""
    return need(found()[-1])


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [tool, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def passes(tool: str, folder: Path, rules: Any, test: str) -> subprocess.CompletedProcess[str]:
    """promtool's verdict on the document ``rules`` under the test file ``test``."""
    (folder / "rules.yml").write_text(write(rules), encoding="utf-8")
    (folder / "test.yml").write_text(test, encoding="utf-8")
    return run(tool, "test", "rules", folder / "test.yml")


# --- the shipped files ----------------------------------------------------------------------------------------------
def test_the_shipped_rules_and_their_test(tool: str, tmp_path: Path) -> None:
    for name, text in generate(load()).items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    checked = run(tool, "check", "rules", tmp_path / "thumbs_down.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run(tool, "test", "rules", tmp_path / "tests" / "thumbs_down.yml")
    assert tested.returncode == 0, tested.stdout[:4000] + tested.stderr[:4000]


# --- random streams against the oracle ------------------------------------------------------------------------------
def short_spec() -> Spec:
    """The shipped chart with times so short that 75 minutes see everything: look-back, window, idle and forgetting.

    The look-back is no multiple of the interval: at its very edge Prometheus 2 and 3 differ. Three times the accepted
    rate is more than 0.95.
    """
    document = yaml.safe_load(default_path().read_text(encoding="utf-8"))
    document |= {"interval": "30s", "lookback": "10m17s"}
    document["charts"][0] |= {
        "false_alarm_every": 400,
        "window": "5m",
        "idle_after": "3m",
        "forget_after": "1h",
        "baseline": {"kind": "given", "p0": 0.35},
    }
    return parse(document)


@cache
def random_case(seed: int, every: int, minutes: int = 75) -> str:
    """The test file that the oracle writes; everything is compared at each ``every``-th evaluation."""
    spec = short_spec()
    streams = random_streams(seed, slots=minutes * 60 // STEP, interval=spec.interval)
    times = [*range(0, minutes * 60, every * spec.interval), minutes * 60 - spec.interval]
    chart = spec.charts[0]
    name = f"random streams, seed {seed}"
    return write(promtool.document(spec, chart, "rules.yml", streams, step=STEP, times=set(times), name=name))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_streams_equal_the_oracle(tool: str, tmp_path: Path, seed: int) -> None:
    spec = short_spec()
    result = passes(tool, tmp_path, rule_file(spec, spec.charts[0]), random_case(seed, 19))
    assert result.returncode == 0, result.stdout[:4000] + result.stderr[:4000]


BROKEN = {
    "changed votes counted": ("spc:thumbs_down:seen", ',op="add"', ""),
    "no snapshot of the past": ("spc:thumbs_down:prev", "[10m17s]", "[1s]"),
    "two resets in a row": ("spc:thumbs_down:inc", '{name="user_thumbs",op="add"}[30s]', "[10m]"),
    "growth before a reset lost": ("spc:thumbs_down:inc", "clamp_min(", "0 * clamp_min("),
    "a past counted as new": ("spc:thumbs_down:inc", " == 0", " >= 0"),
    "a new series never counted": ("spc:thumbs_down:inc", " == 0", " < 0"),
    "positive votes are bad": ("spc:bad", "negative", "positive"),
    "cohorts by instance": ("spc:n", "sum by (service_name,", "sum by (instance,"),
    "window one evaluation too long": ("spc:window_n", "4m59s500ms", "5m1s"),
    "another accepted rate": ("spc:p0", "0.35", "0.35001"),
    "an alternative dropped": ("spc:llr", "1.2 *", "1.21 *"),
    "state not carried forward": ("spc:sr_alt", 'or spc:sr_prev{chart="thumbs_down"}', ""),
    "another weight": ("spc:sr_alt", "/ 10)", "/ 11)"),
    "no cap": ("spc:sr_alt", "-700, ", "-700, 2 * "),
    "never forgotten": ("spc:", "time() - 3600", "time() - 36000"),
    "mean of the logarithms": ("spc:sr", "ln(avg without (alt) (exp(", "((avg without (alt) (("),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rules_are_noticed(any_tool: str, tmp_path: Path, name: str) -> None:
    """The twin of the test above."""
    record, old, new = BROKEN[name]
    spec = short_spec()
    rules = rule_file(spec, spec.charts[0])
    broken = [r for r in rules["groups"][0]["rules"] if record in (r.get("record"), "spc:") and old in r["expr"]]
    assert broken
    for rule in broken:
        rule["expr"] = rule["expr"].replace(old, new)
    result = passes(any_tool, tmp_path, rules, random_case(1, 60))
    assert result.returncode == 1 and "FAILED" in result.stdout + result.stderr, result.stdout + result.stderr


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
    spec = load()
    result = passes(tool, tmp_path, late(rule_file(spec, spec.charts[0])), replay_case())
    assert result.returncode == 0, result.stdout + result.stderr


def test_reading_increments_plainly_would_replay_them(any_tool: str, tmp_path: Path) -> None:
    """The twin: a plain selector finds the old batch for five minutes."""
    spec = load()
    rules = late(rule_file(spec, spec.charts[0]))
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = rule["expr"].replace("[500ms]", "[5m]")
    result = passes(any_tool, tmp_path, rules, replay_case())
    assert result.returncode == 1 and "FAILED" in result.stdout + result.stderr


# --- order under concurrent-rule-eval -------------------------------------------------------------------------------
def test_no_rule_runs_before_what_it_waits_for() -> None:
    """promtool runs rules in order, so this is checked on the text: rules that name no other rule of the group run
    first when Prometheus evaluates concurrently. Only the counter's snapshot could, and it must wait for ``prev``."""
    spec = load()
    rules = recording_rules(spec, spec.charts[0])
    names = {name for name, _ in rules}
    for name, expr in rules:
        assert any(f"{other}{end}" in expr for other in names for end in "{[ )"), f"{name} would run first"


# --- the alert ------------------------------------------------------------------------------------------------------
LABELS = 'deployment_environment_name="production",gen_ai_prompt_name="support",gen_ai_prompt_version="v 2",op="add"'
SERIES = f'backspan_feedback_total{{{LABELS},name="user_thumbs",service_name="chat",polarity="%s",instance="a"}}'
EXPECTED = {
    "summary": "thumbs_down: 60% (36 of 60 in the last 1h), accepted 10%; service_name=chat"
    " deployment_environment_name=production gen_ai_prompt_name=support gen_ai_prompt_version=v 2",
    "evidence": "12.62, limit 9.90: on average at most one false alarm per 100000 rated events of the whole system",
    "cohort": "prompt: service_name=chat deployment_environment_name=production gen_ai_prompt_name=support"
    " gen_ai_prompt_version=v 2",
    "n": "60 rated events in the last 1h, 36 of them bad",
    "baseline": "10% accepted (given); control limits for this n: 0% to 21.62%",
    "description": "Share of thumbs down among first votes with a thumb.",
    "clears": "when the evidence falls below 9.90, which takes ratings at or below the accepted rate, or 2h after the"
    " cohort's last rating; then it is held for 1h",
    "traces": '{ name="evaluation user_thumbs" && span.backspan.feedback.polarity="negative"'
    ' && resource.service.name="chat" && resource.deployment.environment.name="production"'
    ' && span.gen_ai.prompt.name="support" && span.gen_ai.prompt.version="v 2" }',
    "runbook_url": "docs/how-to/quality-alert.md",
}


def alert_rules() -> Any:
    """The shipped chart, run once a minute."""
    spec = replace(load(), interval=60)
    return rule_file(spec, spec.charts[0])


def alert_case(**changed: str) -> str:
    """12 minutes at five votes a minute, three of them down; then silence."""
    labels = {
        "alertname": "BackspanQualityRegression",
        "severity": "page",
        "chart": "thumbs_down",
        "service_name": "chat",
        "deployment_environment_name": "production",
    }
    prompt = {"partition": "prompt", "gen_ai_prompt_name": "support", "gen_ai_prompt_version": "v 2"}
    service = {"partition": "service"}
    alerts = [
        {"exp_labels": {**labels, **prompt}, "exp_annotations": EXPECTED | changed},
        {
            "exp_labels": {**labels, **service},
            "exp_annotations": EXPECTED
            | {
                "summary": EXPECTED["summary"].split(" gen_ai")[0],
                "cohort": "service: service_name=chat deployment_environment_name=production",
                "traces": EXPECTED["traces"].split(" && span.gen_ai")[0] + " }",
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
                    {"series": SERIES % "negative", "values": "0+3x12 36x300"},
                    {"series": SERIES % "positive", "values": "0+2x12 24x300"},
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
    result = passes(tool, tmp_path, alert_rules(), alert_case())
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_wrong_annotation_is_noticed(any_tool: str, tmp_path: Path) -> None:
    """The twin."""
    result = passes(any_tool, tmp_path, alert_rules(), alert_case(n="61 rated events"))
    assert result.returncode == 1 and "61 rated events" in result.stdout + result.stderr
