"""The committed dashboards are what the code makes, survive the SDK's models, and use only what exists."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.stack import waiting
from tests.support.grafana.ask import questions, variables
from tests.support.grafana.files import committed

from backspan import semconv
from backspan._assets import asset
from backspan.cli import dashboards as command
from backspan.dashboards.frame import current
from backspan.dashboards.generate import DASHBOARDS, drift, generate
from backspan.rules import series
from backspan.rules.expressions import recording_rules
from backspan.rules.spec import load

SHIPPED = asset("grafana/dashboards")
DOCUMENTS = committed(SHIPPED)
CALLS = ("inference_duration_seconds", "inference_time_to_first_chunk_seconds", "operation_duration_seconds",
         "inference_usage_input_tokens", "inference_usage_output_tokens")
_METRIC = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{")


def expressions(document: dict[str, Any]) -> list[str]:
    return [one.text for one in questions(document) if not one.is_traceql]


def used() -> set[str]:
    """Names of all series that any dashboard asks for."""
    return {name for document in DOCUMENTS.values() for text in expressions(document) for name in _METRIC.findall(text)}


def made() -> set[str]:
    """Names of all series that rules or instruments make."""
    spec = load()
    recorded = {name for chart in spec.charts for name, _ in recording_rules(spec, chart)}
    ours = {semconv.PROM_ANSWERS, semconv.PROM_FEEDBACK, semconv.PROM_FEEDBACK_REASONS,
            semconv.PROM_FEEDBACK_SOLICITED, semconv.PROM_DOCUMENT_VOTES, semconv.PROM_DOCUMENT_JUDGED,
            semconv.PROM_DOCUMENT_SHARE, semconv.PROM_DOCUMENT_LIFT, semconv.PROM_SIGNALS, semconv.PROM_OUTCOMES,
            semconv.PROM_SATISFACTION_AUC, semconv.PROM_FEEDBACK_ESTIMATE, semconv.PROM_FEEDBACK_SKIPS,
            semconv.PROM_FEEDBACK_QUARANTINED, semconv.PROM_FEEDBACK_REJECTED, semconv.PROM_LABEL_OVERFLOW,
            semconv.PROM_COMPARISONS}
    histograms = [semconv.PROM_FEEDBACK_SCORE, semconv.PROM_FEEDBACK_DELAY, semconv.PROM_SATISFACTION,
                  semconv.PROM_TURNS_TO_RESOLUTION, *(f"gen_ai_client_{one}" for one in CALLS)]
    return recorded | ours | {f"{name}_{end}" for name in histograms for end in ("bucket", "count", "sum", "total")}


def test_the_committed_files_are_generated() -> None:
    assert drift(generate(load()), SHIPPED) == {}
    assert set(DOCUMENTS) == set(DASHBOARDS)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    files = generate(load())
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("Evidence", "Proof", 1), encoding="utf-8")
    assert list(drift(files, tmp_path)) == ["control-charts.json"]


def round_trip(document: dict[str, Any]) -> dict[str, Any]:
    """What is left of a dashboard after the SDK has read and written it."""
    register_default_plugins()
    return json.loads(json.dumps(current(Dashboard.from_json(document)), cls=JSONEncoder))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_sdk_reads_what_it_wrote(name: str) -> None:
    assert round_trip(DOCUMENTS[name]) == DOCUMENTS[name]


def test_a_key_that_the_sdk_does_not_know_is_noticed() -> None:
    broken = json.loads(json.dumps(DOCUMENTS["overview"]))
    broken["panels"][1]["titel"] = broken["panels"][1].pop("title")
    assert round_trip(broken) != broken


def test_every_metric_is_made_or_waited_for() -> None:
    assert used() - made() - {"ALERTS"} == waiting.names()


def test_a_metric_that_nothing_makes_is_noticed() -> None:
    assert "backspan_no_such_metric_total" not in made() | waiting.names()


def test_what_is_waited_for_is_said_in_the_panel() -> None:
    for document in DOCUMENTS.values():
        for panel in document["panels"]:
            texts = [target.get("expr", "") for target in panel.get("targets", [])]
            if any(name in text for name in waiting.names() for text in texts):
                assert "Waits for" in panel["description"], panel["title"]


def test_the_control_chart_is_complete() -> None:
    shown = {name for text in expressions(DOCUMENTS["control-charts"]) for name in _METRIC.findall(text)}
    assert {series.RATE, series.P0, series.UCL, series.LCL, series.SR, series.SR_LIMIT, series.WINDOW_N,
            series.PHASE_SERIES} <= shown


def test_all_dashboards_have_the_variables_that_links_set() -> None:
    for name, document in DOCUMENTS.items():
        found = [one["name"] for one in variables(document)]
        assert found[:6] == ["prometheus", "tempo", "service", "environment", "prompt", "version"], name


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_command_writes_then_finds_no_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--out", str(tmp_path)) == 1
    assert run("generate", "--out", str(tmp_path), "--json") == 0
    assert {path.stem for path in tmp_path.iterdir()} == set(DASHBOARDS)
    assert run("check", "--out", str(tmp_path)) == 0
    (tmp_path / "quality.json").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert run("check", "--out", str(tmp_path)) == 1
    assert "1 of 7 files differ; run `backspan dashboards generate`" in capsys.readouterr().err


def test_command_names_a_spec_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "--spec", str(tmp_path / "none.yaml"), "--out", str(tmp_path)) == 2
    assert "none.yaml" in capsys.readouterr().err
