"""Rules for dashboards, each a function from a document to what is wrong in it.

Those of Grafana's dashboard-linter that make sense here, re-stated, and our own. Not taken over, with the reason:
`template-job-rule`, `template-instance-rule`, `target-job-rule` and `target-instance-rule` (a service is
``service_name`` here: of the gateway's series, ``job`` and ``instance`` name the gateway, not the service that
answered), `target-logql-rule` (no Loki), `target-promql-rule` (every query is sent to a real Prometheus instead).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.grafana.ask import Json, annotations, panels, questions, variables

from backspan.rules import series

Rule = Callable[[Json], list[str]]
RULES: dict[str, Rule] = {}
_BUILT_IN = {"__range", "__rate_interval", "__interval", "__url_time_range", "__value", "__data"}
_COUNTER = re.compile(r"\b(\w+_(?:total|count|sum|bucket))\b(?!\s*\()")
_GROWN = re.compile(r"(increase|rate|last_over_time|count by \([^)]*\) )\($")
_NUMBER = re.compile(r"(?<![\w.\"$-])-?\d+(?:\.\d+)?(?![\w.\"])")


def rule(function: Rule) -> Rule:
    """Register a rule under its name."""
    RULES[function.__name__] = function
    return function


def titles(found: Iterator[Any] | list[Any], why: str = "") -> list[str]:
    return [f"{one['title'] if isinstance(one, dict) else one}{f': {why}' if why else ''}" for one in found]


# --- of the linter ----------------------------------------------------------------------------------------------------
@rule
def panel_title_description(document: Json) -> list[str]:
    return [f"panel {panel.get('id')}" for panel in panels(document)
            if not panel.get("title") or len(panel.get("description", "")) < 30]


@rule
def panel_units(document: Json) -> list[str]:
    return titles([panel for panel in panels(document) if not panel["fieldConfig"]["defaults"].get("unit")])


@rule
def panel_no_targets(document: Json) -> list[str]:
    return titles([panel for panel in panels(document) if not panel.get("targets")])


@rule
def panel_datasource(document: Json) -> list[str]:
    """Every panel asks a data source that is a variable."""
    return titles([panel for panel in panels(document)
                   if panel.get("datasource", {}).get("uid") not in ("${prometheus}", "${tempo}")])


@rule
def template_datasource(document: Json) -> list[str]:
    found = {one["name"]: one.get("query") for one in variables(document) if one["type"] == "datasource"}
    return [] if found == {"prometheus": "prometheus", "tempo": "tempo"} else [f"data sources: {found}"]


@rule
def template_label_promql(document: Json) -> list[str]:
    """A variable that asks Prometheus asks for the values of a label."""
    query = re.compile(r"label_values\(.+, (\w+|\$\w+)\)")
    return [one["name"] for one in variables(document) if one["type"] == "query" and not query.fullmatch(one["query"])]


@rule
def template_on_time_change_reload(document: Json) -> list[str]:
    return [one["name"] for one in variables(document) if one["type"] == "query" and one.get("refresh") != 2]


@rule
def target_rate_interval(document: Json) -> list[str]:
    """A rate asks for Grafana's interval; an increase also for the range, or for the window that the reader chose."""
    rate = re.compile(r"\brate\([^\[]*\[(?!\$__rate_interval\])")
    increase = re.compile(r"\bincrease\([^\[]*\[(?!\$(__rate_interval|__range|window)\])")
    return [one.name for one in questions(document) if not one.is_traceql
            and (rate.search(one.text) or increase.search(one.text))]


@rule
def target_counter_agg(document: Json) -> list[str]:
    """A counter's value says nothing: only what it has grown by does."""
    return [f"{one.name}: {counter}" for one in questions(document) if not one.is_traceql
            for counter in _COUNTER.findall(one.text) if not _grown(one.text, counter)]


def _grown(text: str, counter: str) -> bool:
    """Whether each use is inside a function that reads how a counter moves, or whether it is there at all."""
    before = [text[:found.start()] for found in re.finditer(rf"\b{counter}\b", text)]
    return all(_GROWN.search(part) for part in before)


@rule
def uneditable(document: Json) -> list[str]:
    return [] if document.get("editable") is False else ["editable"]


# --- ours -------------------------------------------------------------------------------------------------------------
@rule
def traceql_numbers_have_a_decimal_point(document: Json) -> list[str]:
    """Tempo compares a double with 0.0 only: `> 0` finds nothing."""
    asked = [one for one in questions(document) if one.is_traceql]
    found = [f"{one.name}: {number}" for one in asked for number in _NUMBER.findall(re.sub(r'"[^"]*"', '""', one.text))
             if "." not in number]
    put_in = {name for one in asked for name in re.findall(r"[<>=]\s*\$(\w+)", one.text)}
    return found + [f"${one['name']}: {option['value']}" for one in variables(document) if one["name"] in put_in
                    for option in one["options"] if "." not in option["value"]]


@rule
def n_beside_every_rate(document: Json) -> list[str]:
    """A share is shown with the number that it rests on; in a graph of many cohorts, in a table in place of a line."""
    return titles([panel for panel in panels(document)
                   if panel["fieldConfig"]["defaults"].get("unit") == "percentunit"
                   and "n" not in _columns(panel) and not _is_gauge_or_chart(panel)])


@rule
def interval_beside_every_rate(document: Json) -> list[str]:
    """A share of one cohort is shown with its interval, or with control limits; of many, in a table beside."""
    tables = any({"95 % low", "95 % high"} <= _columns(panel) for panel in panels(document))
    return titles([panel for panel in panels(document) if "rate" in _columns(panel) and not tables
                   and not any(name.startswith("95 %") or "limit" in name for name in _columns(panel))])


def _columns(panel: Json) -> set[str]:
    legends = {target.get("legendFormat", "").split(" ")[0] if target.get("legendFormat", "").startswith("n ")
               else target.get("legendFormat", "") for target in panel["targets"]}
    renamed = [one["options"]["renameByName"].values() for one in panel.get("transformations", [])
               if one["id"] == "organize"]
    return legends | {name for names in renamed for name in names}


def _is_gauge_or_chart(panel: Json) -> bool:
    """The control chart has n in the panel beside it; a gauge is a value that was measured elsewhere."""
    texts = [target.get("expr", "") for target in panel["targets"]]
    return any(text.startswith((series.RATE, "max by (")) for text in texts)


@rule
def legends_are_given(document: Json) -> list[str]:
    return [one.name for one in questions(document) if not one.is_traceql and not one.annotation
            and one.target.get("format") != "table" and not one.target.get("legendFormat")]


@rule
def ids_are_unique(document: Json) -> list[str]:
    return [str(number) for number, times in Counter(panel["id"] for panel in document["panels"]).items() if times > 1]


@rule
def panels_do_not_overlap(document: Json) -> list[str]:
    cells = Counter((place["x"] + x, place["y"] + y) for place in (panel["gridPos"] for panel in document["panels"])
                    for x in range(place["w"]) for y in range(place["h"]))
    return [f"{cell}" for cell, times in cells.items() if times > 1 or cell[0] > 23]


@rule
def every_variable_is_defined(document: Json) -> list[str]:
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([document["panels"], document["annotations"]])))
    return sorted(used - {one["name"] for one in variables(document)} - _BUILT_IN)


@rule
def every_variable_says_what_it_is(document: Json) -> list[str]:
    return [one["name"] for one in variables(document) if not one.get("label")]


@rule
def limits_do_not_depend_on_the_visible_range(document: Json) -> list[str]:
    return [one.name for one in questions(document) if "spc:" in one.text and "$__" in one.text]


@rule
def deploys_and_alerts_are_annotated(document: Json) -> list[str]:
    return sorted({"Alerts", "New prompt versions", "Deploys"} - {one["name"] for one in annotations(document)})


@rule
def the_others_are_linked(document: Json) -> list[str]:
    menus = [link for link in document.get("links", []) if link["type"] == "dashboards"]
    good = [link for link in menus if set(link["tags"]) <= set(document["tags"]) and link["includeVars"]
            and link["keepTime"]]
    return [] if good else ["no menu of the other dashboards"]
