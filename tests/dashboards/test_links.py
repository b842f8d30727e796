"""Every link of a dashboard, of an alert and of the provisioned data sources leads to what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import yaml
from tests.support.grafana.ask import panels, variables
from tests.support.grafana.expand import Chosen, View
from tests.support.grafana.files import committed

from backspan._assets import asset
from backspan.dashboards.generate import DASHBOARDS

DOCUMENTS = committed(asset("grafana/dashboards"))
BY_UID = {document["uid"]: document for document in DOCUMENTS.values()}
PROVISIONING = asset("grafana/provisioning")
_UNKNOWN = re.compile(r"\$\{?\w+")


def data_links(document: dict[str, Any]) -> list[str]:
    """URLs of all links of cells."""
    options = [option for panel in panels(document) for override in panel["fieldConfig"]["overrides"]
               for option in override["properties"]]
    return [link["url"] for option in options if option["id"] == "links" for link in option["value"]]


def view() -> View:
    everything = {name: Chosen((".*",)) for name in ("service", "environment", "prompt", "version")}
    return View(0, 3600, {**everything, "tempo": Chosen(("tempo-uid",)), "prometheus": Chosen(("prometheus-uid",))})


def followed(url: str) -> str:
    """The URL after a click on a cell."""
    fields = {"traceIdHidden": "a" * 32, "partition": "service", "service": "my shop"}
    return view().url(url, fields, "a&b #1")


def faults(url: str) -> list[str]:
    """What is wrong with where a URL leads."""
    there = urlsplit(url)
    if _UNKNOWN.search(url):
        return [f"not filled in: {url}"]
    said = dict(parse_qsl(there.query))
    if there.path == "/explore":
        (pane,) = json.loads(parse_qs(there.query)["panes"][0]).values()
        fine = pane["datasource"] == "tempo-uid" and pane["queries"][0]["query"]
        return [] if fine else [f"an empty pane: {pane}"]
    uid = there.path.removeprefix("/d/")
    if uid not in BY_UID:
        return [f"no dashboard {uid}"]
    known = {f"var-{one['name']}" for one in variables(BY_UID[uid])} | {"from", "to"}
    return sorted(set(said) - known)


def test_uids_are_unique() -> None:
    assert len(BY_UID) == len(DASHBOARDS)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_links_lead_somewhere(name: str) -> None:
    for url in data_links(DOCUMENTS[name]):
        assert faults(followed(url)) == [], url


def test_there_are_links_to_traces_feedback_and_dashboards() -> None:
    urls = {url for document in DOCUMENTS.values() for url in data_links(document)}
    assert len([url for url in urls if url.startswith("/explore")]) >= 3
    assert {urlsplit(url).path for url in urls} >= {"/d/backspan", "/d/backspan-conversation", "/d/backspan-feedback"}


@pytest.mark.parametrize("url", ["/d/no-such", "/d/backspan?var-no_such=1", "/d/backspan?var-chart=${nowhere}",
                                 "/explore?panes=%7B%22a%22%3A%7B%22datasource%22%3A%22x%22%7D%7D"])
def test_a_link_that_leads_nowhere_is_noticed(url: str) -> None:
    assert faults(followed(url))


def test_the_cell_is_encoded_once() -> None:
    (url,) = {url for url in data_links(DOCUMENTS["conversation"]) if "var-conversation" in url}
    assert dict(parse_qsl(urlsplit(followed(url)).query))["var-conversation"] == "a&b #1"


def panel_links(folder: Path) -> set[str]:
    """Links to dashboards in the generated rules, templates taken out."""
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.yml")]
    rules = [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    found = [rule["annotations"]["panel"] for rule in rules if "panel" in rule.get("annotations", {})]
    return {re.sub(r"\{\{.*?\}\}", "", url) for url in found}


def test_alerts_link_to_a_dashboard_that_has_their_variables() -> None:
    urls = panel_links(asset("collector/rules"))
    assert len(urls) >= 5
    for url in urls:
        path = urlsplit(url.replace("now-24h", "0").replace("to=now", "to=1"))
        assert path.path == "/d/backspan"
        assert faults(f"{path.path}?{path.query}") == []


# --- provisioning -----------------------------------------------------------------------------------------------------
def provisioned(name: str) -> dict[str, Any]:
    return yaml.safe_load((PROVISIONING / name / "backspan.yaml").read_text(encoding="utf-8"))


def test_all_dashboards_are_provisioned_into_one_folder() -> None:
    (provider,) = provisioned("dashboards")["providers"]
    compose = yaml.safe_load(asset("docker-compose.yml").read_text(encoding="utf-8"))
    mounted = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounted["./grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert provider["folder"] == "backspan"


def test_data_sources_know_each_other() -> None:
    sources = {one["uid"]: one for one in provisioned("datasources")["datasources"]}
    assert set(sources) == {"prometheus", "tempo", "alertmanager"}
    (exemplars,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (exemplars["name"], exemplars["datasourceUid"]) == ("trace_id", "tempo")
    assert sources["tempo"]["jsonData"]["tracesToMetrics"]["datasourceUid"] == "prometheus"
    assert {one["targetUID"] for one in sources["tempo"]["correlations"]} <= set(sources)


def test_every_default_of_a_data_source_variable_is_provisioned() -> None:
    sources = {one["uid"]: one["type"] for one in provisioned("datasources")["datasources"]}
    for document in DOCUMENTS.values():
        for one in variables(document):
            if one["type"] == "datasource":
                assert sources[one["current"]["value"]] == one["query"]
