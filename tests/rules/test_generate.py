"""The generated files: committed, reproducible, and shaped as Prometheus needs them."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import yaml
from tests.rules.documents import given

from backspan.rules import series
from backspan.rules.generate import HEADER, drift, generate
from backspan.rules.spec import load, parse

FILES = generate(load())
GIVEN = generate(parse(given()))
LEARNT = generate(parse(given(baseline="learnt", false_alarm_every="60d")))
COMMITTED = Path(__file__).parents[2] / "collector" / "rules"


def group(document: str) -> Any:
    return yaml.safe_load(document)["groups"][0]


def pager(document: str) -> Any:
    return next(rule for rule in group(document)["rules"] if rule.get("alert") == series.ALERT)


def test_the_committed_files_are_what_the_shipped_spec_gives() -> None:
    """On a failure: ``backspan rules generate``."""
    assert drift(FILES, COMMITTED) == {}


def test_the_same_spec_gives_the_same_bytes() -> None:
    assert generate(load()) == FILES


def test_one_group_per_chart_with_a_frozen_name() -> None:
    document = given()
    document["charts"].append(document["charts"][0] | {"name": "stars", "indicator": "low_stars"})
    files = generate(parse(document | {"interval": "1m"}))
    of_charts = ["stars.yml", "tests/stars.yml", "tests/thumbs_down.yml", "thumbs_down.yml"]
    assert sorted(files) == ["pipeline.yml", *of_charts]
    stars, thumbs = group(files["stars.yml"]), group(files["thumbs_down.yml"])
    assert (stars["name"], thumbs["name"]) == ("backspan_spc_stars", "backspan_spc_thumbs_down")
    assert stars["interval"] == "1m"
    assert 'name="user_stars"' in stars["rules"][1]["expr"]
    shared = {rule["expr"] for rule in stars["rules"]} & {rule["expr"] for rule in thumbs["rules"]}
    assert shared == set(), "no chart may read another's series"


def test_every_series_is_recorded_and_documented() -> None:
    recorded = {rule["record"] for rule in group(LEARNT["thumbs_down.yml"])["rules"] if "record" in rule}
    named = {value for key, value in vars(series).items() if key.isupper() and str(value).startswith("spc:")}
    by_hand = {series.BASELINE_P0, series.BASELINE_PHI}
    assert recorded == named - by_hand | {series.raw("thumbs_down", kind) for kind in ("prev", "seen", "inc")}
    assert [name for name in named if f"``{name}``" not in str(series.__doc__)] == []


def test_a_given_standard_needs_no_rule_that_learns() -> None:
    recorded = {rule["record"] for rule in group(GIVEN["thumbs_down.yml"])["rules"] if "record" in rule}
    assert recorded & {series.LEARN, series.FROZEN, series.FIT_P, series.VOLUME} == set()


def test_what_the_pager_must_not_do() -> None:
    for name, text in FILES.items():
        if name == "pipeline.yml":  # it watches the programs' own counters, for which a rough count will do
            continue
        for forbidden in ("increase(", " rate(", "offset 15s", ":]", ":15s]"):
            assert forbidden not in text, name


def test_the_alert() -> None:
    alert = pager(GIVEN["thumbs_down.yml"])
    assert alert["alert"] == "BackspanQualityRegression"
    assert (alert["for"], alert["keep_firing_for"]) == ("0s", "1h")
    assert alert["labels"] == {"severity": "page", "indicator": "thumbs_down"}
    assert f">= {log(2 * 100_000 / 10)!r}" in alert["expr"]
    assert {"summary", "evidence", "cohort", "n", "baseline", "clears", "traces", "runbook_url"} <= set(
        alert["annotations"]
    )


def test_owner_and_runbook_are_written_only_if_given() -> None:
    document = given(owner="search", severity="ticket")
    del document["charts"][0]["runbook"]
    alert = pager(generate(parse(document))["thumbs_down.yml"])
    assert alert["labels"] == {"severity": "ticket", "owner": "search", "indicator": "thumbs_down"}
    assert "runbook_url" not in alert["annotations"]


def test_drift_sees_changed_missing_and_left_over_files(tmp_path: Path) -> None:
    files = GIVEN
    (tmp_path / "tests").mkdir()
    (tmp_path / "thumbs_down.yml").write_text("changed", encoding="utf-8")
    (tmp_path / "tests" / "old.yml").write_text(HEADER + "old", encoding="utf-8")
    (tmp_path / "mine.yml").write_text("groups: []", encoding="utf-8")
    assert drift(files, tmp_path) == {
        "thumbs_down.yml": "changed",
        "tests/thumbs_down.yml": None,
        "pipeline.yml": None,
        "tests/old.yml": HEADER + "old",
    }
