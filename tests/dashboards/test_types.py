"""Each dashboard, as a TypeScript literal, compiles in strict mode against Grafana's types (npm `@grafana/schema`)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.grafana.ask import panels, variables
from tests.support.grafana.files import committed
from tests.support.grafana.types import complaints

from backspan._assets import asset

pytestmark = pytest.mark.grafana
DOCUMENTS = committed(asset("grafana/dashboards"))
Document = dict[str, Any]


def test_every_dashboard_compiles(tmp_path: Path) -> None:
    assert complaints(DOCUMENTS, tmp_path) == {}


def first(document: Document, kind: str = "timeseries") -> Document:
    return next(panel for panel in panels(document) if panel["type"] == kind)


def overridden(document: Document) -> Document:
    return next(panel for panel in panels(document) if panel["fieldConfig"]["overrides"])["fieldConfig"]["overrides"][0]


BREAKS: dict[str, Callable[[Document], Any]] = {
    "misspelt-key": lambda document: document.update(refesh="30s"),
    "misspelt-key-of-a-panel": lambda document: first(document).update(desciption="x"),
    "unknown-panel": lambda document: first(document).update(type="graph"),
    "misspelt-option": lambda document: first(document)["options"].update(legends={}),
    "unknown-legend": lambda document: first(document)["options"]["legend"].update(displayMode="grid"),
    "misspelt-style": lambda document: first(document)["fieldConfig"]["defaults"]["custom"].update(fillOpacty=3),
    "wrong-kind-of-value": lambda document: first(document)["fieldConfig"]["defaults"].update(unit=3),
    "unknown-override": lambda document: overridden(document)["properties"][0].update(id="custom.noSuchStyle"),
    "misspelt-key-of-a-query": lambda document: first(document)["targets"][0].update(legend="x"),
    "option-of-another-time": lambda document: first(document, "table")["options"].update(footer={"show": False}),
    "unknown-variable": lambda document: variables(document)[0].update(type="data-source"),
    "no-place": lambda document: first(document)["gridPos"].pop("w"),
}


def test_what_grafana_does_not_know_does_not_compile(tmp_path: Path) -> None:
    """All broken ones in one run of the compiler, which takes seconds."""
    broken = {name: copy.deepcopy(DOCUMENTS["overview"]) for name in BREAKS}
    for name, spoil in BREAKS.items():
        spoil(broken[name])
    assert set(complaints(broken, tmp_path)) == set(BREAKS)
