"""What a person does with an alert: follow each of its links. Here the link is decoded and its query run."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from tests.stack.backend import Backend, get

from backspan._assets import asset

_LABEL = re.compile(r"label_values\((?:.+, *)?(\w+)\)")
_AGO = re.compile(r"now(?:-(\d+)([mhd]))?")
_UNITS = {"m": 60, "h": 3600, "d": 86400}


def urls(page: dict[str, Any]) -> dict[str, str]:
    """Every link of an alert, by the annotation (or field) that it stands in."""
    said = {**page["annotations"], "generatorURL": page["generatorURL"]}
    return {name: text for name, text in said.items() if re.match(r"https?://", text)}


@dataclass(frozen=True)
class Explore:
    """A link to Grafana's Explore: data source, query, its limit, and the range in Unix seconds."""

    datasource: str
    query: str
    limit: int
    start: float
    end: float


def explore(url: str) -> Explore:
    """Decode a link to Explore as Grafana does."""
    (panes,) = parse_qs(urlsplit(url).query, strict_parsing=True)["panes"]
    (pane,) = json.loads(panes).values()
    (query,) = pane["queries"]
    assert query["datasource"]["uid"] == pane["datasource"] and query["queryType"] == "traceql"
    span = pane["range"]
    return Explore(pane["datasource"], query["query"], query["limit"], _moment(span["from"]), _moment(span["to"]))


def judged(backend: Backend, traceql: str, limit: int, start: float, end: float) -> list[tuple[str, str]]:
    """(trace id, span id) that each feedback span found by a query judges: its link, read from the span itself."""
    wanted = f"{traceql} | select(span.backspan.feedback.trace_id, span.backspan.feedback.span_id)"
    found = get(backend.ports.tempo, "/api/search", q=wanted, limit=str(limit), spss="100",
                start=str(int(start)), end=str(int(end) + 1))
    spans = [span for trace in found["traces"] for one in trace["spanSets"] for span in one["spans"]]
    said = [{a["key"]: a["value"].get("stringValue") for a in span["attributes"]} for span in spans]
    return [(one["backspan.feedback.trace_id"], one["backspan.feedback.span_id"]) for one in said]


def followed(backend: Backend, url: str) -> list[tuple[str, str]]:
    """What the link to the spans leads to."""
    asked = explore(url)
    return judged(backend, asked.query, asked.limit, asked.start, asked.end)


def panel(url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The dashboard that a link opens, and the variables that it sets."""
    parts = urlsplit(url)
    uid = parts.path.rpartition("/d/")[2].partition("/")[0]
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in _dashboards()]
    (board,) = [one for one in boards if one["uid"] == uid]
    return board, {name[4:]: value for name, value in parse_qsl(parts.query) if name.startswith("var-")}


def selector(board: dict[str, Any], chosen: dict[str, str]) -> str:
    """Label matchers that the variables of a dashboard make of what a link chose; of the rest nothing is asked."""
    known = {one["name"]: str(one.get("query", "")) for one in board["templating"]["list"]}
    labels = {name: _LABEL.fullmatch(known[name]) for name in chosen}
    return ",".join(f'{label[1]}="{chosen[name]}"' for name, label in labels.items() if label)


def _dashboards() -> list[Path]:
    return sorted((asset("grafana") / "dashboards").glob("*.json"))


def _moment(text: str) -> float:
    found = _AGO.fullmatch(text)
    assert found, text
    return time.time() - (int(found[1]) * _UNITS[found[2]] if found[1] else 0)
