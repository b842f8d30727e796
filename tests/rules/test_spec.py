"""The spec: what the shipped one says, and that every fault is named by its path."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import pytest
from tests.rules.documents import given

from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import LEAST_EVENTS, SpecError, default_path, load, parse
from backspan.spc.shiryaev import MixtureSR


def shipped() -> Any:
    return given()


def test_the_shipped_spec_pages_without_a_constant() -> None:
    spec = load()
    chart = spec.charts[0]
    assert (spec.version, spec.interval, spec.lookback) == (1, 15, 3600)
    assert (chart.name, chart.indicator, str(chart.promise)) == ("thumbs_down", "thumbs_down", "60 days")
    assert chart.partitions[1].labels == (
        "service_name",
        "deployment_environment_name",
        "gen_ai_prompt_name",
        "gen_ai_prompt_version",
    )
    assert (chart.severity, chart.alternatives, chart.n_ref) == ("page", (1.2, 1.5, 2.0, 3.0), 10)
    assert [c.name for c in spec.charts if not c.baseline.learnt] == []
    assert {c.name for c in spec.charts if c.severity == "page"} >= {"thumbs_down", "feedback_coverage", "errors"}


def test_a_new_prompt_version_inherits_from_the_prompt() -> None:
    service, prompt = load().charts[0].partitions
    assert service.parent is None
    assert prompt.parent is not None
    assert prompt.parent.by == ("service.name", "deployment.environment.name", "gen_ai.prompt.name")


def test_limit_and_detector_of_a_chart() -> None:
    chart = parse(given()).charts[0]
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


@pytest.mark.parametrize("name", INDICATORS)
def test_indicators_count_first_judgements_only(name: str) -> None:
    indicator = INDICATORS[name]
    if indicator.kind == "gauge":
        return
    for events in (indicator.total, indicator.counted):
        if events.metric.startswith("backspan_feedback"):
            assert events.where["op"] == "add" and 'op="add"' in events.selector


def test_a_promise_in_days_follows_the_volume() -> None:
    chart = parse(given(false_alarm_every="30d")).charts[0]
    assert chart.limit_at(2400) == pytest.approx(log(2 * 30 * 2400 / 10))
    assert chart.limit == chart.limit_at(1) == pytest.approx(log(2 * LEAST_EVENTS / 10))


def test_both_directions_are_two_charts_that_share_the_promise() -> None:
    worse, better = parse(given(direction="both")).charts
    assert (worse.name, better.name) == ("thumbs_down", "thumbs_down_better")
    assert (worse.model.falls, better.model.falls) == (False, True)
    assert (worse.promise.events, better.promise.events, better.severity) == (200_000, 200_000, "info")


def test_where_narrows_the_bad_events() -> None:
    chart = parse(given(indicator="bad_reasons", where={"reason": "outdated"}, baseline="learnt")).charts[0]
    assert 'reason="outdated"' in chart.watched.counted.selector and "reason" not in chart.watched.total.selector


@pytest.mark.parametrize(
    ("changed_keys", "kind"),
    [({}, "p"), ({"baseline": {"kind": "given", "p0": 0.004}}, "g"),
     ({"indicator": "regenerate", "baseline": "learnt"}, "u"), ({"chart": "u"}, "u")],
)
def test_the_chart_that_is_drawn_says_why(changed_keys: dict[str, Any], kind: str) -> None:
    drawn, why = parse(given(**changed_keys)).charts[0].drawn_as
    assert drawn == kind and why


def test_a_fault_in_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "spc.yaml"
    path.write_text(default_path().read_text(encoding="utf-8").replace("indicator: low_stars", "indicator: stars"))
    wanted = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if "indicator: stars" in line)
    with pytest.raises(SpecError, match=rf"^line {wanted}: charts\[1\]\.indicator: must be one of"):
        load(path)


DIMENSIONS = ("service.name", "gen_ai.prompt.name", "gen_ai.prompt.version", "gen_ai.request.model",
              "backspan.segment")


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
        ("charts[0].colour", "red", "unknown key; known here: name, cohorts"),
        ("charts[0].indicator", "thumbs_up", "must be one of thumbs_down, low_stars, bad_reasons"),
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
        ("charts[0].window", "4s", "must be from 5s to 30d"),
        ("charts[0].window", "62s", "must be a multiple of the interval of 15s"),
        ("charts[0].severity", "fatal", "must be one of page, ticket, info"),
        ("charts[0].owner", "", "must be a text"),
        ("charts[0].runbook", None, "must be a text, got None"),
        ("charts[0].keep_firing_for", "1 hour", "must be a duration"),
        ("charts[0].window", "15s", "and two of them at least"),
        ("charts[0].indicator", "input_drift", "is a gauge: it has no rate; watch it under `limits`"),
        ("charts[0].indicator", ..., "needs either an indicator or promql"),
        ("charts[0].cohorts.prompt", [*DIMENSIONS], "would explode into cohorts: 3 keys at most"),
        ("charts[0].cohorts.prompt", {"by": ["service.name"], "inherit": ["service.name"]}, "must be fewer keys"),
        ("charts[0].false_alarm_every", "12h", "must be from 1d to"),
        ("charts[0].false_alarm_every", "never", "must be a duration"),
        ("charts[0].direction", "up", "must be one of worse, better, both"),
        ("charts[0].chart", "pie", "must be one of auto, p, u, g"),
        ("charts[0].where", {"colour": "red"}, "must be one of name, polarity"),
        ("charts[0].tickets", "yes", "must be true or false"),
        ("charts[0].slo", {"objective": 1.0}, "must lie between 0.5 and 1"),
        ("charts[0].slo", {"objective": 0.95, "period": "1h"}, "must be from 7d to 90d"),
        ("charts[0].baseline", 0.1, "must be a mapping, got 0.1"),
        ("charts[0].baseline", {"kind": "learnt", "ratings": 5}, "must be from 50 to"),
        ("charts[0].baseline.p0", 1, "must lie between 0 and 0.95, got 1"),
        ("charts[0].baseline.p0", 0, "must lie between 0 and 0.95, got 0"),
        ("charts[0].baseline.p0", 0.95, "must lie between 0 and 0.95"),
        ("charts[0].baseline.p0", float("nan"), "must be a number, got nan"),
        ("charts[0].baseline.p0", "10 %", "must be a number, got '10 %'"),
        ("charts[0].baseline.p0", ..., "is missing"),
        ("charts[0].baseline.kind", "guessed", "must be one of given, learnt"),
        ("canaries", [{"name": "c", "indicators": ["slow_answers"], "by": "backspan.segment"}], "do not carry"),
        ("canaries", [{"name": "c", "indicators": ["errors"], "expect": {"a": 0.5, "b": 0.4}}], "add up to 1"),
        ("limits", [{"name": "l", "indicator": "thumbs_down", "above": 1}], "must be one of rater_concentration"),
    ],
)
def test_a_fault_is_named_by_its_path(path: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(changed(path, value))
    found = caught.value.path
    assert found == path or found.startswith((f"{path}[", f"{path}.")) or (value is ... and path.startswith(found))
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
