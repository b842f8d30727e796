"""The committed dashboard is what the code makes, and every panel says what it shows."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest

from backspan import semconv
from backspan.cli import dashboards as command
from backspan.config import asset
from backspan.dashboards.generate import drift, generate
from backspan.rules import series
from backspan.rules.expressions import recording_rules
from backspan.rules.spec import load

SHIPPED = asset("grafana/dashboards")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(generate(load())["backspan.json"])


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels that show data."""
    inner = [panel for row in document["panels"] for panel in row.get("panels", [])]
    return [panel for panel in [*document["panels"], *inner] if panel["type"] != "row"]


def expressions(document: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in panels(document) for target in panel["targets"] if "expr" in target]


def test_the_committed_file_is_generated() -> None:
    assert drift(generate(load()), SHIPPED) == {}


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    files = generate(load())
    (tmp_path / "backspan.json").write_text(files["backspan.json"].replace("Evidence", "Proof", 1), encoding="utf-8")
    assert list(drift(files, tmp_path)) == ["backspan.json"]


def test_every_panel_says_what_it_shows_and_in_which_unit(document: dict[str, Any]) -> None:
    assert len(panels(document)) >= 10
    for panel in panels(document):
        assert panel["title"]
        assert len(panel["description"]) > 30
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]


def test_panels_do_not_overlap(document: dict[str, Any]) -> None:
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in document["panels"])
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_every_metric_is_one_that_is_made(document: dict[str, Any]) -> None:
    spec = load()
    made = {name for chart in spec.charts for name, _ in recording_rules(spec, chart)}
    made |= {semconv.PROM_ANSWERS, semconv.PROM_FEEDBACK, "ALERTS"}
    used = {name for text in expressions(document) for name in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{", text)}
    assert used <= made
    assert {series.RATE, series.P0, series.UCL, series.LCL, series.SR, series.SR_LIMIT, series.WINDOW_N} <= used


def test_every_variable_is_defined(document: dict[str, Any]) -> None:
    defined = {variable["name"] for variable in document["templating"]["list"]}
    used = {name for text in expressions(document) for name in re.findall(r"\$(\w+)", text)}
    assert used - defined == {"__range", "__rate_interval"}


def test_limits_do_not_depend_on_the_visible_range(document: dict[str, Any]) -> None:
    recorded = [text for text in expressions(document) if "spc:" in text]
    assert recorded
    assert not [text for text in recorded if "$__" in text]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_command_writes_then_finds_no_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--out", str(tmp_path)) == 1
    assert run("generate", "--out", str(tmp_path), "--json") == 0
    assert run("check", "--out", str(tmp_path)) == 0
    (tmp_path / "backspan.json").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert run("check", "--out", str(tmp_path)) == 1
    assert "backspan dashboards generate" in capsys.readouterr().err


def test_command_names_a_spec_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "--spec", str(tmp_path / "none.yaml"), "--out", str(tmp_path)) == 2
    assert "none.yaml" in capsys.readouterr().err
