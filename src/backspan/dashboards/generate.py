"""Dashboards -> files. The same spec always gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from backspan.dashboards import cohorts, control_charts, conversation, feedback, overview, quality, retrieval
from backspan.rules.spec import Spec

DASHBOARDS = {
    "overview": overview.dashboard, "feedback": feedback.dashboard, "control-charts": control_charts.dashboard,
    "retrieval": retrieval.dashboard, "cohorts": cohorts.dashboard, "quality": quality.dashboard,
    "conversation": conversation.dashboard,
}
"""Name of the file, without its ending -> what makes it."""


def generate(spec: Spec) -> dict[str, str]:
    """Text of every dashboard by its file name."""
    made = {name: json.dumps(make(spec), cls=JSONEncoder, indent=2, sort_keys=True)
            for name, make in DASHBOARDS.items()}
    return {f"{name}.json": f"{text}\n" for name, text in made.items()}


def drift(files: Mapping[str, str], out: Path) -> dict[str, str | None]:
    """What differs below ``out``: file name -> text that stands there, None if the file is missing.

    Raises OSError and UnicodeDecodeError for files that cannot be read.
    """
    there = {name: (out / name).read_text(encoding="utf-8") if (out / name).is_file() else None for name in files}
    return {name: text for name, text in there.items() if text != files[name]}
