"""The spec: what the shipped one says, and that every fault is named by its path."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import pytest
import yaml

from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import SpecError, default_path, load, parse
from backspan.spc.shiryaev import MixtureSR


def shipped() -> Any:
    return yaml.safe_load(default_path().read_text(encoding="utf-8"))


def test_the_shipped_spec() -> None:
    spec = load()
    (chart,) = spec.charts
    assert (spec.version, spec.interval, spec.lookback) == (1, 15, 6 * 3600)
    assert (chart.name, chart.indicator, chart.false_alarm_every) == ("thumbs_down", "thumbs_down", 100_000)
    assert (chart.baseline.kind, chart.baseline.p0) == ("given", 0.10)
    assert [p.name for p in chart.partitions] == ["service", "prompt"]
    assert chart.partitions[1].labels == (
        "service_name",
        "deployment_environment_name",
        "gen_ai_prompt_name",
        "gen_ai_prompt_version",
    )
    assert (chart.severity, chart.alternatives, chart.n_ref) == ("page", (1.2, 1.5, 2.0, 3.0), 10)


def test_limit_and_detector_of_a_chart() -> None:
    chart = load().charts[0]
    assert chart.limit == pytest.approx(log(2 * 100_000 / 10))
    assert chart.cap == pytest.approx(chart.limit + 3)
    detector = chart.detector()
    assert detector.step(50, 20) == MixtureSR(0.10, cap=chart.cap).step(50, 20)
    for _ in range(50):
        detector.step(100, 90)
    assert detector.value == pytest.approx(chart.cap)


def test_all_keys_can_be_given() -> None:
    document = shipped()
    document["charts"][0] |= {
        "n_ref": 20,
        "alternatives": [3, 1.5],
        "window": "30m",
        "severity": "ticket",
        "owner": "search",
        "keep_firing_for": "10m",
        "idle_after": "1h30m",
        "forget_after": "1d",
    }
    chart = parse(document | {"interval": "1m", "lookback": "1h"}).charts[0]
    assert (chart.n_ref, chart.alternatives, chart.window) == (20, (1.5, 3.0), 1800)
    assert (chart.owner, chart.keep_firing_for, chart.idle_after, chart.forget_after) == ("search", 600, 5400, 86400)


def test_indicators_count_first_votes_only() -> None:
    for indicator in INDICATORS.values():
        assert indicator.where["op"] == "add"
        assert 'op="add"' in indicator.prom_total
        assert 'polarity="negative"' in indicator.prom_bad


def changed(path: str, value: object) -> Any:
    """The shipped document with the value at ``path`` replaced (or removed, by ...)."""
    document: Any = shipped()
    *steps, last = [int(s) if s.isdigit() else s for s in path.replace("[", ".").replace("]", "").split(".")]
    place = document
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 2, "this release reads version 1, got 2"),
        ("version", ..., "is missing"),
        ("version", "1", "must be a whole number, got '1'"),
        ("interval", "5m", "must be from 1s to 4m59s, got 5m"),
        ("interval", "500ms", "whole seconds"),
        ("interval", 15, "must be a duration"),
        ("lookback", "5m", "must be from 10m to 30d"),
        ("charts", [], "must be a list with at least one entry, got []"),
        ("charts", {"name": "x"}, "must be a list"),
        ("charts[0]", "thumbs_down", "must be a mapping, got 'thumbs_down'"),
        ("charts[0].name", "Thumbs-Down", "must be a name of a-z"),
        ("charts[0].name", ..., "is missing"),
        ("charts[0].colour", "red", "unknown key; known here: name, indicator"),
        ("charts[0].indicator", "thumbs_up", "must be one of thumbs_down, low_stars, got 'thumbs_up'"),
        ("charts[0].cohorts", {}, "must name at least one partition"),
        ("charts[0].cohorts.service", ["user.id"], "must be one of service.name"),
        ("charts[0].cohorts.service", "service.name", "must be a list"),
        ("charts[0].cohorts.service", ["service.name", "service.name"], "every key must be given once"),
        ("charts[0].cohorts.Bad-Name", ["service.version"], "must be a name of a-z"),
        ("charts[0].cohorts.again", ["deployment.environment.name", "service.name"], "the same keys"),
        ("charts[0].false_alarm_every", 50, "must be from 100 to"),
        ("charts[0].false_alarm_every", True, "must be a whole number, got True"),
        ("charts[0].false_alarm_every", 1e5, "must be a whole number"),
        ("charts[0].n_ref", 0, "must be from 1 to 10000, got 0"),
        ("charts[0].alternatives", [1.2, 0.9], "must lie between 1 and 1000, got 0.9"),
        ("charts[0].alternatives", [2, 2.0], "every alternative must be given once"),
        ("charts[0].window", "50s", "must be from 1m to 30d"),
        ("charts[0].window", "62s", "must be a multiple of the interval of 15s"),
        ("charts[0].severity", "fatal", "must be one of page, ticket, info"),
        ("charts[0].owner", "", "must be a text"),
        ("charts[0].runbook", None, "must be a text, got None"),
        ("charts[0].keep_firing_for", "1 hour", "must be a duration"),
        ("charts[0].baseline", 0.1, "must be a mapping, got 0.1"),
        ("charts[0].baseline.p0", 0, "must lie between 0 and 0.95, got 0"),
        ("charts[0].baseline.p0", 0.95, "must lie between 0 and 0.95"),
        ("charts[0].baseline.p0", float("nan"), "must be a number, got nan"),
        ("charts[0].baseline.p0", "10 %", "must be a number, got '10 %'"),
        ("charts[0].baseline.p0", ..., "is missing"),
        ("charts[0].baseline.kind", "guessed", "must be one of given"),
        ("charts[0].baseline.kind", "learnt", "no learnt baselines: give the accepted rate"),
    ],
)
def test_a_fault_is_named_by_its_path(path: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(changed(path, value))
    found = caught.value.path
    assert found == path or (isinstance(value, list) and found.startswith(f"{path}[")), found
    assert message in caught.value.message
    assert str(caught.value) == f"{found}: {caught.value.message}"


def test_charts_need_names_of_their_own() -> None:
    document = shipped()
    document["charts"] *= 2
    with pytest.raises(SpecError, match=r"charts\[1\]\.name: 'thumbs_down' is taken"):
        parse(document)


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_a_document_that_is_no_mapping(document: object) -> None:
    with pytest.raises(SpecError, match="spec: must be a mapping"):
        parse(document)


def test_keys_must_be_text() -> None:
    with pytest.raises(SpecError, match="keys must be text, got 1"):
        parse({1: 2})


@pytest.mark.parametrize(
    ("content", "message"), [(b"charts: [", "is not YAML: while parsing"), (b"\xff\xfe\x00", "is not")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "spc.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=message):
        load(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.yaml")
