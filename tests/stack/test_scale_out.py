"""Each file of the scale-out form is accepted by its program, or says in its first line that it was not checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stack.test_validators import accepts, collector, prometheus_syntax, tempo

from backspan._assets import asset

FOLDER = asset("collector") / "scale-out"
ONLY_IN_3 = "query_end_cutoff"


def second_tier(path: Path) -> bool:
    """On top of the single Collector's file, as it is run."""
    whole = asset("collector") / "collector.yaml"
    return accepts("otelcol-backspan", "validate", "--config", whole, "--config", path)


def tempo_but_for_one_key(path: Path) -> bool:
    """What Tempo 2.9 knows of a file for Tempo 3."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    copy = path.with_name("without.yaml")
    copy.write_text("".join(line for line in lines if ONLY_IN_3 not in line), encoding="utf-8")
    return tempo(copy)


CHECKS: dict[str, Callable[[Path], bool]] = {
    "collector-tier1.yaml": collector,
    "collector-tier2.yaml": second_tier,
    "prometheus.yml": prometheus_syntax,
    "prometheus-gateways.yml": prometheus_syntax,
    "tempo.yaml": tempo_but_for_one_key,
}


@pytest.mark.stack
@pytest.mark.parametrize("name", CHECKS)
def test_the_file_is_accepted_and_a_spoilt_one_is_not(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    text = (FOLDER / name).read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    assert CHECKS[name](path)
    path.write_text(text + "\nno_such_key: 1\n", encoding="utf-8")
    assert not CHECKS[name](path)


@pytest.mark.stack
def test_one_key_of_tempo_is_of_version_3_only(tmp_path: Path) -> None:
    (tmp_path / "tempo.yaml").write_text((FOLDER / "tempo.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert not tempo(tmp_path / "tempo.yaml")


def test_what_no_program_here_has_checked_says_so() -> None:
    unchecked = {path.name for path in FOLDER.iterdir() if path.read_text(encoding="utf-8").startswith("# unchecked")}
    assert unchecked == {path.name for path in FOLDER.iterdir()} - set(CHECKS) | {"tempo.yaml"}
    page = (FOLDER.parents[1] / "docs/how-to/scale-out.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    said = {row.split("`")[1] for row in rows if "unchecked" in row}
    assert said == {f"collector/scale-out/{name}" for name in unchecked}
    assert {row.split("`")[1] for row in rows} == {f"collector/scale-out/{path.name}" for path in FOLDER.iterdir()}


def test_the_second_prometheus_file_has_not_gone_its_own_way() -> None:
    """What rules and dashboards depend on is what the single Prometheus has."""
    one, many = (_load(folder / "prometheus.yml") for folder in (FOLDER.parent, FOLDER))
    assert {key for key in many if key not in one} == {"remote_write"}
    assert (one["otlp"], one["storage"], one["rule_files"]) == (many["otlp"], many["storage"], many["rule_files"])
    jobs = [{job["job_name"]: {k: v for k, v in job.items() if k != "static_configs"} for job in file["scrape_configs"]}
            for file in (one, many)]
    assert jobs[0] == jobs[1]


def test_the_prometheus_file_for_two_gateways_differs_in_them_only() -> None:
    one, two = (_load(path) for path in (FOLDER.parent / "prometheus.yml", FOLDER / "prometheus-gateways.yml"))
    jobs = [{job["job_name"]: job["static_configs"][0] for job in file["scrape_configs"]} for file in (one, two)]
    jobs[0]["gateway"]["targets"].append("gateway-2:8318")
    assert one == two


def test_limits_of_the_single_tempo_hold_for_many() -> None:
    one, many = (_load(folder / "tempo.yaml") for folder in (FOLDER.parent, FOLDER))
    assert one["overrides"] == many["overrides"]
    assert one["distributor"]["max_attribute_bytes"] == many["distributor"]["max_attribute_bytes"]
    assert one["query_frontend"].items() <= many["query_frontend"].items()


def _load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
