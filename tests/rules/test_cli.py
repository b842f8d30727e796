"""``backspan rules``: writes, compares, cleans up after itself, and says what is wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml
from tests.rules.documents import given

from backspan.cli import rules
from backspan.rules import spec
from backspan.rules.generate import HEADER


@pytest.fixture(autouse=True)
def one_chart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped spec is this one, so that the files can be counted."""
    path = tmp_path_factory.mktemp("spec") / "spc.yaml"
    path.write_text(yaml.safe_dump(given()))
    monkeypatch.setattr(spec, "default_path", lambda: path)


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
        f"wrote {out}/pipeline.yml",
    ]
    assert backspan_rules("check", "--out", out) == 0
    assert capsys.readouterr().out == ""
    assert backspan_rules("generate", "--out", out) == 0
    assert capsys.readouterr().out == f"{out}: 3 files are up to date\n"


def test_check_shows_drift_as_a_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backspan_rules("generate", "--out", str(tmp_path))
    path = tmp_path / "thumbs_down.yml"
    path.write_text(path.read_text().replace("severity: page", "severity: info"))
    capsys.readouterr()
    assert backspan_rules("check", "--out", str(tmp_path)) == 1
    shown = capsys.readouterr()
    assert "-      severity: info\n+      severity: page\n" in shown.out
    assert "1 of 3 files differ; run `backspan rules generate --out" in shown.err
    assert "severity: info" in path.read_text(), "check writes nothing"


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["thumbs_down.yml", "tests/thumbs_down.yml", "pipeline.yml"]
    assert backspan_rules("check", "--json", "--out", str(tmp_path)) == 1
    assert set(json.loads(capsys.readouterr().out)["drift"]) == {*names}
    assert backspan_rules("generate", "--json", "--out", str(tmp_path)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written"] == said["files"] == names
    assert backspan_rules("check", "--json", "--out", str(tmp_path)) == 0
    assert json.loads(capsys.readouterr().out)["drift"] == {}


def test_files_of_a_removed_chart_go_and_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.yml").write_text(HEADER + "groups: []\n")
    (tmp_path / "mine.yml").write_text("groups: []\n")
    assert backspan_rules("check", "--out", str(tmp_path)) == 1
    assert backspan_rules("generate", "--out", str(tmp_path)) == 0
    assert f"removed {tmp_path}/old.yml" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob("*.yml")) == ["mine.yml", "pipeline.yml", "thumbs_down.yml"]


def test_a_bad_spec_is_named_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, out = tmp_path / "spc.yaml", tmp_path / "out"
    bad.write_text("version: 1\ncharts: [{name: a}]\n")
    assert backspan_rules("generate", "--spec", str(bad), "--out", str(out)) == 2
    assert capsys.readouterr().err == "backspan rules: line 2: charts[0].cohorts: is missing\n"
    assert backspan_rules("check", "--spec", str(tmp_path / "none"), "--out", str(out)) == 2
    assert "No such file" in capsys.readouterr().err
    assert not out.exists()
