"""``backspan rules``: writes, compares, cleans up after itself, and says what is wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from backspan.cli import rules
from backspan.rules.generate import HEADER


def backspan_rules(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    rules.add_arguments(parser)
    return rules.run(parser.parse_args(arguments))


def test_generate_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "new" / "rules")
    assert backspan_rules("generate", "--out", out) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {out}/thumbs_down.yml",
        f"wrote {out}/tests/thumbs_down.yml",
    ]
    assert backspan_rules("check", "--out", out) == 0
    assert capsys.readouterr().out == ""
    assert backspan_rules("generate", "--out", out) == 0
    assert capsys.readouterr().out == f"{out}: 2 files are up to date\n"


def test_check_shows_drift_as_a_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backspan_rules("generate", "--out", str(tmp_path))
    path = tmp_path / "thumbs_down.yml"
    path.write_text(path.read_text().replace("severity: page", "severity: info"))
    capsys.readouterr()
    assert backspan_rules("check", "--out", str(tmp_path)) == 1
    shown = capsys.readouterr()
    assert "-      severity: info\n+      severity: page\n" in shown.out
    assert "1 of 2 files differ; run `backspan rules generate --out" in shown.err
    assert "severity: info" in path.read_text(), "check writes nothing"


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backspan_rules("check", "--json", "--out", str(tmp_path)) == 1
    assert set(json.loads(capsys.readouterr().out)["drift"]) == {"thumbs_down.yml", "tests/thumbs_down.yml"}
    assert backspan_rules("generate", "--json", "--out", str(tmp_path)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written"] == said["files"] == ["thumbs_down.yml", "tests/thumbs_down.yml"]
    assert backspan_rules("check", "--json", "--out", str(tmp_path)) == 0
    assert json.loads(capsys.readouterr().out)["drift"] == {}


def test_files_of_a_removed_chart_go_and_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.yml").write_text(HEADER + "groups: []\n")
    (tmp_path / "mine.yml").write_text("groups: []\n")
    assert backspan_rules("check", "--out", str(tmp_path)) == 1
    assert backspan_rules("generate", "--out", str(tmp_path)) == 0
    assert f"removed {tmp_path}/old.yml" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob("*.yml")) == ["mine.yml", "thumbs_down.yml"]


def test_a_bad_spec_is_named_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, out = tmp_path / "spc.yaml", tmp_path / "out"
    spec.write_text("version: 1\ncharts: [{name: a}]\n")
    assert backspan_rules("generate", "--spec", str(spec), "--out", str(out)) == 2
    assert capsys.readouterr().err == "backspan rules: charts[0].indicator: is missing\n"
    assert backspan_rules("check", "--spec", str(tmp_path / "none"), "--out", str(out)) == 2
    assert "No such file" in capsys.readouterr().err
    assert not out.exists()
