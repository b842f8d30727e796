"""Who is called, and which alert is silent while another one fires: the file, its rules, and a live Alertmanager."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.rules.alertmanagers import BINARIES, alertmanager, amtool, raised, silent
from tests.rules.documents import SERVICE, given
from tests.stack.backend import until
from tests.stack.pager import Pager

from backspan._assets import asset
from backspan.rules import routing
from backspan.rules.spec import load, parse

FILE = asset("collector") / "alertmanager.yml"
DOCUMENT = yaml.safe_load(FILE.read_text(encoding="utf-8"))
PLACE = {"service_name": "chat", "deployment_environment_name": "production"}
PROMPT = {"gen_ai_prompt_name": "support", "gen_ai_prompt_version": "v2"}


def alert(name: str, severity: str, partition: str = "service", chart: str = "thumbs_down", **labels: str
          ) -> dict[str, str]:
    """Labels of one alert of a chart."""
    cohort = PROMPT if partition == "prompt" else {}
    return {"alertname": name, "severity": severity, "partition": partition, "chart": chart, "indicator": chart,
            **PLACE, **cohort, **labels}


REGRESSION, BURN, MISSING = "BackspanQualityRegression", "BackspanBudgetBurn", "BackspanFeedbackMissing"


# --- a model of Alertmanager's inhibition ---------------------------------------------------------------------------
def holds(matcher: str, labels: Mapping[str, str]) -> bool:
    name, operator, value = re.fullmatch(r"(\w+) (=~|!=|=) (.+)", matcher).groups()  # type: ignore[union-attr]
    value, found = value.strip('"'), labels.get(name, "")
    if operator == "=~":
        return re.fullmatch(value, found) is not None
    return (found == value) == (operator == "=")


def silences(source: Mapping[str, str], target: Mapping[str, str], rules: list[dict[str, Any]]) -> bool:
    """An alert that matches both sides of a rule does not silence one that does so too."""
    def both(rule: dict[str, Any], side: str, labels: Mapping[str, str]) -> bool:
        return all(holds(matcher, labels) for matcher in rule[f"{side}_matchers"])

    return source != target and any(
        both(rule, "source", source) and both(rule, "target", target)
        and all(source.get(key, "") == target.get(key, "") for key in rule["equal"])
        and not (both(rule, "target", source) and both(rule, "source", target))
        for rule in rules
    )


def shipped(source: Mapping[str, str], target: Mapping[str, str]) -> bool:
    return silences(source, target, DOCUMENT["inhibit_rules"])


# --- the file -------------------------------------------------------------------------------------------------------
def test_the_shipped_inhibitions_are_those_of_the_shipped_spec() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert DOCUMENT["inhibit_rules"] == routing.inhibitions(load())
    assert routing.written(text, load()) == text


def test_what_is_kept_by_hand_stays() -> None:
    other = parse(given(cohorts={"all": SERVICE, "by_model": [*SERVICE, "gen_ai.request.model"]}))
    text = FILE.read_text(encoding="utf-8").replace("repeat_interval: 4h", "repeat_interval: 1h")
    document = yaml.safe_load(routing.written(text, other))
    assert document["route"]["routes"][0]["repeat_interval"] == "1h"
    assert document["inhibit_rules"] == routing.inhibitions(other)
    rules = document["inhibit_rules"]
    model = alert(REGRESSION, "page", "by_model", gen_ai_request_model="large")
    assert silences(model, alert(REGRESSION, "page", "all"), rules)


def test_a_file_without_the_line_is_refused() -> None:
    with pytest.raises(ValueError, match="inhibitions, made from the spec"):
        routing.written("route: {receiver: x}\n", load())


def test_one_division_has_nothing_to_silence_by_narrowness() -> None:
    rules = routing.inhibitions(parse(given(cohorts={"service": SERVICE})))
    assert not [rule for rule in rules if any("partition = " in matcher for matcher in rule["source_matchers"])]


# --- the rules ------------------------------------------------------------------------------------------------------
SILENCED = {
    "narrow page, broad page": (alert(REGRESSION, "page", "prompt"), alert(REGRESSION, "page")),
    "narrow page, broad budget": (alert(REGRESSION, "page", "prompt"), alert(BURN, "page")),
    "narrow page, broad ticket": (alert(REGRESSION, "page", "prompt"), alert("BackspanQualityShift", "ticket")),
    "page, ticket of the cohort": (alert(REGRESSION, "page"), alert(BURN, "ticket")),
    "page, ticket of the narrow cohort": (alert(REGRESSION, "page", "prompt"), alert(BURN, "ticket", "prompt")),
    "missing, thumbs": (alert(MISSING, "page", chart="feedback_coverage"), alert(REGRESSION, "page")),
    "missing, thumbs of a prompt": (
        alert(MISSING, "page", chart="feedback_coverage"), alert(REGRESSION, "page", "prompt")),
    "missing of a prompt, thumbs of it": (
        alert(MISSING, "page", "prompt", chart="feedback_coverage"), alert(REGRESSION, "page", "prompt")),
    "coverage, thumbs": (alert(REGRESSION, "page", chart="feedback_coverage"), alert(REGRESSION, "page")),
}
HEARD = {
    "broad page, narrow page": (alert(REGRESSION, "page"), alert(REGRESSION, "page", "prompt")),
    "narrow ticket, broad page": (alert(REGRESSION, "ticket", "prompt"), alert(REGRESSION, "page")),
    "another service": (
        alert(REGRESSION, "page", "prompt", service_name="search"), alert(REGRESSION, "page")),
    "another chart": (alert(REGRESSION, "page", "prompt", chart="errors"), alert(REGRESSION, "page")),
    "another version's ticket": (
        alert(REGRESSION, "page", "prompt"), alert(BURN, "ticket", "prompt", gen_ai_prompt_version="v1")),
    "missing, errors": (alert(MISSING, "page", chart="feedback_coverage"), alert(REGRESSION, "page", chart="errors")),
    "missing, evaluators": (
        alert(MISSING, "page", chart="feedback_coverage"), alert(REGRESSION, "page", chart="evaluator_failures")),
    "missing of a prompt, thumbs of the service": (
        alert(MISSING, "page", "prompt", chart="feedback_coverage"), alert(REGRESSION, "page")),
    "missing, coverage": (
        alert(MISSING, "page", chart="feedback_coverage"), alert(REGRESSION, "page", chart="feedback_coverage")),
}
CANARY = {"alertname": "BackspanCanaryWorse", "severity": "page", "canary": "canary", "indicator": "thumbs_down",
          "variant": "treatment", "verdict": "worse", **PLACE}
LIMIT = {"alertname": "BackspanLimitExceeded", "severity": "ticket", "limit": "oldest", "indicator": "x", **PLACE}


@pytest.mark.parametrize("name", SILENCED)
def test_silenced(name: str) -> None:
    assert shipped(*SILENCED[name])


@pytest.mark.parametrize("name", HEARD)
def test_heard(name: str) -> None:
    assert not shipped(*HEARD[name])


def everything() -> list[dict[str, str]]:
    """Alerts of every kind about one service."""
    charts = ("thumbs_down", "feedback_coverage", "errors")
    names = (REGRESSION, BURN, MISSING, "BackspanQualityShift")
    made = [
        alert(name, severity, partition, chart)
        for name, severity, partition, chart in product(
            names, ("page", "ticket", "info"), ("service", "prompt", "model"), charts)
        if name != MISSING or chart == "feedback_coverage"
    ]
    return [*made, CANARY, LIMIT]


def test_nothing_silences_a_rollback_or_a_limit_nor_is_silenced_by_them() -> None:
    for one in (CANARY, LIMIT):
        assert not [other for other in everything() if shipped(other, one) or shipped(one, other)]


def test_no_two_alerts_silence_each_other() -> None:
    alerts = everything()
    assert not [(a, b) for a, b in product(alerts, alerts) if shipped(a, b) and shipped(b, a)]


def test_of_any_alerts_that_page_one_is_heard() -> None:
    """Whoever is silenced is so by something that is itself heard, or silenced by something that is, and so on."""
    pages = [one for one in everything() if one["severity"] == "page"]
    above = {i: [j for j, b in enumerate(pages) if shipped(b, a)] for i, a in enumerate(pages)}
    for start in above:
        seen, here = {start}, above[start]
        while here:
            assert start not in here
            seen |= set(here)
            here = [j for i in here for j in above[i] if j not in seen]


# --- the real programs ----------------------------------------------------------------------------------------------
@pytest.mark.stack
def test_amtool_accepts_the_file_and_routes_by_severity(tmp_path: Path) -> None:
    assert amtool("check-config", FILE).returncode == 0
    spoilt = tmp_path / "alertmanager.yml"
    spoilt.write_text(FILE.read_text(encoding="utf-8").replace("severity =~", "severity ~~"), encoding="utf-8")
    assert amtool("check-config", spoilt).returncode != 0
    for severity, receiver in (("page", "pager"), ("ticket", "tickets"), ("info", "quiet")):
        done = amtool("config", "routes", "test", f"--config.file={FILE}", f"severity={severity}")
        assert done.stdout.strip() == receiver, done.stderr


INCIDENT = {
    "prompt": alert(REGRESSION, "page", "prompt"),
    "service": alert(REGRESSION, "page"),
    "ticket": alert("BackspanQualityShift", "ticket", "prompt"),
    "budget": alert(BURN, "ticket"),
    "errors": alert(REGRESSION, "page", chart="errors"),
}


@pytest.fixture
def binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs that `backspan stack build` made."""
    monkeypatch.setenv("BACKSPAN_STACK_DIR", str(BINARIES.parent))


def raise_all(port: int) -> None:
    raised(port, [{"labels": {**labels, "id": name}, "annotations": {}} for name, labels in INCIDENT.items()])


@pytest.mark.stack
@pytest.mark.usefixtures("binaries")
def test_one_incident_is_one_page(tmp_path: Path) -> None:
    """Service, prompt version and tickets of one chart: one page. Another chart: another page."""
    with Pager() as pager, alertmanager(tmp_path, pager.url) as port:
        raise_all(port)
        pages = until(lambda: pager.pages if len(pager.pages) >= 2 else None, "two pages")
        assert {page["labels"]["id"] for page in pages} == {"prompt", "errors"}
        assert silent(port) == {"prompt": False, "service": True, "ticket": True, "budget": True, "errors": False}


@pytest.mark.stack
@pytest.mark.usefixtures("binaries")
def test_without_the_rules_the_service_pages_too(tmp_path: Path) -> None:
    """The twin."""
    with Pager() as pager, alertmanager(tmp_path, pager.url, lambda document: document.pop("inhibit_rules")) as port:
        raise_all(port)
        until(lambda: pager.pages if len(pager.pages) >= 3 else None, "three pages")
        assert not any(silent(port).values())
