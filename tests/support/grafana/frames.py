"""What a panel shows, from its JSON and the answers: names, styles and rows, after overrides and transformations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.support.grafana.ask import Json, Question, Sources
from tests.support.grafana.expand import View

_LABEL = re.compile(r"\{\{\s*(.+?)\s*\}\}")


def frame(panel: Json, sources: Sources, view: View) -> Json:
    """The panel as `preview.html` draws it."""
    defaults = panel["fieldConfig"]["defaults"]
    said = {"title": view.words(panel["title"]), "kind": panel["type"], "grid": panel["gridPos"],
            "unit": defaults.get("unit", ""), "defaults": defaults}
    if panel["type"] == "table":
        return {**said, **_table(panel, sources, view)}
    return {**said, "series": list(_series(panel, sources, view))}


# --- series -----------------------------------------------------------------------------------------------------------
def _series(panel: Json, sources: Sources, view: View) -> Iterator[Json]:
    for target in panel["targets"]:
        question = Question(panel["title"], target)
        legend = view.words(target.get("legendFormat", ""))
        for one in sources.answers(question, view):
            name = _LABEL.sub(lambda found, labels=one["metric"]: labels.get(found[1], ""), legend).strip()
            points = one["values"] if "values" in one else [one["value"]]
            yield {"name": name, "ref": target["refId"], "style": _style(panel, name, target["refId"]),
                   "x": [float(at) for at, _ in points], "y": [_number(value) for _, value in points],
                   "dots": _dots(question, sources, view) if target.get("exemplar") else []}


def _dots(question: Question, sources: Sources, view: View) -> list[Json]:
    return [{"x": float(one["timestamp"]), "y": float(one["value"])} for one in sources.exemplars(question, view)]


def _number(value: str) -> float | None:
    number = float(value)
    return None if number != number or abs(number) == float("inf") else number


def _style(panel: Json, name: str, ref: str = "") -> Json:
    """Defaults and overrides of one field, by their names."""
    defaults = panel["fieldConfig"]["defaults"]
    style = {"unit": defaults.get("unit"), "decimals": defaults.get("decimals"), "color": defaults.get("color"),
             **{f"custom.{key}": value for key, value in (defaults.get("custom") or {}).items()}}
    for one in panel["fieldConfig"].get("overrides", []):
        matcher = one["matcher"]
        kind, wanted = matcher["id"], matcher["options"]
        if (kind, wanted) in (("byName", name), ("byFrameRefID", ref)) or (
                kind == "byRegexp" and re.search(wanted.strip("/"), name)):
            style |= {option["id"]: option["value"] for option in one["properties"]}
    return style


# --- tables -----------------------------------------------------------------------------------------------------------
def _table(panel: Json, sources: Sources, view: View) -> Json:
    targets = panel["targets"]
    if targets[0].get("queryType") == "traceql":
        found = sources.spans(targets[0], view)
        rows = [{**row, "traceIdHidden": one["traceIdHidden"]}
                for one, row in zip(found, _organized(panel, [_kept(panel, one) for one in found]), strict=True)]
    else:
        rows = _organized(panel, _merged(panel, sources, view))
    for by in panel["options"].get("sortBy", []):
        rows.sort(key=lambda row, name=by["displayName"]: row.get(name) or 0, reverse=by["desc"])
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "traceIdHidden"))
    styles = {column: _style(panel, column) for column in columns}
    shown = [column for column in columns if not styles[column].get("custom.hideFrom", {}).get("viz")]
    return {"columns": [{"name": column, "style": styles[column]} for column in shown], "rows": rows}


def _merged(panel: Json, sources: Sources, view: View) -> list[Json]:
    """One row per label set, as the transformations `filterFieldsByName` and `merge` make them."""
    rows: dict[frozenset[tuple[str, str]], Json] = {}
    single = len(panel["targets"]) == 1
    for target in panel["targets"]:
        for one in sources.answers(Question(panel["title"], target), view):
            labels = _kept(panel, one["metric"])
            row = rows.setdefault(frozenset(labels.items()), dict(labels))
            row["Value" if single else f"Value #{target['refId']}"] = _number(one["value"][1])
    return list(rows.values())


def _kept(panel: Json, row: Json) -> Json:
    """The fields that `filterFieldsByName` lets through."""
    kept = next((one["options"]["include"]["names"] for one in panel.get("transformations", [])
                 if one["id"] == "filterFieldsByName"), row)
    return {key: value for key, value in row.items() if key in kept}


def _organized(panel: Json, rows: list[Json]) -> list[Json]:
    options = next(one["options"] for one in panel["transformations"] if one["id"] == "organize")
    order, renamed = options["indexByName"], options["renameByName"]

    def row(one: Json) -> Json:
        keys = sorted(set(one) | set(order), key=lambda key: order.get(key, -1))
        return {renamed.get(key, key): one.get(key, "") for key in keys if not options["excludeByName"].get(key)}

    return [row(one) for one in rows]
