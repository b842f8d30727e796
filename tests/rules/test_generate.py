"""The generated files: committed, reproducible, and shaped as Prometheus needs them."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import yaml

from backspan.rules import series
from backspan.rules.generate import HEADER, drift, generate
from backspan.rules.spec import default_path, load, parse

FILES = generate(load())
COMMITTED = Path(__file__).parents[2] / "collector" / "rules"


def group(document: str) -> Any:
    return yaml.safe_load(document)["groups"][0]


def test_the_committed_files_are_what_the_shipped_spec_gives() -> None:
    """On a failure: ``backspan rules generate``."""
    assert drift(FILES, COMMITTED) == {}


def test_the_same_spec_gives_the_same_bytes() -> None:
    assert generate(load()) == FILES


def test_one_group_per_chart_with_a_frozen_name() -> None:
    document = yaml.safe_load(default_path().read_text(encoding="utf-8"))
    document["charts"].append(document["charts"][0] | {"name": "stars", "indicator": "low_stars"})
    files = generate(parse(document | {"interval": "1m"}))
    assert sorted(files) == ["stars.yml", "tests/stars.yml", "tests/thumbs_down.yml", "thumbs_down.yml"]
    stars, thumbs = group(files["stars.yml"]), group(files["thumbs_down.yml"])
    assert (stars["name"], thumbs["name"]) == ("backspan_spc_stars", "backspan_spc_thumbs_down")
    assert stars["interval"] == "1m"
    assert 'name="user_stars"' in stars["rules"][1]["expr"]
    shared = {rule["expr"] for rule in stars["rules"]} & {rule["expr"] for rule in thumbs["rules"]}
    assert shared == set(), "no chart may read another's series"


def test_every_series_is_recorded_and_documented() -> None:
    recorded = {rule["record"] for rule in group(FILES["thumbs_down.yml"])["rules"] if "record" in rule}
    named = {value for key, value in vars(series).items() if key.isupper() and str(value).startswith("spc:")}
    assert recorded == named | {series.raw("thumbs_down", kind) for kind in ("prev", "seen", "inc")}
    assert [name for name in named if f"``{name}``" not in str(series.__doc__)] == []


def test_what_the_pager_must_not_do() -> None:
    text = FILES["thumbs_down.yml"]
    for forbidden in ("increase(", " rate(", "offset 15s", ":]", ":15s]"):
        assert forbidden not in text


def test_the_alert() -> None:
    alert = group(FILES["thumbs_down.yml"])["rules"][-1]
    assert alert["alert"] == "BackspanQualityRegression"
    assert (alert["for"], alert["keep_firing_for"], alert["labels"]) == ("0s", "1h", {"severity": "page"})
    assert f">= {log(2 * 100_000 / 10)!r}" in alert["expr"]
    assert {"summary", "evidence", "cohort", "n", "baseline", "clears", "traces", "runbook_url"} <= set(
        alert["annotations"]
    )


def test_owner_and_runbook_are_written_only_if_given() -> None:
    document = yaml.safe_load(default_path().read_text(encoding="utf-8"))
    document["charts"][0] |= {"owner": "search", "severity": "ticket"}
    del document["charts"][0]["runbook"]
    alert = group(generate(parse(document))["thumbs_down.yml"])["rules"][-1]
    assert alert["labels"] == {"severity": "ticket", "owner": "search"}
    assert "runbook_url" not in alert["annotations"]


def test_drift_sees_changed_missing_and_left_over_files(tmp_path: Path) -> None:
    files = FILES
    (tmp_path / "tests").mkdir()
    (tmp_path / "thumbs_down.yml").write_text("changed", encoding="utf-8")
    (tmp_path / "tests" / "old.yml").write_text(HEADER + "old", encoding="utf-8")
    (tmp_path / "mine.yml").write_text("groups: []", encoding="utf-8")
    assert drift(files, tmp_path) == {
        "thumbs_down.yml": "changed",
        "tests/thumbs_down.yml": None,
        "tests/old.yml": HEADER + "old",
    }
