"""Asking a dashboard's questions as Grafana does: variables first, then every query of panels and annotations."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.support.grafana.expand import ALL, Chosen, View

_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_LABEL_VALUES = re.compile(r"label_values\((?:(.+),\s*)?([a-zA-Z_]\w*)\)\s*")
Json = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """One query of a dashboard: who asks (panel, annotation or variable), and the target as it stands in the file."""

    owner: str
    target: Json
    annotation: bool = False

    @property
    def name(self) -> str:
        return f"{self.owner} {self.target.get('refId', '')}".strip()

    @property
    def text(self) -> str:
        return self.target["expr"] if "expr" in self.target else self.target["query"]

    @property
    def is_traceql(self) -> bool:
        return self.target.get("queryType") == "traceql"


def panels(document: Json) -> list[Json]:
    """All panels that show data, those of closed rows too."""
    inner = [panel for row in document["panels"] for panel in row.get("panels", [])]
    return [panel for panel in [*document["panels"], *inner] if panel["type"] != "row"]


def variables(document: Json) -> list[Json]:
    """All variables, in the order in which they are filled."""
    return document["templating"]["list"]


def annotations(document: Json) -> list[Json]:
    """All annotations."""
    return document["annotations"]["list"]


def questions(document: Json) -> list[Question]:
    """Every query of panels and annotations."""
    found = [Question(panel["title"], target) for panel in panels(document) for target in panel["targets"]]
    return found + [Question(one["name"], one["target"], annotation=True) for one in annotations(document)]


class Sources:
    """The Prometheus and the Tempo behind a dashboard, by URL."""

    def __init__(self, prometheus: str, tempo: str) -> None:
        self._prometheus, self._tempo = prometheus, tempo

    def get(self, path: str, *, tempo: bool = False, **query: str) -> Any:
        """JSON of an answer. Raises HTTPError with what the program says is wrong."""
        base = self._tempo if tempo else self._prometheus
        with _LOCAL.open(f"{base}{path}?{urllib.parse.urlencode(query)}", timeout=120) as response:
            return json.load(response)

    # --- variables ----------------------------------------------------------------------------------------------------
    def options(self, variable: Json, view: View) -> list[str]:
        """Values that a variable offers, "All" left out."""
        if variable["type"] != "query":
            return [one["value"] for one in variable.get("options", [])]
        found = _LABEL_VALUES.fullmatch(view.promql(variable["query"]))
        assert found, f"not a query of label values: {variable['query']}"
        match = {"match[]": found[1]} if found[1] else {}
        span = {"start": str(view.start), "end": str(view.end)}
        return self.get(f"/api/v1/label/{found[2]}/values", **match, **span)["data"]

    def opened(self, document: Json, view: View, /, **said: str) -> View:
        """The view with every variable at its default, or at what the URL says."""
        for variable in variables(document):
            name = variable["name"]
            value = said.get(name, variable["current"].get("value", ""))
            if variable["type"] == "query" and not variable.get("includeAll") and name not in said:
                offered = self.options(variable, view)
                value = value if value in offered or not offered else offered[0]
            chosen = Chosen((value,), bool(variable.get("multi")), variable.get("allValue") or "")
            view = replace(view, chosen={**view.chosen, name: chosen})
        return view

    # --- queries ------------------------------------------------------------------------------------------------------
    def answers(self, question: Question, view: View) -> list[Json]:
        """Series of a PromQL question, or spans of a TraceQL one; nothing where no value is a number."""
        if question.is_traceql:
            return self.spans(question.target, view)
        expr = view.promql(question.text)
        if question.target.get("instant"):
            data = self.get("/api/v1/query", query=expr, time=str(view.end))["data"]["result"]
        else:
            data = self._ranged(expr, view, 60 if question.annotation else view.step)
        return [series for series in data if any(value != "NaN" for _, value in _points(series))]

    def _ranged(self, expr: str, view: View, step: float) -> list[Json]:
        start, end = (int(at // step * step) for at in (view.start, view.end))
        said = {"start": str(start), "end": str(end), "step": str(step)}
        return self.get("/api/v1/query_range", query=expr, **said)["data"]["result"]

    def exemplars(self, question: Question, view: View) -> list[Json]:
        """Exemplars of a question that asks for them."""
        span = {"start": str(view.start), "end": str(view.end)}
        found = self.get("/api/v1/query_exemplars", query=view.promql(question.text), **span)["data"]
        return [one for series in found for one in series["exemplars"]]

    def spans(self, target: Json, view: View) -> list[Json]:
        """Rows of a TraceQL question: fields as Grafana's table of spans names them."""
        query = view.traceql(target["query"])
        more = {"limit": str(target.get("limit", 20)), "spss": str(target.get("spss", 3))}
        span = {"start": str(int(view.start)), "end": str(int(view.end) + 1)}
        traces = self.get("/api/search", tempo=True, q=query, **more, **span)["traces"]
        return [row for trace in traces for row in _rows(trace)]


def _points(series: Json) -> list[Any]:
    return series["values"] if "values" in series else [series["value"]]


def _rows(trace: Json) -> Iterator[Json]:
    for span in (span for found in trace["spanSets"] for span in found["spans"]):
        said = {attribute["key"]: _plain(attribute["value"]) for attribute in span.get("attributes", [])}
        yield {"traceIdHidden": trace["traceID"].rjust(32, "0"), "spanID": span["spanID"],
               "startTime": int(span["startTimeUnixNano"]) / 1e9, "traceService": trace.get("rootServiceName", ""),
               "traceName": trace.get("rootTraceName", ""), **said,
               "duration": int(span.get("durationNanos", 0)) / 1e9}


def _plain(value: Json) -> Any:
    (kind, found), = value.items()
    if kind == "arrayValue":
        return ", ".join(str(_plain(one)) for one in found.get("values", []))
    return float(found) if kind in ("intValue", "doubleValue") else found


def everything(several: bool = True) -> Chosen:
    """"All" of a variable that may be left as it is."""
    return Chosen((ALL,), several, ".*")
